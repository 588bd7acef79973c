"""The likelihood of held-out data: exact, or a bound in its terms, level by level of a hierarchy; and that of baselines."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowerbound.baselines import Baseline
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.trainings import OverTrainings, mean_over_trainings, seeds_of_trainings
from lowerbound.files.records import Measured
from lowerbound.models import Effort
from lowerbound.run import Run, open_run
from lowerbound.scoring import Scores, score
from lowerbound.tails import mean_of_draws
from lowerbound.training import train
from lowerbound.training.parallel.processes import ALONE, Processes

ENTRIES = 32_000_000
"""About how many entries of examples go through a denoiser where the number of calls is not given."""
MOST_DRAWS = 32
"""Of each example then: of the digits' standard error over examples eight times as many would take off 15 percent."""


@dataclass(frozen=True)
class Likelihood(Figures):
    """Bits per dimension of examples as they are stored.

    Arguments:
        total: with the standard error over examples.
        kind: what the number is, in words.
        terms: what it is made of, by name, in the order from the data to the prior; none of an exact likelihood.
        num_examples: how many examples.
        num_calls: estimates of each that were averaged: network calls of a diffusion model.
        drawn_from: the number of examples that these were drawn from; None: they are all that there are.
        weighted, weighted_kind: the tighter bound by importance samples, where it was asked for.
    """

    total: Measured
    kind: str
    terms: dict[str, Measured]
    num_examples: int
    num_calls: int = 1
    drawn_from: int | None = None
    weighted: Measured | None = None
    weighted_kind: str = ""


@dataclass(frozen=True)
class Trainings(Figures):
    """Bits per dimension of the same examples, of a run and of others of its configuration with other seeds.

    Arguments:
        total: over trainings and examples.
        each: of each training, by its seed, the run's own first, with the standard error over examples.
        num_examples: how many examples.
    """

    total: OverTrainings
    each: dict[str, Measured]
    num_examples: int


@dataclass(frozen=True)
class Baselines(Figures):
    """The yardsticks of a data set, in order of capacity."""

    found: tuple[Baseline, ...]

    def __post_init__(self) -> None:
        if not self.found:
            raise InputError("no baseline")

    @property
    def best(self) -> Baseline:
        """The one that needs the fewest bits."""
        return min(self.found, key=lambda baseline: baseline.bits_per_dim)


def held_out_likelihood(
    run: Run,
    dataset: Dataset,
    indices: np.ndarray | None = None,
    effort: Effort | None = None,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda examples: None,
) -> tuple[Likelihood, np.ndarray]:
    """The likelihood of examples of a data set, given their conditions if the model takes any: the mean of their scores;
    and the bits/dim of each.

    Arguments:
        run: the model.
        dataset: its data.
        indices: of the examples; the test split if None.
        effort: how much is spent on each, as `completed` if None; with importance samples the tighter bound stands beside
            the plain one.
        seed: of times and noise.
        processes: that work together, as in `score`.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the model has no likelihood, or something of the effort has no effect on it.
    """
    indices = dataset.test if indices is None else indices
    effort = completed(run, dataset, len(indices), effort or Effort())
    settings: dict[str, Any] = {**scored(run, dataset, indices, seed), "processes": processes, "progress": progress}
    raw = dataset.examples[indices]
    scores = score(run, raw, replace(effort, importance=1), **settings)
    likelihood = Likelihood(
        total=mean_of_draws(scores.bits_per_dim),
        kind=scores.kind,
        terms=_terms(scores) if run.model.likelihood == "bound" else {},
        num_examples=len(indices),
        num_calls=scores.num_calls,
    )
    if effort.importance > 1:
        tighter = score(run, raw, effort, **settings)
        likelihood = replace(likelihood, weighted=mean_of_draws(tighter.bits_per_dim), weighted_kind=tighter.kind)
    return likelihood, scores.bits_per_dim


def trained_again(
    run: Run,
    dataset: Dataset,
    indices: np.ndarray,
    bits: np.ndarray,
    effort: Effort,
    num_trainings: int,
    *,
    seed: int = 0,
    progress: Callable[[int], object] = lambda trainings: None,
) -> Trainings:
    """The likelihood over several trainings, of which those that are not in RUN/trainings yet are trained there.

    Arguments:
        run: the first of them.
        dataset: its data.
        indices: of the examples.
        bits: of the run on each of them, per dimension.
        effort: how much is spent on each.
        num_trainings: with the run's own.
        seed: of times and noise.
        progress: called with 1 after each training.

    Raises:
        InputError: if a training fails.
    """
    first = run.config.training.seed
    each = {first: bits}
    for other in seeds_of_trainings(first, num_trainings)[1:]:
        config = replace(run.config, training=replace(run.config.training, seed=other))
        folder = run.folder.path / "trainings" / f"seed-{other}"
        train(config, dataset, folder, device=run.device, say=lambda line: None, show_progress=False)
        sibling = open_run(folder, run.device)
        _, each[other] = held_out_likelihood(sibling, dataset, indices, effort, seed=seed + other - first)
        progress(1)
    figures = {str(number): mean_of_draws(bits_of_one) for number, bits_of_one in each.items()}
    return Trainings(mean_over_trainings(np.stack(list(each.values()))), figures, len(indices))


def scored(run: Run, dataset: Dataset, indices: np.ndarray, seed: int) -> dict[str, Any]:
    """What `score` takes beside examples of a data set: conditions if the model takes any, numbers, the seed."""
    cond = dataset.cond(indices) if run.config.data.conditional else None
    return {"cond": cond, "numbers": indices, "seed": seed}


def completed(run: Run, dataset: Dataset, num_examples: int, effort: Effort) -> Effort:
    """An effort whose number of draws is that of an evaluation, if it is not given: of a denoiser 4 to 32, the more the
    fewer and smaller the examples are."""
    if not run.is_denoiser:
        return effort
    num_draws = effort.num_draws or max(4, min(MOST_DRAWS, ENTRIES // (num_examples * math.prod(dataset.shape))))
    if effort.num_steps is not None:
        num_draws = min(num_draws, effort.num_steps)
    return replace(effort, num_draws=num_draws, importance=1)  # importance samples of a denoiser are the flow's


def _terms(scores: Scores) -> dict[str, Measured]:
    """What a bound is made of, level by level of a hierarchy."""
    if not (scores.prior.any() or scores.diffusion.any()):
        return {}
    terms = {"reconstruction": Measured.of(scores.reconstruction), "prior": Measured.of(scores.prior)}
    if scores.steps is not None:
        for number in range(scores.steps.shape[1], 0, -1):
            terms[f"level {number}"] = Measured.of(scores.steps[:, number - 1])
    elif scores.diffusion.any():
        terms["diffusion"] = Measured.of(scores.diffusion)
    if scores.normalisation.any():
        terms["normalisation"] = Measured.of(scores.normalisation)
        if np.ptp(scores.normalisation) == 0:
            terms["normalisation"] = Measured(float(scores.normalisation[0]), 0.0)
    return terms
