"""The training of a model, one record per step.

Every random choice is a function of (seed, step, index of the example in the step's batch). So a step does not know whether
its batch goes through the network in one piece or in several, nor how often the run was interrupted before it.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.blocks import with_noise
from lowerbound.data import Dataset, batch_indices
from lowerbound.denoiser import (
    ByLevel,
    FittedHistograms,
    FittedMixture,
    FittedSubspace,
    FittedWindows,
    SubspaceDenoiser,
)
from lowerbound.discrete import LevelDenoiser
from lowerbound.errors import InputError
from lowerbound.machine.device import prepared
from lowerbound.models import Draw, Losses
from lowerbound.nn.embeddings import with_changes
from lowerbound.rng import PerSample, derive_seeds
from lowerbound.times import ImportanceTimes, antithetic_times
from lowerbound.training.augment import augmented
from lowerbound.training.average import Average
from lowerbound.training.build import build_model, draws_by_importance
from lowerbound.training.config import Config, TrainingConfig
from lowerbound.training.fast import speed_up
from lowerbound.training.gaussians import fit_windows
from lowerbound.training.hiding import hide, seen_share
from lowerbound.training.histograms import fit_histograms
from lowerbound.training.masks import known_entries
from lowerbound.training.mixtures import fit_mixture
from lowerbound.training.optimizer import Optimizer
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.patience import Patience
from lowerbound.training.subspaces import check_enough, fit_subspace
from lowerbound.training.training import State, Training, warm_cosine

TRAINING_SHARE = 0.9
"""The share of a timed run's minutes that its steps take; the rest is for what is measured and drawn along the way."""
LONGEST_WARMUP = 0.1
"""The share of a run that its warm-up takes at most."""
MOST_PROBED = 64
_PROBE_STEP = (1 << 62) - 1
"""A step that no run reaches."""
_OF_THE_BATCH = (1 << 62) - 1
"""An index that no example has: what all examples of a step share is drawn from it."""


class Trainer(Training):
    """Everything that a run changes.

    Arguments:
        config: the run's configuration.
        dataset: the data.
        device: where to train.
        processes: that train together, each with its rows of every batch.

    Attributes:
        patience: what stops it early; None: nothing.
        num_dims: by which a loss in nats becomes one per dimension: the entries of a training example that are seen, on
            average over all of them, so that no batch counts more because it happens to hold fewer.
        data_seconds: how long steps have waited for their examples since it was made.
    """

    time_share = TRAINING_SHARE

    def __init__(
        self, config: Config, dataset: Dataset, device: torch.device | str = "cpu", processes: Processes = ALONE
    ):
        self.config = config
        self.dataset = dataset
        self.device = prepared(device)
        if config.training.flip and (len(dataset.shape) != 3 or "W" not in dataset.spec.layout):
            raise InputError(f"--flip has no effect on examples of shape {dataset.shape}: it mirrors images")
        if config.training.augment:
            _check_can_be_changed(config, dataset)
        config.network.check()
        self.num_dims = float(dataset.num_observed[dataset.train].mean()) * seen_share(config.training.hidden)
        # the weights come from the seed alone, and the caller's own random numbers stay as they were
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            self.model = build_model(config, dataset.spec).to(self.device)
        if self.subspace is not None:
            check_enough(dataset, self.subspace.num_axes)
        self.is_sharded = config.training.shard and processes.count > 1
        speed_up(self.model, config, self.device, by_block=self.is_sharded)
        if self.is_sharded:
            from lowerbound.training.parallel.shard import shard  # which takes a while to import

            shard(self.model, config, processes, self.device)
        self.data_seconds = 0.0
        self._probed = dataset.some("train", MOST_PROBED)
        self.times = self._importance_times()
        self.patience = None if config.training.patience is None else Patience(config.training.patience)
        if self.patience is not None and self.model.likelihood == "none":
            raise InputError(
                f"--patience has no effect on the model {config.model.name} as it is set up: it has no likelihood, whose "
                "held-out bits/dim would tell when to stop"
            )
        optimizer = Optimizer(self.model.trained, config.training)
        super().__init__(self.model.trained, optimizer, config.training, averaged=True, processes=processes)

    def _importance_times(self) -> ImportanceTimes | None:
        """Where times are drawn more often where the loss is large; of two networks each has its share of them."""
        denoiser = self.model.trained
        if not draws_by_importance(self.config):
            return None
        if not isinstance(denoiser, ByLevel):
            return ImportanceTimes()
        split = denoiser.schedule.level_at(denoiser.split).t
        assert isinstance(split, float)
        return ImportanceTimes(split=split, share=self.config.coarse.share)

    @property
    def mixture(self) -> FittedMixture | FittedWindows | None:
        """What the network of all noise stands upon, if anything."""
        return getattr(self.model.trained, "mixture", None)  # pyrefly: ignore[bad-return] - what modules have is not told

    @property
    def subspace(self) -> FittedSubspace | None:
        """What the coarse of two networks stands upon, if anything."""
        coarse = getattr(self.model.trained, "coarse", None)
        return coarse.subspace if isinstance(coarse, SubspaceDenoiser) else None

    @property
    def histograms(self) -> FittedHistograms | None:
        """The kinds of examples that give levels odds, if anything does."""
        trained = self.model.trained
        fine = trained.fine if isinstance(trained, ByLevel) else trained
        return fine.odds.histograms if isinstance(fine, LevelDenoiser) and fine.odds is not None else None

    def fit_below(self) -> None:
        """Fit what the networks stand upon, before the first step; the time that it takes is the training's."""
        dataset, config = self.dataset, self.config
        mixture, subspace, histograms = self.mixture, self.subspace, self.histograms

        def fit() -> tuple[list[tuple[Any, ...]], float]:
            began = time.perf_counter()
            fitted: list[tuple[Any, ...]] = []
            if isinstance(mixture, FittedWindows):
                fitted.append(fit_windows(dataset))
            elif mixture is not None:
                seed, factors = self.training.seed, config.denoiser.factors
                fitted.append(fit_mixture(dataset, config.denoiser.components, seed, factors))
            if subspace is not None:
                sizes = subspace.num_axes, config.coarse.components, len(subspace.variances)
                fitted.append(fit_subspace(dataset, *sizes, self.training.seed))
            if histograms is not None:
                fitted.append(fit_histograms(dataset, config.denoiser.kinds))
            return fitted, time.perf_counter() - began

        below = [each for each in (mixture, subspace, histograms) if each is not None]
        if not below:
            return
        fitted, seconds = self.processes.by_first(fit)
        for each, found in zip(below, fitted, strict=True):
            each.fit(*found)
        self.average = Average(self.trained, self.training.average_width)
        self.seconds += seconds

    def rate(self) -> float:
        return learning_rate(self.training, self.step, self.progress)

    def gradient(self) -> tuple[float, float]:
        """The mean loss of the step's batch in bits/dim and its gradient's norm; the gradient is left clipped."""
        training, train = self.training, self.dataset.train
        indices = train[batch_indices(training.seed, self.step, training.batch_size, len(train))]
        numbers = torch.tensor([*range(len(indices)), _OF_THE_BATCH])
        seeds, of_the_batch = derive_seeds(training.seed, self.step, numbers).split([len(indices), 1])
        places = antithetic_times(PerSample(of_the_batch).uniform(torch.empty(1, 1))[0, 0], len(indices))
        places, weights = (places, torch.ones_like(places)) if self.times is None else self.times(places)
        unweighted, own = [], self.processes.rows(len(indices))
        together = self.processes.count > 1
        buffers = [(buffer, buffer.clone()) for buffer in self._saved_buffers().values()] if together else []

        def losses_of_pieces() -> Iterator[Tensor]:
            for piece in self.processes.pieces(len(indices), training.micro_batch_size, self.is_sharded):
                losses = self._losses(indices[piece], places[piece], weights[piece], seeds[piece])
                unweighted.append(losses.at_place)
                yield losses.total.sum() / (len(indices) * self.num_dims * math.log(2))

        def gather(total: float) -> float:
            at_place = torch.zeros(len(indices), device=self.device)
            at_place[own] = torch.cat(unweighted)
            moved = [parameter for parameter in self.trained.parameters() if parameter.requires_grad]
            sums = self.processes.sum_gradients(moved, torch.tensor([total]), at_place)
            unweighted[:] = sums[1:]
            if self.is_sharded:
                from lowerbound.training.parallel.shard import forget_uncalled

                forget_uncalled(self.model, self.processes)
            for buffer, before in buffers:
                self.processes.merge(buffer, before)
            return sums[0].item()

        batch = f", in the batch of examples {indices[:4].tolist()} ..."
        loss, norm = self.descend(losses_of_pieces(), batch, gather)
        if self.times is not None:
            self.times.update(places, torch.cat(unweighted).cpu())
        return loss, norm

    def probe(self) -> float:
        """The loss of the same few examples under the same noise at each call, bits/dim; the trainer stays as it is."""
        num = min(MOST_PROBED, self.training.micro_batch_size or self.training.batch_size)
        seeds = derive_seeds(self.training.seed, _PROBE_STEP, torch.arange(num))
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        places = antithetic_times(torch.tensor(0.5), num)
        losses = self._losses(self._probed[:num], places, torch.ones_like(places), seeds)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        return losses.total.detach().mean().item() / (self.num_dims * math.log(2))

    def _losses(self, indices: np.ndarray, places: Tensor, weights: Tensor, seeds: Tensor) -> Losses:
        """Of examples of the data, at places along the noise."""
        began = time.perf_counter()
        noise = PerSample(seeds)
        cuts = None if self.dataset.whole is None else noise.uniform(torch.empty(len(indices), 2))
        x = self.dataset.encoded(indices, cuts)
        self.data_seconds += time.perf_counter() - began
        if self.training.hidden:
            x = hide(x, self.training.hidden, noise, self.dataset.spec.blocks)
        cond = self.dataset.cond(indices) if self.config.data.conditional else None
        if cond is not None:
            dropped = noise.uniform(x.new_empty(len(x), 1))[:, 0] < self.training.null_probability
            cond = without_condition(cond, dropped).to(self.device)
        if self.training.flip:
            x = mirrored(x, noise.uniform(x.new_empty(len(x), 1))[:, 0] < 0.5)
        if self.training.augment:
            x, changes = augmented(x, self.training.augment, noise)
            cond = with_changes(cond, changes.to(self.device))
        if (blocks := self.dataset.spec.blocks) is not None:
            x = with_noise(x, blocks, noise)
        observed, series = self.dataset.spec.observed(x), self.dataset.spec.series
        if series is not None:
            known = known_entries(x, series.horizon, noise, blocks)
            cond = series.condition_of(x, known.to(x.device), None if cond is None else cond.cpu()).to(self.device)
            observed = ~(known | x.isnan())
        x, places, weights = (value.to(self.device) for value in (x, places, weights))
        observed = None if observed is None else observed.to(self.device)
        draw = Draw(noise, min(1.0, self.progress), places, weights)
        return self.model.given(cond, observed).loss(x, draw)

    def state(self) -> State:
        tensors, numbers = super().state()
        times = {} if self.times is None else self.times.state_dict()
        patience = {} if self.patience is None else {"patience": self.patience.state_dict()}
        return {**tensors, "buffers": self._saved_buffers(), "times": times, **patience}, numbers

    def recall(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        for name, buffer in self._saved_buffers().items():
            if name in tensors.get("buffers", {}):
                buffer.copy_(tensors["buffers"][name])
        if self.times is not None and tensors.get("times"):
            self.times.load_state_dict(tensors["times"])
        if self.patience is not None and tensors.get("patience"):
            self.patience.load_state_dict(tensors["patience"])

    def _saved_buffers(self) -> dict[str, Tensor]:
        """What the model remembers beside its weights, such as the chains of persistent contrastive divergence."""
        saved = self.model.state_dict()
        return {name: buffer for name, buffer in self.model.named_buffers() if name in saved}


def learning_rate(training: TrainingConfig, step: int, progress: float) -> float:
    """A linear rise over the warm-up, a plateau, and a half cosine down to zero from `decay_from` of the run on.

    The warm-up lasts its number of steps, but at most a tenth of the run.
    """
    rise = min(1.0, max((step + 1) / max(1, training.warmup_steps), progress / LONGEST_WARMUP))
    fallen = max(0.0, (min(progress, 1.0) - training.decay_from) / (1 - training.decay_from))
    return warm_cosine(training.learning_rate, rise, fallen)


def _check_can_be_changed(config: Config, dataset: Dataset) -> None:
    """Refuse to change examples that have no space to be changed in, or of which a model cannot be told."""
    if len(dataset.shape) < 2 or dataset.spec.series is not None:
        raise InputError(
            f"--augment has no effect on examples of shape {dataset.shape} and layout {dataset.spec.layout}: it changes "
            "images, signals and volumes"
        )
    if config.model.name not in ("diffusion", "score"):
        raise InputError(
            f"--augment has no effect on the model {config.model.name}, which cannot be told: leave it out"
        )


def mirrored(x: Tensor, chosen: Tensor) -> Tensor:
    """Images (B, C, H, W), the chosen ones, (B,), mirrored left to right."""
    return torch.where(chosen[:, None, None, None], x.flip(3), x)


def without_condition(cond: Tensor, dropped: Tensor) -> Tensor:
    """The condition with that of the dropped examples replaced by none: -1 for labels, NaN for anything else."""
    if cond.is_floating_point():
        return cond.masked_fill(dropped.reshape(-1, *[1] * (cond.ndim - 1)), math.nan)
    return cond.masked_fill(dropped, -1)
