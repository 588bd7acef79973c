"""What a sampler is, and the one loop that drives them all."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lowerbound.arguments import check_data, check_grid, check_time, described
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.rng import Noise, check_noise
from lowerbound.schedule import CLEAN, Level
from lowerbound.settings import check_count
from lowerbound.shapes import Examples, Times
from lowerbound.words.brief import Brief


@dataclass(frozen=True, slots=True, repr=False)
class State(Brief):
    """Where a sampler stands: the sample and whatever it remembers of earlier steps."""

    x: Tensor
    memory: Any = None


@dataclass(frozen=True)
class Setting:
    """What the command line says of a sampler's field: `eta: Annotated[float, Setting("the share of noise")] = 0.0`.

    Arguments:
        help: what it is or does, with neither a capital nor a full stop: the samplers' names and the default join it.
        flag: the option's name; the field's own if empty.
        choices: the words that it may be; anything of its type if empty.
    """

    help: str
    flag: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampler(ABC):
    """A stepping rule: hyper-parameters only, with pure `init` and `step`.

    A field with a `Setting` is an option of the command line, once the sampler is registered (`registry.SAMPLERS`). An order
    and a number of calls that no setting changes stand in the first line of a class: `class Heun(Sampler, order=2,
    calls_per_step=2)`.
    """

    def __init_subclass__(cls, *, order: int | None = None, calls_per_step: int | None = None) -> None:
        for name, value in (("order", order), ("calls_per_step", calls_per_step)):
            if value is not None:
                setattr(cls, name, value)

    @property
    def order(self) -> int:
        """The order of convergence of a deterministic sampler in the largest step of gamma; the weak one of others.

        Multistep samplers have it on grids whose steps grow from the start, where they have no past (see `exponential`).
        """
        raise NotImplementedError(
            f"{type(self).__name__} says no order: name it, class {type(self).__name__}(Sampler, order=1)"
        )

    @property
    def calls_per_step(self) -> int:
        """Network calls that a step takes (the last, to the data, may take fewer); of an adaptive sampler the fewest."""
        return 1

    def init(self, x_t: Examples) -> State:
        """The state before the first step."""
        return State(x_t)

    @abstractmethod
    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        """One step from the level t down to s, both with noise: the last step, to the data, is `descend`'s.

        Arguments:
            denoiser: the model, its condition bound.
            state: the state at t.
            t, s: the two levels, of numbers.
            noise: where a stochastic sampler draws from.
        """


def descend(denoiser: Denoiser, sampler: Sampler, state: State, t: Level, s: Level, noise: Noise) -> State:
    r"""The state one level down: after the sampler's step, or, where s is the data (`CLEAN`), $\hat x$ at t.

    Arguments:
        denoiser: the model, its condition bound.
        sampler: the stepping rule.
        state: the state at t.
        t, s: the two levels, of numbers; s may be `CLEAN`.
        noise: where a stochastic sampler draws from.
    """
    return State(denoiser(state.x, t).x) if s.sigma == 0 else sampler.step(denoiser, state, t, s, noise)


def trajectory(
    denoiser: Denoiser, sampler: Sampler, x_1: Examples, times: Times, noise: Noise, *, denoise: bool = True
) -> Iterator[Examples]:
    r"""The path of a batch of samples from noise to data, one state per level.

    `times` lists the levels that are visited. With `denoise` the path goes on from the last of them to the data itself, so
    that it takes as many steps as there are times (DDPM: $\hat x$ after the first latent; EDM: a last noise level of
    zero); without, it ends at the last level, one step fewer (VDM: a decoder without network takes over).

    Arguments:
        denoiser: the model, its condition bound (`Denoiser.given`).
        sampler: the stepping rule.
        x_1: the start, at the level of `times[0]`; `start` draws it.
        times: decreasing, in [0, 1] (see `grid`).
        noise: where a stochastic sampler draws from.
        denoise: whether to go on to the data.

    Yields:
        x_1 and then the sample after each step.

    Raises:
        InputError: if there is no step to take, the times do not decrease within [0, 1], or x_1 is not finite floats in the
            denoiser's shape.
    """
    if not isinstance(sampler, Sampler):
        raise InputError(f"the sampler is {described(sampler)}: give an object, such as DDIM()")
    check_data(x_1, denoiser.shape, name="x_1")
    check_grid(times, 1 if denoise else 2)
    check_noise(noise)
    levels = denoiser.schedule.levels(times) + [CLEAN] * denoise
    state = sampler.init(x_1)
    yield state.x
    for t, s in zip(levels[:-1], levels[1:], strict=True):
        # entered anew for each step: a generator must not leave its mode behind while it is suspended
        with torch.no_grad():
            state = descend(denoiser, sampler, state, t, s, noise)
        yield state.x


def sample(
    denoiser: Denoiser, sampler: Sampler, x_1: Examples, times: Times, noise: Noise, *, denoise: bool = True
) -> Examples:
    """The end of the `trajectory` with the same arguments."""
    for x in trajectory(denoiser, sampler, x_1, times, noise, denoise=denoise):
        last = x
    return last  # pyrefly: ignore[unbound-name]


def start(
    denoiser: Denoiser, num_samples: int, noise: Noise, *, t: float = 1.0, dtype: torch.dtype | None = None
) -> Examples:
    r"""$x_t \sim N(0, (\alpha_t^2 + \sigma_t^2) I)$, from which sampling starts, at t = 1 or where as little is left of x.

    Arguments:
        denoiser: whose shape and schedule are meant.
        num_samples: B.
        noise: where it is drawn from.
        t: where the grid starts, `times[0]`.
        dtype: its type; torch's default if None. Its device is the denoiser's.

    Raises:
        InputError: for less than one sample, or a time outside [0, 1].
    """
    check_count(num_samples, "num_samples")
    check_noise(noise)
    empty = torch.empty(num_samples, *denoiser.shape, dtype=dtype, device=denoiser.device)
    check_time(t, empty)
    level = denoiser.schedule.level(t)
    return (level.alpha**2 + level.sigma**2) ** 0.5 * noise.normal(empty)
