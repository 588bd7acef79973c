"""Sums over the processes of one machine, through memory that they share.

Gloo sends values through sockets, even within a machine: the kernel copies each twice, and one piece waits for another. Here
each process writes its values beside the others', and then adds up all of them, in the same order as any other.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

PLACE = Path("/dev/shm")
LEAST = 1 << 14
"""Below so many values what is sent costs less than the waiting."""
MOST_PROCESSES = 8
"""Of more than these each would read so much that Gloo, where each adds up its part, is faster."""


class SharedMemory:
    """Places for the values of each process, by turns in one of two halves: who writes its next values into the other half
    disturbs nobody who still reads.

    Arguments:
        rank, count: of the process.
    """

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count
        self.places: Tensor | None = None  # (2, count, values)
        self.turn = 0
        self.is_usable = count <= MOST_PROCESSES

    def suits(self, values: Sequence[Tensor]) -> bool:
        """Whether all processes, which have values of the same sizes, can add them up here."""
        num = sum(value.numel() for value in values)
        if not self.is_usable or num < LEAST or any(value.device.type != "cpu" for value in values):
            return False
        if any(value.dtype != torch.float32 for value in values):
            return False
        if self.places is None or num > self.places.shape[2]:
            self._make(num)
        return self.is_usable

    def sum(self, values: Sequence[Tensor]) -> Tensor:
        """All values one after the other, (num,), each added up over the processes."""
        assert self.places is not None
        num = sum(value.numel() for value in values)
        half, self.turn = self.places[self.turn, :, :num], 1 - self.turn
        torch.cat([value.flatten() for value in values], out=half[self.rank])
        dist.all_reduce(torch.zeros(1))  # all have written
        total = half[0] + half[1]
        for other in half[2:]:
            total += other
        return total

    def _make(self, num: int) -> None:
        """Make room for so many values of each process, if the machine has it for all of them."""
        size = 2 * self.count * num
        told: list[str | None] = [_tried(lambda: _file(4 * size)) if self.rank == 0 else None]
        dist.broadcast_object_list(told, src=0)
        path = told[0]
        # on a machine of the same name that is another one it is not there
        places = None if path is None or not os.path.exists(path) else torch.from_file(path, shared=True, size=size)
        failed = torch.tensor([float(places is None)])
        dist.all_reduce(failed)
        if self.rank == 0 and path is not None:
            os.unlink(path)  # what is there stays until the last of them has ended, however it ends
        self.is_usable = not failed.item()
        self.places = None if places is None else places.view(2, self.count, num)


def _file(num_bytes: int) -> str:
    """A new file with so much room, which is taken at once: later there would be no error but a signal."""
    descriptor, path = tempfile.mkstemp(prefix="lowerbound-", dir=PLACE)
    try:
        os.posix_fallocate(descriptor, 0, num_bytes)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)
    return path


def _tried(make: Callable[[], str]) -> str | None:
    """What it makes, or None where there is no place for it."""
    try:
        return make()
    except OSError:
        return None
