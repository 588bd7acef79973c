r"""One reverse step: $q(x_s | x_t, x)$ and the variances that $p(x_s | x_t)$ may have, for s < t.

With $\alpha_{t|s} = \alpha_t / \alpha_s$ and $\sigma_{t|s}^2 = -\mathrm{expm1}(\gamma_s - \gamma_t) \sigma_t^2$,

$$q(x_s | x_t, x) = N\!\left(\frac{\alpha_{t|s} \sigma_s^2}{\sigma_t^2} x_t +
\frac{\alpha_s \sigma_{t|s}^2}{\sigma_t^2} x,\; \frac{\sigma_{t|s}^2 \sigma_s^2}{\sigma_t^2}\right)$$

(VDM, appendix A; DDPM, equations 6 and 7). Every quotient of variances is an exponential of a difference of gammas, so
nothing cancels at either end of the schedule and the data itself is just the level with $\gamma_s = -\infty$.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lowerbound.elementary import Scalar, exp, expand, expm1, log
from lowerbound.errors import InputError
from lowerbound.schedule import Level
from lowerbound.shapes import Examples
from lowerbound.words.brief import Brief

VARIANCES = ("lower", "upper", "analytic")
"""Those that follow from the schedule and from what the denoiser knows of x."""
ReverseVariance = Literal["lower", "upper", "analytic", "learned"]
KINDS: tuple[str, ...] = get_args(ReverseVariance)
"""All reverse variances."""


@dataclass(frozen=True, slots=True, repr=False)
class Posterior(Brief):
    r"""$q(x_s | x_t, x)$: the coefficients of its mean and its variance, each a number or (B,)."""

    from_x_t: Scalar
    from_x: Scalar
    variance: Scalar


def posterior(t: Level, s: Level) -> Posterior:
    r"""The step's Gaussian $q(x_s | x_t, x)$, formula in the module's docstring.

    Raises:
        InputError: if s, of numbers, has more noise than t.
    """
    if not isinstance(s.gamma, Tensor) and not isinstance(t.gamma, Tensor) and s.gamma > t.gamma:
        raise InputError(
            f"a reverse step from gamma {t.gamma:.6g} to {s.gamma:.6g}: it leads to less noise, a smaller one"
        )
    snr_ratio = exp(s.gamma - t.gamma)  # SNR(t) / SNR(s), between 0 and 1
    removed = -expm1(s.gamma - t.gamma)
    return Posterior(from_x_t=snr_ratio * s.alpha / t.alpha, from_x=removed * s.alpha, variance=removed * s.sigma**2)


def reverse_variance(
    kind: str, t: Level, s: Level, x_var: Examples | None = None, variance_mix: Examples | None = None
) -> Scalar | Examples:
    r"""The variance $v_t$ of the model's reverse step $p(x_s | x_t)$.

    - lower: $\tilde\beta = \sigma_{t|s}^2 \sigma_s^2 / \sigma_t^2$, the posterior's own, right for data without spread;
    - upper: $\sigma_{t|s}^2 \frac{\alpha_s^2 + \sigma_s^2}{\alpha_t^2 + \sigma_t^2}$, right for data N(0, I) (DDPM's
      $\beta_t$ where the scaling preserves variance, and the same model in every other scaling);
    - analytic: $\tilde\beta + (\alpha_s \sigma_{t|s}^2 / \sigma_t^2)^2 Var[x | x_t]$, the best diagonal Gaussian
      (Bao et al. 2022, "Estimating the optimal covariance with imperfect mean", section 3);
    - learned: $\exp(m \log v_{upper} + (1 - m) \log v_{lower})$, m from the network (Nichol & Dhariwal 2021,
      equation 15).

    Arguments:
        kind: one of `KINDS`.
        t, s: the levels of the step.
        x_var: the diagonal of $Var[x | x_t]$, (B, *); needed for "analytic".
        variance_mix: m, (B, *), any numbers; needed for "learned".

    Raises:
        InputError: for an unknown kind, or one without what it needs.
    """
    step = posterior(t, s)
    if kind == "lower":
        return step.variance
    if kind == "upper":
        added = -expm1(s.gamma - t.gamma) * t.sigma**2
        return added * (s.alpha**2 + s.sigma**2) / (t.alpha**2 + t.sigma**2)
    if kind == "learned":
        if variance_mix is None:
            raise InputError(
                "the learned reverse variance needs a network that was trained to give it: choose 'lower' or 'upper', or "
                "train with --denoiser.variance learned"
            )
        lower, upper = step.variance, reverse_variance("upper", t, s)
        return expand(lower, variance_mix) * torch.exp(variance_mix * expand(log(upper / lower), variance_mix))
    if kind == "analytic":
        if x_var is None:
            raise InputError(
                "the analytic reverse variance needs Var[x | x_t], which this denoiser does not give: choose 'lower' or "
                "'upper', or measure it with measure_variance"
            )
        return expand(step.variance, x_var) + expand(step.from_x, x_var) ** 2 * x_var
    raise InputError(f"unknown reverse variance {kind!r}: choose one of {', '.join(KINDS)}")
