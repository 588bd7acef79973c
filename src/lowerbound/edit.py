r"""Data as noise, and back: inversion, interpolation and variations of examples.

The probability flow carries each example to noise and back along the same way (`samplers.flow`, in whose rescaling
$z = a x + s \epsilon$ all levels have the size of the data). An example x enters it at the data's end
as $a_0 x$, or, with the noise that a latent of that level has, as $a_0 x + s_0 \epsilon$; what arrives at the other end is
its noise. The former is a function of x alone. The latter has the law of the noise from which samples are drawn also
where data are discrete: a level's very centre is then no typical latent, and the noise of centres falls short.

Points between two noises lie on the sphere, not on the line between them: nearly all of a Gaussian's mass is at one
distance from the middle, which the line falls short of.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.arguments import check_data, check_grid
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.grid import visible_limits
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler, sample
from lowerbound.samplers.flow import follow
from lowerbound.shapes import Examples, PerExample, Times
from lowerbound.words.brief import Brief

TOLERANCE = 1e-5


@dataclass(frozen=True, repr=False)
class RoundTrip(Brief):
    r"""Examples encoded and decoded again.

    Arguments:
        x_1: the noise, (B, *).
        x: what it is decoded to, (B, *).
        error: the root mean square of its difference from what entered the flow, (B,).
        num_calls: network calls for each example, there and back, (B,).
    """

    x_1: Examples
    x: Examples
    error: PerExample
    num_calls: Int[Tensor, "batch"]


def encode(denoiser: Denoiser, x: Examples, *, noise: Noise | None = None, tolerance: float = TOLERANCE) -> Examples:
    r"""The noise $x_1$ from which the probability flow leads to x (Song et al. 2021, appendix D; DDIM, section 5.4).

    A deterministic sampler leads back from it, as exactly as its steps are small; `decode` does to the tolerance.

    Arguments:
        denoiser: the model.
        x: data, (B, *).
        noise: where the noise of the data's end comes from; x enters without any if None.
        tolerance: the error allowed in a step of the solver, in units of the data.

    Raises:
        InputError: if x does not fit the denoiser, the tolerance is out of range, or the flow cannot be followed.
    """
    return _encode(denoiser, _enter(denoiser, x, noise), tolerance)[0]


def decode(denoiser: Denoiser, x_1: Examples, *, tolerance: float = TOLERANCE) -> Examples:
    r"""The data x to which the probability flow leads from the noise $x_1$: the inverse of `encode`.

    Arguments:
        denoiser, tolerance: as in `encode`.
        x_1: noise, (B, *), in the units of the schedule's last level.

    Raises:
        InputError: as in `encode`.
    """
    check_data(x_1, denoiser.shape, name="x_1")
    return _decode(denoiser, x_1, tolerance)[0]


def round_trip(
    denoiser: Denoiser, x: Examples, *, noise: Noise | None = None, tolerance: float = TOLERANCE
) -> RoundTrip:
    """The noise of examples and how well they come back from it.

    Arguments:
        denoiser, x, noise, tolerance: as in `encode`.

    Raises:
        InputError: as in `encode`.
    """
    x = _enter(denoiser, x, noise)
    x_1, num_calls_encoding = _encode(denoiser, x, tolerance)
    x_decoded, num_calls_decoding = _decode(denoiser, x_1, tolerance)
    error = (x_decoded - x).flatten(1).square().mean(1).sqrt()
    return RoundTrip(x_1, x_decoded, error, num_calls_encoding + num_calls_decoding)


def interpolate(
    denoiser: Denoiser,
    x_from: Examples,
    x_to: Examples,
    weights: Float[Tensor, "num_weights"],
    *,
    noise: Noise | None = None,
    tolerance: float = TOLERANCE,
) -> Float[Tensor, "num_weights batch *shape"]:
    r"""Examples between two: their noises, turned into one another (`turn`), decoded (DDIM, section 5.3).

    Arguments:
        denoiser, noise, tolerance: as in `encode`.
        x_from, x_to: data, (B, *).
        weights: w in [0, 1], (K,); 0 is `x_from`, 1 is `x_to`.

    Raises:
        InputError: as in `encode`.
    """
    if x_from.shape != x_to.shape:
        raise InputError(f"examples of shapes {tuple(x_from.shape)} and {tuple(x_to.shape)}: give as many of both")
    noise_from, noise_to = (encode(denoiser, x, noise=noise, tolerance=tolerance) for x in (x_from, x_to))
    between = turn(noise_from, noise_to, weights).flatten(0, 1)
    rows = torch.arange(len(x_from), device=denoiser.device).repeat(len(weights))
    return decode(denoiser.rows(rows), between, tolerance=tolerance).unflatten(0, (len(weights), -1))


def turn(
    x_from: Examples, x_to: Examples, weights: Float[Tensor, "num_weights"]
) -> Float[Tensor, "num_weights batch *shape"]:
    r"""Spherical interpolation, $\frac{\sin((1 - w) \theta)}{\sin\theta} x + \frac{\sin(w \theta)}{\sin\theta} x'$ with
    $\cos\theta = x \cdot x' / |x| |x'|$ (Shoemake 1985); along the line where the two have one direction.

    Arguments:
        x_from, x_to: x and x', (B, *).
        weights: w, (K,).
    """
    first, last = x_from.flatten(1).double(), x_to.flatten(1).double()
    angle = torch.arccos(torch.cosine_similarity(first, last, dim=1).clamp(-1, 1))
    w = weights.to(angle)[:, None]
    parallel = angle.sin() < 1e-6
    first_weight, last_weight = (
        torch.where(parallel, share, torch.sin(share * angle) / angle.sin())[..., None] for share in (1 - w, w)
    )
    between = first_weight * first + last_weight * last
    return between.to(x_from.dtype).unflatten(2, x_from.shape[1:])


def time_of_strength(denoiser: Denoiser, strength: float, num_levels: int | None) -> float:
    r"""The time to which `vary` takes an example back: of strengths from 0, the example itself, to 1, noise, equal steps of
    $\gamma$ between `grid.visible_limits`.

    Arguments:
        denoiser: the model.
        strength: between 0 and 1.
        num_levels: K of discrete data; None: continuous data.
    """
    if strength in (0, 1):
        return float(strength)
    low, high = visible_limits(denoiser.schedule, math.prod(denoiser.shape), num_levels)
    return float(denoiser.schedule.level_at(low + strength * (high - low)).t)


def vary(denoiser: Denoiser, x: Examples, t: float, sampler: Sampler, times: Times, noise: Noise) -> Examples:
    r"""Variations of examples: noised to the time t, then sampled down again (Meng et al. 2022, SDEdit).

    With an exact denoiser and small steps they have the law of the data, whatever t: $x_t$ has that of the forward process.

    Arguments:
        denoiser: the model.
        x: data, (B, *).
        t: how far back, from 0, which leaves x as it is, to 1, which leaves nothing of it but $\alpha_1 x$.
        sampler: the stepping rule.
        times: a whole grid, decreasing; those below t are visited.
        noise: where the noise comes from.

    Raises:
        InputError: if t is outside [0, 1].
    """
    if not 0 <= t <= 1:
        raise InputError(f"t is {t}: variations go back to a time between 0, the example, and 1, pure noise")
    check_data(x, denoiser.shape)
    check_grid(times)
    if t == 0:
        return x.clone()
    level = denoiser.schedule.level(t)
    x_t = level.alpha * x + level.sigma * noise.normal(x)
    return sample(denoiser, sampler, x_t, torch.cat([times.new_tensor([t]), times[times < t]]), noise)


def _enter(denoiser: Denoiser, x: Tensor, noise: Noise | None) -> Tensor:
    """x as it enters the flow, with the noise of the data's end or without."""
    check_data(x, denoiser.shape)
    level = denoiser.schedule.level(0.0)
    return x if noise is None else x + level.sigma / level.alpha * noise.normal(x)


def _encode(denoiser: Denoiser, x: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    clean, noisy = denoiser.schedule.level(0.0), denoiser.schedule.level(1.0)
    return follow(denoiser, clean.alpha * x, clean, noisy, tolerance)


def _decode(denoiser: Denoiser, x_1: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    clean, noisy = denoiser.schedule.level(0.0), denoiser.schedule.level(1.0)
    x_0, num_calls = follow(denoiser, x_1, noisy, clean, tolerance)
    return x_0 / clean.alpha, num_calls
