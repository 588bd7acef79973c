r"""One loss: a weighted integral over noise levels of how wrong the denoiser is.

$$L_w = \tfrac12 \int_{\gamma_0}^{\gamma_1} w(\gamma)\, E\|\epsilon - \hat\epsilon(x_t)\|^2 d\gamma
= \tfrac12 E_{t \sim U(0, 1)} \left[\gamma'(t)\, w\, \|\epsilon - \hat\epsilon(x_t)\|^2\right]$$

With w = 1 it is the bound's diffusion term (VDM, equation 17). Every published loss is a weighting of the same integral
(Kingma & Gao 2023): those stated for uniform t, such as DDPM's $L_{simple}$, contain $1 / \gamma'(t)$. All but the bound's
are losses, not bounds.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.arguments import check_batch, check_time, described
from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.base import preserving
from lowerbound.elementary import expand, present, scale_gradient, sum_dims
from lowerbound.errors import InputError
from lowerbound.rng import Noise, check_noise
from lowerbound.schedule import Level, Schedule
from lowerbound.shapes import Examples, PerExample
from lowerbound.times import antithetic_times

Weighting = Callable[[Tensor, Tensor], Tensor]
r"""w as a function of $\gamma$ and $\gamma'(t)$, both (B,)."""


def uniform(gamma: PerExample, slope: PerExample) -> PerExample:
    r"""$w = 1$: the loss is the bound's diffusion term, in nats (VDM, equation 17; "uniform", Kingma & Gao 2023)."""
    return torch.ones_like(gamma)


def simple(gamma: PerExample, slope: PerExample) -> PerExample:
    r"""$w = 2 / \gamma'(t)$: the loss is $E_t \|\epsilon - \hat\epsilon\|^2$ (DDPM, equation 14)."""
    return 2 / slope


def min_snr(clip: float = 5.0) -> Weighting:
    r"""$w = \frac{2}{\gamma'(t)} \min(SNR, c) / SNR$: $E_t \min(SNR, c) \|x - \hat x\|^2$ (Hang et al. 2023).

    Arguments:
        clip: c, the largest weight on $\|x - \hat x\|^2$.
    """
    return lambda gamma, slope: 2 / slope * (clip * torch.exp(gamma)).clamp(max=1)


def edm(sigma_data: float = 0.5, mean: float = -1.2, spread: float = 1.2) -> Weighting:
    r"""EDM's loss $E_{\ln r \sim N(m, s^2)} \frac{r^2 + \sigma_d^2}{(r \sigma_d)^2} \|x - \hat x\|^2$, $r = e^{\gamma/2}$.

    $w = N(\gamma; 2m, (2s)^2) \cdot 2 (r^2 + \sigma_d^2) / \sigma_d^2$ (Karras et al. 2022, table 1; as a weighting:
    Kingma & Gao 2023). The integral is the same whatever schedule draws the levels; only its variance is not.

    Arguments:
        sigma_data: $\sigma_d$, the data's standard deviation.
        mean, spread: m and s of the noise scale's logarithm.
    """

    def weighting(gamma: PerExample, slope: PerExample) -> PerExample:
        density = torch.exp(-(((gamma / 2 - mean) / spread) ** 2) / 2) / (2 * spread * math.sqrt(2 * math.pi))
        return density * 2 * (torch.exp(gamma) + sigma_data**2) / sigma_data**2

    return weighting


def balanced(boost: float = 8.0, gamma: float = -4.0) -> Weighting:
    r"""$w = 1 + b\, \mathrm{sigmoid}(\gamma - g)$: the bound, and more weight where noise covers what an eye sees.

    The bound counts bits, most of which are in noise finer than anything visible. A weighting that rises with $\gamma$ is
    a mixture of bounds, of the data and of the data with noise of each level added (Kingma & Gao 2023): none of
    the bound is given up, and the coarse denoising that samples depend on is learned as well.

    Arguments:
        boost: b, the weight of the noisiest levels beside the bound's.
        gamma: g, where half of it is reached.
    """
    return lambda gamma_t, slope: 1 + boost * torch.sigmoid(gamma_t - gamma)


def sigmoid(gamma: float = 0.0) -> Weighting:
    r"""$w = \mathrm{sigmoid}(\gamma - g)$: weight on noise that hides everything but the outline.

    Of a denoiser's error in each entry of x it is at most one, as in flow matching and its kin (Kingma & Gao 2023;
    Hoogeboom et al. 2024).

    Arguments:
        gamma: g, where half of the largest weight is reached.
    """
    return lambda gamma_t, slope: torch.sigmoid(gamma_t - gamma)


def in_two(split: float, below: Weighting, above: Weighting) -> Weighting:
    r"""One weighting below a $\gamma$ and another from there on, for two networks that share nothing but the levels.

    Arguments:
        split: the $\gamma$, that of `denoiser.ByLevel`.
        below, above: the weightings.
    """
    return lambda gamma, slope: torch.where(gamma < split, below(gamma, slope), above(gamma, slope))


def loss(
    denoiser: Denoiser,
    x: Examples,
    weighting: Weighting = uniform,
    *,
    t: PerExample | None = None,
    eps: Examples | None = None,
    noise: Noise | None = None,
) -> PerExample:
    r"""One draw per example of the weighted integral $L_w$ (formula in the module's docstring).

    Arguments:
        denoiser: whose error it is; of one that was given the entries that are there, theirs alone.
        x: data, (B, *).
        weighting: $w(\gamma, \gamma')$; with `uniform` the result is in nats.
        t, eps: times in [0, 1], (B,), and standard normal noise, (B, *); drawn from `noise` if not given.
        noise: where times and noise come from.

    Raises:
        InputError: if x, t or eps is not as above, or something must be drawn and no `noise` is given.
    """
    check_batch(x, denoiser.shape)

    def error(x_t: Tensor, level: Level, eps: Tensor) -> Tensor:
        return sum_dims(_squares(denoiser, x_t, level, eps))

    return integrand(denoiser.schedule, present(x, denoiser.observed), weighting, error, t=t, eps=eps, noise=noise)


def loss_of_entries(
    denoiser: Denoiser, x: Examples, is_real: Examples | float, *, t: PerExample, eps: Examples
) -> Examples:
    r"""One draw of $\tfrac12 \int E (\epsilon_j - \hat\epsilon_j)^2 d\gamma$ of each entry j, nats: in sum, and in
    expectation, the `loss`.

    Of real numbers its spread is a quarter of it. Of independent normal entries of unit variance the error is known,
    $\epsilon_j - \hat\epsilon_j = a (a \epsilon_j - s x_j)$ with $a^2 = \mathrm{sigmoid}(-\gamma)$ and $s^2 =
    \mathrm{sigmoid}(\gamma)$, and the mean of its square over $\epsilon$ too. That square less its mean is subtracted from
    any data's: a control variate, which takes away the spread of $\epsilon^2$, above all, where there is little noise.
    Discrete entries are known there, have no such spread, and are left as they are.

    Arguments:
        denoiser, x, t, eps: as in `loss`; entries that are not there have zero.
        is_real: 1 at entries that are real numbers, 0 at discrete ones (`Decoder.is_real`).
    """
    x = present(x, denoiser.observed)

    def errors(x_t: Tensor, level: Level, eps: Tensor) -> Tensor:
        a, s = (expand(scale, eps) for scale in preserving(level.gamma))
        off_mean = a**3 * (a * (eps**2 - 1) - 2 * s * x * eps)
        return _squares(denoiser, x_t, level, eps) - present(is_real * off_mean, denoiser.observed)

    return integrand(denoiser.schedule, x, uniform, errors, t=t, eps=eps)


def _squares(denoiser: Denoiser, x_t: Tensor, level: Level, eps: Tensor) -> Tensor:
    r"""$(\epsilon - \hat\epsilon)^2$ of each entry that is there."""
    return present((eps - denoiser(x_t, level).eps) ** 2, denoiser.observed)


def integrand(
    schedule: Schedule,
    x: Examples,
    weighting: Weighting,
    error: Callable[[Tensor, Level, Tensor], Tensor],
    *,
    t: PerExample | None = None,
    eps: Examples | None = None,
    noise: Noise | None = None,
) -> Float[Tensor, "batch ..."]:
    r"""$\tfrac12 \gamma'(t)\, w\, e(x_t)$ at one $x_t$ per example: one draw of $L_w$ for any e with the expectation of
    $\|\epsilon - \hat\epsilon\|^2$.

    Arguments:
        schedule: of the levels.
        error: e, a function of $x_t$, its level and $\epsilon$, (B,) or, of each entry apart, (B, *).
        x, weighting, t, eps, noise: as in `loss`.

    Raises:
        InputError: if something must be drawn and no `noise` is given.
    """
    if t is None:
        t = antithetic_times(source(noise).uniform(x.new_empty(len(x), 1))[0, 0], len(x))
    if eps is None:
        eps = source(noise).normal(x)
    if not isinstance(t, Tensor) or t.shape != (len(x),):
        raise InputError(f"t is {described(t)}: give a time for each example, floats of shape ({len(x)},)")
    check_time(t, x)
    if not isinstance(eps, Tensor) or eps.shape != x.shape:
        raise InputError(f"eps is {described(eps)}: give noise of the shape of x, {tuple(x.shape)}")
    level, slope = schedule.level(t), schedule.slope(t)
    assert isinstance(level.gamma, Tensor)
    weight = weighting(level.gamma, slope)
    if weighting is not uniform and level.gamma.requires_grad:
        # a weight is for what the network learns: a schedule's ends are those of the bound
        weight = weight.detach()
        gamma, slope = scale_gradient(level.gamma, 1 / weight), scale_gradient(slope, 1 / weight)
        level = Level(level.t, gamma, schedule.scaling.alpha(gamma), schedule.scaling.sigma(gamma))
    errors = error(expand(level.alpha, x) * x + expand(level.sigma, x) * eps, level, eps)
    weights = 0.5 * slope * weight
    return weights.reshape(-1, *[1] * (errors.ndim - 1)) * errors


def source(noise: Noise | None) -> Noise:
    """The noise source, or an InputError if there is none and something must be drawn."""
    if noise is None:
        raise InputError(
            "there are times, noise or probes to draw and nothing to draw them from: give a noise source such as "
            "noise=Stream(seed=0)"
        )
    check_noise(noise)
    return noise
