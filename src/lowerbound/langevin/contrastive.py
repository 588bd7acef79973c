r"""Contrastive divergence: an energy is lowered at the data and raised where the model itself would go.

For $p = e^{-E} / Z$ the gradient of the mean negative log density of data q is

$$\nabla_\theta\, E_q[-\log p] = E_q[\nabla_\theta E] - E_p[\nabla_\theta E],$$

so that draws of the model, the negatives, take the place of Z. Here q is the data's $q(x_t)$ at each noise level, p the
model's. The negatives are states $x_t^-$ of Metropolis-adjusted Langevin chains, which keep the model's density as it is: at
the right model the expected gradient is zero however short the chains. What they start from makes the method:

- CD-k: at the data, and k steps are taken (Hinton 2002, "Training products of experts by minimizing contrastive
  divergence"). It asks that the chain does not wander off from the data, and knows nothing of what is out of reach;
- persistent: where the chains of the step before ended, as the model changes slowly (Tieleman 2008, "Training restricted
  Boltzmann machines using approximations to the likelihood gradient"), some of them begun anew (Du & Mordatch 2019,
  "Implicit generation and modeling with energy based models").

Steps have the size $e = (\eta \sigma_t)^2$: no $q(x_t)$ is narrower than its noise. CD of one small step is score matching
(Hyvarinen 2007, "Connections between score matching, contrastive divergence, and pseudolikelihood"): its expected gradient
is that of $\frac{\eta^2}{4} \|\hat\epsilon - \epsilon\|^2$.

The value of the loss is no measure of how good a model is; only its gradient means something.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowerbound.arguments import described
from lowerbound.denoiser import Conditioned, Denoiser
from lowerbound.elementary import exp, expand, present, sqrt
from lowerbound.errors import InputError
from lowerbound.langevin.energy import EnergyDenoiser
from lowerbound.langevin.metropolis import metropolis_langevin
from lowerbound.rng import Noise
from lowerbound.schedule import Level
from lowerbound.shapes import Examples, PerExample
from lowerbound.times import antithetic_times
from lowerbound.words.brief import Brief


class ContrastiveDivergence(nn.Module):
    r"""$E(x_t) - E(x_t^-)$ with negatives k Langevin steps from $x_t$ (CD-k, formulas in the module's docstring).

    Arguments:
        num_steps: k.
        step_size: $\eta$, in units of the level's noise.
        regularisation: r of $r\, (E(x_t)^2 + E(x_t^-)^2)$, which keeps energies from growing together (Du & Mordatch 2019,
            section 3).

    Raises:
        InputError: for no step, one that is not positive, or a negative regularisation.
    """

    def __init__(self, num_steps: int = 10, step_size: float = 0.7, regularisation: float = 0.0):
        super().__init__()
        if num_steps < 1 or not step_size > 0 or not regularisation >= 0:
            raise InputError(
                f"{num_steps} Langevin steps of size {step_size}, regularisation {regularisation}: at least one step, of a "
                "positive size, and a regularisation of 0 or more"
            )
        self.num_steps = num_steps
        self.step_size = step_size
        self.regularisation = regularisation

    def forward(
        self, denoiser: Denoiser, x: Examples, *, t: PerExample | None = None, eps: Examples | None = None, noise: Noise
    ) -> PerExample:
        r"""The losses of a batch, one level for each example.

        Arguments:
            denoiser: the energy; one that was given a condition has it for data and negatives alike.
            x: data, (B, *).
            t, eps: times in [0, 1], (B,), and standard normal noise, (B, *); drawn from `noise` if not given.
            noise: where the chains' noise comes from.
        """
        energy = Energy.within(denoiser)
        if t is None:
            t = antithetic_times(noise.uniform(x.new_empty(len(x), 1))[0, 0], len(x))
        if eps is None:
            eps = noise.normal(x)
        level = denoiser.schedule.level(t)
        x_t = present(expand(level.alpha, x) * x + expand(level.sigma, x) * eps, energy.observed)
        negative = self.negatives(energy, x_t, t, level, noise)
        of_data, of_negative = energy(x_t, level), energy(negative, level)
        loss = of_data - of_negative
        if self.regularisation:
            loss = loss + self.regularisation * (of_data.square() + of_negative.square())
        return loss

    def negatives(self, energy: "Energy", x_t: Tensor, t: Tensor, level: Level, noise: Noise) -> Tensor:
        """Draws that the model makes of itself, (B, *), beside the data at their levels."""
        return self.move(energy, x_t, level, noise)

    def move(self, energy: "Energy", x_t: Tensor, level: Level, noise: Noise) -> Tensor:
        """Langevin steps from $x_t$, nothing of which is kept for autograd."""

        def log_density_and_score(x_t: Tensor) -> tuple[Tensor, Tensor]:
            x_t = present(x_t, energy.observed)
            log_density, score = energy.denoiser.log_density_and_score(x_t, level, energy.cond)
            return log_density, present(score, energy.observed)

        size = (self.step_size * level.sigma) ** 2
        x_t, _ = metropolis_langevin(log_density_and_score, x_t.detach(), size, self.num_steps, noise)
        return present(x_t, energy.observed)


class PersistentChains(ContrastiveDivergence):
    r"""$E(x_t) - E(x_t^-)$ with negatives of chains that go on from step to step (persistent contrastive divergence).

    C chains share the times evenly, the i-th those from i / C to (i + 1) / C, and an example is set against the chain of its
    time; of a batch that is evenly spread, and not larger than C, each against another. Between two steps a chain keeps
    $x_t / \sqrt{\alpha_t^2 \sigma_d^2 + \sigma_t^2}$, since its time moves a little.

    Arguments:
        shape: of one example.
        num_chains: C, at least the batch size.
        noise: where they start from.
        num_steps, step_size, regularisation: as of `ContrastiveDivergence`.
        restart: the share of chains that begin anew at a Gaussian before each step.

    Raises:
        InputError: for no chain, a share outside of [0, 1], or what `ContrastiveDivergence` refuses; on a call with a
            condition, which the chains have none of.
    """

    states: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        num_chains: int,
        noise: Noise,
        *,
        num_steps: int = 10,
        step_size: float = 0.7,
        regularisation: float = 0.0,
        restart: float = 0.02,
    ):
        super().__init__(num_steps, step_size, regularisation)
        if num_chains < 1 or not 0 <= restart <= 1:
            raise InputError(
                f"{num_chains} chains of which {restart} begin anew: at least one chain, and a share in [0, 1]"
            )
        self.restart = restart
        self.register_buffer("states", noise.normal(torch.empty(num_chains, *shape)))

    def negatives(self, energy: "Energy", x_t: Tensor, t: Tensor, level: Level, noise: Noise) -> Tensor:
        if energy.cond is not None:
            raise InputError("persistent chains belong to no condition: train without, or by contrastive divergence")
        chain = (t.detach() * len(self.states)).long().clamp(max=len(self.states) - 1)
        u = self.states[chain].to(x_t)
        restarts = noise.uniform(x_t.new_empty(len(x_t), 1))[:, 0] < self.restart
        u = torch.where(restarts.reshape(-1, *[1] * (u.ndim - 1)), noise.normal(u), u)
        scale = expand(level.alpha * sqrt(energy.denoiser.sigma_data**2 + exp(level.gamma)), x_t)
        negative = self.move(energy, present(scale * u, energy.observed), level, noise)
        self.states[chain] = (negative / scale).detach().to(self.states)
        return negative


@dataclass(frozen=True, eq=False, repr=False)
class Energy(Brief):
    """An energy, and the condition and the observed entries that it was given."""

    denoiser: EnergyDenoiser
    cond: Tensor | None
    observed: Tensor | None

    @classmethod
    def within(cls, denoiser: Denoiser) -> "Energy":
        """That of a denoiser, which is refused by an InputError if it is no energy."""
        is_conditioned = isinstance(denoiser, Conditioned)
        energy, cond = (denoiser.denoiser, denoiser.cond) if is_conditioned else (denoiser, None)
        if not isinstance(energy, EnergyDenoiser):
            raise InputError(
                f"contrastive divergence draws from an energy: give an EnergyDenoiser, not {described(energy)}"
            )
        return cls(energy, cond, denoiser.observed)

    def __call__(self, x_t: Tensor, level: Level) -> Tensor:
        """E of $x_t$, (B,)."""
        return self.denoiser.energy(x_t, level, self.cond)
