r"""Langevin dynamics: noise and a drift along the score that together keep a density as it is.

$$x' = x + \tfrac e2 \nabla \log p(x) + \sqrt e\, z, \qquad z \sim N(0, I)$$

For $e \to 0$ its stationary law is p. A finite step makes an error of first order in e: on a Gaussian of variance u the step
is $x' = (1 - \frac{e}{2u}) x + \sqrt e\, z$, whose stationary variance is

$$\frac{e}{1 - (1 - \frac{e}{2u})^2} = \frac{u}{1 - \frac{e}{4u}},$$

and from $e = 4u$ on there is none. (Texts that write $x + \eta s + w$ with $Var[w] = 2 \eta$ mean $e = 2 \eta$.) The sign of
the score is $\nabla \log p = -\nabla E$. Without the bias: `metropolis_langevin`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lowerbound.elementary import Scalar, expand, sqrt
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.shapes import Examples


def langevin_step(x_t: Examples, score: Examples, z: Examples, step_size: Scalar) -> Examples:
    r"""$x_t + \frac{e}{2} \nabla \log q(x_t) + \sqrt e\, z$, one step of Langevin dynamics.

    Arguments:
        x_t: noisy data.
        score: $\nabla \log q(x_t)$.
        z: standard normal.
        step_size: e, a number or (B,), in units of $x_t^2$.
    """
    return x_t + expand(step_size / 2, x_t) * score + expand(sqrt(step_size), x_t) * z


@torch.no_grad()
def langevin(
    score: Callable[[Tensor], Tensor], x: Examples, step_size: Scalar, num_steps: int, noise: Noise
) -> Examples:
    r"""Langevin dynamics from x: the state after `num_steps` steps.

    Nothing is kept for autograd; a score that is itself a gradient turns it on for itself.

    Arguments:
        score: $x \mapsto \nabla \log p(x)$; of a denoiser at a level t, `lambda x: denoiser(x, t).score`.
        x: where each chain starts, (B, *).
        step_size: e, a number or (B,), in units of $x^2$.
        num_steps: how many, each one evaluation of the score; none returns x.
        noise: where z comes from.

    Raises:
        InputError: for a step that is not positive or a negative number of steps.
    """
    check_steps(step_size, num_steps)
    for _ in range(num_steps):
        x = langevin_step(x, score(x), noise.normal(x), step_size)
    return x


def check_steps(step_size: Scalar, num_steps: int) -> None:
    """Refuse steps that cannot be taken, with an InputError."""
    if num_steps < 0 or not bool((torch.as_tensor(step_size) > 0).all()):
        raise InputError(f"{num_steps} Langevin steps of size {step_size}: a number from 0 on, of a positive size")
