r"""Grids for few steps: the best choice of times by dynamic programming.

What a step from t to s costs in expectation follows from $m(\gamma) = E\|x - \hat x(x_t)\|^2 / D$ alone, a table of which
`measure_variance` makes. The cost of a grid is the sum over its steps, so the best grid of n + 1 times that ends at s is
the best of n times that ends at some t, and the step from t to s (Watson et al. 2021, "Learning to efficiently sample from
diffusion probabilistic models").

Two costs, for two purposes:

- the bound's, in nats per dimension: a step with the posterior's own variance adds $\tfrac12 (SNR_s - SNR_t)\, m_t$ to the
  diffusion term. Both ends are fixed, so the decoder's term and the prior's are the same for all grids. For an exact
  denoiser $E\|\hat x_s - \hat x_t\|^2 / D = m_t - m_s$ along the reverse process (the estimate is a martingale), so what
  discretisation adds to the bound of continuous time, $\tfrac12 \int_{SNR_t}^{SNR_s} (m_t - m)\, dSNR$ a step, is the path's
  Kullback-Leibler divergence that "align your steps" minimises (Sabour et al. 2024): it is the same grid. Most of its times
  are spent on noise that no one sees.
- the samples', in squared units of the data: with $r = e^{\gamma / 2}$, a step of the flow, $x_s / \alpha_s =
  \frac{r_s}{r_t} \frac{x_t}{\alpha_t} + (1 - \frac{r_s}{r_t})\, \hat x$, holds $\hat x$ where it was. That changes by
  $m_t - m_s$, so the step errs by about $(1 - \frac{r_s}{r_t})^2 (m_t - m_s)$; the last one, to the data (r = 0), by $m_t$.
  It counts here, and the last time is free: it falls where less noise is no longer worth a step.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.analytic_variance import WithVariance
from lowerbound.errors import InputError
from lowerbound.grid.spacings import times_at
from lowerbound.settings import check_count
from lowerbound.shapes import Times


def minimal_bound(denoiser: WithVariance, num_times: int, num_candidates: int = 512) -> Times:
    r"""The times, from 1 to 0, of the chain with the least $\sum \tfrac12 (SNR_s - SNR_t)\, m_t$; a single time is 1.

    It makes the bound of a short chain tight; to draw samples in few steps, take `minimal_error`.

    Arguments:
        denoiser: a denoiser with measured $m(\gamma)$ (`measure_variance`).
        num_times: n; the chain has n - 1 steps and the decoder.
        num_candidates: the levels to choose from, equally spaced in $\gamma$.

    Raises:
        InputError: for no times, or more than there are candidates.
    """
    gammas, x_vars = _candidates(denoiser, num_times, num_candidates)
    if num_times == 1:
        return times_at(denoiser.schedule, gammas[:1])
    snr = torch.exp(-gammas)
    cost = 0.5 * (snr - snr[:, None]) * x_vars[:, None]
    return times_at(denoiser.schedule, gammas[_best_path(cost, num_times)])


def minimal_error(denoiser: WithVariance, num_times: int, num_candidates: int = 512) -> Times:
    r"""The times, the first 1, with the least $\sum (1 - \frac{r_s}{r_t})^2 (m_t - m_s)$, the step to the data included.

    Arguments:
        denoiser: a denoiser with measured $m(\gamma)$ (`measure_variance`).
        num_times: n, as many as there are steps.
        num_candidates: the levels to choose from, equally spaced in $\gamma$.

    Raises:
        InputError: for no times, or more than there are candidates.
    """
    gammas, x_vars = _candidates(denoiser, num_times, num_candidates)
    ratio = torch.cat([torch.exp(gammas / 2), torch.zeros(1)])  # the data come after the candidates
    x_vars = torch.cat([x_vars, torch.zeros(1)])
    weight = 1 - ratio / ratio[:-1, None]
    cost = weight**2 * (x_vars[:-1, None] - x_vars).clamp(min=0)
    cost = torch.cat([cost, torch.full_like(ratio, math.inf)[None]])
    return times_at(denoiser.schedule, gammas[_best_path(cost, num_times + 1)[:-1]])


def _candidates(denoiser: WithVariance, num_times: int, num_candidates: int) -> tuple[Tensor, Tensor]:
    r"""Decreasing $\gamma$ and $m(\gamma)$."""
    check_count(num_times, "num_times")
    if num_times > num_candidates:
        raise InputError(
            f"{num_times} times out of {num_candidates} candidates: give num_candidates of {num_times} or more"
        )
    schedule = denoiser.schedule
    gammas = torch.linspace(schedule.gamma_max, schedule.gamma_min, num_candidates, dtype=torch.float64)
    return gammas, denoiser.x_var_at(gammas)


def _best_path(cost: Float[Tensor, "num_places num_places"], num_visited: int) -> Tensor:
    """The increasing places, from the first to the last, with the least sum of cost[here, next]."""
    forwards = torch.ones_like(cost, dtype=torch.bool).triu(1)
    cost = torch.where(forwards, cost, math.inf)
    total = torch.full_like(cost[0], math.inf)
    total[0] = 0
    before = []
    for _ in range(num_visited - 1):
        total, best = (total[:, None] + cost).min(0)
        before.append(best)
    places = [len(cost) - 1]
    for best in reversed(before):
        places.append(int(best[places[-1]]))
    return torch.tensor(places[::-1])
