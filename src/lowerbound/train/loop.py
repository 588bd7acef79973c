"""The training loop: a generator of one record per step, and nothing else.

Every random choice is a function of (seed, step, index of the example in the step's batch). So a step does not know whether
its batch goes through the network in one piece or in several, nor how often the run was interrupted before it.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import Dataset, batch_indices
from lowerbound.errors import InputError
from lowerbound.models import Draw, Losses
from lowerbound.records import read
from lowerbound.rng import PerSample, derive_seeds
from lowerbound.times import ImportanceTimes, antithetic_times
from lowerbound.train.average import Average
from lowerbound.train.build import build_model
from lowerbound.train.config import Config, TrainingConfig
from lowerbound.train.optimizer import Optimizer
from lowerbound.train.threads import ThreadChoice

TRAINING_SHARE = 0.9
"""The share of a timed run's minutes that its steps take; the rest is for what is measured and drawn along the way."""
LONGEST_WARMUP = 0.1
"""The share of a run that its warm-up takes at most."""
MOST_PROBED = 64
_PROBE_STEP = (1 << 62) - 1
"""A step that no run reaches."""
_OF_THE_BATCH = (1 << 62) - 1
"""An index that no example has: what all examples of a step share is drawn from it."""


@dataclass(frozen=True)
class Record:
    """One step: its number from 1 on, the mean loss in bits/dim (or what they would be, if the objective is no bound), the
    gradient's norm before clipping, the learning rate, and the seconds of the run so far."""

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


class Trainer:
    """Everything that a run changes: weights, their average, the optimiser, and how far it has come.

    Arguments:
        config: the run's configuration.
        dataset: the data.
        device: where to train.

    Attributes:
        num_dims: by which a loss in nats becomes one per dimension: the entries of a training example that are there, on
            average over all of them, so that no batch counts more because it happens to hold fewer.
    """

    def __init__(self, config: Config, dataset: Dataset, device: torch.device | str = "cpu"):
        self.config = config
        self.dataset = dataset
        self.device = torch.device(device)
        self.num_dims = float(dataset.num_observed[dataset.train].mean())
        # the weights come from the seed alone, and the caller's own random numbers stay as they were
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            self.model = build_model(config, dataset.spec).to(self.device)
        self.times = ImportanceTimes() if config.training.times == "importance" else None
        self.optimizer = Optimizer(self.trained, config.training)
        self.average = Average(self.trained, config.training.average_width)
        self.step = 0
        self.seconds = 0.0
        self.rate_scale = 1.0

    @property
    def trained(self) -> nn.Module:
        """What the optimiser moves, and what is averaged and saved."""
        return self.model.trained

    @property
    def progress(self) -> float:
        """How much of the run is done, from 0 to 1 and beyond; of a timed run by the time that its steps have taken."""
        training = self.config.training
        if training.steps is not None:
            return self.step / training.steps
        assert training.minutes is not None
        return self.seconds / (60 * training.minutes * TRAINING_SHARE)

    def records(self) -> Iterator[Record]:
        """Train until the run's length is reached, one record per step.

        Raises:
            DivergenceError: at the step where the loss or its gradient is not finite.
        """
        threads = None if self.config.training.minutes is None else ThreadChoice()
        try:
            while self.progress < 1:
                began = time.perf_counter()
                rate = self.rate_scale * learning_rate(self.config.training, self.step, self.progress)
                loss, norm = self.gradient()
                self.optimizer.step(rate)
                self.average.update(self.trained)
                self.step += 1
                # what the caller does between two steps is not training, and moves no learning rate
                took = time.perf_counter() - began
                self.seconds += took
                if threads is not None:
                    threads.took(took)
                yield Record(self.step, loss, norm, rate, self.seconds)
        finally:
            if threads is not None:
                threads.release()

    def skip(self) -> None:
        """Leave out the next step."""
        self.step += 1

    def gradient(self) -> tuple[float, float]:
        """The mean loss of the step's batch in bits/dim and its gradient's norm; the gradient is left clipped."""
        training = self.config.training
        indices = batch_indices(training.seed, self.step, training.batch_size, len(self.dataset.train))
        indices = self.dataset.train[indices]
        offset = PerSample(derive_seeds(training.seed, self.step, torch.tensor([_OF_THE_BATCH])))
        places = antithetic_times(offset.uniform(torch.empty(1, 1))[0, 0], len(indices))
        places, weights = (places, torch.ones_like(places)) if self.times is None else self.times(places)
        seeds = derive_seeds(training.seed, self.step, torch.arange(len(indices)))
        piece = training.micro_batch_size or len(indices)
        self.optimizer.zero_grad()
        total, drawn = 0.0, []
        for start in range(0, len(indices), piece):
            part = slice(start, start + piece)
            losses = self._losses(indices[part], places[part], weights[part], seeds[part])
            drawn.append(losses.drawn)
            loss = losses.total.sum() / (len(indices) * self.num_dims * math.log(2))
            loss.backward()
            total += loss.item()
        norm = self.optimizer.clip_gradients()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise DivergenceError(
                f"step {self.step + 1}: the loss is {total} and its gradient's norm {norm}, in the batch of examples "
                f"{indices[:4].tolist()} ..."
            )
        if self.times is not None:
            self.times.update(places, torch.cat(drawn).cpu())
        return total, norm

    def probe(self) -> float:
        """The loss of the same few examples under the same noise at each call, bits/dim; the trainer stays as it is."""
        training = self.config.training
        num = min(MOST_PROBED, training.micro_batch_size or training.batch_size)
        seeds = derive_seeds(training.seed, _PROBE_STEP, torch.arange(num))
        kept = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        places = antithetic_times(torch.tensor(0.5), num)
        losses = self._losses(self.dataset.train[:num], places, torch.ones_like(places), seeds)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(kept[name])
        return losses.total.detach().mean().item() / (self.num_dims * math.log(2))

    def _losses(self, indices: np.ndarray, places: Tensor, weights: Tensor, seeds: Tensor) -> Losses:
        """Of examples of the data, at places along the noise."""
        x, noise = self.dataset.encoded(indices), PerSample(seeds)
        cond = self._condition(indices, noise, x)
        x, places, weights = (value.to(self.device) for value in (x, places, weights))
        return self.model.given(cond, self.dataset.spec.observed(x)).loss(
            x, Draw(noise, min(1.0, self.progress), places, weights)
        )

    def _condition(self, indices: Any, noise: PerSample, x: Tensor) -> Tensor | None:
        if not self.config.data.conditional:
            return None
        cond = self.dataset.cond(indices)
        assert cond is not None
        dropped = noise.uniform(x.new_empty(len(x), 1))[:, 0] < self.config.training.null_probability
        return without_condition(cond, dropped).to(self.device)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by file and name, and the numbers beside them: all that `restore` needs."""
        tensors = {
            "weights": dict(self.trained.named_parameters()),
            "buffers": saved_buffers(self.model),
            "average": self.average.parameters,
            "optimizer": self.optimizer.state(),
            "times": {} if self.times is None else self.times.state_dict(),
        }
        return tensors, {
            "seconds": self.seconds,
            "average_count": self.average.count,
            "rate_scale": self.rate_scale,
        }

    @torch.no_grad()
    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            InputError: if its tensors are not those of this configuration.
        """
        for name, parameter in self.trained.named_parameters():
            for group, into in (("weights", parameter), ("average", self.average.parameters[name])):
                saved = tensors.get(group, {}).get(name)
                if saved is None or saved.shape != into.shape or saved.dtype != into.dtype:
                    found = "missing" if saved is None else f"of shape {tuple(saved.shape)} and type {saved.dtype}"
                    raise InputError(
                        f"checkpoint: {name} in {group} is {found}, it should have {tuple(into.shape)} and {into.dtype}"
                    )
                into.copy_(saved)
        try:
            for name, buffer in saved_buffers(self.model).items():
                if name in tensors.get("buffers", {}):
                    buffer.copy_(tensors["buffers"][name])
            self.optimizer.restore(tensors.get("optimizer", {}))
            if self.times is not None and tensors.get("times"):
                self.times.load_state_dict(tensors["times"])
        except RuntimeError as error:
            raise InputError(f"checkpoint: a tensor does not fit this configuration: {error}") from error
        numbers = read(_Numbers, state, "state.json")
        self.step, self.seconds, self.average.count = numbers.step, numbers.seconds, numbers.average_count
        self.rate_scale = numbers.rate_scale


def learning_rate(training: TrainingConfig, step: int, progress: float) -> float:
    """A linear rise over the warm-up, a plateau, and a half cosine down to zero from `decay_from` of the run on.

    The warm-up lasts its number of steps, but at most a tenth of the run.
    """
    rise = min(1.0, max((step + 1) / max(1, training.warmup_steps), progress / LONGEST_WARMUP))
    fallen = max(0.0, (min(progress, 1.0) - training.decay_from) / (1 - training.decay_from))
    return training.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * fallen))


def saved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What a model remembers beside its weights, such as the chains of persistent contrastive divergence."""
    kept = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


def without_condition(cond: Tensor, dropped: Tensor) -> Tensor:
    """The condition with that of the dropped examples replaced by none: -1 for labels, NaN for vectors."""
    if cond.is_floating_point():
        return cond.masked_fill(dropped[:, None], math.nan)
    return cond.masked_fill(dropped, -1)
