"""Sums over the processes of one machine, through memory that they share.

Gloo sends values through sockets, even within a machine: the kernel copies each twice, and one piece waits for another. Here
each process writes its values beside the others', and then adds up all of them, in the same order as any other.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

PLACE = Path("/dev/shm")
"""Where Linux keeps files in memory; where it is not there, or full, Gloo adds up."""
LEAST = 1 << 14
"""Below so many values what is sent costs less than the waiting."""
MOST_PROCESSES = 8
"""Of more than these each would read so much that Gloo, where each adds up its part, is faster."""


class SharedMemory:
    """A place for the values of each process.

    Arguments:
        rank, count: the number of this process, and of all.
    """

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count
        self.places: Tensor | None = None  # (count, values)
        self.is_usable = count <= MOST_PROCESSES

    def suits(self, values: Sequence[Tensor]) -> bool:
        """Whether all processes, which have values of the same sizes, can add them up here."""
        num = sum(value.numel() for value in values)
        is_like_it = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in values)
        if not self.is_usable or num < LEAST or not is_like_it:
            return False
        if self.places is None or num > self.places.shape[1]:
            self._make(num)
        return self.is_usable

    def sum(self, values: Sequence[Tensor]) -> Tensor:
        """All values one after the other, (num,), each added up over the processes."""
        assert self.places is not None
        num = sum(value.numel() for value in values)
        first, second, *others = places = self.places[:, :num]
        torch.cat([value.flatten() for value in values], out=places[self.rank])
        dist.all_reduce(torch.zeros(1))  # all have written
        total = first + second
        for other in others:
            total += other
        dist.all_reduce(torch.zeros(1))  # all have read
        return total

    def _make(self, num: int) -> None:
        """Make room for so many values of each process, if the machine has it for all of them."""
        size = self.count * num
        paths: list[str | None] = [None]
        with ExitStack() as made:
            if self.rank == 0:
                with suppress(OSError):
                    file = made.enter_context(tempfile.NamedTemporaryFile(prefix="lowerbound-", dir=PLACE))
                    os.posix_fallocate(file.fileno(), 0, 4 * size)  # now: later there would be no error but a signal
                    paths[0] = file.name
            dist.broadcast_object_list(paths, src=0)
            (path,) = paths
            # on a machine of the same name that is another one it is not there
            places = None if path is None or not os.path.exists(path) else torch.from_file(path, shared=True, size=size)
            failed = torch.tensor([float(places is None)])
            dist.all_reduce(failed)
        # the file has no name any more, and is gone once the last process has ended, in whatever way
        self.is_usable = not failed.item()
        self.places = None if places is None else places.view(self.count, num)
