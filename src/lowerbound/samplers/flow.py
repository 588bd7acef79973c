r"""The probability flow, followed as exactly as is asked for.

In the variance-preserving rescaling $z = a x_t / \alpha_t$, $a^2 = \mathrm{sigmoid}(-\gamma)$, $s^2 =
\mathrm{sigmoid}(\gamma)$, the flow is

$$\frac{dz}{d\gamma} = \tfrac12 a s\, \hat v = \tfrac12 a (a z - \hat x),$$

the same for every schedule and scaling. The adaptive solver of `ode` follows it from each level to the next, every sample
with steps of its own.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound import ode
from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.base import preserving
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level
from lowerbound.shapes import Examples


@dataclass(frozen=True)
class ProbabilityFlow(Sampler, order=5, calls_per_step=2 + len(ode.STAGES)):
    r"""$dz/d\gamma = \frac12 a s\, \hat v$ by Dormand and Prince's pair of orders 5 and 4 (`ode.solve`).

    Arguments:
        tolerance: the error allowed in a step of the solver, in units of z, whose variance is about one.

    Raises:
        InputError: for a tolerance outside of (0, 1).
    """

    tolerance: Annotated[float, Setting("the error allowed in a step of the adaptive solver")] = 1e-3

    def __post_init__(self):
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance is {self.tolerance}: it must lie between 0 and 1")

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        return State(follow(denoiser, state.x, t, s, self.tolerance)[0])


@torch.no_grad()
def follow(
    denoiser: Denoiser, x_t: Examples, t: Level, s: Level, tolerance: float
) -> tuple[Examples, Int[Tensor, "batch"]]:
    """The flow from one noise level to another, in either direction.

    Arguments:
        denoiser: the model, its condition bound.
        x_t: the samples at t.
        t, s: the levels, of numbers.
        tolerance: as in `ProbabilityFlow`.

    Returns:
        The samples at s, and the network calls that each of them took.

    Raises:
        InputError: if the flow cannot be followed (see `ode.solve`).
    """

    def field(state: ode.State, gamma: Tensor, rows: Tensor) -> ode.State:
        (z,) = state
        level, a = denoiser.schedule.level_at(gamma), expand(preserving(gamma)[0], z)
        x_hat = denoiser.rows(rows)(z * expand(level.alpha, z) / a, level).x
        return (0.5 * a * (a * z - x_hat),)

    a_t, a_s = (preserving(level.gamma)[0] for level in (t, s))
    z = (x_t * (a_t / t.alpha),)
    solution = ode.solve(field, z, float(t.gamma), float(s.gamma), tolerance=tolerance)
    return solution.complete()[0] * (s.alpha / a_s), solution.num_calls
