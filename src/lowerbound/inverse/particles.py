r"""The twisted diffusion sampler: sequential Monte Carlo along the chain, exact in the limit of many particles.

Each row of the batch has a population of its own. A particle at t moves by $\tilde p(x_s | x_t, y)$, the model's own reverse
step with the twisted mean $E[x | x_t, y]$ in the place of $\hat x$, and carries the weight

$$\frac{p(x_s | x_t)}{\tilde p(x_s | x_t, y)} \frac{\tilde p(y | x_s)}{\tilde p(y | x_t)}, \qquad
\tilde p(y | x_t) = N(y; A \hat x(x_t), \nu^2 I + r_t^2 A A^T),$$

whose products telescope: whatever the twist, the weighted population is the model's own posterior, only the better the twist
the fewer particles it takes (Wu et al. 2023, "Practical and asymptotically exact conditional sampling in diffusion models",
algorithm 1). Where the effective number of particles falls below a share of all, they are resampled systematically. What is
left of error with many particles is the chain's: its finite number of steps and its last level, where the measurement is
taken to have the noise $\nu^2 + r_t^2$, which keeps measurements without noise in reach.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.elementary import sum_dims
from lowerbound.errors import InputError
from lowerbound.inverse.method import Method, Problem, Progress
from lowerbound.reverse import KINDS, posterior
from lowerbound.rng import Noise
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples, Times


@dataclass(frozen=True)
class TwistedParticles(Method):
    r"""The twisted diffusion sampler (Wu et al. 2023): one draw per row, from a population of its own.

    Arguments:
        num_particles: in each population.
        variance: of the model's reverse steps, one of `reverse.KINDS`.
        threshold: resample where the effective number of particles, $1 / \sum_i w_i^2$, is below this share of all.
        data_variance: of an entry of x, for the twist.
        num_iterations: of the twist's conjugate gradients, without the network; a mask needs one.

    Raises:
        InputError: for less than one particle, an unknown variance or a threshold outside [0, 1].
    """

    num_particles: int = 16
    variance: str = "lower"
    threshold: float = 0.5
    data_variance: float = 1.0
    num_iterations: int = 20

    def __post_init__(self):
        check_least(1, num_particles=self.num_particles)
        check_choice("the reverse variance", self.variance, KINDS)
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}: it lies in [0, 1]")

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        y, rows, particles = problem.y, len(problem.y), self.num_particles
        model = problem.posterior("isotropic", self.num_iterations, self.data_variance)
        model = model.rows(torch.arange(rows, device=y.device).repeat_interleave(particles))
        levels = model.schedule.levels(times)
        # drawn row by row, so that a row's noise does not depend on the batch
        population, single = y.new_empty(rows, particles, *model.shape), y.new_empty(rows, 1)
        x = math.sqrt(levels[0].alpha ** 2 + levels[0].sigma ** 2) * noise.normal(population).flatten(0, 1)
        twist = model.twist(x, levels[0])
        log_weights = twist.log_prob.reshape(rows, particles)
        progress(1)
        for t, s in zip(levels[:-1], levels[1:], strict=True):
            step, variance = posterior(t, s), twist.prediction.reverse_variance(self.variance, s)
            mean, twisted = (step.from_x_t * x + step.from_x * x_hat for x_hat in (twist.prediction.x, twist.x))
            ancestors, log_weights = _resample(log_weights, self.threshold, noise.uniform(single))
            mean, twisted, before = mean[ancestors], twisted[ancestors], twist.log_prob[ancestors]
            variance = variance[ancestors] if isinstance(variance, Tensor) else torch.full_like(x, variance)
            x = twisted + variance.sqrt() * noise.normal(population).flatten(0, 1)
            log_ratio = sum_dims(((x - twisted) ** 2 - (x - mean) ** 2) / (2 * variance))
            twist = model.twist(x, s)
            log_weights = log_weights + (log_ratio + twist.log_prob - before).reshape(rows, particles)
            progress(1)
        chosen = systematic(log_weights.softmax(1), noise.uniform(single), 1)[:, 0]
        return twist.x.reshape(population.shape)[torch.arange(rows, device=y.device), chosen]


def systematic(
    weights: Float[Tensor, "batch num_particles"], u: Float[Tensor, "batch 1"], num_draws: int
) -> Int[Tensor, "batch num_draws"]:
    r"""Indices drawn with these probabilities by systematic resampling: that of the i-th draw is where the weights' running
    sum reaches $(i + u) / n$; each index occurs its expected number of times, rounded down or up."""
    sums = (torch.arange(num_draws, dtype=u.dtype, device=u.device) + u) / num_draws
    return torch.searchsorted(weights.cumsum(1), sums).clamp(max=weights.shape[1] - 1)


def _resample(log_weights: Tensor, threshold: float, u: Tensor) -> tuple[Tensor, Tensor]:
    """Each particle's ancestor, numbered over all populations, and the log weights that are left."""
    rows, particles = log_weights.shape
    weights = log_weights.softmax(1)
    degenerate = 1 / weights.square().sum(1, keepdim=True) < threshold * particles
    themselves = torch.arange(particles, device=u.device).expand(rows, -1)
    ancestors = torch.where(degenerate, systematic(weights, u, particles), themselves)
    offsets = particles * torch.arange(rows, device=u.device)[:, None]
    return (offsets + ancestors).flatten(), torch.where(degenerate, 0, log_weights)
