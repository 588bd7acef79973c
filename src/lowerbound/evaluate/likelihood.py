"""The likelihood of held-out data: exact, or a bound in its terms, level by level of a hierarchy."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.evaluate.part import BITS, BITS_HEADER, Figures
from lowerbound.evaluate.report import Table
from lowerbound.likelihood import mean_and_error
from lowerbound.models import Effort
from lowerbound.records import Figure
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.score import Scores, score

ENTRIES = 32_000_000
"""About how many entries of examples go through a denoiser where the number of calls is not given."""


@dataclass(frozen=True)
class Term:
    """A part of the bits/dim.

    Arguments:
        name: of it.
        bits: per dimension.
        told: what it is, in words.
    """

    name: str
    bits: Figure
    told: str


@dataclass(frozen=True)
class Likelihood(Figures):
    """Bits per dimension of examples as they are stored.

    Arguments:
        total: with the standard error over examples.
        kind: what the number is, in words.
        terms: what it is made of; none of an exact likelihood.
        num_examples: how many examples.
        num_calls: estimates of each that were averaged: network calls of a diffusion model.
        of: the examples that these were drawn from, in words; empty: all that there are, or the first of them.
    """

    total: Figure
    kind: str
    terms: tuple[Term, ...]
    num_examples: int
    num_calls: int = 1
    of: str = ""

    def tables(self) -> list[Table]:
        examples = f"{self.num_examples:,} example{'s' * (self.num_examples > 1)}{self.of}"
        calls = f", {self.num_calls} draw{'s' * (self.num_calls > 1)} each" if self.terms else ""
        rows = [("test", figure_text(*self.total), f"{self.kind}, {examples}{calls}")]
        rows += [(f"  {term.name}", figure_text(*term.bits), term.told) for term in self.terms]
        return [Table(BITS, BITS_HEADER, tuple(rows), main=0)]


def held_out_likelihood(
    run: Run,
    dataset: Dataset,
    indices: np.ndarray | None = None,
    effort: Effort | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Likelihood:
    """The likelihood of examples of a data set, given their conditions if the model takes any: the mean of their scores.

    Arguments:
        run: the model.
        dataset: its data.
        indices: of the examples; the test split if None.
        effort: how much is spent on each, as `completed` if None; with importance samples the tighter bound stands beside
            the plain one.
        seed: of times and noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the model has no likelihood, or something of the effort has no effect on it.
    """
    indices = dataset.test if indices is None else indices
    effort = completed(run, dataset, len(indices), effort or Effort())
    cond = dataset.cond(indices) if run.config.data.conditional else None
    given = {"cond": cond, "numbers": indices, "seed": seed, "progress": progress}
    raw = dataset.examples[indices]
    scores = score(run, raw, replace(effort, importance=1), **given)
    terms = _terms(scores) if run.model.likelihood == "bound" else []
    if effort.importance > 1:
        tighter = score(run, raw, effort, **given)
        terms.append(Term("importance-weighted", _figure(tighter.bits_per_dim), tighter.kind))
    return Likelihood(_figure(scores.bits_per_dim), scores.kind, tuple(terms), len(indices), scores.num_calls)


def completed(run: Run, dataset: Dataset, num_examples: int, effort: Effort) -> Effort:
    """An effort whose number of draws is that of an evaluation, if it is not given: of a denoiser 4 to 256, the more the
    fewer and smaller the examples are."""
    if not run.is_denoiser:
        return effort
    num_draws = effort.num_draws or max(4, min(256, ENTRIES // (num_examples * math.prod(dataset.shape))))
    if effort.num_steps is not None:
        num_draws = min(num_draws, effort.num_steps)
    return replace(effort, num_draws=num_draws, importance=1)  # importance samples of a denoiser are the flow's


def _terms(scores: Scores) -> list[Term]:
    """What a bound is made of, level by level of a hierarchy."""
    if not (scores.prior.any() or scores.diffusion.any()):
        return []
    terms = [
        Term("reconstruction", _figure(scores.reconstruction), "of the data from the latents next to them"),
        Term("prior", _figure(scores.prior), "of the last latents against their prior"),
    ]
    if scores.steps is not None:
        terms.extend(
            Term(f"level {number}", _figure(scores.steps[:, number - 1]), "of a latent given those above it")
            for number in range(scores.steps.shape[1], 0, -1)
        )
    elif scores.diffusion.any():
        terms.append(Term("diffusion", _figure(scores.diffusion), "of all steps between them"))
    if scores.normalisation.any():
        alike = np.ptp(scores.normalisation) == 0
        units = (float(scores.normalisation[0]), 0.0) if alike else _figure(scores.normalisation)
        terms.append(Term("normalisation", units, "the units of the stored data"))
    return terms


def _figure(values: np.ndarray) -> Figure:
    return mean_and_error(torch.as_tensor(values))
