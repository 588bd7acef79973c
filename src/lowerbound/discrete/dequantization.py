r"""Discrete data under a density: a bound on $\log P(x)$ by noise within the bins.

A density p gives the level-valued x the probability $P(x) = \int p(x + u)\, du$ over the bin around it. With noise
$u_k \sim q(u | x)$ in the bin and importance weights (Burda et al. 2016, equation 8),

$$\log P(x) \ge E \log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x + u_k)}{q(u_k | x)},$$

tighter as K grows and as q comes nearer to $p(x + u) / P(x)$.

Where $\log p$ is only estimated, the exponential would turn the estimate's noise into probability: $E \log \sum_k
e^{l_k + n_k} \ge \log \sum_k e^{l_k}$ for any noise n without bias, and the bound would be none. But for any weights $w_k$
that sum to one $\log \sum_k e^{l_k} \ge \sum_k w_k (l_k - \log w_k)$, linear in l, with equality at
$w_k \propto e^{l_k}$. So each probe's estimate takes its weights from the other probes, which are independent of it.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from lowerbound.arguments import check_batch, check_observed
from lowerbound.denoiser import Denoiser
from lowerbound.elementary import count_dims, present, sum_dims
from lowerbound.errors import InputError
from lowerbound.few_calls import FewCalls
from lowerbound.levels import check_levels, check_num_levels
from lowerbound.likelihood.density import Density, ProbedFlow, follow, is_exact
from lowerbound.ode import MAX_CALLS
from lowerbound.rng import Noise, check_noise
from lowerbound.shapes import Examples, Observed, PerExample


@dataclass(frozen=True)
class Dequantizer(ABC):
    """$q(u | x)$: noise on discrete data.

    Attributes:
        name: how results call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def sample(self, x: Examples, gamma_0: float, noise: Noise) -> tuple[Examples, Float64[Tensor, "batch *shape"]]:
        r"""Noise u for each entry, and $\log q(u | x)$ of each, nats, in double precision; less $\log P(x | x + u)$, where
        x is not all that is within reach of x + u.

        Arguments:
            x: data.
            gamma_0: the level at which the flow starts.
            noise: where u comes from.
        """

    @abstractmethod
    def check(self, x: Examples, observed: Observed | None) -> None:
        """Refuse what is no such data by an InputError."""

    @property
    def filling(self) -> float:
        """What may stand in the place of a missing entry."""
        return 0.0

    def count_dims(self, x: Examples, observed: Observed | None) -> PerExample:
        """How many values of each example are there."""
        return count_dims(x, observed)


@dataclass(frozen=True)
class BinDequantizer(Dequantizer):
    """$q(u | x)$: noise within a level's bin, independent in each entry.

    Arguments:
        num_levels: of the data, 2 to 65,536; a bin is 2 / num_levels wide.

    Raises:
        InputError: if num_levels is outside that range.
    """

    num_levels: int

    def __post_init__(self) -> None:
        check_num_levels(self.num_levels)

    def check(self, x: Examples, observed: Observed | None) -> None:
        check_levels(x if observed is None else x[observed], self.num_levels)

    @property
    def filling(self) -> float:
        return 1 / self.num_levels - 1

    def sample(self, x: Examples, gamma_0: float, noise: Noise) -> tuple[Examples, Float64[Tensor, "batch *shape"]]:
        share = noise.uniform(x.double())
        # x + u is rounded to x's precision, in which a fine bin has few numbers: q is that of the u which is left
        u = (x.double() + self._quantile(share, gamma_0)).to(x.dtype) - x
        return u, self._log_density(u.double(), gamma_0)

    @abstractmethod
    def _quantile(self, share: Tensor, gamma_0: float) -> Tensor:
        """The u below which a `share` in [0, 1] of the noise lies."""

    @abstractmethod
    def _log_density(self, u: Tensor, gamma_0: float) -> Tensor:
        """log q(u | x)"""


class UniformDequantizer(BinDequantizer):
    """u uniform over the bin (Theis et al. 2016, section 3.1)."""

    name = "uniform dequantiser"

    def _quantile(self, share: Tensor, gamma_0: float) -> Tensor:
        return (2 * share - 1) / self.num_levels

    def _log_density(self, u: Tensor, gamma_0: float) -> Tensor:
        return torch.full_like(u, math.log(self.num_levels / 2))


class TruncatedNormalDequantizer(BinDequantizer):
    r"""$u = r_0 \epsilon$ with $r_0 = e^{\gamma_0 / 2}$ and $\epsilon$ standard normal, cut off at the bin's ends.

    The noise that the flow starts from in any case, so that the density is asked where the denoiser was trained; nothing
    is fitted (Zheng et al. 2023, "Improved techniques for maximum likelihood estimation for diffusion ODEs").
    """

    name = "truncated-normal dequantiser"

    def _quantile(self, share: Tensor, gamma_0: float) -> Tensor:
        # the error function is odd, so that neither tail is a difference from one
        ratio, end, mass = self._truncation(gamma_0)
        return ratio * (math.sqrt(2) * torch.erfinv((2 * share - 1) * mass)).clamp(-end, end)

    def _log_density(self, u: Tensor, gamma_0: float) -> Tensor:
        ratio, _, mass = self._truncation(gamma_0)
        return -0.5 * (u / ratio) ** 2 - math.log(ratio * mass * math.sqrt(2 * math.pi))

    def _truncation(self, gamma_0: float) -> tuple[float, float, float]:
        """r_0, the bin's end in units of it, and the mass of a standard normal within."""
        ratio = math.exp(gamma_0 / 2)
        end = 1 / (self.num_levels * ratio)
        return ratio, end, math.erf(end / math.sqrt(2))


@torch.no_grad()
def discrete_log_prob(
    denoiser: Denoiser,
    x: Examples,
    dequantizer: Dequantizer,
    *,
    noise: Noise,
    num_importance: int = 1,
    trace: str = "auto",
    num_probes: int = 1,
    tolerance: float | PerExample = 1e-5,
    max_calls: int | Int[Tensor, "batch"] = MAX_CALLS,
    few_calls: FewCalls | None = None,
) -> Density:
    r"""A bound on $\log P(x)$ of discrete data, in expectation over `noise` (formula in the module's docstring).

    Arguments:
        denoiser: the model.
        x: data, (B, *): the centres of their levels, or blocks.
        dequantizer: $q(u | x)$.
        noise: where u and probes come from.
        num_importance: K, the number of draws of u, each of which takes a solution of its own.
        trace, num_probes, tolerance, max_calls: as for `density.log_prob`, the budget that of each
            solution; the standard error is that of the probes, to first order: of the solutions' errors, weighted as their
            values are; the solver's error is that of the worst solution.
        few_calls: a rule by which flows are followed in the place of tolerance and budget; its correction is no bound, but
            within its error.

    Raises:
        InputError: if x is not such data, `num_importance` is below one, or above one with a single probe; and
            where `density.log_prob` does.
    """
    check_batch(x, denoiser.shape)
    check_observed(denoiser.observed, x)
    check_noise(noise)
    if num_importance < 1:
        raise InputError(f"num_importance is {num_importance}: at least one draw within the bins is needed")
    if num_importance > 1 and num_probes == 1 and not is_exact(trace, x):
        raise InputError(
            f"num_importance={num_importance} with an estimated trace needs num_probes of at least 2: the weight of each "
            "draw must come from other probes than its value, or the result is no bound"
        )
    dequantizer.check(x, denoiser.observed)
    dtype, x = x.dtype, x.double()
    draws, log_ratios = [], []
    for _ in range(num_importance):
        followed, u, log_q = dequantized(denoiser, x, dequantizer, noise=noise, trace=trace, num_probes=num_probes)
        if few_calls is None:
            draws.append(follow(followed, tolerance=tolerance, max_calls=max_calls))
        else:
            draws.append(few_calls.density(followed, u))
        log_ratios.append(draws[-1].estimates - log_q[:, None])
    first, values = draws[0], torch.stack(log_ratios)
    arrived, num_calls, solver_error, mismatch, error = (
        torch.stack([getattr(density, name) for density in draws])
        for name in ("arrived", "num_calls", "solver_error", "mismatch", "standard_error")
    )
    how, corrections = "ODE", {}
    if few_calls is not None:
        how = few_calls.how
        for name, worst_or_mean in (("correction", torch.mean), ("correction_error", torch.amax)):
            corrections[name] = worst_or_mean(torch.stack([getattr(density, name) for density in draws]), 0).to(dtype)
    estimates, weights = _log_mean_exp(values, first.exact_trace)
    corrected, _ = _log_mean_exp(values - mismatch[..., None], first.exact_trace)
    return Density(
        estimates=estimates.to(dtype),
        exact_trace=first.exact_trace,
        num_dims=dequantizer.count_dims(x, denoiser.observed).to(dtype),
        num_calls=num_calls.sum(0),
        arrived=arrived.all(0),
        solver_error=solver_error.amax(0).to(dtype),
        mismatch=(estimates - corrected).mean(1).to(dtype),
        kind=f"bound ({how}, dequantised, K={num_importance})",
        settings=f"{first.settings}, {dequantizer.name}",
        standard_error=(weights.square().mean(2) * error.square()).sum(0).sqrt().to(dtype),
        **corrections,
    )


def dequantized(
    denoiser: Denoiser, x: Examples, dequantizer: Dequantizer, *, noise: Noise, trace: str = "auto", num_probes: int = 1
) -> tuple[ProbedFlow, Float64[Tensor, "batch *shape"], PerExample]:
    r"""The flow of discrete data with one draw of noise u, u itself, and $\log q(u | x)$, nats, (B,).

    Arguments are those of `discrete_log_prob`.
    """
    observed = denoiser.observed
    if observed is not None:
        x = torch.where(observed, x, dequantizer.filling)  # in the place of NaN
    u, log_q = dequantizer.sample(x.double(), denoiser.schedule.gamma_min, noise)
    flow = ProbedFlow.of(denoiser, x.double() + u, noise=noise, trace=trace, num_probes=num_probes)
    return flow, u, sum_dims(present(log_q, observed))


def _log_mean_exp(values: Tensor, exact: bool) -> tuple[Tensor, Tensor]:
    """(K, B, num_probes) -> (B, num_probes), and the weights, each probe's from the other probes unless they are exact."""
    K, _, num_probes = values.shape
    others = values if exact or K == 1 else (values.sum(2, keepdim=True) - values) / (num_probes - 1)
    log_weights = others.log_softmax(0)
    weights = log_weights.exp()
    return (weights * (values - log_weights)).sum(0) - math.log(K), weights
