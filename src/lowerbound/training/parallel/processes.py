"""Work in several processes, which torch.distributed brings together; in training each has its rows of every batch.

Data order, times and noise are functions of (seed, step, index of the example in the batch), so that a process takes its
rows of the batch that one process would have, and the sum of all gradients is that of the batch, whatever its size. It is
added up in one exchange of one flat tensor, with the losses beside it; within a machine through memory that the processes
share (`shared_memory`). DistributedDataParallel, which averages means over processes, would need a correction for batches
that do not divide, a single forward of a single module, which losses that differentiate a network or look at it twice have
not, and leave to be exchanged apart what is not a gradient.

Samples and scores, which are functions of a seed and a number, are made in whole batches, each by the process whose turn it
is (`by_turns`). None waits for another before its share is done, however many calls an adaptive solver takes.

What is done once, the folder with its files, what is shown, and every decision that depends on a clock or a signal, is the
first process's; its result, or its error, is everyone's.
"""

import atexit
import os
import pickle
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.training.parallel.shared_memory import SharedMemory

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for another one that does not answer, as the first one when it measures; one that has ended is
noticed at once."""
LEAVING_SECONDS = 2.0
"""For which one that is being killed, and has closed its connections, may still be seen to run."""


class LostProcessError(InputError):
    """Another process has ended, or does not answer."""


@dataclass(frozen=True)
class Processes:
    """Those that work together, as one of them sees them.

    Arguments:
        rank: its number, from 0.
        count: how many there are.
        places: of each, the machine and the number of the process there.
        memory: that they share, if they are on one machine.
    """

    rank: int = 0
    count: int = 1
    places: tuple[tuple[str, int], ...] = ()
    memory: SharedMemory | None = None

    @property
    def is_first(self) -> bool:
        """Whether it is the one that owns the folder."""
        return self.rank == 0

    def rows(self, num: int) -> slice:
        """Its part of so many rows, every n-th of them; the parts differ by one at most.

        Times rise along a batch, and what an example costs may change with its time, as where two networks share the noise:
        of every n-th row each process has as much to do as any other.
        """
        return slice(self.rank, num, self.count)

    def pieces(self, num: int, size: int | None, in_step: bool = False) -> list[slice]:
        """Its part of so many rows in pieces of a size at most, or in one if it is None.

        Arguments:
            num, size: of rows.
            in_step: whether all processes have as many pieces, of sizes that differ by one at most.
        """
        length, size = len(range(num)[self.rows(num)]), size or num
        ends = [*range(0, length, size), length]
        if in_step:
            longest = -(-num // self.count)
            count = -(-longest // size)
            ends = [number * length // count for number in range(count + 1)]
        rows = [self.rank + self.count * end for end in ends]
        return [slice(first, last, self.count) for first, last in pairwise(rows)]

    def sum(self, values: Tensor) -> Tensor:
        """The values, in place, added up over the processes."""
        if self.count > 1:
            with self._noticing():
                dist.all_reduce(values)
        return values

    def sum_of(self, values: Sequence[Tensor]) -> Tensor:
        """Many values, one after the other in one tensor, added up over the processes."""
        with self._noticing():
            if self.memory is not None and self.memory.suits(values):
                return self.memory.sum(values)
        return self.sum(torch.cat([value.flatten() for value in values]))

    def most(self, values: Sequence[float]) -> list[float]:
        """Each of a few numbers' largest value among the processes."""
        if self.count == 1:
            return list(values)
        largest = torch.tensor(values, dtype=torch.float64)
        with self._noticing():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def sum_gradients(self, parameters: Sequence[nn.Parameter], *figures: Tensor) -> list[Tensor]:
        """Add up the gradients, and beside them figures, which are returned; of a parameter without any it stays none."""
        if self.count == 1:
            return list(figures)
        parameters = [p for p in parameters if own_part(p) is p]  # those of divided ones are added up as they come
        like = parameters[0] if parameters else figures[0]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        known = torch.tensor([float(p.grad is not None) for p in parameters]).to(like)
        parts += [known, *(figure.to(like) for figure in figures)]
        flat = self.sum_of(parts)
        *gradients, known = flat.split([part.numel() for part in parts])[: len(parameters) + 1]
        for parameter, gradient, is_known in zip(parameters, gradients, known.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if is_known else None
        sums = flat[sum(part.numel() for part in parts[: len(parameters) + 1]) :]
        return [
            part.view_as(figure) for part, figure in zip(sums.split([f.numel() for f in figures]), figures, strict=True)
        ]

    def whole(self, own: Tensor, num: int) -> Tensor:
        """All of so many rows, of which each process has its own."""
        if self.count == 1:
            return own
        rows = own.new_zeros(num, *own.shape[1:])
        rows[self.rows(num)] = own
        return self.sum(rows)

    def merge(self, values: Tensor, before: Tensor) -> None:
        """Give everyone what each of them has changed in a tensor, of whose rows no two change the same."""
        if self.count == 1:
            return
        changed = (values != before).to(values.dtype)
        total, count = self.sum(torch.stack([values * changed, changed]))
        values.copy_(torch.where(count > 0, total / count.clamp(min=1), before))

    def by_first(self, work: Callable[[], Result]) -> Result:
        """What the first process makes, for all; if it fails, all fail."""
        result: list[Result] = []
        with self.together():
            if self.is_first:
                result.append(work())
        if self.count > 1:
            shared = result or [None]
            with self._noticing():
                dist.broadcast_object_list(shared, src=0)
            result = shared  # pyrefly: ignore[bad-assignment]
        return result[0]

    def by_turns(self, items: Iterable[Item], work: Callable[[Item], Result]) -> list[Result]:
        """What work makes of each of some items, all results for all; if it fails in one process, it fails in all.

        Arguments:
            items: the same in every process, of which each takes every n-th.
            work: gives what can be pickled, without tensors on a device.
        """
        if self.count == 1:
            return [work(item) for item in items]
        own: list[Result] = []
        with self.together():
            own += [work(item) for item in islice(items, self.rank, None, self.count)]
        parts: list[Any] = [None] * self.count
        with self._noticing():
            dist.all_gather_object(parts, own)
        return [part[turn] for turn in range(len(parts[0])) for part in parts if turn < len(part)]

    @contextmanager
    def together(self) -> Generator[None]:
        """While entered, all do something, and if one of them fails, all fail, each with that error."""
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        if self.count > 1:
            failures: list[bytes | None] = [None] * self.count
            with self._noticing():
                dist.all_gather_object(failures, None if failure is None else _pickled(failure))
            others = [(rank, each) for rank, each in enumerate(failures) if each is not None]
            if failure is None and others:
                rank, content = others[0]
                kind, text = pickle.loads(content)
                raise kind(f"process {rank} of {self.count}: {text}")
        if failure is not None:
            raise failure

    def own(self, device: torch.device | str) -> torch.device:
        """Its own device, where there is one for each process of a machine.

        Raises:
            InputError: if there are too few.
        """
        device = torch.device(device)
        if self.count == 1 or device.type != "cuda":
            return device
        local, num = int(os.environ.get("LOCAL_RANK", self.rank)), torch.cuda.device_count()
        if local >= num:
            raise InputError(f"process {local} of this machine finds {num} CUDA devices: start at most {num} processes")
        torch.cuda.set_device(local)
        return torch.device("cuda", local)

    def _ended(self) -> list[str]:
        """Which processes of this machine have ended, in words."""
        host = socket.gethostname()
        return [
            f"process {rank} (pid {pid}) has ended"
            for rank, (machine, pid) in enumerate(self.places)
            if machine == host and not _lives(pid)
        ]

    @contextmanager
    def _noticing(self) -> Generator[None]:
        """While entered, an exchange that breaks off raises an error that says who is gone."""
        try:
            yield
        except RuntimeError as error:
            ended, deadline = [], time.monotonic() + LEAVING_SECONDS
            while not ended and time.monotonic() < deadline:
                ended = self._ended()
                time.sleep(0.02)
            others = ", ".join(str(rank) for rank in range(self.count) if rank != self.rank)
            reason = ", ".join(ended) or f"one of the processes {others} has ended or does not answer"
            first_line = str(error).splitlines()[0][:200]
            raise LostProcessError(
                f"process {self.rank} of {self.count} stops: {reason} ({first_line}). Repeat the command, on as many "
                "processes as you like: training goes on from its newest checkpoint"
            ) from error


ALONE = Processes()
_joined: list[Processes] = []


def joined(device: torch.device | str = "cpu", patience: timedelta = PATIENCE) -> Processes:
    """The processes that torchrun has started, this one among them, which it joins at the first call; else `ALONE`.

    Arguments:
        device: of the work: CUDA's exchange by NCCL, a CPU's by Gloo.
        patience: how long each waits for another one that does not answer.
    """
    if _joined:
        return _joined[0]
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    own = Processes(int(os.environ["RANK"]), count).own(device)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=patience)
        atexit.register(dist.destroy_process_group)
    places: list[tuple[str, int]] = [("", 0)] * count
    dist.all_gather_object(places, (socket.gethostname(), os.getpid()))
    memory = SharedMemory(dist.get_rank(), count) if len({machine for machine, _ in places}) == 1 else None
    _joined.append(Processes(dist.get_rank(), count, tuple(places), memory))
    return _joined[0]


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, of one that is divided among processes (a DTensor) its part."""
    return getattr(tensor, "to_local", lambda: tensor)()  # its class takes long to import


def by_member(stack: Tensor) -> Tensor:
    """Of a stack of tensors whose rows are divided among processes this one's share of the tensors, whole; else all."""
    if own_part(stack) is stack:
        return stack
    from torch.distributed.tensor import DTensor, Shard  # which take a while to import

    assert isinstance(stack, DTensor)
    return stack.redistribute(placements=[Shard(0)]).to_local()


def by_row(members: Tensor, stack: Tensor) -> Tensor:
    """The way back of `by_member`: a stack divided as another one of its shape."""
    if own_part(stack) is stack:
        return members
    from torch.distributed.tensor import DTensor, Shard

    assert isinstance(stack, DTensor)
    shape, stride = stack.shape, torch.empty(stack.shape, device="meta").stride()
    whole = DTensor.from_local(members, stack.device_mesh, [Shard(0)], shape=shape, stride=stride)
    return whole.redistribute(placements=stack.placements)


def divided_like(value: Tensor, parameter: Tensor | None) -> Tensor:
    """A whole tensor that every process has, divided as its parameter is, if that is and they have one shape."""
    if parameter is None or own_part(parameter) is parameter or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor  # which takes a while to import

    assert isinstance(parameter, DTensor)
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _pickled(error: Exception) -> bytes:
    """An error as the other processes raise it."""
    kind = type(error) if isinstance(error, InputError) else InputError
    return pickle.dumps((kind, f"{'' if isinstance(error, InputError) else type(error).__name__ + ' '}{error}"))


def _lives(pid: int) -> bool:
    """Whether a process of this machine runs, and has not merely not been waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
