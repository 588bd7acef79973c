r"""Published tables of betas, and the one door by which they become a schedule.

In a discrete chain of DDPM, $q(x_t | x_{t-1}) = N(\sqrt{1 - \beta_t} x_{t-1}, \beta_t)$ for t = 1 ... T, so
$\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)$ and $\gamma_t = \log((1 - \bar\alpha_t) / \bar\alpha_t)$. The table gives the
T levels of the latents $x_1 ... x_T$ and none for the data.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.schedule.curves import Tabulated
from lowerbound.schedule.scaling import VARIANCE_PRESERVING, Scaling
from lowerbound.settings import check_least


def from_betas(betas: Float[Tensor, "num_levels"], scaling: Scaling = VARIANCE_PRESERVING) -> Tabulated:
    r"""The schedule through the levels $\gamma_t = \log\frac{1 - \bar\alpha_t}{\bar\alpha_t}$ of a table of betas.

    Arguments:
        betas: $\beta_1 ... \beta_T$, shape (T,).
        scaling: the units of $x_t$; the table's own are variance preserving.

    Returns:
        A schedule whose `times` are the T levels' times, from 0 (the table's first) to 1 (its last).

    Raises:
        InputError: if a beta lies outside (0, 1).
    """
    betas = betas.double()
    if not bool(((betas > 0) & (betas < 1)).all()):
        outside = betas[(betas <= 0) | (betas >= 1) | betas.isnan()]
        raise InputError(f"{len(outside)} of {len(betas)} betas lie outside (0, 1), the first is {outside[0].item()}")
    log_alpha_bar = torch.log1p(-betas).cumsum(0)
    return Tabulated(torch.log(-torch.expm1(log_alpha_bar)) - log_alpha_bar, scaling)


def linear(num_steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, "num_steps"]:
    r"""$\beta_t$ linear from `first` to `last` (DDPM, section 4)."""
    check_least(2, num_steps=num_steps)
    return torch.linspace(first, last, num_steps, dtype=torch.float64)


def scaled_linear(num_steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Float[Tensor, "num_steps"]:
    r"""$\sqrt{\beta_t}$ linear (the configuration of latent diffusion, Rombach et al. 2022)."""
    check_least(2, num_steps=num_steps)
    return torch.linspace(first**0.5, last**0.5, num_steps, dtype=torch.float64).square()


def cosine(num_steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Float[Tensor, "num_steps"]:
    r"""$\beta_t = \min(1 - f(t/T) / f((t-1)/T), largest)$, $f(u) = \cos^2(\frac{u + s}{1 + s} \frac{\pi}{2})$.

    Nichol & Dhariwal 2021, equation 17 and the clipping below it.
    """
    check_least(2, num_steps=num_steps)
    u = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((u + offset) / (1 + offset) * math.pi / 2).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=largest)
