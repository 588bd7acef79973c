r"""Forecasts of held-out windows of series, judged as imputations are, beside simple ones.

- **Persistence** repeats the last known value of each channel, **seasonal-naive** the last season, whose length is a lag
  at which training windows differ less from themselves than at the lags beside it, and least of all such. Both are points:
  their CRPS is their mean absolute error.
- **A linear model**: ridge regression of all that is to come on all that was, with the penalty that is best on validation
  windows, and Gaussian residuals with their covariance there.

All is in standard deviations of each channel, over the values of the horizon that are known. Errors are over windows, which
are independent only where they do not overlap.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lowerbound.evaluate.imputation import Judgement, crps, over_examples
from lowerbound.evaluate.part import Figures
from lowerbound.files.records import Measured

PENALTIES = tuple(10.0**power for power in range(-1, 6))
MOST_LEARNED = 2000
"""Training windows that simple forecasts learn from."""

Windows = Float[np.ndarray, "_ channel step"]
Ahead = Float[np.ndarray, "_ channel _"]
"""The last steps of windows."""


@dataclass(frozen=True)
class Rival:
    """A simple forecast.

    Arguments:
        name: what it is called.
        crps: the mean over the values to come.
        root_mean_square_error: of its point, or of its draws' mean.
    """

    name: str
    crps: Measured
    root_mean_square_error: Measured


@dataclass(frozen=True)
class Forecasts(Figures):
    """The judgement of a model's forecasts, beside simple ones of the same windows.

    Arguments:
        horizon, history: how many steps are drawn, given how many before.
        num_windows: how many test windows.
        num_draws: of each.
        judgement: of the model's.
        rivals: simple ones.
    """

    horizon: int
    history: int
    num_windows: int
    num_draws: int
    judgement: Judgement
    rivals: tuple[Rival, ...]


def rivals(train: Windows, validation: Windows, windows: Windows, horizon: int, num_draws: int) -> tuple[Rival, ...]:
    """Simple forecasts of the last steps of windows.

    Arguments:
        train, validation, windows: in units in which channels may be averaged, NaN where a value is missing: to learn from,
            to choose by, and to forecast.
        horizon: how many steps are to come.
        num_draws: of the linear model.
    """
    history = windows.shape[2] - horizon
    draws = {"persistence": persistence(windows, horizon)[:, None]}
    if (season := season_of(train, history)) is not None:
        draws[f"seasonal-naive, {season} steps"] = seasonal(windows, horizon, season)[:, None]
    draws["linear, Gaussian residuals"] = linear_draws(train, validation, windows, horizon, num_draws)
    truth = windows[..., history:]
    known = ~np.isnan(truth)
    return tuple(_judged(name, each, np.where(known, truth, 0), known) for name, each in draws.items())


def persistence(windows: Windows, horizon: int) -> Ahead:
    """The last known value of each channel again and again; 0, the mean, of one of which nothing is known."""
    return _filled(windows[..., : windows.shape[2] - horizon])[..., -1:].repeat(horizon, 2)


def season_of(train: Windows, history: int) -> int | None:
    """The lag, no longer than the history, at which windows differ less than at the lags beside it, and least of all such;
    or None.

    The least of all lags is no season: what goes on smoothly differs least at the shortest.
    """
    lags = range(1, min(history + 2, train.shape[2]))
    apart = np.array([*(_mean_of_known(np.abs(train[..., lag:] - train[..., :-lag])) for lag in lags), np.inf])
    seasons = [k for k in range(1, min(history, len(lags))) if apart[k - 1] > apart[k] < apart[k + 1]]
    return lags[min(seasons, key=lambda k: apart[k])] if seasons else None


def _mean_of_known(values: np.ndarray) -> float:
    """Of all values that are there; infinite if none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.inf


def seasonal(windows: Windows, horizon: int, season: int) -> Ahead:
    """The last season again and again."""
    past = _filled(windows[..., : windows.shape[2] - horizon])
    return past[..., past.shape[2] - season + np.arange(horizon) % season]


def linear_draws(
    train: Windows, validation: Windows, windows: Windows, horizon: int, num_draws: int
) -> Float[np.ndarray, "_ _ channel _"]:
    """Draws of a linear model of all that is to come given all that was, (N, K, C, horizon)."""
    weights = ridge(train, validation, horizon)
    shape = (-1, train.shape[1], horizon)
    residuals = np.nan_to_num(validation[..., -horizon:] - (inputs(validation, horizon) @ weights).reshape(shape))
    flat = residuals.reshape(len(residuals), -1)
    covariance = flat.T @ flat / max(1, len(flat)) + 1e-6 * np.eye(flat.shape[1])
    noise = np.random.default_rng(0).standard_normal((len(windows), num_draws, len(covariance)))
    noise = (noise @ np.linalg.cholesky(covariance).T).reshape(len(windows), num_draws, *residuals.shape[1:])
    return (inputs(windows, horizon) @ weights).reshape(shape)[:, None] + noise


def inputs(windows: Windows, horizon: int) -> Float[np.ndarray, "_ _"]:
    """What a regression sees of windows, missing values as the mean, 0, and a one."""
    flat = np.nan_to_num(windows[..., : windows.shape[2] - horizon]).reshape(len(windows), -1)
    return np.concatenate([flat, np.ones((len(flat), 1))], 1)


def ridge(train: Windows, validation: Windows, horizon: int) -> Float[np.ndarray, "_ _"]:
    """The weights of the regression whose penalty is best on validation windows."""
    x = inputs(train, horizon).astype(np.float64)
    targets, truth = (np.nan_to_num(each[..., -horizon:]).reshape(len(each), -1) for each in (train, validation))
    gram, moment = x.T @ x, x.T @ targets
    penalised = np.eye(len(gram))
    penalised[-1, -1] = 0  # the constant is not
    candidates = [np.linalg.solve(gram + penalty * penalised, moment) for penalty in PENALTIES]
    return min(candidates, key=lambda weights: float(((inputs(validation, horizon) @ weights - truth) ** 2).mean()))


def _filled(past: Windows) -> Windows:
    """Missing values as the last known before them; 0 where there is none."""
    last_known = np.maximum.accumulate(np.where(np.isnan(past), 0, np.arange(past.shape[2])), 2)
    return np.nan_to_num(np.take_along_axis(past, last_known, 2))


def _judged(name: str, draws: np.ndarray, truth: Windows, known: Bool[np.ndarray, "_ channel step"]) -> Rival:
    squares = over_examples((draws.mean(1) - truth) ** 2, known)
    return Rival(name, over_examples(crps(draws, truth), known), squares.root())
