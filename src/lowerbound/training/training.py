"""Every training: a generator of one record per step, and a state to go on from.

What is trained, and by which loss of which examples, is the matter of the kinds that derive from `Training`.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.files.records import read
from lowerbound.training.average import Average
from lowerbound.training.config import TrainingConfig
from lowerbound.training.optimizer import Optimizer
from lowerbound.training.parallel.processes import ALONE, Processes, divided_like
from lowerbound.training.parallel.threads import ThreadChoice

WARMUP_STEPS = 50
State = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]
"""Tensors by file and name, and the numbers beside them."""


@dataclass(frozen=True)
class Record:
    """One step: its number from 1 on, the mean loss in the training's own unit, the gradient's norm before clipping, the
    learning rate, and the seconds of the training so far."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float


class DivergenceError(InputError):
    """A loss, its gradient, the weights or held-out bits stopped being finite."""


@dataclass(frozen=True)
class _Numbers:
    """What a checkpoint holds beside its tensors."""

    step: int
    seconds: float
    average_count: int
    rate_scale: float = 1.0

    def __post_init__(self):
        for name, most in (("step", 10**9), ("seconds", 1e12), ("average_count", 10**9), ("rate_scale", 1.0)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise InputError(f"{name} is {value}: it lies between 0 and {most:g}")


class Training(ABC):
    """A module on its way: its weights, perhaps their average, the optimiser, and how far it has come.

    Arguments:
        trained: what the optimiser moves.
        optimizer: of its parameters.
        training: the length, in steps or in minutes, and the average's width.
        averaged: whether there is a running average of the weights.
        processes: that train together.

    Attributes:
        step: how many steps have been taken.
        seconds: how long they took.
        rate_scale: what all learning rates are multiplied by.
    """

    is_sharded = False
    """Whether what is trained is divided among the processes (`shard`)."""
    time_share = 1.0
    """The share of a timed training's minutes that its steps take."""

    def __init__(
        self,
        trained: nn.Module,
        optimizer: Optimizer,
        training: TrainingConfig,
        *,
        averaged: bool = False,
        processes: Processes = ALONE,
    ):
        self.trained = trained
        self.optimizer = optimizer
        self.training = training
        self.processes = processes
        self.average = Average(trained, training.average_width) if averaged else None
        self.step = 0
        self.seconds = 0.0
        self.rate_scale = 1.0

    def rate(self) -> float:
        """The learning rate of the next step, before it is scaled: it rises in `WARMUP_STEPS`, and falls by a cosine."""
        return warm_cosine(self.training.learning_rate, min(1.0, (self.step + 1) / WARMUP_STEPS), self.progress)

    @abstractmethod
    def gradient(self) -> tuple[float, float]:
        """The mean loss of the next step's batch and its gradient's norm; the gradient is left clipped: see `descend`."""

    def probe(self) -> float:
        """The loss of the same few examples under the same noise at each call, which changes nothing; 0 if none is known."""
        return 0.0

    def words(self, loss: float) -> str:
        """A mean loss, for the user to read."""
        return f"loss {loss:.4f}"

    @property
    def progress(self) -> float:
        """How much is done, from 0 to 1 and beyond; of a timed training by the time that its steps have taken, with one step
        at least, however long what comes before them took."""
        if self.training.steps is not None:
            return self.step / self.training.steps
        assert self.training.minutes is not None
        share = self.seconds / (60 * self.training.minutes * self.time_share)
        return share if self.step else min(share, 0.99)

    def records(self) -> Iterator[Record]:
        """Train until the length is reached, one record per step.

        Raises:
            DivergenceError: at the step where the loss or its gradient is not finite.
        """
        device = next(self.trained.parameters()).device
        # an accelerator's steps do not wait for threads, and those of several processes for one another
        chooses = self.training.minutes is not None and device.type == "cpu" and self.processes.count == 1
        threads = ThreadChoice() if chooses else None
        try:
            while self.progress < 1:
                began = time.perf_counter()
                rate = self.rate_scale * self.rate()
                with torch.enable_grad():
                    loss, norm = self.gradient()
                self.optimizer.step(rate)
                if self.average is not None:
                    self.average.update()
                self.step += 1
                # what the caller does between two steps is not training, and moves no learning rate
                took = time.perf_counter() - began
                if self.training.minutes is not None:
                    (took,) = self.processes.most([took])  # so that all come to the end together
                self.seconds += took
                if threads is not None:
                    threads.took(took)
                yield Record(self.step, loss, norm, rate, self.seconds)
        finally:
            if threads is not None:
                threads.release()

    def descend(
        self, losses: Iterable[Tensor], batch: str = "", gather: Callable[[float], float] | None = None
    ) -> tuple[float, float]:
        """The sum of losses, and the norm of its gradient, which is left clipped.

        Arguments:
            losses: of the parts of this process's rows of a batch, one at a time.
            batch: what is said of it where it diverges.
            gather: adds up the gradients of all processes, and returns the sum of their losses; None: does nothing else.

        Raises:
            DivergenceError: if either is not finite.
        """
        self.optimizer.zero_grad()
        total = 0.0
        for loss in losses:
            loss.backward()
            total += loss.item()
        if self.processes.count > 1:
            total = (gather or self._gather)(total)
        norm = self.optimizer.clip_gradients()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise DivergenceError(f"step {self.step + 1}: the loss is {total} and its gradient's norm {norm}{batch}")
        return total, norm

    def _gather(self, own: float) -> float:
        """Add up the gradients of all processes, and return the sum of their losses."""
        moved = [parameter for parameter in self.trained.parameters() if parameter.requires_grad]
        (total,) = self.processes.sum_gradients(moved, torch.tensor([own]))
        return total.item()

    def state(self) -> State:
        """All that `restore` needs."""
        count = 0 if self.average is None else self.average.count
        numbers = {"seconds": self.seconds, "average_count": count, "rate_scale": self.rate_scale}
        return {**self._parameters(), "optimizer": self.optimizer.state()}, numbers

    def share(self) -> None:
        """Bring the trainings of all processes to the state of the first one's; of a divided one each has its part."""
        if self.processes.count == 1 or self.is_sharded:
            return
        tensors, numbers = self.processes.by_first(self._to_share)
        if not self.processes.is_first:
            self.restore(tensors, numbers)

    def _to_share(self) -> State:
        tensors, numbers = self.state()
        tensors = {group: {k: v.detach().cpu() for k, v in named.items()} for group, named in tensors.items()}
        return tensors, {**numbers, "step": self.step}

    def _parameters(self) -> dict[str, dict[str, Tensor]]:
        """The weights, and their average if there is one, by group and name."""
        weights = dict[str, Tensor](self.trained.named_parameters())
        return {"weights": weights, **({} if self.average is None else {"average": self.average.parameters})}

    @torch.no_grad()
    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            InputError: if its tensors are not those of this training.
        """
        if self.is_sharded:
            tensors = self._divided(tensors)
        for group, parameters in self._parameters().items():
            for name, parameter in parameters.items():
                saved = tensors.get(group, {}).get(name)
                if saved is None or saved.shape != parameter.shape or saved.dtype != parameter.dtype:
                    kind = "missing" if saved is None else f"of shape {tuple(saved.shape)} and type {saved.dtype}"
                    expected = f"{tuple(parameter.shape)} and {parameter.dtype}"
                    raise InputError(f"checkpoint: {name} in {group} is {kind}, it should have {expected}")
                parameter.copy_(saved)
        try:
            self.recall(tensors)
            self.optimizer.restore(tensors.get("optimizer", {}))
        except (RuntimeError, TypeError, KeyError) as error:
            raise InputError(f"checkpoint: a tensor does not fit this configuration: {error}") from error
        numbers = read(_Numbers, state, "state.json")
        self.step, self.seconds, self.rate_scale = numbers.step, numbers.seconds, numbers.rate_scale
        if self.average is not None:
            self.average.count = numbers.average_count

    def _divided(self, tensors: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """A state with whole tensors, as processes without parts write it, each tensor divided as its parameter is."""
        from lowerbound.training.parallel.shards import parameter_of

        own = dict(self.trained.named_parameters())
        return {
            group: {name: divided_like(value, parameter_of(name, own)) for name, value in named.items()}
            for group, named in tensors.items()
        }

    def recall(self, tensors: dict[str, dict[str, Tensor]]) -> None:  # noqa: B027 - most have nothing there
        """Take from a state's tensors what a kind of training has put there besides weights, average and optimiser."""


def warm_cosine(peak: float, warmth: float, fallen: float) -> float:
    r"""A learning rate that has risen to a share of its peak, and fallen by a half cosine: both from 0 to 1."""
    return peak * warmth * 0.5 * (1 + math.cos(math.pi * fallen))


def check_length(**lengths: float | None) -> None:
    """Refuse a length that is not given by one of two positive numbers, with an InputError."""
    numbers = [length for length in lengths.values() if length is not None]
    if len(numbers) != 1 or not numbers[0] > 0:
        listed = ", ".join(f"{name}={length}" for name, length in lengths.items())
        raise InputError(f"the length of training: {listed}; give one of the two, positive")
