"""A diffusion model as a model of the family: a denoiser, the decoder at its data's end, and what it is trained by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from lowerbound import objective, score_matching
from lowerbound.brief import Brief
from lowerbound.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.denoiser import Denoiser, EnergyDenoiser
from lowerbound.denoiser.base import replaced
from lowerbound.errors import InputError
from lowerbound.likelihood import Decoder, Elbo, check_likelihood, derivations, elbo, end_terms, estimators, hybrid
from lowerbound.models.base import ONE_DRAW, Draw, Effort, Losses, Model
from lowerbound.rng import Noise, PerSample, Stream
from lowerbound.samplers import DDIM, Sampler, start, trajectory
from lowerbound.samplers.plan import Plan, make_plan
from lowerbound.schedule import LearnedGamma

ENTRIES = 65_536
"""About how many entries of an example are drawn for its bound where the number of draws is not given, and of all held-out
examples where their figure is wanted soon."""
_CHAINS_SEED = 0

CHAIN_BOUNDS: dict[str, Callable[..., Elbo]] = {
    "form-a": partial(derivations.form_a, whole_path=False),
    "form-b": partial(derivations.form_b, whole_path=False),
    "two-sample": estimators.two_sample,
    "one-sample": estimators.one_sample,
    "t-sample": estimators.t_sample,
}
"""Estimates of the bound over a chain."""
CHAIN_LOSSES: dict[str, Callable[..., Tensor]] = {
    "hybrid": hybrid,
    "textbook-two-sample": estimators.textbook_two_sample,
    "textbook-one-sample": estimators.textbook_one_sample,
    "textbook-t-sample": estimators.textbook_t_sample,
}
"""Losses over a chain that are not bounds."""
INTEGRALS: dict[str, Callable[..., Tensor]] = {
    "explicit": score_matching.explicit_loss,
    "sliced": score_matching.sliced_loss,
}
"""Other estimates of the integral over time than `objective.loss`, of the same expectation."""
CONTRASTIVE = ("contrastive-divergence", "persistent-contrastive-divergence")
"""Those that train an energy by draws of its own."""
WHOLE_PATHS = ("t-sample", "textbook-t-sample")
"""Those that take all steps of an example's path; the others take one step of each."""


@dataclass(frozen=True, repr=False)
class Objective(Brief):
    """What is minimised.

    Arguments:
        name: one of `config.ObjectiveName`.
        chain: the times of the chain's levels, for objectives over steps.
        reverse: the reverse variance, for bounds over steps.
        weighting: of the integral, for objectives in continuous time.
    """

    name: str = "elbo"
    chain: Float[Tensor, "num_levels"] | None = None
    reverse: str = "lower"
    weighting: objective.Weighting = objective.elbo

    @property
    def is_bound(self) -> bool:
        """Whether its expectation is the bound, in nats."""
        return self.name in ("elbo", *INTEGRALS, *CHAIN_BOUNDS)

    @property
    def is_continuous(self) -> bool:
        """Whether it is an integral over time, one draw per example."""
        return self.name not in (*CHAIN_BOUNDS, *CHAIN_LOSSES)

    @property
    def takes_whole_paths(self) -> bool:
        """Whether each example goes all the way along the chain, so that there is no place to choose."""
        return self.name in WHOLE_PATHS


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
        if decoder is None:
            denoiser.no_likelihood = "the run was trained with --decoder.name none"
        self._take(denoiser)
        self.contrastive = self._contrastive(num_chains)
        if decoder is None and self.counts_ends:
            raise InputError(
                f"the objective {objective.name} with this schedule trains the whole bound, which ends in a decoder: choose "
                "a --decoder.name other than none"
            )

    def given(
        self, cond: Num[Tensor, "batch ..."] | None = None, observed: Bool[Tensor, "batch *shape"] | None = None
    ) -> "Diffusion":
        return self.around(self.denoiser.given(cond, observed))

    def around(self, denoiser: Denoiser) -> "Diffusion":
        """The same model with another denoiser, guided say, in the place of its own."""
        if denoiser is self.denoiser:
            return self
        same = replaced(self)
        same._take(denoiser)
        return same

    def distilled(self, times: Float[Tensor, "num_steps"]) -> "Diffusion":
        """The same model as one that was made for a few steps of its own, to sample at these times and for nothing else."""
        self.denoiser.no_likelihood = (
            f"the run is distilled: its network says where {len(times)} steps lead, no longer what E[x | x_t] is"
        )
        same = replaced(self, times=times)
        same._take(self.denoiser)
        return same

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
    def counts_ends(self) -> bool:
        """Whether reconstruction and prior are part of the loss: where something that is trained changes them."""
        if not self.objective.is_continuous:
            return self.objective.is_bound
        by_network = self.decoder is not None and self.decoder.needs_network
        learned = isinstance(self.denoiser.schedule, LearnedGamma) or by_network
        return self.objective.is_bound and learned

    def loss(self, x: Float[Tensor, "batch *shape"], draw: Draw) -> Losses:
        weight = 1.0 if draw.weight is None else draw.weight
        if self.contrastive is not None:
            losses = self.contrastive(self.denoiser, x, t=draw.place, noise=draw.noise)
            return Losses(weight * losses, losses.detach())
        return (self._integral if self.objective.is_continuous else self._sum)(x, draw, weight)

    @torch.no_grad()
    def fixed_nats(self, x: Float[Tensor, "batch *shape"]) -> float:
        if self.decoder is None or self.counts_ends:
            return 0.0
        reconstruction, prior = end_terms(self.denoiser, self.decoder, x, noise=PerSample(range(len(x))))
        return (prior - reconstruction).mean().item()

    def elbo(
        self,
        x: Float[Tensor, "batch *shape"],
        noise: Noise,
        effort: Effort = ONE_DRAW,
        place: Float[Tensor, "batch"] | None = None,
    ) -> Elbo:
        check_likelihood(self.denoiser)
        assert self.decoder is not None
        chain = None
        if effort.num_steps is not None:
            chain = torch.linspace(0, 1, effort.num_steps + 1, dtype=torch.float64)
        given = {"num_times": effort.num_draws, "place": place, "reverse": effort.reverse}
        return elbo(self.denoiser, self.decoder, x, chain, noise=noise, **given)

    def sample(
        self,
        num_samples: int,
        noise: Noise,
        plan: Plan | None = None,
        progress: Callable[[int], object] = lambda steps: None,
    ) -> Float[Tensor, "num_samples *shape"]:
        for x in self.trajectory(num_samples, noise, plan):
            last = x
            progress(1)
        return last  # pyright: ignore[reportPossiblyUnboundVariable]

    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        return self.sample(num_samples, noise)

    def trajectory(
        self, num_samples: int, noise: Noise, plan: Plan | None = None
    ) -> Iterator[Float[Tensor, "num_samples *shape"]]:
        """The way of samples from noise to data: as `sample`, state by state."""
        plan = plan or self.plan()
        x_1 = start(self.denoiser, num_samples, noise, t=plan.times[0].item())
        return trajectory(self.denoiser, plan.sampler, x_1, plan.times, noise)

    def plan(self, sampler: Sampler | None = None, num_steps: int | None = None, grid_name: str | None = None) -> Plan:
        """How samples are drawn, as in `samplers.plan.make_plan`; a distilled model's in its own steps.

        Raises:
            InputError: as `make_plan`; and of a distilled model for anything but its own steps.
        """
        if self.times is None:
            given = {"sampler": sampler, "grid_name": grid_name}
            given = {name: value for name, value in given.items() if value is not None}
            return make_plan(self.denoiser, self.num_levels, num_steps=num_steps, **given)
        if sampler is not None or num_steps is not None or grid_name is not None:
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
        time = "continuous time" if steps is None else f"{steps} step{'s' * (steps > 1)}"
        variance = "" if effort.reverse == "lower" else f", {effort.reverse} reverse variance"
        return f"bound ({time}{variance}{'' if self.num_levels else ', of the density'}{remark})"

    def _take(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.no_likelihood = denoiser.no_likelihood
        self.likelihood = "bound" if denoiser.no_likelihood is None else "none"

    def _contrastive(self, num_chains: int) -> ContrastiveDivergence | None:
        name = self.objective.name
        if name not in CONTRASTIVE:
            return None
        if not isinstance(self.denoiser, EnergyDenoiser):
            raise InputError(f"the objective {name} needs an energy to draw from: train with --model energy")
        if name == CONTRASTIVE[0]:
            return ContrastiveDivergence()
        return PersistentChains(self.shape, num_chains, Stream(_CHAINS_SEED))

    def _integral(self, x: Tensor, draw: Draw, weight: Tensor | float) -> Losses:
        loss, denoiser = INTEGRALS.get(self.objective.name, objective.loss), self.denoiser
        factor = x.new_ones(len(x))
        if isinstance(denoiser.schedule, LearnedGamma):
            denoiser = denoiser.along(denoiser.schedule.minimising_variance(factor))
        drawn = loss(denoiser, x, self.objective.weighting, t=draw.place, noise=draw.noise)
        # in nats per dimension, so that the interior's gradient is of the order of all others
        factor.copy_(2 * drawn.detach() / x[0].numel())
        total = weight * drawn
        if self.counts_ends and self.decoder is not None:
            reconstruction, prior = end_terms(self.denoiser, self.decoder, x, noise=draw.noise)
            total = total + prior - reconstruction
        return Losses(total, drawn.detach())

    def _sum(self, x: Tensor, draw: Draw, weight: Tensor | float) -> Losses:
        name, chain = self.objective.name, self.objective.chain
        where = {} if self.objective.takes_whole_paths else {"place": draw.place}
        if name in CHAIN_LOSSES:
            losses = CHAIN_LOSSES[name](self.denoiser, x, chain, noise=draw.noise, **where)
            return Losses(weight * losses, losses.detach())
        reverse = self.objective.reverse
        bound = CHAIN_BOUNDS[name](self.denoiser, self.decoder, x, chain, noise=draw.noise, reverse=reverse, **where)
        return Losses(weight * bound.diffusion + bound.prior - bound.reconstruction, bound.diffusion.detach())
