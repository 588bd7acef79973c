"""Denoisers: $E[x | x_t]$, and every other view of the same thing."""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn

from lowerbound.brief import Brief
from lowerbound.elementary import Scalar, expand, sigmoid, sqrt
from lowerbound.errors import InputError, named
from lowerbound.reverse import reverse_variance
from lowerbound.schedule import Level, Schedule

Time = Tensor | float | Level


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

    x_t: Float[Tensor, "batch *shape"]
    level: Level
    x: Float[Tensor, "batch *shape"]
    schedule: Schedule
    x_var: Float[Tensor, "batch *shape"] | None = None
    variance_mix: Float[Tensor, "batch *shape"] | None = None

    @property
    def eps(self) -> Float[Tensor, "batch *shape"]:
        r"""$\hat\epsilon = (x_t - \alpha_t \hat x) / \sigma_t$"""
        return (self.x_t - self._expand(self.level.alpha) * self.x) / self._expand(self.level.sigma)

    @property
    def v(self) -> Float[Tensor, "batch *shape"]:
        r"""$\hat v = a \hat\epsilon - s \hat x$ with $a^2 = \mathrm{sigmoid}(-\gamma)$, $s^2 = \mathrm{sigmoid}(\gamma)$.

        Salimans & Ho 2022, appendix D, on the variance-preserving rescaling of $x_t$.
        """
        a, s = preserving(self.level.gamma)
        return self._expand(a) * self.eps - self._expand(s) * self.x

    @property
    def score(self) -> Float[Tensor, "batch *shape"]:
        r"""$\nabla \log q(x_t) = -\hat\epsilon / \sigma_t$ (Tweedie; Luo, "Three equivalent interpretations")."""
        return -self.eps / self._expand(self.level.sigma)

    @property
    def velocity(self) -> Float[Tensor, "batch *shape"]:
        r"""$d x_t / dt = \alpha_t' \hat x + \sigma_t' \hat\epsilon$, the probability flow's field."""
        alpha_slope, sigma_slope = slopes(self.schedule, self.level)
        return self._expand(alpha_slope) * self.x + self._expand(sigma_slope) * self.eps

    def reverse_variance(self, kind: str, s: Level) -> Scalar | Float[Tensor, "batch *shape"]:
        """The variance of the step down to s (`reverse.reverse_variance`)."""
        return reverse_variance(kind, self.level, s, self.x_var, self.variance_mix)

    def _expand(self, coefficient: Scalar) -> Scalar:
        return expand(coefficient, self.x_t)


class Denoiser(nn.Module, ABC):
    r"""$x_t, t \mapsto$ `Prediction`.

    Arguments:
        schedule: the noise schedule that t refers to.
        shape: the shape of one example.

    Attributes:
        needs_grad: whether predicting differentiates (energies, guidance by a classifier); samplers then keep autograd
            on.
        no_likelihood: the reason why no likelihood belongs to this denoiser, or None.
    """

    needs_grad: bool = False
    no_likelihood: str | None = None

    def __init__(self, schedule: Schedule, shape: tuple[int, ...]):
        super().__init__()
        if not isinstance(schedule, Schedule):
            raise InputError(f"the schedule is {named(schedule)}: give a schedule object, such as LinearGamma()")
        if isinstance(shape, int):
            raise InputError(f"shape is {shape}: give that of one example as a tuple, such as ({shape},) for vectors")
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
        self,
        x_t: Float[Tensor, "batch *shape"],
        t: Time,
        cond: Num[Tensor, "batch ..."] | None = None,
        observed: Bool[Tensor, "batch *shape"] | None = None,
    ) -> Prediction:
        r"""Predict x.

        Arguments:
            x_t: noisy data, (B, *shape).
            t: times in [0, 1], (B,), or one number or `Level` for the whole batch.
            cond: labels (B,) with -1 for none, or vectors (B, F) with NaN for none; None: no condition.
            observed: True where an entry of $x_t$ is there; what stands elsewhere is never looked at.

        Raises:
            InputError: if $x_t$ does not have the denoiser's shape or holds no floats, t is not one number in [0, 1], or
                one for each example, cond has no row for each, or observed is no mask of the shape of $x_t$.
        """
        self.check_batch(x_t)
        check_time(t, len(x_t))
        _check_cond(cond, len(x_t))
        if observed is not None:
            _check_observed(observed, x_t.shape)
            x_t = torch.where(observed, x_t, 0)
        return self.predict(x_t, self.schedule.level(t), cond, observed)

    def check_batch(self, x: Float[Tensor, "batch *shape"]) -> None:
        """Refuse, with an InputError, what is no batch, of at least one example, of floats of the denoiser's shape."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            given = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else named(x)
            raise InputError(
                f"the batch is {given}, not a tensor of floats: convert it, as by torch.as_tensor(x).float()"
            )
        if x.shape[:1] == (0,):
            raise InputError(f"a batch of no examples was given, of shape {tuple(x.shape)}: give at least one")
        if x.shape[1:] != self.shape:
            raise InputError(
                f"the denoiser works on examples of shape {self.shape}, but the batch has the shape {tuple(x.shape)}: "
                f"give (batch, {', '.join(map(str, self.shape))})"
            )

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "Denoiser":
        """The same for a part of the batch, where a sampler goes on with some of its samples: itself, unless it, or one
        that it wraps, holds something for each sample."""
        return self

    @abstractmethod
    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        """`forward` at a noise level, the shape checked and unobserved entries zero: what a kind of denoiser defines."""


def check_time(t: Time, batch: int) -> None:
    """Refuse what is no time in [0, 1], or one for each example, with an InputError.

    The values of a tensor on another device are not looked at, which would wait for it; samplers and losses, for which each
    wait would count, give a `Level`.
    """
    if isinstance(t, Level):
        return
    if isinstance(t, Tensor):
        if t.shape not in ((), (1,), (batch,)):
            raise InputError(f"t has the shape {tuple(t.shape)}: give one time, or one for each of {batch} examples")
        if not t.is_floating_point():
            raise InputError(
                f"t is a tensor of {t.dtype}: times are floats in [0, 1]; that of step k of a table of betas is "
                "schedule.times[k]"
            )
        outside = t.detach()[~((t >= 0) & (t <= 1))] if t.device.type == "cpu" else t.new_empty(0)
        if len(outside):
            raise InputError(f"t holds {outside[0]:g}: a time lies between 0 (data) and 1 (noise)")
    elif not isinstance(t, Real):
        raise InputError(f"t is {named(t)}: give a number, or a tensor of one for each of {batch} examples")
    elif not 0 <= t <= 1:
        raise InputError(f"t is {t}: a time lies between 0 (data) and 1 (noise)")


def _check_cond(cond: Tensor | None, batch: int) -> None:
    """Refuse conditions that are no tensor with a row for each example, with an InputError."""
    if cond is None:
        return
    if not isinstance(cond, Tensor):
        raise InputError(
            f"cond is {named(cond)}: give a tensor with a label or a vector for each of {batch} examples, such as "
            f"torch.full(({batch},), 3)"
        )
    if cond.ndim == 0 or len(cond) != batch:
        raise InputError(
            f"cond has the shape {tuple(cond.shape)}: give a label or a vector for each of {batch} examples"
        )


def _check_observed(observed: Tensor, shape: torch.Size) -> None:
    """Refuse what is no mask of a batch of this shape, with an InputError."""
    if not isinstance(observed, Tensor) or observed.dtype != torch.bool:
        given = f"a tensor of {observed.dtype}" if isinstance(observed, Tensor) else named(observed)
        raise InputError(f"observed is {given}: give a tensor of torch.bool, True where an entry is there")
    if observed.shape != shape:
        raise InputError(f"observed has the shape {tuple(observed.shape)}: give that of the batch, {tuple(shape)}")


def preserving(gamma: Scalar) -> tuple[Scalar, Scalar]:
    """The variance-preserving signal and noise scales."""
    return sqrt(sigmoid(-gamma)), sqrt(sigmoid(gamma))


def slopes(schedule: Schedule, level: Level) -> tuple[Scalar, Scalar]:
    r"""$\alpha'(t)$ and $\sigma'(t)$."""
    t = level.t
    slope = schedule.slope(t) if isinstance(t, Tensor) else schedule.slope(torch.tensor(t, dtype=torch.float64)).item()
    log_alpha_slope = schedule.scaling.log_alpha_slope(level.gamma)
    return level.alpha * log_alpha_slope * slope, level.sigma * (log_alpha_slope + 0.5) * slope
