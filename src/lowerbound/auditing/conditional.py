"""Estimators of conditional densities, by the interfaces of two libraries of simulation-based inference.

Neither library is imported: what counts is how `log_prob` and `sample` are called, which their parameters tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lowerbound.auditing.subject import Figures, Points, Subject, as_figures, as_subject, parameters, seeded
from lowerbound.errors import InputError

KNOWN = (
    "log_prob(theta, x) of sbi's posteriors, log_prob(input, condition) of its estimators, log_prob(data) of BayesFlow"
)


def conditioned_on(model: Any, condition: Any) -> Subject:
    """A density conditioned on one observation.

    Arguments:
        model: sbi's posterior, `log_prob(theta, x)` and `sample(shape, x=x)`; its density estimator, `log_prob(input,
            condition)` and `sample(shape, condition)`; or BayesFlow's approximator or workflow, `log_prob(data)` and
            `sample(num_samples=, conditions=)`, with dictionaries of arrays.
        condition: the observation, a tensor or an array; of BayesFlow the arrays by their names, each with one data set.

    Raises:
        InputError: if the model has none of these interfaces, or the condition is not of its kind.
    """
    names = parameters(model.log_prob) if hasattr(model, "log_prob") else set()
    if "data" in names:
        return _of_dictionaries(model, condition)
    if "condition" in names:
        conditioned = _of_estimator(model, condition)
    elif "x" in names and len(names) > 1:
        conditioned = _of_posterior(model, condition)
    else:
        raise InputError(
            f"{type(model).__name__} takes no condition by an interface that is known: {KNOWN}; leave out given"
        )
    return replace(as_subject(conditioned), name=type(model).__name__)


class _Conditioned(NamedTuple):
    """What a conditional density is at one condition, called as a distribution of torch is."""

    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[tuple[int, ...]], Tensor]


def _of_posterior(model: Any, condition: Any) -> _Conditioned:
    x = torch.as_tensor(condition)
    quietly = {"show_progress_bars": False} if "show_progress_bars" in parameters(model.sample) else {}
    tracked = {"track_gradients": True} if "track_gradients" in parameters(model.log_prob) else {}
    return _Conditioned(
        lambda theta: model.log_prob(theta, x=x, **tracked), lambda shape: model.sample(shape, x=x, **quietly)
    )


def _of_estimator(model: Any, condition: Any) -> _Conditioned:
    """Its tensors have an axis of samples, and one of a batch of conditions, here one."""
    x = torch.as_tensor(condition)[None]
    return _Conditioned(
        lambda theta: model.log_prob(theta[:, None], condition=x)[:, 0],
        lambda shape: model.sample(shape, condition=x)[:, 0],
    )


def _of_dictionaries(model: Any, condition: Any) -> Subject:
    """Its variables stand side by side in a point, in the order of the samples' names."""
    if not isinstance(condition, Mapping):
        raise InputError(
            f"the condition is of the type {type(condition).__name__}: give a dictionary of arrays by their names"
        )
    conditions = {name: np.asarray(value) for name, value in condition.items()}
    for name, value in conditions.items():
        if value.ndim == 0 or len(value) != 1:
            raise InputError(f"{name} of the condition has the shape {value.shape}: its first axis holds one data set")
    takes_seed = "seed" in parameters(model.sample)  # Keras has random states of its own

    def draw(num: int, seed: int) -> dict[str, np.ndarray]:
        settings = {"seed": seed} if takes_seed else {}
        drawn = model.sample(num_samples=num, conditions=conditions, **settings)
        return {name: np.asarray(values)[0].reshape(num, -1) for name, values in drawn.items()}

    widths = {name: values.shape[1] for name, values in draw(1, 0).items()}
    ends = np.cumsum(list(widths.values()))[:-1]

    def log_prob(theta: Points) -> tuple[Figures, None]:
        variables = dict(zip(widths, np.split(theta.astype(np.float32), ends, axis=1), strict=True))
        repeated = {name: np.repeat(value, len(theta), 0) for name, value in conditions.items()}
        return as_figures(np.asarray(model.log_prob(data={**variables, **repeated})).reshape(-1), len(theta)), None

    def sample(num: int, seed: int) -> Points:
        return seeded(lambda: np.concatenate(list(draw(num, seed).values()), 1), seed)

    return Subject(type(model).__name__, log_prob, sample)
