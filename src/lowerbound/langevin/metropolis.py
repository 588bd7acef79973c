r"""Langevin dynamics whose stationary law is exact, by accepting or refusing each step (MALA).

A Langevin step is a proposal $g(x' | x) = N(x'; x + \frac e2 \nabla \log p(x), e I)$. Taken with the probability

$$\min\left(1, \frac{p(x')\, g(x | x')}{p(x)\, g(x' | x)}\right)$$

and else not at all, it leaves p as it is for every e > 0 (Metropolis et al. 1953, Hastings 1970; Roberts & Tweedie 1996).
Only a ratio of densities is asked for, so that p need not be normalised. With $z' = (x - x' - \frac e2 \nabla \log
p(x')) / \sqrt e$, the noise that would lead back, $\log g(x | x') - \log g(x' | x) = \frac12 (\|z\|^2 - \|z'\|^2)$.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lowerbound.elementary import Scalar, expand, sqrt, sum_dims
from lowerbound.langevin.unadjusted import check_steps, langevin_step
from lowerbound.rng import Noise
from lowerbound.shapes import Examples, PerExample


@torch.no_grad()
def metropolis_langevin(
    log_density_and_score: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Examples,
    step_size: Scalar,
    num_steps: int,
    noise: Noise,
) -> tuple[Examples, PerExample]:
    r"""Metropolis-adjusted Langevin dynamics from x: the states after `num_steps` steps, and the share that was accepted.

    Each chain accepts for itself. About 0.57 accepted is the best share in many dimensions (Roberts & Rosenthal 1998).
    Nothing is kept for autograd; a score that is itself a gradient turns it on for itself.

    Arguments:
        log_density_and_score: $x \mapsto \log p(x)$ up to a constant, (B,) nats, and $\nabla \log p(x)$, (B, *).
        x: where each chain starts, (B, *).
        step_size: e, a number or (B,), in units of $x^2$.
        num_steps: how many, each one evaluation and one more in all.
        noise: where z and the decisions come from.

    Raises:
        InputError: for a step that is not positive or a negative number of steps.
    """
    check_steps(step_size, num_steps)
    accepted = x.new_zeros(len(x))
    log_density, score = log_density_and_score(x)
    for _ in range(num_steps):
        z = noise.normal(x)
        proposal = langevin_step(x, score, z, step_size)
        log_density_proposed, score_proposed = log_density_and_score(proposal)
        back = (x - proposal - expand(step_size / 2, x) * score_proposed) / expand(sqrt(step_size), x)
        log_ratio = log_density_proposed - log_density + 0.5 * (sum_dims(z.square()) - sum_dims(back.square()))
        # a ratio that is not a number, outside of where p lives, is refused
        accept = noise.uniform(x.new_empty(len(x), 1))[:, 0].log() < log_ratio
        chosen = accept.reshape(-1, *[1] * (x.ndim - 1))
        x, score = torch.where(chosen, proposal, x), torch.where(chosen, score_proposed, score)
        log_density = torch.where(accept, log_density_proposed, log_density)
        accepted += accept
    return x, accepted / max(num_steps, 1)
