"""The diagnosis, told: what each figure says, and what to change where it is not fine."""

import math

from lowerbound.evaluate.diagnosis import Diagnosis
from lowerbound.report.finding import SURE, Finding, Severity
from lowerbound.report.told import Told
from lowerbound.rounding import figure_text

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


def tell_diagnosis(found: Diagnosis) -> Told:
    """What each figure says, in a sentence, and what to change where it is not fine."""
    data_end = _level_end(found) if found.level_width else _density_end(found)
    rest = (*_assumption(found), _shares(found), *_calibration(found), _range(found))
    return Told(findings=(_noise_end(found), data_end, *rest))


def _noise_end(found: Diagnosis) -> Finding:
    figures = f"prior {figure_text(*found.prior)} bits/dim, terminal SNR {found.terminal_snr:.2g}"
    if found.prior.value <= PRIOR_BITS:
        return Finding(Severity.FINE, f"Noise's end: {figures}: fine.")
    enough = found.gamma_max + math.log(found.prior.value / (PRIOR_BITS / 5))
    return Finding(
        Severity.CHANGE,
        f"Too little noise at the noise's end: {figures}, so the noisiest latent still tells of the data. Raise "
        f"gamma_max from {found.gamma_max:.1f} to about {enough:.1f}.",
    )


def _level_end(found: Diagnosis) -> Finding:
    assert found.level_width is not None
    ratio = found.least_noise / found.level_width
    best = 2 * math.log(found.level_width * READABLE)
    figures = f"noise of {ratio:.2g} of a level's width, reconstruction {figure_text(*found.reconstruction)} bits/dim"
    bits, error = found.reconstruction
    costly = bits > RECONSTRUCTION_BITS + SURE * error
    if costly and ratio > READABLE:
        return Finding(
            Severity.CHANGE,
            f"Too much noise at the data's end: {figures}, which no denoising lowers. Lower gamma_min from "
            f"{found.gamma_min:.1f} to about {best:.1f}, a sixth of a level.",
        )
    if costly:
        return Finding(
            Severity.CHANGE,
            f"Data's end: {figures}, although a level can be read off at that noise: change the decoder.",
        )
    if ratio < READABLE / 2:
        share = (best - found.gamma_min) / (found.gamma_max - found.gamma_min)
        return Finding(
            Severity.CHANGE,
            f"Needlessly little noise at the data's end: {figures}. In {share:.0%} of the range of gamma a level can be "
            f"read off, and what the network errs there is lost: raise gamma_min from {found.gamma_min:.1f} to about "
            f"{best:.1f}.",
        )
    return Finding(Severity.FINE, f"Data's end: {figures}: fine.")


def _density_end(found: Diagnosis) -> Finding:
    share, error = found.predictable
    figures = (
        f"noise of {found.least_noise / found.spread:.2g} of the data's spread, of which "
        f"{max(share, 0):.1%} ± {error:.1%} can be predicted"
    )
    if share > PREDICTABLE and share > SURE * error:
        return Finding(
            Severity.CHANGE,
            f"Structure finer than the least noise: {figures}. Each unit by which gamma_min is lowered from "
            f"{found.gamma_min:.1f} takes {0.5 * share / math.log(2):.2g} bits/dim off the bound. Lower it; if that does "
            "not end, the values are rounded or lie on a surface and have no density: store them as integers, or "
            "leave out what the rest determines.",
        )
    return Finding(Severity.FINE, f"Data's end: {figures}: fine.")


def _assumption(found: Diagnosis) -> list[Finding]:
    if found.assumed_spread is None or 1 / SPREAD_RATIO < found.spread / found.assumed_spread < SPREAD_RATIO:
        return []
    return [
        Finding(
            Severity.CHANGE,
            f"The target takes the data's spread for {found.assumed_spread:.2g}; it is {found.spread:.2g}. Set "
            f"denoiser.sigma_data to {found.spread:.2g}.",
        )
    ]


def _shares(found: Diagnosis) -> Finding:
    parts = [f"{figure_text(*region.bits)} ({region.share:.0%}) in {region.name}" for region in found.regions]
    return Finding(Severity.OPEN, f"Diffusion term, bits/dim: {', '.join(parts)}.")


def _calibration(found: Diagnosis) -> list[Finding]:
    told = []
    for region in found.regions:
        slope, error = region.slope
        if region.gain > MISCALIBRATION_BITS and abs(slope - 1) > SURE * error:
            told.append(
                Finding(
                    Severity.CHANGE,
                    f"Miscalibrated in {region.name} (gamma {region.low:.1f} to {region.high:.1f}): the slope of eps on "
                    f"eps_hat is {figure_text(slope, error)} where it should be 1, E[(eps - eps_hat) eps_hat] "
                    f"{figure_text(*region.residual)} where it should be 0, which costs {region.gain:.2g} bits/dim: "
                    f"eps_hat is too {'large' if slope < 1 else 'small'}. Train longer, or with the objective elbo.",
                )
            )
    if told:
        return told
    known = [region for region in found.regions if region.slope.error < KNOWN_SLOPE]
    if not known:
        return [Finding(Severity.OPEN, f"Calibration: too few validation examples ({found.num_examples}) to tell.")]
    worst = max(known, key=lambda region: region.gain)
    return [
        Finding(
            Severity.FINE,
            f"Calibration: the slope of eps on eps_hat, which should be 1, costs at most {worst.gain:.1g} bits/dim, in "
            f"{worst.name} ({figure_text(*worst.slope)}): fine.",
        )
    ]


def _range(found: Diagnosis) -> Finding:
    worst = max(found.regions, key=lambda region: region.outside)
    figures = f"{worst.outside:.1%} of the entries of x_hat lie outside the data's range in {worst.name}"
    if worst.outside > OUTSIDE:
        return Finding(
            Severity.CHANGE,
            f"Predictions outside the data: {figures}, where a conditional mean cannot be. Train longer, or with the "
            "target v, which does not amplify errors at high noise.",
        )
    return Finding(Severity.FINE, f"Range: at most {figures}: fine.")
