"""A diffusion model as a model of the family: a denoiser, the decoder at its data's end, and what it is trained by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import likelihood, objective
from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.base import replaced
from lowerbound.errors import InputError
from lowerbound.langevin import ContrastiveDivergence, EnergyDenoiser, PersistentChains
from lowerbound.likelihood import Decoder, Elbo, check_likelihood, end_terms
from lowerbound.mixed import BlockDecoder
from lowerbound.models.base import ONE_DRAW, Draw, Effort, Losses, Model
from lowerbound.rng import Noise, PerSample, Stream
from lowerbound.samplers import DDIM, Sampler, start, trajectory
from lowerbound.sampling.plan import Plan, make_plan
from lowerbound.schedule import LearnedGamma
from lowerbound.shapes import Chain, Conditions, Examples, Observed, PerExample, Times
from lowerbound.words.brief import Brief
from lowerbound.words.counts import counted

ENTRIES = 65_536
"""About how many entries of an example are drawn for its bound where the number of draws is not given, and of all held-out
examples where their figure is wanted soon."""

CONTRASTIVE = ("contrastive-divergence", "persistent-contrastive-divergence")
"""Those that train an energy by draws of its own."""


@dataclass(frozen=True, repr=False)
class Objective(Brief):
    """What is minimised.

    Arguments:
        name: one of `config.ObjectiveName`.
        weighting: of the integral, for objectives in continuous time.
        integral: one draw of it for each example, as `objective.loss` makes it.
        chain: the times of the chain's levels, for objectives over steps.
        reverse: the reverse variance, for bounds over steps.
        chain_bound: an estimate of the bound over a chain, as the `theory.derivations` make it; None: no such objective.
        chain_loss: a loss over a chain that is no bound, as `theory.hybrid` is one; None: no such objective.
        contains_bound: whether the bound is a part of it, beside others, so that it is worth while to look for the best.
        takes_whole_paths: whether each example goes all the way along the chain, so that there is no place to choose.
    """

    name: str = "elbo"
    weighting: objective.Weighting = objective.uniform
    integral: Callable[..., Tensor] = objective.loss
    chain: Chain | None = None
    reverse: str = "lower"
    chain_bound: Callable[..., Elbo] | None = None
    chain_loss: Callable[..., Tensor] | None = None
    contains_bound: bool = False
    takes_whole_paths: bool = False

    @property
    def is_continuous(self) -> bool:
        """Whether it is an integral over time, one draw per example."""
        return self.chain_bound is None and self.chain_loss is None

    @property
    def is_bound(self) -> bool:
        """Whether its expectation is the bound, in nats."""
        is_integral = self.is_continuous and self.name not in CONTRASTIVE and self.weighting is objective.uniform
        return self.chain_bound is not None or is_integral


BOUND = Objective()


class Diffusion(Model):
    """A diffusion model, whether its network is called a denoiser, a score or an energy.

    Arguments:
        denoiser: what is trained; it owns the schedule, learned or not.
        decoder: from the least noisy latent to the data; None: there is no likelihood, and no bound to train.
        objective: what is minimised.
        num_levels: as of every `Model`.
        num_chains: of persistent contrastive divergence, at least the batch size.

    Attributes:
        times: of a distilled model, those that its denoiser was made for, (num_steps,); None of all others.

    Raises:
        InputError: for an objective that needs the decoder that is not there, or an energy.
    """

    name = "diffusion"
    most_held_out = 512

    def __init__(
        self,
        denoiser: Denoiser,
        decoder: Decoder | None,
        objective: Objective = BOUND,
        *,
        num_levels: int | None = None,
        num_chains: int = 256,
    ):
        super().__init__(denoiser.shape, num_levels)
        self.decoder = decoder
        self.objective = objective
        self.times: Tensor | None = None
        self._take(denoiser)
        self.contrastive = self._contrastive(num_chains)
        if decoder is None and self.counts_ends:
            raise InputError(
                f"the objective {objective.name} with this schedule trains the whole bound, which ends in a decoder: choose "
                "a --decoder.name other than none"
            )

    def given(self, cond: Conditions | None = None, observed: Observed | None = None) -> "Diffusion":
        return self.around(self.denoiser.given(cond, observed))

    def around(self, denoiser: Denoiser) -> "Diffusion":
        """The same model with another denoiser, guided say, in the place of its own."""
        if denoiser is self.denoiser:
            return self
        model = replaced(self)
        model._take(denoiser)
        return model

    def distilled(self, times: Times) -> "Diffusion":
        """The same model as one that was made for a few steps of its own, to sample at these times and for nothing else."""
        self.denoiser.no_likelihood = (
            f"the run is distilled: its network says where {len(times)} steps lead, no longer what E[x | x_t] is"
        )
        model = replaced(self, times=times)
        model._take(self.denoiser)
        return model

    @property
    def trained(self) -> Denoiser:
        return self.denoiser

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def is_bound(self) -> bool:
        return self.objective.is_bound

    @property
    def aims_at_bound(self) -> bool:
        return self.objective.is_bound or self.objective.contains_bound

    @property
    def counts_ends(self) -> bool:
        """Whether reconstruction and prior are part of the loss: where something that is trained changes them."""
        if not self.objective.is_continuous:
            return self.objective.is_bound
        by_network = self.decoder is not None and self.decoder.needs_network
        learned = isinstance(self.denoiser.schedule, LearnedGamma) or by_network
        return self.aims_at_bound and learned

    def loss(self, x: Examples, draw: Draw) -> Losses:
        weight = 1.0 if draw.weight is None else draw.weight
        if self.contrastive is not None:
            losses = self.contrastive(self.denoiser, x, t=draw.place, noise=draw.noise)
            return Losses(weight * losses, losses.detach())
        return (self._integral if self.objective.is_continuous else self._sum)(x, draw, weight)

    @torch.no_grad()
    def fixed_nats(self, x: Examples) -> float:
        if self.decoder is None or self.counts_ends:
            return 0.0
        reconstruction, prior = end_terms(self.denoiser, self.decoder, x, noise=PerSample(range(len(x))))
        return (prior - reconstruction).mean().item()

    def elbo(self, x: Examples, noise: Noise, effort: Effort = ONE_DRAW, place: PerExample | None = None) -> Elbo:
        check_likelihood(self.denoiser)
        assert self.decoder is not None
        steps, times = effort.num_steps, effort.times
        chain = None if steps is None else torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        chain = chain if times is None else torch.tensor(times, dtype=torch.float64)
        settings = {"num_times": effort.num_draws, "place": place, "reverse": effort.reverse}
        return likelihood.elbo(self.denoiser, self.decoder, x, chain, noise=noise, **settings)

    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        return self.sample(num_samples, noise)

    def trajectory(
        self, num_samples: int, noise: Noise, plan: Plan | None = None
    ) -> Iterator[Float[Tensor, "num_samples *shape"]]:
        plan = plan or self.plan()
        x_1 = start(self.denoiser, num_samples, noise, t=plan.times[0].item())
        return trajectory(self.denoiser, plan.sampler, x_1, plan.times, noise)

    def plan(self, sampler: Sampler | None = None, num_steps: int | None = None, grid_name: str | None = None) -> Plan:
        """How samples are drawn, as in `sampling.plan.make_plan`; a distilled model's in its own steps.

        Raises:
            InputError: as `make_plan`; and of a distilled model for anything but its own steps.
        """
        choices: dict[str, Any] = {"sampler": sampler, "num_steps": num_steps, "grid_name": grid_name}
        choices = {name: choice for name, choice in choices.items() if choice is not None}
        if self.times is None:
            return make_plan(self.denoiser, self.num_levels, **choices)
        if choices:
            raise InputError(
                f"the model is distilled and draws in its own {len(self.times)} steps of ddim: leave out the sampler, its "
                "steps, its grid and its settings"
            )
        return Plan(DDIM(), self.times)

    def num_steps(self, plan: Plan | None = None) -> int:
        return len((plan or self.plan()).times) + 1

    def held_out_draws(self, num_examples: int) -> int:
        return max(1, min(64, ENTRIES // (num_examples * self.num_dims)))

    def completed(self, effort: Effort) -> Effort:
        check_likelihood(self.denoiser)
        if effort.importance > 1:
            raise InputError(
                "importance samples are of a model's latents or of the noise within levels: for a diffusion model they "
                "belong to the flow (`score_density`)"
            )
        num_draws = effort.num_draws or max(16, min(256, ENTRIES // self.num_dims))
        return replace(effort, num_draws=num_draws if effort.num_steps is None else min(num_draws, effort.num_steps))

    def figure(self, effort: Effort, remark: str = "") -> str:
        if self.likelihood == "none":
            return "none"
        steps = effort.num_steps
        time = "continuous time" if steps is None else counted(steps, "step")
        variance = "" if effort.reverse == "lower" else f", {effort.reverse} reverse variance"
        of = "" if self.num_levels else ", of the density"
        if isinstance(self.decoder, BlockDecoder):
            of = f", of {self.decoder.measure}"
        return f"bound ({time}{variance}{of}{remark})"

    def _take(self, denoiser: Denoiser) -> None:
        without = "it has no decoder (--decoder.name none)" if self.decoder is None else None
        self.denoiser = denoiser
        self.no_likelihood = denoiser.no_likelihood or without
        self.likelihood = "bound" if self.no_likelihood is None else "none"

    def _contrastive(self, num_chains: int) -> ContrastiveDivergence | None:
        name = self.objective.name
        if name not in CONTRASTIVE:
            return None
        if not isinstance(self.denoiser, EnergyDenoiser):
            raise InputError(f"the objective {name} needs an energy to draw from: train with --model energy")
        if name == CONTRASTIVE[0]:
            return ContrastiveDivergence()
        return PersistentChains(self.shape, num_chains, Stream(seed=0))

    def _integral(self, x: Tensor, draw: Draw, weight: Tensor | float) -> Losses:
        loss, denoiser = self.objective.integral, self.denoiser
        factor = x.new_ones(len(x))
        if isinstance(denoiser.schedule, LearnedGamma):
            denoiser = denoiser.along(denoiser.schedule.minimising_variance(factor))
        integrand = loss(denoiser, x, self.objective.weighting, t=draw.place, noise=draw.noise)
        # in nats per dimension, so that the interior's gradient is of the order of all others
        factor.copy_(2 * integrand.detach() / x[0].numel())
        total = weight * integrand
        if self.counts_ends and self.decoder is not None:
            reconstruction, prior = end_terms(self.denoiser, self.decoder, x, noise=draw.noise)
            total = total + prior - reconstruction
        return Losses(total, integrand.detach())

    def _sum(self, x: Tensor, draw: Draw, weight: Tensor | float) -> Losses:
        settings: dict[str, Any] = {"noise": draw.noise}
        if not self.objective.takes_whole_paths:
            settings["place"] = draw.place
        if self.objective.chain_loss is not None:
            losses = self.objective.chain_loss(self.denoiser, x, self.objective.chain, **settings)
            return Losses(weight * losses, losses.detach())
        assert self.objective.chain_bound is not None
        settings["reverse"] = self.objective.reverse
        bound = self.objective.chain_bound(self.denoiser, self.decoder, x, self.objective.chain, **settings)
        return Losses(weight * bound.diffusion + bound.prior - bound.reconstruction, bound.diffusion.detach())
