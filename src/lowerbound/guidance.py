r"""Guidance: a denoiser from denoisers, which trades the variety of samples for their likeness to what was asked for.

All three kinds move the prediction along a difference of scores, $w_\gamma$ being the scale inside of an interval of
noise levels and the value that changes nothing outside of it (Kynkaanniemi et al. 2024, "Applying guidance in a limited
interval improves sample and distribution quality in diffusion models"). By Tweedie's formula $\hat x = (x_t + \sigma_t^2\,
\mathrm{score}) / \alpha_t$, so that a combination of scores whose weights have the sum one is the same combination of
predictions of x, of eps, or of v:

- `ClassifierFree`: $\hat x = \hat x(x_t) + w_\gamma (\hat x(x_t, c) - \hat x(x_t))$, one network with and without c;
- `AutoGuidance`: $\hat x = \hat x_{weak} + w_\gamma (\hat x - \hat x_{weak})$, a model and a weaker one of the same kind;
- `ClassifierGuidance`: $\hat x = \hat x(x_t) + w_\gamma \frac{\sigma_t^2}{\alpha_t} \nabla_{x_t} \log p(c | x_t)$, which at
  $w = 1$ and with the exact classifier is $E[x | x_t, c]$, by Bayes' rule.

At any other scale the scores at the several noise levels are not those of one distribution of x with noise added, so the
guided denoiser samples something, but has no likelihood.

Guided denoisers are denoisers: they wrap one another, and `given` binds their condition. What a prediction knows
beside its mean, a variance, stays that of the model that is guided: of the prediction given the condition.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.denoiser import Denoiser, Prediction, Wrapper
from lowerbound.denoiser.base import replaced
from lowerbound.elementary import Scalar, expand
from lowerbound.errors import InputError
from lowerbound.schedule import Level
from lowerbound.shapes import Examples

Interval = tuple[float, float]


class Guided(Wrapper, ABC):
    r"""A denoiser that is guided.

    Arguments:
        denoiser: what is guided.
        scale: $w$, how much.
        interval: $(\gamma_{low}, \gamma_{high})$, the noise levels at which it is; None: all.

    Attributes:
        neutral: the scale that changes nothing.

    Raises:
        InputError: for a scale that is not finite, or an empty interval.
    """

    neutral: float = 1.0

    def __init__(self, denoiser: Denoiser, scale: float, interval: Interval | None = None):
        super().__init__(denoiser)
        self.no_likelihood = (
            "guided scores are those of no one distribution at all noise levels; take the denoiser without guidance"
        )
        if not math.isfinite(scale):
            raise InputError(f"a guidance scale of {scale}: give a finite number; {self.neutral:g} changes nothing")
        if interval is not None and not interval[0] < interval[1]:
            raise InputError(
                f"a guidance interval of gamma from {interval[0]} to {interval[1]}: give the lower end first"
            )
        self.scale = float(scale)
        self.interval = interval

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        self.check(cond)
        scale = self.scale_at(level)
        if not isinstance(scale, Tensor) and scale == self.neutral:
            return self.unguided(x_t, level, cond, observed)
        return self.guide(x_t, level, cond, observed)

    def check(self, cond: Tensor | None) -> None:
        """Refuse what cannot guide, by an InputError."""

    def unguided(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        """The prediction at the neutral scale."""
        return self.denoiser(x_t, level, cond, observed)

    @abstractmethod
    def guide(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        """The prediction at the scale of the level."""

    def scale_at(self, level: Level) -> Scalar:
        """The scale at a noise level: a number or, where each example has its own level, (B,)."""
        if self.interval is None:
            return self.scale
        (low, high), gamma = self.interval, level.gamma
        if isinstance(gamma, Tensor):
            inside = (gamma >= low) & (gamma <= high)
            return torch.where(inside, torch.full_like(gamma, self.scale), self.neutral)
        return self.scale if low <= gamma <= high else self.neutral


class ClassifierFree(Guided):
    r"""$\hat x = \hat x(x_t) + w (\hat x(x_t, c) - \hat x(x_t))$: guidance by the model itself, without a condition.

    This is the scale of Dhariwal & Nichol 2021 and of Imagen (Saharia et al. 2022, section 2.2): 1 is no guidance, 0 no
    condition. Ho & Salimans 2022 count from 0 (`with_weight`). An example whose condition is null stays unguided.

    Arguments:
        denoiser: a model that was trained with its conditions left out now and then.
        scale: $w$.
        interval: noise levels, in gamma; outside of them the prediction is the one given the condition, in one call.

    Raises:
        InputError: as `Guided`; and on a call without a condition.
    """

    @classmethod
    def with_weight(cls, denoiser: Denoiser, weight: float, interval: Interval | None = None) -> "ClassifierFree":
        r"""$\hat\epsilon = (1 + w') \hat\epsilon(x_t, c) - w' \hat\epsilon(x_t)$ (Ho & Salimans 2022, equation 6): the scale
        $1 + w'$.

        Arguments:
            denoiser, interval: as above.
            weight: $w'$; 0 is no guidance.
        """
        return cls(denoiser, 1 + weight, interval)

    def check(self, cond: Tensor | None) -> None:
        if cond is None:
            raise InputError(
                "guidance needs a condition, and none was given: give labels or condition vectors, of a run the samples' "
                "--label or --condition; of an unconditional model there are none"
            )

    def guide(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        assert cond is not None
        null = torch.full_like(cond, math.nan if cond.is_floating_point() else -1)
        if self.denoiser.rows_are_apart:
            levels = Level(*map(_twice, level.parts))
            both = self.denoiser(_twice(x_t), levels, torch.cat([cond, null]), _twice(observed))
            x, x_without = both.x.chunk(2)
            mix = None if both.variance_mix is None else both.variance_mix[: len(x_t)]
            conditional = Prediction(x_t, level, x, self.schedule, variance_mix=mix)
        else:  # it may hold something for each example of the batch, such as a measurement
            conditional, x_without = (
                self.denoiser(x_t, level, cond, observed),
                self.denoiser(x_t, level, null, observed).x,
            )
        return replace(conditional, x=x_without + expand(self.scale_at(level), x_t) * (conditional.x - x_without))


class AutoGuidance(Guided):
    r"""$\hat x = \hat x_{weak} + w (\hat x - \hat x_{weak})$: guidance away from what a weaker model gets wrong as well.

    Karras et al. 2024, "Guiding a diffusion model with a bad version of itself". It needs no condition; one that is given
    goes to both models.

    Arguments:
        denoiser: the model.
        weak: a worse model of the same data, such as the same network early in its training (`Run.early`).
        scale: $w$; 1 is the model alone, in one call.
        interval: noise levels, in gamma; outside of them the prediction is the model's own.

    Raises:
        InputError: as `Guided`; and if the two are of data of different shapes, or keep $x_t$ in different units.
    """

    def __init__(self, denoiser: Denoiser, weak: Denoiser, scale: float, interval: Interval | None = None):
        super().__init__(denoiser, scale, interval)
        ours, theirs = ((model.shape, model.schedule.scaling.name) for model in (denoiser, weak))
        if ours != theirs:
            raise InputError(
                f"the model takes examples of shape {ours[0]} with the scaling {ours[1]}, the weak one of shape {theirs[0]} "
                f"with the scaling {theirs[1]}: both must be of the same data and see the same noisy data"
            )
        self.weak = weak

    @property
    def underlying(self) -> tuple[Denoiser, ...]:
        return (*self.denoiser.underlying, *self.weak.underlying)

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "AutoGuidance":
        return replaced(super().rows(rows), weak=self.weak.rows(rows))

    def guide(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        # at a level, not a time: the way from t to gamma may have been learned, and differently
        strong, weak = (model(x_t, level, cond, observed) for model in (self.denoiser, self.weak))
        return replace(strong, x=weak.x + expand(self.scale_at(level), x_t) * (strong.x - weak.x))


class ClassifierGuidance(Guided):
    r"""$\hat x = \hat x(x_t) + w \frac{\sigma_t^2}{\alpha_t} \nabla_{x_t} \log p(c | x_t)$: guidance by a classifier of
    noisy data.

    Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis", section 4. The labels go to the classifier, and
    none to the denoiser: with 1, and a classifier that is right, it is the model of that class, and 0 is no guidance. For a
    conditional model that is guided by a classifier besides, bind its condition:
    `ClassifierGuidance(denoiser.given(labels), classifier, scale)`. An example of the label -1 stays unguided.

    Arguments:
        denoiser: the model.
        classifier: $(x_t, level) \mapsto$ the logits of the classes, (B, K), such as a `NoisyClassifier`.
        scale: $w$.
        interval: noise levels, in gamma; outside of them the prediction is the model's own.

    Raises:
        InputError: as `Guided`; and on a call without labels, or with labels that the classifier does not know.
    """

    neutral = 0.0

    def __init__(
        self,
        denoiser: Denoiser,
        classifier: Callable[[Tensor, Level], Tensor],
        scale: float,
        interval: Interval | None = None,
    ):
        super().__init__(denoiser, scale, interval)
        self.classifier = classifier

    def check(self, cond: Tensor | None) -> None:
        if cond is None:
            raise InputError("guidance needs a condition, and none was given: give the classifier's labels")
        if cond.is_floating_point() or cond.ndim != 1:
            raise InputError(
                f"cond has shape {tuple(cond.shape)} and dtype {str(cond.dtype).removeprefix('torch.')}: a classifier "
                "guides to labels, (batch,) integers with -1 for none; use ClassifierFree for condition vectors"
            )

    def unguided(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        return self.denoiser(x_t, level, None, observed)

    def guide(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        assert cond is not None
        prediction = self.unguided(x_t, level, cond, observed)
        factor = expand(self.scale_at(level), x_t) * expand(level.sigma**2 / level.alpha, x_t)
        shift = factor * self._slope(x_t, level, cond)
        shift = shift if observed is None else torch.where(observed, shift, 0)
        return replace(prediction, x=prediction.x + shift)

    def _slope(self, x_t: Tensor, level: Level, labels: Tensor) -> Examples:
        r"""$\nabla_{x_t} \log p(c | x_t)$, differentiable where $x_t$ is."""
        differentiable = torch.is_grad_enabled() and x_t.requires_grad
        with torch.enable_grad():
            x_t = x_t if differentiable else x_t.detach().requires_grad_()
            log_probs = self.classifier(x_t, level).log_softmax(1)
            num_classes = log_probs.shape[1]
            if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < num_classes:
                raise InputError(
                    f"labels from {int(labels.min())} to {int(labels.max())}: the classifier knows 0 to {num_classes - 1}, "
                    "and -1 for no label"
                )
            chosen = log_probs.gather(1, labels.clamp(min=0)[:, None])[:, 0] * (labels >= 0)
            return torch.autograd.grad(chosen.sum(), x_t, create_graph=differentiable)[0]


def _twice(value):
    return torch.cat([value, value]) if isinstance(value, Tensor) and value.ndim else value
