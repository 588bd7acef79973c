"""The diagnosis, told: what each figure says, and what to change where it is not fine."""

import math

from lowerbound.evaluate.diagnosis import Diagnosis
from lowerbound.report.description import SURE, Description, Finding, change, fine, tell, undecided
from lowerbound.words.rounding import share_text

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


@tell.register
def tell_diagnosis(diagnosis: Diagnosis) -> Description:
    """What each figure says, in a sentence, and what to change where it is not fine."""
    data_end = _level_end(diagnosis, diagnosis.level_width) if diagnosis.level_width else _density_end(diagnosis)
    others = (*_assumption(diagnosis), _shares(diagnosis), *_calibration(diagnosis), _range(diagnosis))
    return Description(findings=(_noise_end(diagnosis), data_end, *others))


def _noise_end(diagnosis: Diagnosis) -> Finding:
    figures = f"prior {diagnosis.prior} bits/dim, terminal SNR {math.exp(-diagnosis.gamma_max):.2g}"
    if diagnosis.prior.value <= PRIOR_BITS:
        return fine(f"Noise's end: {figures}: fine.")
    enough = diagnosis.gamma_max + math.log(diagnosis.prior.value / (PRIOR_BITS / 5))
    return change(
        f"Too little noise at the noise's end: {figures}, so the noisiest latent still tells of the data. Raise "
        f"gamma_max from {diagnosis.gamma_max:.1f} to about {enough:.1f}."
    )


def _level_end(diagnosis: Diagnosis, width: float) -> Finding:
    ratio = diagnosis.least_noise / width
    best = 2 * math.log(width * READABLE)
    figures = f"noise of {ratio:.2g} of a level's width, reconstruction {diagnosis.reconstruction} bits/dim"
    bits, error = diagnosis.reconstruction
    costly = bits > RECONSTRUCTION_BITS + SURE * error
    if costly and ratio > READABLE:
        return change(
            f"Too much noise at the data's end: {figures}, which no denoising lowers. Lower gamma_min from "
            f"{diagnosis.gamma_min:.1f} to about {best:.1f}, a sixth of a level."
        )
    if costly:
        return change(f"Data's end: {figures}, although a level can be read off at that noise: change the decoder.")
    if ratio < READABLE / 2:
        share = (best - diagnosis.gamma_min) / (diagnosis.gamma_max - diagnosis.gamma_min)
        return change(
            f"Needlessly little noise at the data's end: {figures}. In {share:.0%} of the range of gamma a level can be "
            f"read off, and what the network errs there is lost: raise gamma_min from {diagnosis.gamma_min:.1f} to about "
            f"{best:.1f}."
        )
    return fine(f"Data's end: {figures}: fine.")


def _density_end(diagnosis: Diagnosis) -> Finding:
    if diagnosis.predictable is None:
        return fine(f"Data's end: reconstruction {diagnosis.reconstruction} bits/dim: fine.")
    share, error = diagnosis.predictable
    figures = (
        f"noise of {diagnosis.least_noise / diagnosis.spread:.2g} of the data's spread, of which "
        f"{share_text(max(share, 0), error)} can be predicted"
    )
    if share > PREDICTABLE and share > SURE * error:
        return change(
            f"Structure finer than the least noise: {figures}. Each unit by which gamma_min is lowered from "
            f"{diagnosis.gamma_min:.1f} takes {0.5 * share / math.log(2):.2g} bits off the bound for each real number. "
            "Lower it; if that does not end, the values are rounded or lie on a surface and have no density: store them as "
            "integers, or leave out what the rest determines."
        )
    return fine(f"Data's end: {figures}: fine.")


def _assumption(diagnosis: Diagnosis) -> list[Finding]:
    spread, assumed = diagnosis.spread, diagnosis.assumed_spread
    if assumed is None or 1 / SPREAD_RATIO < spread / assumed < SPREAD_RATIO:
        return []
    text = f"The target takes the data's spread for {assumed:.2g}; it is {spread:.2g}."
    return [change(f"{text} Set denoiser.sigma_data to {spread:.2g}.")]


def _shares(diagnosis: Diagnosis) -> Finding:
    parts = [f"{region.bits} ({region.share:.0%}) in {region.name}" for region in diagnosis.regions]
    return undecided(f"Diffusion term, bits/dim: {', '.join(parts)}.")


def _calibration(diagnosis: Diagnosis) -> list[Finding]:
    costly = [region for region in diagnosis.regions if region.gain > MISCALIBRATION_BITS]
    miscalibrated = [region for region in costly if abs(region.slope.value - 1) > SURE * region.slope.error]
    if miscalibrated:
        return [
            change(
                f"Miscalibrated in {region.name} (gamma {region.low:.1f} to {region.high:.1f}): the slope of eps on "
                f"eps_hat is {region.slope} where it should be 1, E[(eps - eps_hat) eps_hat] {region.residual} where it "
                f"should be 0, which costs {region.gain:.2g} bits/dim: eps_hat is too "
                f"{'large' if region.slope.value < 1 else 'small'}. Train longer, or with the objective elbo."
            )
            for region in miscalibrated
        ]
    measured = [region for region in diagnosis.regions if region.slope.error < KNOWN_SLOPE]
    if not measured:
        return [undecided(f"Calibration: too few validation examples ({diagnosis.num_examples}) to tell.")]
    worst = max(measured, key=lambda region: region.gain)
    text = f"the slope of eps on eps_hat, which should be 1, costs at most {worst.gain:.1g} bits/dim, in {worst.name}"
    return [fine(f"Calibration: {text} ({worst.slope}): fine.")]


def _range(diagnosis: Diagnosis) -> Finding:
    worst = max(diagnosis.regions, key=lambda region: region.outside)
    figures = f"{worst.outside:.1%} of the entries of x_hat lie outside the data's range in {worst.name}"
    if worst.outside > OUTSIDE:
        return change(
            f"Predictions outside the data: {figures}, where a conditional mean cannot be. Train longer, or with the "
            "target v, which does not amplify errors at high noise."
        )
    return fine(f"Range: at most {figures}: fine.")
