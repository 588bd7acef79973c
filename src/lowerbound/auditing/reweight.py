r"""Samples of a model as samples of a known density, by importance weights.

Of an energy E, $p(x) = e^{-E(x)} / Z$ is known but for Z, and hard to draw from. With draws of a model q of known density

$$w(x) = \frac{e^{-E(x)}}{q(x)}, \qquad E_q[w] = Z, \qquad \frac{E_q[w f]}{E_q[w]} = E_p[f],$$

whatever q is, as long as it reaches wherever p does (Noe, Olsson, Koehler & Wu 2019, "Boltzmann generators"). How well it
does so shows in the weights: in the effective sample size, and in the shape of their tail, which may leave no error at all.

A model may know two wells and not the pass between them, where its density is far too small: the weights are heavy, or seem
light as nothing was drawn there. So it is defended (Hesterberg 1995): a share a of the draws comes from a density t that is
wider than all that the model draws, and

$$w(x) = \frac{e^{-E(x)}}{(1 - a)\, q(x) + a\, t(x)}$$

is no more than 1 / (1 - a) of the weight without it, and bounded wherever t reaches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lowerbound.auditing.integral import Weighted
from lowerbound.auditing.proposal import WIDE_SHARE, Proposal
from lowerbound.auditing.subject import Figures, Points, Subject, as_array, as_subject
from lowerbound.errors import InputError
from lowerbound.files.records import Measured, Unsure
from lowerbound.tails import MOST_RELIABLE, upper_tail
from lowerbound.words.brief import Brief
from lowerbound.words.rounding import figure_text

FEWEST = 100
"""Samples of which the tail of the weights has a shape."""


@dataclass(frozen=True, eq=False, repr=False)
class Reweighted(Brief):
    r"""Samples of a model with their weights under another density.

    Arguments:
        samples: as they are stored, (N, *shape), those of the wide density last.
        weights: of each, summing to one, (N,).
        log_z: the log of $\int e^{-E(x)} dx$, nats in units of the samples; on average below it by half its error's square.
        standard_error: of `log_z`; NaN where the weights' tail leaves none.
        pareto_shape: $\hat k$ of the weights' upper tail (`tails.pareto_shape`; `tails.upper_tail` where most are nearly
            the same, and a wide density bounds the others).
        effective: how many independent samples of the density they are worth (Kish 1965).
    """

    samples: Float[np.ndarray, "num_samples ..."]
    weights: Figures
    log_z: float
    standard_error: Unsure
    pareto_shape: float
    effective: float

    @property
    def is_reliable(self) -> bool:
        """Whether the weights' tail is light enough for their means to have errors."""
        return self.pareto_shape <= MOST_RELIABLE

    def mean(self, values: Figures) -> Measured:
        """The mean of a figure of each sample, (N,), under the density; its error is NaN where the weights leave none.

        Raises:
            InputError: if there are not as many values as samples.
        """
        if len(values) != len(self.weights):
            raise InputError(f"{len(values)} values of {len(self.weights)} samples: give one for each")
        mean = float(self.weights @ values)
        error = float((self.weights**2 @ (values - mean) ** 2) ** 0.5)
        return Measured(mean, error if self.is_reliable else math.nan)

    def __str__(self) -> str:
        shape = f"k-hat {self.pareto_shape:.2f}"
        known = f"{figure_text(self.log_z, self.standard_error)}, {shape}"
        unknown = f"about {self.log_z:.3g}, without an error: {shape} is above {MOST_RELIABLE}"
        size = f"effective sample size {self.effective:,.0f} of {len(self.weights):,}"
        return f"log Z {known if self.is_reliable else unknown}, {size}"


def reweight(
    model: Any,
    energy: Callable[[np.ndarray], Any],
    num_samples: int = 1000,
    *,
    wide_share: float = WIDE_SHARE,
    seed: int = 0,
) -> Reweighted:
    r"""Weights of a model's samples under $p(x) \propto e^{-E(x)}$, and the log of its normaliser.

    Of a run the samples and their densities are those of its probability flow.

    Arguments:
        model: a `Run` of continuous data, or anything with `log_prob` and `sample` (`subject.as_subject`).
        energy: $E(x)$ of samples as they are stored, float64 (N, *shape) to (N,), nats; inf where there is nothing.
        num_samples: how many are drawn.
        wide_share: a, of them from a t distribution wider than all that the model draws; 0 for the model alone, which is
            what is left of fewer samples than ten for each dimension and ten more, to which nothing could be fitted.
        seed: of them.

    Raises:
        InputError: if the model has no samples or no density, fewer than a hundred samples are asked for, the share is not
            in [0, 1), or the energy is not a number for each of them.
    """
    if num_samples < FEWEST:
        raise InputError(
            f"num_samples is {num_samples}: the weights of {FEWEST} or more have a tail that can be judged"
        )
    if not 0 <= wide_share < 1:
        raise InputError(f"wide_share is {wide_share:g}: give a share of the samples, at least 0 and below 1")
    subject = as_subject(model)
    if subject.sample is None:
        raise InputError(f"{subject.name} cannot be sampled from: there is nothing to weight")
    points = subject.sample(num_samples, seed)
    wide = _wide(points) if wide_share else None
    if wide is not None:
        num_wide = math.ceil(wide_share * num_samples)
        points = np.concatenate([points[num_wide:], wide.sample(num_wide, seed)])
        wide_share = num_wide / num_samples
    samples = points.reshape(num_samples, *_shape(model, points))
    weighted = Weighted(points, _log_q(subject, points, wide, wide_share), -_energies(energy, samples))
    log_z, error = weighted.log_integral()
    # a good model gives most samples nearly one weight: the few others that the wide density bounds are a heap, and no tail
    has_heap = wide is not None and weighted.effective > num_samples / 2
    shape = upper_tail(weighted.shares).shape if has_heap else weighted.shape
    return Reweighted(
        samples=samples,
        weights=weighted.shares,
        log_z=log_z,
        standard_error=error if shape <= MOST_RELIABLE else math.nan,
        pareto_shape=shape,
        effective=weighted.effective,
    )


def _shape(model: Any, points: np.ndarray) -> tuple[int, ...]:
    """Of a sample as it is stored."""
    return model.spec.raw_shape if hasattr(model, "spec") else points.shape[1:]


def _wide(points: Points) -> Proposal | None:
    """A density wider than all points; None where they are too few, or have no spread."""
    try:
        return Proposal.wide(points)
    except InputError:
        return None


def _log_q(subject: Subject, points: Points, wide: Proposal | None, wide_share: float) -> Figures:
    """The log density of what was drawn; 1 / q is what is averaged, which an error of log q makes too large."""
    log_q, errors = subject.log_prob(points)
    if np.isnan(log_q).any() or np.isposinf(log_q).any() or (wide is None and np.isneginf(log_q).any()):
        raise InputError(f"{subject.name} draws samples whose log density is not finite: audit it first")
    if errors is not None:
        log_q = log_q + np.nan_to_num(errors) ** 2 / 2
    if wide is None:
        return log_q
    return np.logaddexp(math.log1p(-wide_share) + log_q, math.log(wide_share) + wide.log_prob(points))


def _energies(energy: Callable[[np.ndarray], Any], samples: np.ndarray) -> Figures:
    energies = as_array(energy(samples))
    if energies.shape != (len(samples),):
        raise InputError(
            f"the energy of samples of the shape {samples.shape} has the shape {energies.shape}: one number for each is "
            f"wanted, ({len(samples)},)"
        )
    if np.isnan(energies).any() or np.isneginf(energies).any():
        raise InputError("the energy is NaN or -inf somewhere: it is a number, or inf where the density is zero")
    if np.isposinf(energies).all():
        raise InputError("the energy is inf at every sample: the model draws nothing where the density is")
    return energies
