"""The likelihood of a relative on held-out data: exact, or a bound in its terms, level by level of a hierarchy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.evaluate.part import BITS, BITS_HEADER, Figures
from lowerbound.evaluate.report import Table
from lowerbound.likelihood import mean_and_error
from lowerbound.records import Figure
from lowerbound.rounding import figure_text
from lowerbound.run import RelativeRun
from lowerbound.score import score_relative
from lowerbound.score.examples import batches


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
    """Bits per dimension of the test examples under a relative.

    Arguments:
        total: with the standard error over examples.
        kind: what the number is, in words.
        terms: what it is made of; none of an exact likelihood.
        num_examples: how many test examples.
        of: the examples that these were drawn from, in words; empty: all that there are, or the first of them.
    """

    total: Figure
    kind: str
    terms: tuple[Term, ...]
    num_examples: int
    of: str = ""

    def tables(self) -> list[Table]:
        examples = f"{self.num_examples:,} example{'s' * (self.num_examples > 1)}{self.of}"
        rows = [("test", figure_text(*self.total), f"{self.kind}, {examples}")]
        rows += [(f"  {term.name}", figure_text(*term.bits), term.told) for term in self.terms]
        return [Table(BITS, BITS_HEADER, tuple(rows), main=0)]


def held_out_likelihood(
    run: RelativeRun,
    dataset: Dataset,
    indices: np.ndarray,
    *,
    importance: int = 1,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Likelihood:
    """The likelihood of examples of a data set under a relative.

    Arguments:
        run: the model.
        dataset: its data.
        indices: of the examples.
        importance: K importance samples of the latents for a tighter bound beside the plain one; 1: none.
        seed: of the noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if it has no likelihood, or importance samples are asked of a model without latents.
    """
    given = {"numbers": indices, "seed": seed}
    raw = dataset.examples[indices]
    scores = score_relative(run, raw, progress=progress, **given)
    terms = _terms(run, dataset, indices, seed)
    if importance > 1:
        tighter = score_relative(run, raw, importance=importance, progress=progress, **given)
        terms.append(Term("importance-weighted", _figure(tighter.bits_per_dim), tighter.kind))
    return Likelihood(_figure(scores.bits_per_dim), scores.kind, tuple(terms), len(indices))


@torch.no_grad()
def _terms(run: RelativeRun, dataset: Dataset, indices: np.ndarray, seed: int) -> list[Term]:
    """The bound's terms, and of a hierarchy each level's, in bits/dim; none of an exact likelihood."""
    if run.relative.likelihood == "exact":
        return []
    reconstruction, prior, diffusion, steps = [], [], [], []
    for x, _, noise, _ in batches(run, dataset.examples[indices], None, indices, 128, seed):
        bound = run.relative.elbo(x, noise)
        reconstruction.append(bound.to_bits(-bound.reconstruction))
        prior.append(bound.to_bits(bound.prior))
        diffusion.append(bound.to_bits(bound.diffusion))
        if bound.steps is not None:
            steps.append(bound.steps * (bound.to_bits(torch.ones_like(bound.prior))[:, None]))
    if not any(bool(part.any()) for part in (*prior, *diffusion)):
        return []
    terms = [
        Term("reconstruction", _figure(torch.cat(reconstruction)), "of the data from the latents"),
        Term("prior", _figure(torch.cat(prior)), "of the topmost latent against its prior"),
    ]
    if steps:
        levels = torch.cat(steps)
        terms.extend(
            Term(f"level {number}", _figure(levels[:, number - 1]), "of a latent given those above it")
            for number in range(levels.shape[1], 0, -1)
        )
    elif any(bool(part.any()) for part in diffusion):
        terms.append(Term("diffusion", _figure(torch.cat(diffusion)), "of all latents below the topmost"))
    if normalisation := -dataset.encoding.log_det(dataset.shape):
        bits = normalisation / (np.prod(dataset.shape) * np.log(2))
        terms.append(Term("normalisation", (float(bits), 0.0), "the units of the stored data"))
    return terms


def _figure(values: torch.Tensor | np.ndarray) -> Figure:
    return mean_and_error(torch.as_tensor(values))
