"""Estimators of conditional densities, by the interfaces of two libraries of simulation-based inference.

Neither library is imported: what counts is how `log_prob` is called, which its parameters tell.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lowerbound.auditing.subject import Figures, Points, Subject, as_figures, as_points, seeded
from lowerbound.errors import InputError

KNOWN = (
    "log_prob(theta, x) of sbi's posteriors, log_prob(input, condition) of its estimators, log_prob(data) of BayesFlow"
)


def given(model: Any, condition: Any) -> Subject:
    """A density conditioned on one observation.

    Arguments:
        model: sbi's posterior, `log_prob(theta, x)` and `sample(shape, x=x)`; its density estimator, `log_prob(input,
            condition)` and `sample(shape, condition)`; or BayesFlow's approximator, `log_prob(data)` and
            `sample(num_samples=, conditions=)`, with dictionaries of arrays.
        condition: the observation, a tensor or an array; of BayesFlow the arrays by their names, each with one data set.

    Raises:
        InputError: if the model has none of these interfaces, or the condition is not of its kind.
    """
    names = set(inspect.signature(model.log_prob).parameters) if hasattr(model, "log_prob") else set()
    if "data" in names:
        log_prob, sample = _of_dictionaries(model, condition)
    elif "condition" in names:
        log_prob, sample = _of_estimator(model, condition)
    elif "x" in names and len(names) > 1:
        log_prob, sample = _of_posterior(model, condition)
    else:
        raise InputError(
            f"{type(model).__name__} takes no condition by an interface that is known: {KNOWN}; leave out given"
        )

    def drawn(num: int, seed: int) -> Points:
        with torch.no_grad():
            return seeded(lambda: as_points(sample(num)), seed)

    def scored(x: Points) -> tuple[Figures, None]:
        with torch.no_grad():
            return as_figures(log_prob(x)), None

    return Subject(type(model).__name__, scored, drawn if hasattr(model, "sample") else None)


_Functions = tuple[Callable[[Points], Any], Callable[[int], Any]]


def _of_posterior(model: Any, condition: Any) -> _Functions:
    x = torch.as_tensor(condition)
    return (
        lambda theta: model.log_prob(torch.as_tensor(theta, dtype=torch.float32), x=x),
        lambda num: model.sample((num,), x=x),
    )


def _of_estimator(model: Any, condition: Any) -> _Functions:
    """Its tensors have an axis of samples, and one of a batch of conditions, here one."""
    x = torch.as_tensor(condition)[None]
    return (
        lambda theta: model.log_prob(torch.as_tensor(theta, dtype=torch.float32)[:, None], condition=x)[:, 0],
        lambda num: model.sample((num,), condition=x)[:, 0],
    )


def _of_dictionaries(model: Any, condition: Any) -> _Functions:
    """Its variables stand side by side in a point, in the order of the samples' names."""
    if not isinstance(condition, Mapping):
        raise InputError(
            f"the condition is of the type {type(condition).__name__}: give a dictionary of arrays by their names"
        )
    conditions = {name: np.asarray(value) for name, value in condition.items()}

    def draw(num: int) -> dict[str, np.ndarray]:
        drawn = model.sample(num_samples=num, conditions=conditions)
        return {name: np.asarray(values)[0].reshape(num, -1) for name, values in drawn.items()}

    widths = {name: values.shape[1] for name, values in draw(1).items()}
    ends = np.cumsum(list(widths.values()))[:-1]

    def log_prob(theta: Points) -> np.ndarray:
        variables = dict(zip(widths, np.split(theta.astype(np.float32), ends, axis=1), strict=True))
        repeated = {name: np.repeat(value, len(theta), 0) for name, value in conditions.items()}
        return np.asarray(model.log_prob(data={**variables, **repeated})).reshape(len(theta))

    return log_prob, lambda num: np.concatenate(list(draw(num).values()), 1)
