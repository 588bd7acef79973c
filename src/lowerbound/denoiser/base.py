"""Denoisers: $E[x | x_t]$, and every other view of the same thing."""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from lowerbound.arguments import check_batch, check_cond, check_observed, check_time, described
from lowerbound.elementary import Scalar, expand, sigmoid, sqrt
from lowerbound.errors import InputError
from lowerbound.reverse import reverse_variance
from lowerbound.schedule import Level, Schedule
from lowerbound.shapes import Conditions, Examples, Observed
from lowerbound.words.brief import Brief

Time = Tensor | float | Level
Module = TypeVar("Module", bound=nn.Module)
Wrapped = TypeVar("Wrapped", bound="Wrapper")


@dataclass(eq=False, slots=True, repr=False)
class Prediction(Brief):
    r"""What a denoiser says of x, given $x_t$.

    Arguments:
        x_t: the noisy data, (B, *).
        level: its noise level.
        x: $\hat x = E[x | x_t]$, (B, *).
        schedule: where the level comes from; the velocity needs its slope.
        x_var: the diagonal of $Var[x | x_t]$, (B, *), where the denoiser knows it.
        variance_mix: where a learned reverse variance lies between lower (0) and upper (1), (B, *), from a network that
            was trained to say it.
    """

    x_t: Examples
    level: Level
    x: Examples
    schedule: Schedule
    x_var: Examples | None = None
    variance_mix: Examples | None = None

    @property
    def eps(self) -> Examples:
        r"""$\hat\epsilon = (x_t - \alpha_t \hat x) / \sigma_t$"""
        return (self.x_t - self._expand(self.level.alpha) * self.x) / self._expand(self.level.sigma)

    @property
    def v(self) -> Examples:
        r"""$\hat v = a \hat\epsilon - s \hat x$ with $a^2 = \mathrm{sigmoid}(-\gamma)$, $s^2 = \mathrm{sigmoid}(\gamma)$.

        Salimans & Ho 2022, appendix D, on the variance-preserving rescaling of $x_t$.
        """
        a, s = preserving(self.level.gamma)
        return self._expand(a) * self.eps - self._expand(s) * self.x

    @property
    def score(self) -> Examples:
        r"""$\nabla \log q(x_t) = -\hat\epsilon / \sigma_t$ (Tweedie; Luo, "Three equivalent interpretations")."""
        return -self.eps / self._expand(self.level.sigma)

    @property
    def velocity(self) -> Examples:
        r"""$d x_t / dt = \alpha_t' \hat x + \sigma_t' \hat\epsilon$, the probability flow's field."""
        alpha_slope, sigma_slope = slopes(self.schedule, self.level)
        return self._expand(alpha_slope) * self.x + self._expand(sigma_slope) * self.eps

    def reverse_variance(self, kind: str, s: Level) -> Scalar | Examples:
        """The variance of the step down to s (`reverse.reverse_variance`)."""
        return reverse_variance(kind, self.level, s, self.x_var, self.variance_mix)

    def _expand(self, coefficient: Scalar) -> Scalar:
        return expand(coefficient, self.x_t)


class Denoiser(nn.Module, ABC):
    r"""$x_t, t \mapsto$ `Prediction`.

    Arguments:
        schedule: the noise schedule that t refers to.
        shape: the shape of one example.

    Raises:
        InputError: if they are something else.

    Attributes:
        no_likelihood: the reason why no likelihood belongs to this denoiser, or None.
        no_flow: the reason why it has no density along its probability flow, whatever its bound, or None.
        observed: the entries that are there, (B, *shape), of a denoiser that was `given` them; None: all. Only these count
            in losses, bounds and densities.
        rows_are_apart: whether the prediction of a row depends on that row alone, whatever the number of rows, so that a
            batch may be doubled to ask two things at once.
    """

    no_likelihood: str | None = None
    no_flow: str | None = None
    observed: Tensor | None = None
    rows_are_apart: bool = False

    def __init__(self, schedule: Schedule, shape: tuple[int, ...]):
        super().__init__()
        if not isinstance(schedule, Schedule):
            raise InputError(f"schedule is {described(schedule)}: give a schedule, such as LinearGamma()")
        if isinstance(shape, int) or not all(isinstance(size, int) and size > 0 for size in shape):
            raise InputError(f"shape is {shape!r}: give the shape of one example, such as (2,) or (1, 28, 28)")
        self.schedule = schedule
        self.shape = tuple(shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"

    @property
    def device(self) -> torch.device:
        """Where its tensors are; the CPU if it has none."""
        tensor = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def forward(
        self, x_t: Examples, t: Time, cond: Conditions | None = None, observed: Observed | None = None
    ) -> Prediction:
        r"""Predict x.

        Arguments:
            x_t: noisy data, (B, *shape).
            t: times in [0, 1], (B,), or one number or `Level` for the whole batch.
            cond: labels (B,) with -1 for none, or vectors (B, F) with NaN for none; None: no condition.
            observed: True where an entry of $x_t$ is there; what stands elsewhere is never looked at.

        Raises:
            InputError: if $x_t$ does not have the denoiser's shape or is not of floats, or t, cond or observed is not as
                above.
        """
        check_batch(x_t, self.shape, "x_t")
        if not isinstance(t, Level):
            check_time(t, x_t)
        check_cond(cond, len(x_t))
        check_observed(observed, x_t)
        if observed is not None:
            x_t = torch.where(observed, x_t, 0)
        return self.predict(x_t, self.schedule.level(t), cond, observed)

    def given(self, cond: Conditions | None = None, observed: Observed | None = None) -> "Denoiser":
        """The same denoiser with a condition, or with the entries that are there, bound for the batches to come.

        Arguments:
            cond, observed: as in `forward`, which checks them beside each batch; None: as before.
        """
        return self if cond is None and observed is None else Conditioned(self, cond, observed)

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "Denoiser":
        """The same for a part of the batch, where a sampler goes on with some of its samples: itself, unless it, or one
        that it wraps, holds something for each sample."""
        return self

    @property
    def underlying(self) -> tuple["Denoiser", ...]:
        """The denoisers that a prediction asks, once each, beneath whatever wraps them."""
        return (self,)

    def along(self, schedule: Schedule) -> "Denoiser":
        """The same denoiser, and whatever it wraps, with another schedule in the place of its own."""
        return replaced(self, schedule=schedule)

    @abstractmethod
    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        """`forward` at a noise level, the shape checked and unobserved entries zero: what a kind of denoiser defines."""


class Wrapper(Denoiser):
    """A denoiser made of another one, whose likelihood and observed entries it has unless it says otherwise.

    Arguments:
        denoiser: the other one.

    Attributes:
        by_row: names of attributes that hold something for each example of a batch.
    """

    by_row: tuple[str, ...] = ()

    def __init__(self, denoiser: Denoiser):
        super().__init__(denoiser.schedule, denoiser.shape)
        self.denoiser = denoiser
        self.no_likelihood = denoiser.no_likelihood
        self.no_flow = denoiser.no_flow
        self.observed = denoiser.observed

    @property
    def underlying(self) -> tuple[Denoiser, ...]:
        return self.denoiser.underlying

    def along(self: Wrapped, schedule: Schedule) -> Wrapped:
        return replaced(self, denoiser=self.denoiser.along(schedule), schedule=schedule)

    def rows(self: Wrapped, rows: Int[Tensor, "num_rows"]) -> Wrapped:
        denoiser = self.denoiser.rows(rows)
        if denoiser is self.denoiser and not self.by_row:
            return self
        held = {name: value for name in self.by_row if (value := getattr(self, name)) is not None}
        try:
            held = {name: value[rows] for name, value in held.items()}
        except IndexError as error:
            shapes = ", ".join(f"{name} of shape {tuple(value.shape)}" for name, value in held.items())
            raise InputError(f"the denoiser was given {shapes}: give a row for each example of the batch") from error
        return replaced(self, denoiser=denoiser, observed=held.pop("observed", denoiser.observed), **held)


class Conditioned(Wrapper):
    r"""$E[x | x_t, c]$ for one c (`Denoiser.given`).

    Arguments:
        denoiser: the model.
        cond: its condition, as in `Denoiser.forward`, for the batches to come.
        observed: the entries that are there, likewise.
    """

    by_row = ("cond", "observed")

    def __init__(self, denoiser: Denoiser, cond: Tensor | None = None, observed: Tensor | None = None):
        super().__init__(denoiser)
        self.cond = cond
        self.observed = denoiser.observed if observed is None else observed

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        return self.denoiser(
            x_t, level, self.cond if cond is None else cond, self.observed if observed is None else observed
        )


def replaced(module: Module, **attributes: Any) -> Module:
    """The same module with other attributes; its parameters are those of the original."""
    same: Any = object.__new__(type(module))
    # a copy's modules must not be the original's dictionary, which setting one would change
    vars(same).update(vars(module), _modules=dict(module._modules), _buffers=dict(module._buffers))
    for name, value in attributes.items():
        setattr(same, name, value)
    return same


def preserving(gamma: Scalar) -> tuple[Scalar, Scalar]:
    """The variance-preserving signal and noise scales."""
    return sqrt(sigmoid(-gamma)), sqrt(sigmoid(gamma))


def slopes(schedule: Schedule, level: Level) -> tuple[Scalar, Scalar]:
    r"""$\alpha'(t)$ and $\sigma'(t)$."""
    t = level.t
    slope = schedule.slope(t) if isinstance(t, Tensor) else schedule.slope(torch.tensor(t, dtype=torch.float64)).item()
    log_alpha_slope = schedule.scaling.log_alpha_slope(level.gamma)
    return level.alpha * log_alpha_slope * slope, level.sigma * (log_alpha_slope + 0.5) * slope
