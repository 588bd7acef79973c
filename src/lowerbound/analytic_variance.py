r"""The best isotropic reverse variance of a trained model, measured (Bao et al. 2022, "Analytic-DPM").

Let the model's step be $N(c_t x_t + c_x \hat x, v)$ with the posterior's coefficients and one v for all entries at a level.
The expected KL of the step, in nats,

$$\frac{D}{2} \left[ \frac{\tilde\beta + c_x^2 m}{v} - 1 - \log\frac{\tilde\beta}{v} \right], \qquad
m(\gamma) = E\|x - \hat x(x_t)\|^2 / D,$$

is least at $v = \tilde\beta + c_x^2 m$, whatever the mean $\hat x$ (Bao et al. 2022, "Estimating the optimal covariance with
imperfect mean"). So m takes the place of Var[x | x_t] in the analytic variance. For an exact mean it is the expected
posterior variance, $r^2 (1 - E\|\hat\epsilon\|^2 / D)$ with $r = e^{\gamma / 2}$.

Between the levels at which m is measured, $m / \mathrm{sigmoid}(\gamma)$ is linear in $\gamma$: m relative to the posterior
variance of data N(0, I), which for continuous data has a finite limit at both ends and for discrete data goes to zero where
the levels can be told apart. With 32 levels over $-9 < \gamma < 10$ that costs closed-form data less than 2e-4 bits/dim.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.denoiser.base import Denoiser, Prediction, Wrapper
from lowerbound.elementary import expand, present
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.schedule import Level

NUM_GAMMAS = 32


class WithVariance(Wrapper):
    r"""A denoiser whose predictions carry `x_var`, the same for all entries at a noise level, from a table.

    Arguments:
        denoiser: the model.
        gammas: (K,) increasing noise levels; the first and the last value go on beyond them, relative to
            $\mathrm{sigmoid}(\gamma)$.
        x_vars: (K,) $m(\gamma)$ at these levels.

    Raises:
        InputError: if the levels do not increase, or a variance is negative or not finite.
    """

    def __init__(self, denoiser: Denoiser, gammas: Float[Tensor, "num_gammas"], x_vars: Float[Tensor, "num_gammas"]):
        super().__init__(denoiser)
        if len(gammas) == 0 or not bool(gammas.isfinite().all() and (gammas.diff() > 0).all()):
            raise InputError(f"a variance at {len(gammas)} noise levels: give at least one, finite and increasing")
        if not bool(x_vars.isfinite().all() and (x_vars >= 0).all()):
            raise InputError(
                f"the variances run from {x_vars.min()} to {x_vars.max()}: all must be finite, none negative"
            )
        self.gammas, self.x_vars = gammas.cpu().double(), x_vars.cpu().double()

    def x_var_at(self, gamma: Float[Tensor, "num_gammas"]) -> Float[Tensor, "num_gammas"]:
        r"""$m(\gamma)$ at any levels, on the CPU in double precision."""
        ratio = np.interp(gamma.numpy(), self.gammas.numpy(), (self.x_vars / self.gammas.sigmoid()).numpy())
        return torch.from_numpy(ratio) * gamma.sigmoid()

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        gamma = torch.as_tensor(level.gamma).detach().cpu().double().reshape(-1)
        x_var = torch.as_tensor(expand(self.x_var_at(gamma).to(x_t), x_t))
        return replace(self.denoiser(x_t, level, cond, observed), x_var=x_var.expand_as(x_t))


@torch.no_grad()
def measure_variance(
    denoiser: Denoiser,
    x: Float[Tensor, "num_examples *shape"],
    noise: Noise,
    num_gammas: int = NUM_GAMMAS,
    *,
    batch_size: int = 128,
    progress: Callable[[int], object] = lambda levels: None,
) -> WithVariance:
    r"""The denoiser with $m(\gamma) = E\|x - \hat x\|^2 / D$, measured on examples at levels equally spaced in $\gamma$.

    `elbo(..., reverse="analytic")` and `Ancestral("analytic")` then work with it.

    Arguments:
        denoiser: the model.
        x: examples, (N, *); not those on which the bound is then reported.
        noise: where the noise comes from, in batches: a `Stream`.
        num_gammas: K, network calls per example.
        batch_size: examples at a time.
        progress: called with 1 after each level.

    Raises:
        InputError: if there are no examples, or fewer than two levels.
    """
    if len(x) == 0 or num_gammas < 2:
        raise InputError(
            f"{len(x)} examples at {num_gammas} noise levels: at least one example and two levels are needed"
        )
    observed = torch.ones_like(x, dtype=torch.bool) if denoiser.observed is None else denoiser.observed
    x = present(x, observed)
    schedule = denoiser.schedule
    gammas = torch.linspace(schedule.gamma_min, schedule.gamma_max, num_gammas, dtype=torch.float64)
    levels = [schedule.level_at(gamma) for gamma in gammas.tolist()]
    x_vars = []
    for level in levels:
        total = 0.0
        for batch in torch.arange(len(x), device=x.device).split(batch_size):
            x_t = level.alpha * x[batch] + level.sigma * noise.normal(x[batch])
            error = denoiser.rows(batch)(x_t, level).x - x[batch]
            total += (error.square() * observed[batch]).sum().item()
        x_vars.append(total / max(1, int(observed.sum())))
        progress(1)
    return WithVariance(denoiser, gammas, torch.tensor(x_vars, dtype=torch.float64))
