"""The training of a denoiser: every objective, from the bound in continuous time to losses over a chain."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from lowerbound import grid, objective, score_matching
from lowerbound.brief import Brief
from lowerbound.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser, EnergyDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood import Decoder, Elbo, derivations, end_terms, estimators, hybrid
from lowerbound.rng import Noise, PerSample, Stream
from lowerbound.samplers import DDIM, sample, start
from lowerbound.schedule import LearnedGamma
from lowerbound.train.held_out import NUM_EXAMPLES, calls_per_example, held_out_bits
from lowerbound.train.step import Losses, TrainingStep

PICTURE_STEPS = 32
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

    name: str
    chain: Float[Tensor, "num_levels"]
    reverse: str
    weighting: objective.Weighting

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


class DenoisingStep(TrainingStep):
    """The losses of a batch under a denoiser.

    Arguments:
        denoiser: what is trained; it owns the schedule, learned or not.
        decoder: from the least noisy latent to the data; None: there is no likelihood, and no bound to train.
        objective: what is minimised.
        num_chains: of persistent contrastive divergence, at least the batch size.

    Raises:
        InputError: for an objective that needs the decoder that is not there, or an energy.
    """

    def __init__(self, denoiser: Denoiser, decoder: Decoder | None, objective: Objective, num_chains: int = 256):
        super().__init__()
        self.model = self.denoiser = denoiser
        self.decoder = decoder
        self.objective = objective
        self.contrastive = self._contrastive(num_chains)
        if decoder is None and self.counts_ends:
            raise InputError(
                f"the objective {objective.name} with this schedule trains the whole bound, which ends in a decoder: choose "
                "a --decoder.name other than none"
            )

    def _contrastive(self, num_chains: int) -> ContrastiveDivergence | None:
        name = self.objective.name
        if name not in CONTRASTIVE:
            return None
        if not isinstance(self.denoiser, EnergyDenoiser):
            raise InputError(f"the objective {name} needs an energy to draw from: train with --model energy")
        if name == CONTRASTIVE[0]:
            return ContrastiveDivergence()
        return PersistentChains(self.denoiser.shape, num_chains, Stream(_CHAINS_SEED))

    @property
    def is_bound(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.objective.is_bound

    @property
    def counts_ends(self) -> bool:
        """Whether reconstruction and prior are part of the loss: where something that is trained changes them."""
        if not self.objective.is_continuous:
            return self.objective.is_bound
        by_network = self.decoder is not None and self.decoder.needs_network
        learned = isinstance(self.denoiser.schedule, LearnedGamma) or by_network
        return self.objective.is_bound and learned

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        place: Float[Tensor, "batch"],
        weight: Float[Tensor, "batch"],
        noise: Noise,
        progress: float = 0.0,
        cond: Num[Tensor, "batch ..."] | None = None,
        observed: Bool[Tensor, "batch *shape"] | None = None,
    ) -> Losses:
        denoiser = self.denoiser.given(cond, observed)
        if self.contrastive is not None:
            losses = self.contrastive(denoiser, x, t=place, noise=noise)
            return Losses(weight * losses, losses.detach())
        draw = self._integral if self.objective.is_continuous else self._sum
        return draw(denoiser, x, place, weight, noise)

    @torch.no_grad()
    def fixed_nats(self, x: Float[Tensor, "batch *shape"]) -> float:
        if self.decoder is None or self.counts_ends:
            return 0.0
        reconstruction, prior = end_terms(self.denoiser, self.decoder, x, noise=PerSample(range(len(x))))
        return (prior - reconstruction).mean().item()

    def held_out(self, dataset: Dataset, conditional: bool, num_examples: int) -> tuple[float, float] | None:
        if self.decoder is None:
            return None
        return held_out_bits(self.denoiser, self.decoder, dataset, num_examples, conditional)

    def held_out_calls(self, dataset: Dataset) -> tuple[int, int]:
        return NUM_EXAMPLES, calls_per_example(dataset)

    def draw(self, num_samples: int) -> Float[Tensor, "num_samples *shape"]:
        noise = PerSample(range(num_samples))
        x_1 = start(self.denoiser, num_samples, noise)
        return sample(self.denoiser, DDIM(), x_1, grid.uniform(PICTURE_STEPS), noise)

    def _integral(self, denoiser: Denoiser, x: Tensor, t: Tensor, weight: Tensor, noise: Noise) -> Losses:
        loss = INTEGRALS.get(self.objective.name, objective.loss)

        def draw() -> Tensor:
            return loss(denoiser, x, self.objective.weighting, t=t, noise=noise)

        schedule = denoiser.schedule
        if isinstance(schedule, LearnedGamma):
            with schedule.minimising_variance() as scale:
                drawn = draw()
            # in nats per dimension, so that the interior's gradient is of the order of all others
            scale.factor = 2 * drawn.detach() / x[0].numel()
        else:
            drawn = draw()
        total = weight * drawn
        if self.counts_ends and self.decoder is not None:
            reconstruction, prior = end_terms(denoiser, self.decoder, x, noise=noise)
            total = total + prior - reconstruction
        return Losses(total, drawn.detach())

    def _sum(self, denoiser: Denoiser, x: Tensor, place: Tensor, weight: Tensor, noise: Noise) -> Losses:
        name, chain = self.objective.name, self.objective.chain
        where = {} if self.objective.takes_whole_paths else {"place": place}
        if name in CHAIN_LOSSES:
            losses = CHAIN_LOSSES[name](denoiser, x, chain, noise=noise, **where)
            return Losses(weight * losses, losses.detach())
        reverse = self.objective.reverse
        bound = CHAIN_BOUNDS[name](denoiser, self.decoder, x, chain, noise=noise, reverse=reverse, **where)
        return Losses(weight * bound.diffusion + bound.prior - bound.reconstruction, bound.diffusion.detach())
