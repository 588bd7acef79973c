r"""What is right and what is not with a run's noise levels and its denoiser, and what to change.

Measured on validation examples, since settings are chosen by it. Noise is $r = e^{\gamma / 2}$, in the units of x, beside
the data's own scales: the width 2 / K of a level and the spread of all values. The best denoiser is a conditional mean,
$\hat\epsilon = E[\epsilon | x_t]$, so that $E[(\epsilon - \hat\epsilon) \cdot \hat\epsilon] = 0$ at every noise level: of
all multiples $c \hat\epsilon$ the one with the least error has the slope $c = E[\epsilon \cdot \hat\epsilon] /
E\|\hat\epsilon\|^2 = 1$. Another slope costs $\frac12 \int (c - 1)^2 E\|\hat\epsilon\|^2 d\gamma$ nats.

At the data's end of continuous data, $\frac{d}{d\gamma_0}$ of the bound on $-\log p$ is $\frac12 (D - E\|\epsilon -
\hat\epsilon\|^2)$: the reconstruction's density against the diffusion term's integrand. It vanishes where the noise is too
fine for the data to say anything of it.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from lowerbound.blocks import layout
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.profile import ENTRIES, REFERENCES, Profile
from lowerbound.files.records import Measured
from lowerbound.run import Run

MOST_GAMMA = 700.0
"""Beyond it no noise and no signal is a number of double precision."""


@dataclass(frozen=True)
class Region:
    r"""A range of noise levels.

    Arguments:
        name: in words.
        low, high: the $\gamma$ between which it lies.
        bits: of the diffusion term, per dimension.
        share: of the diffusion term.
        slope: of eps on eps_hat, with its standard error over examples.
        residual: $E[(\epsilon - \hat\epsilon) \cdot \hat\epsilon] / D$, with its standard error.
        gain: bits/dim that multiplying eps_hat by the slope would save.
        outside: share of the entries of x_hat outside the training data's range.
    """

    name: str
    low: float
    high: float
    bits: Measured
    share: float
    slope: Measured
    residual: Measured
    gain: float
    outside: float


@dataclass(frozen=True)
class Diagnosis(Figures):
    r"""Figures about the noise levels and the denoiser of a run.

    Arguments:
        prior, reconstruction: terms of the bound, bits/dim.
        gamma_min, gamma_max: the schedule's ends.
        spread: the standard deviation of all values of the training data, in the model's units.
        assumed_spread: what the denoiser's target takes it for, if it depends on it.
        level_width: 2 / K of discrete data, None of continuous data.
        predictable: $1 - E\|\epsilon - \hat\epsilon\|^2 / D$ in the least noisy interval, of the D entries with a density;
            None without one.
        regions: ranges of noise levels, from the data's end.
        num_examples: validation examples.
    """

    prior: Measured
    reconstruction: Measured
    gamma_min: float
    gamma_max: float
    spread: float
    assumed_spread: float | None
    level_width: float | None
    predictable: Measured | None
    regions: tuple[Region, ...]
    num_examples: int

    def __post_init__(self) -> None:
        if not (self.regions and self.gamma_min < self.gamma_max and max(-self.gamma_min, self.gamma_max) < MOST_GAMMA):
            raise InputError(
                f"the figures contradict each other: {len(self.regions)} ranges of noise levels between gamma = "
                f"{self.gamma_min:g} and {self.gamma_max:g}"
            )
        if min(self.spread, self.assumed_spread or 1.0, self.level_width or 1.0) <= 0:
            raise InputError("the figures contradict each other: a spread or the width of a level is not above 0")

    @property
    def least_noise(self) -> float:
        r"""$r_0 = e^{\gamma_0 / 2}$, in the units of x."""
        return math.exp(self.gamma_min / 2)


def diagnose(run: Run, dataset: Dataset, profile: Profile) -> Diagnosis:
    """The diagnosis of a run.

    Arguments:
        run: the model.
        dataset: its data.
        profile: of validation examples.
    """
    x = dataset.encoded(dataset.some("train", REFERENCES, ENTRIES))
    spread = float(x[~x.isnan()].std())
    num_levels = run.spec.encoding.num_levels
    level_width = None if num_levels is None else 2 / num_levels
    per_bit = 2 * math.log(2) / (profile.gamma[1] - profile.gamma[0])
    blocks = run.spec.blocks
    # the noise of levels and categories is known there, as it should be: all error is that of real numbers
    num_channels = dataset.shape[0] if blocks is None else len(layout(blocks, x.device).reals)
    num_real = num_channels * math.prod(dataset.shape[1:])
    return Diagnosis(
        prior=Measured.of(profile.prior),
        reconstruction=Measured.of(profile.reconstruction),
        gamma_min=float(profile.gamma[0]),
        gamma_max=float(profile.gamma[-1]),
        spread=spread,
        assumed_spread=run.config.denoiser.sigma_data if run.config.denoiser.target == "edm" else None,
        level_width=level_width,
        predictable=Measured.of(1 - profile.draws[:, 0] * per_bit * run.spec.num_dims / num_real) if num_real else None,
        regions=_regions(profile, spread, level_width),
        num_examples=len(profile.draws),
    )


def _regions(profile: Profile, spread: float, level_width: float | None) -> tuple[Region, ...]:
    fine, name = (spread / 100, "a hundredth of the data's spread")
    if level_width is not None:
        fine, name = level_width, "a level's width"
    names = [f"noise below {name}", "small noise", "medium noise", "noise above the data's spread"]
    borders = [fine, math.sqrt(fine * spread), spread]
    if fine >= spread:
        names, borders = [names[0], f"noise above {name}"], [fine]
    edges = [-math.inf, *(2 * math.log(border) for border in borders), math.inf]
    low, high = profile.gamma[0], profile.gamma[-1]
    regions = []
    for name, (start, stop) in zip(names, itertools.pairwise(edges), strict=True):
        inside = (profile.levels >= start) & (profile.levels < stop)
        if inside.any():
            regions.append(_region(profile, inside, name, max(start, low), min(stop, high)))
    return tuple(regions)


def _region(profile: Profile, inside: np.ndarray, name: str, low: float, high: float) -> Region:
    width = profile.gamma[1] - profile.gamma[0]
    # sums over the calls of each example, so that errors are over examples
    bits, product, square = ((values * inside).sum(1) for values in (profile.draws, profile.products, profile.squares))
    count, num_examples = inside.sum(), len(bits)
    slope = product.sum() / square.sum()

    def error_of_sum(values: np.ndarray) -> float:
        return float(values.std(ddof=1) * num_examples**0.5) if num_examples > 1 else math.nan

    gain = 0.5 * width / math.log(2) * (slope - 1) ** 2 * square.sum() / num_examples
    return Region(
        name=name,
        low=float(low),
        high=float(high),
        bits=Measured.of(bits),
        share=float(bits.sum() / profile.draws.sum()),
        slope=Measured(float(slope), error_of_sum(product - slope * square) / float(square.sum())),
        residual=Measured(float((product - square).sum() / count), error_of_sum(product - square) / float(count)),
        gain=float(gain),
        outside=float((profile.outside * inside).sum() / count),
    )
