"""What every model of the family is: a loss, a bound in the same three terms, and samples.

A diffusion model, a VAE, a hierarchy of latents, an autoregressive model, a flow and a GAN differ in what is between their
data and their noise, and in nothing that the rest of the program needs to know. Their figures are the bound's three terms
(`likelihood.Elbo`): a VAE has no steps between its prior and its data, so that its diffusion term is zero; an autoregressive
model and a flow have no latents at all, so that the reconstruction is the whole log density; a GAN has none of them, and
says so.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import lt
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.levels import check_num_levels
from lowerbound.likelihood.bound import Elbo
from lowerbound.reverse import KINDS
from lowerbound.rng import Noise
from lowerbound.sampling.plan import Plan
from lowerbound.settings import check_choice, check_counts
from lowerbound.shapes import Conditions, Examples, Observed, PerExample
from lowerbound.words.brief import Brief

LikelihoodKind = Literal["exact", "bound", "none"]
NUM_DRAWS = 4
"""Of the latents of each example, where the number is not given."""


@dataclass(frozen=True, eq=False, repr=False)
class Draw(Brief):
    """What a training step draws for a batch.

    Arguments:
        noise: where everything random comes from.
        progress: how much of the training is done, 0 to 1, for what changes on the way.
        place: where along the noise each example is drawn: its time, or its place in the chain, in [0, 1), (B,); drawn from
            `noise` if None, and without meaning for models that have no such way.
        weight: of each draw along the noise, (B,); one if None.
    """

    noise: Noise
    progress: float = 1.0
    place: PerExample | None = None
    weight: PerExample | None = None


class Losses(NamedTuple):
    """Of each example: the loss, and what of it depends on its place along the noise, unweighted; (B,) each."""

    total: PerExample
    at_place: PerExample

    @classmethod
    def whole(cls, total: PerExample) -> "Losses":
        """Of a loss that is not drawn at a place along the noise."""
        return cls(total, total.detach())


@dataclass(frozen=True)
class Effort:
    """How much is spent on the likelihood of an example.

    Arguments:
        num_draws: estimates that are averaged: network calls of a diffusion model, draws of the latents of others; None: as
            many as the model advises (`Model.completed`).
        num_steps: of a diffusion model, the bound of a chain of so many equal steps of time; None: in continuous time.
        reverse: the chain's reverse variance (`reverse.KINDS`).
        importance: K importance samples of the latents, for a tighter bound; 1: the plain one.
        times: of the chain's num_steps + 1 levels, increasing from 0 to 1, where its steps are not equal.

    Raises:
        InputError: for what is no whole number from one, an unknown variance, or times that do not increase or are not as
            many as the chain has levels.
    """

    num_draws: int | None = None
    num_steps: int | None = None
    reverse: str = "lower"
    importance: int = 1
    times: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_counts(self, "num_draws", "num_steps", "importance")
        check_choice("reverse", self.reverse, KINDS)
        if self.times is not None and len(self.times) - 1 != self.num_steps:
            raise InputError(f"{len(self.times)} times of a chain of {self.num_steps} steps: give one more than steps")
        if self.times is not None and not (
            all(map(lt, self.times, self.times[1:])) and self.times[0] >= 0 and self.times[-1] <= 1
        ):
            raise InputError(f"times are {self.times}: they increase from 0, the data, to 1, noise")


ONE_DRAW = Effort(num_draws=1)


class Model(nn.Module, ABC):
    r"""A model of x.

    Arguments:
        shape: the shape of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data, whose x are the centres of their levels (`levels.level_centres`); None: continuous
            data of about unit variance.

    Attributes:
        name: what the command line calls it.
        likelihood: whether `elbo` is exact, a bound, or not there at all.
        no_likelihood: the reason why there is none, or None.
        most_held_out: held-out examples that say enough along the way of a training.

    Raises:
        InputError: if K is out of range.
    """

    name: ClassVar[str]
    likelihood: LikelihoodKind = "bound"
    no_likelihood: str | None = None
    most_held_out: int = 2048

    def __init__(self, shape: tuple[int, ...], num_levels: int | None):
        super().__init__()
        self.shape = tuple(shape)
        self.num_levels = num_levels if num_levels is None else check_num_levels(num_levels)

    def given(self, cond: Conditions | None = None, observed: Observed | None = None) -> "Model":
        """The same model with conditions, or the entries that are there, bound for the batches to come.

        Raises:
            InputError: of a model that takes none.
        """
        if cond is None and observed is None:
            return self
        kind = "conditions" if observed is None else "examples with missing entries"
        raise InputError(f"the model {self.name} takes no {kind}: take a diffusion model")

    @abstractmethod
    def loss(self, x: Examples, draw: Draw) -> Losses:
        """What training minimises, of each example, in nats where it is a likelihood.

        Arguments:
            x: data, (B, *shape).
            draw: what is random, and how far the training has come.
        """

    def elbo(self, x: Examples, noise: Noise, effort: Effort = ONE_DRAW, place: PerExample | None = None) -> Elbo:
        r"""$\log p(x)$ or an unbiased estimate of a bound on it, in the bound's three terms, each (B,), nats.

        Arguments:
            x: data, (B, *shape).
            noise: where everything random comes from.
            effort: how much is spent on it.
            place: where along the noise each example is drawn, in [0, 1), (B,), for models that have such a way.

        Raises:
            InputError: of a model that has no likelihood, with the reason.
        """
        draws = [self.bound(x, noise) for _ in range(effort.num_draws or 1)]
        return draws[0] if len(draws) == 1 else Elbo.mean(draws)

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        """One estimate of the `elbo`."""
        raise InputError(f"the model {self.name} has no likelihood: {self.no_likelihood}")

    def sample(
        self,
        num_samples: int,
        noise: Noise,
        plan: Plan | None = None,
        progress: Callable[[int], object] = lambda steps: None,
    ) -> Float[Tensor, "num_samples *shape"]:
        """Draws from the model.

        Arguments:
            num_samples: how many.
            noise: where they come from; of `PerSample` with as many seeds each sample depends on its seed alone.
            plan: the stepping rule and its steps, of a diffusion model.
            progress: called with 1 after each step, of which there are `num_steps`.

        Raises:
            InputError: for a plan of a model that has no steps.
        """
        for x in self.trajectory(num_samples, noise, plan):
            last = x
            progress(1)
        return last  # pyrefly: ignore[unbound-name]

    def trajectory(
        self, num_samples: int, noise: Noise, plan: Plan | None = None
    ) -> Iterator[Float[Tensor, "num_samples *shape"]]:
        """The way of samples from noise to data: as `sample`, state by state."""
        if plan is not None:
            raise InputError(f"the model {self.name} draws its samples in its own way: give no plan")
        yield self.draw(num_samples, noise)

    def undivided(self, log_prob: PerExample) -> Elbo:
        """A log likelihood, or a bound on it, that does not fall into terms: all of it stands as reconstruction."""
        nothing = torch.zeros_like(log_prob)
        return Elbo(log_prob, nothing, nothing, torch.full_like(log_prob, self.num_dims))

    @abstractmethod
    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        """`sample` if nothing else is said."""

    def plan(self) -> Plan | None:
        """How samples are drawn if nothing else is said; None of a model that has no steps to choose."""
        return None

    def num_steps(self, plan: Plan | None = None) -> int:
        """How often `sample` calls `progress`."""
        return 1

    @property
    def trained(self) -> nn.Module:
        """What is trained, averaged and saved."""
        return self

    @property
    def is_bound(self) -> bool:
        """Whether the loss is a bound on the negative log likelihood, in nats."""
        return self.likelihood != "none"

    @property
    def aims_at_bound(self) -> bool:
        """Whether the loss has the bound in it, so that the best held-out bound is of the weights that were asked for."""
        return self.is_bound

    def fixed_nats(self, x: Examples) -> float:
        """What the loss lacks of the bound, nats: constants that nothing is learned from, estimated on examples."""
        return 0.0

    def held_out_draws(self, num_examples: int) -> int:
        """Draws of each of so many held-out examples, where their figure is wanted soon."""
        return 1

    def completed(self, effort: Effort) -> Effort:
        """The same effort with the number of draws that the model advises, if it is not given.

        Raises:
            InputError: if the model has no likelihood, or something of it has no effect on the model.
        """
        if self.likelihood == "none":
            raise InputError(f"the model {self.name} has no likelihood: {self.no_likelihood}")
        if effort.num_steps is not None or effort.reverse != "lower":
            raise InputError(f"the model {self.name} is no chain of steps: num_steps and reverse have no effect on it")
        if effort.importance > 1:
            raise InputError(f"importance samples are of latents, and the model {self.name} has none: leave it 1")
        return Effort(1 if self.likelihood == "exact" else effort.num_draws or NUM_DRAWS)

    def figure(self, effort: Effort, remark: str = "") -> str:
        """What the `elbo` of an effort is, in words, with a remark on it."""
        if self.likelihood == "none":
            return "none"
        weighted = f", {effort.importance:,} importance samples" if effort.importance > 1 else ""
        return f"{self.likelihood} ({self.name}{weighted}{'' if self.num_levels else ', of the density'}{remark})"

    @property
    def num_dims(self) -> int:
        """D, the entries of an example."""
        return math.prod(self.shape)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    def check(self, x: Tensor) -> None:
        """Refuse a batch of another shape by an InputError."""
        if x.shape[1:] != self.shape:
            raise InputError(
                f"the model works on examples of shape {self.shape}, but the batch has the shape {tuple(x.shape)}: give "
                f"(batch, {', '.join(map(str, self.shape))})"
            )
