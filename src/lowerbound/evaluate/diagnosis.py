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

import math
from dataclasses import dataclass

import numpy as np

from lowerbound.data import Dataset
from lowerbound.evaluate.finding import SURE, Finding, Severity
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.profile import REFERENCES, Profile
from lowerbound.records import Figure
from lowerbound.rounding import figure_text
from lowerbound.run import Run

PRIOR_BITS = 0.01
"""Above it the prior is worth a change; the recipes' ends make a half of it at most."""
RECONSTRUCTION_BITS = 0.02
"""Above it the reconstruction is worth a change; at noise of a sixth of a level it is 0.011."""
READABLE = 1 / 6
"""The noise, in widths of a level, below which a level can be read off almost surely."""
PREDICTABLE = 0.1
"""The share of the finest noise that a denoiser of continuous data may tell: half of it is a nat per unit of gamma."""
MISCALIBRATION_BITS = 0.002
KNOWN_SLOPE = 0.2
"""The standard error up to which a slope says something."""
OUTSIDE = 0.05
SPREAD_RATIO = 1.25


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
    bits: Figure
    share: float
    slope: Figure
    residual: Figure
    gain: float
    outside: float


@dataclass(frozen=True)
class Diagnosis(Figures):
    r"""Figures about the noise levels and the denoiser of a run, and what they say.

    Arguments:
        prior, reconstruction: terms of the bound, bits/dim.
        gamma_min, gamma_max: the schedule's ends.
        spread: the standard deviation of all values of the training data, in the model's units.
        assumed_spread: what the denoiser's target takes it for, if it depends on it.
        level_width: 2 / K of discrete data, None of continuous data.
        predictable: $1 - E\|\epsilon - \hat\epsilon\|^2 / D$ in the least noisy interval.
        regions: ranges of noise levels, from the data's end.
        num_examples: validation examples.
    """

    prior: Figure
    reconstruction: Figure
    gamma_min: float
    gamma_max: float
    spread: float
    assumed_spread: float | None
    level_width: float | None
    predictable: Figure
    regions: tuple[Region, ...]
    num_examples: int

    @property
    def terminal_snr(self) -> float:
        r"""$SNR(1) = e^{-\gamma_1}$"""
        return math.exp(-self.gamma_max)

    @property
    def least_noise(self) -> float:
        r"""$r_0 = e^{\gamma_0 / 2}$, in the units of x."""
        return math.exp(self.gamma_min / 2)

    def findings(self) -> list[Finding]:
        """What each figure says, in a sentence, and what to change where it is not fine."""
        found = [self._noise_end(), self._level_end() if self.level_width else self._density_end()]
        return [*found, *self._assumption(), self._shares(), *self._calibration(), self._range()]

    def _noise_end(self) -> Finding:
        figures = f"prior {figure_text(*self.prior)} bits/dim, terminal SNR {self.terminal_snr:.2g}"
        if self.prior[0] <= PRIOR_BITS:
            return Finding(Severity.FINE, f"Noise's end: {figures}: fine.")
        enough = self.gamma_max + math.log(self.prior[0] / (PRIOR_BITS / 5))
        return Finding(
            Severity.CHANGE,
            f"Too little noise at the noise's end: {figures}, so the noisiest latent still tells of the data. Raise "
            f"gamma_max from {self.gamma_max:.1f} to about {enough:.1f}.",
        )

    def _level_end(self) -> Finding:
        assert self.level_width is not None
        ratio = self.least_noise / self.level_width
        best = 2 * math.log(self.level_width * READABLE)
        figures = (
            f"noise of {ratio:.2g} of a level's width, reconstruction {figure_text(*self.reconstruction)} bits/dim"
        )
        bits, error = self.reconstruction
        costly = bits > RECONSTRUCTION_BITS + SURE * error
        if costly and ratio > READABLE:
            return Finding(
                Severity.CHANGE,
                f"Too much noise at the data's end: {figures}, which no denoising lowers. Lower gamma_min from "
                f"{self.gamma_min:.1f} to about {best:.1f}, a sixth of a level.",
            )
        if costly:
            return Finding(
                Severity.CHANGE,
                f"Data's end: {figures}, although a level can be read off at that noise: change the decoder.",
            )
        if ratio < READABLE / 2:
            share = (best - self.gamma_min) / (self.gamma_max - self.gamma_min)
            return Finding(
                Severity.CHANGE,
                f"Needlessly little noise at the data's end: {figures}. In {share:.0%} of the range of gamma a level can be "
                f"read off, and what the network errs there is lost: raise gamma_min from {self.gamma_min:.1f} to about "
                f"{best:.1f}.",
            )
        return Finding(Severity.FINE, f"Data's end: {figures}: fine.")

    def _density_end(self) -> Finding:
        share, error = self.predictable
        figures = (
            f"noise of {self.least_noise / self.spread:.2g} of the data's spread, of which "
            f"{max(share, 0):.1%} ± {error:.1%} can be predicted"
        )
        if share > PREDICTABLE and share > SURE * error:
            return Finding(
                Severity.CHANGE,
                f"Structure finer than the least noise: {figures}. Each unit by which gamma_min is lowered from "
                f"{self.gamma_min:.1f} takes {0.5 * share / math.log(2):.2g} bits/dim off the bound. Lower it; if that does "
                "not end, the values are rounded or lie on a surface and have no density: store them as integers, or "
                "leave out what the rest determines.",
            )
        return Finding(Severity.FINE, f"Data's end: {figures}: fine.")

    def _assumption(self) -> list[Finding]:
        if self.assumed_spread is None or 1 / SPREAD_RATIO < self.spread / self.assumed_spread < SPREAD_RATIO:
            return []
        return [
            Finding(
                Severity.CHANGE,
                f"The target takes the data's spread for {self.assumed_spread:.2g}; it is {self.spread:.2g}. Set "
                f"denoiser.sigma_data to {self.spread:.2g}.",
            )
        ]

    def _shares(self) -> Finding:
        parts = [f"{figure_text(*region.bits)} ({region.share:.0%}) in {region.name}" for region in self.regions]
        return Finding(Severity.OPEN, f"Diffusion term, bits/dim: {', '.join(parts)}.")

    def _calibration(self) -> list[Finding]:
        found = []
        for region in self.regions:
            slope, error = region.slope
            if region.gain > MISCALIBRATION_BITS and abs(slope - 1) > SURE * error:
                found.append(
                    Finding(
                        Severity.CHANGE,
                        f"Miscalibrated in {region.name} (gamma {region.low:.1f} to {region.high:.1f}): the slope of eps on "
                        f"eps_hat is {figure_text(slope, error)} where it should be 1, E[(eps - eps_hat) eps_hat] "
                        f"{figure_text(*region.residual)} where it should be 0, which costs {region.gain:.2g} bits/dim: "
                        f"eps_hat is too {'large' if slope < 1 else 'small'}. Train longer, or with the objective elbo.",
                    )
                )
        if found:
            return found
        known = [region for region in self.regions if region.slope[1] < KNOWN_SLOPE]
        if not known:
            return [Finding(Severity.OPEN, f"Calibration: too few validation examples ({self.num_examples}) to tell.")]
        worst = max(known, key=lambda region: region.gain)
        return [
            Finding(
                Severity.FINE,
                f"Calibration: the slope of eps on eps_hat, which should be 1, costs at most {worst.gain:.1g} bits/dim, in "
                f"{worst.name} ({figure_text(*worst.slope)}): fine.",
            )
        ]

    def _range(self) -> Finding:
        worst = max(self.regions, key=lambda region: region.outside)
        figures = f"{worst.outside:.1%} of the entries of x_hat lie outside the data's range in {worst.name}"
        if worst.outside > OUTSIDE:
            return Finding(
                Severity.CHANGE,
                f"Predictions outside the data: {figures}, where a conditional mean cannot be. Train longer, or with the "
                "target v, which does not amplify errors at high noise.",
            )
        return Finding(Severity.FINE, f"Range: at most {figures}: fine.")


def diagnose(run: Run, dataset: Dataset, profile: Profile) -> Diagnosis:
    """The diagnosis of a run.

    Arguments:
        run: the model.
        dataset: its data.
        profile: of validation examples.
    """
    x = dataset.encoded(dataset.train[:REFERENCES])
    spread = float(x[~x.isnan()].std())
    num_levels = run.spec.encoding.num_levels
    level_width = None if num_levels is None else 2 / num_levels
    width = profile.gamma[1] - profile.gamma[0]
    per_bit = 2 * math.log(2) / width
    return Diagnosis(
        prior=_figure(profile.prior),
        reconstruction=_figure(profile.reconstruction),
        gamma_min=float(profile.gamma[0]),
        gamma_max=float(profile.gamma[-1]),
        spread=spread,
        assumed_spread=run.config.denoiser.sigma_data if run.config.denoiser.target == "edm" else None,
        level_width=level_width,
        predictable=_figure(1 - profile.draws[:, 0] * per_bit),
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
    found = []
    for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
        inside = (profile.levels >= start) & (profile.levels < stop)
        if inside.any():
            found.append(_region(profile, inside, name, max(start, low), min(stop, high)))
    return tuple(found)


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
        bits=_figure(bits),
        share=float(bits.sum() / profile.draws.sum()),
        slope=(float(slope), error_of_sum(product - slope * square) / float(square.sum())),
        residual=(float((product - square).sum() / count), error_of_sum(product - square) / float(count)),
        gain=float(gain),
        outside=float((profile.outside * inside).sum() / count),
    )


def _figure(values: np.ndarray) -> Figure:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else math.nan
    return float(values.mean()), float(error)
