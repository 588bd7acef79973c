"""Curves of a run: its training, and where in time its bound comes from, written as PNG files."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, RULE, draw_figure, save


def training_curve(
    path: Path | str,
    steps: Num[np.ndarray, " record"],
    loss: Num[np.ndarray, " record"],
    held_out_steps: Num[np.ndarray, " check"],
    held_out: Num[np.ndarray, " check"],
    *,
    minutes: Num[np.ndarray, " record"] | None = None,
    held_out_errors: Num[np.ndarray, " check"] | None = None,
) -> Path:
    """Draws the training loss and the held-out bound, in bits per dimension, against steps and minutes.

    steps, loss: of every record of the log, increasing in steps.
    held_out_steps, held_out: of the checks on validation data; there may be none.
    minutes: of every record, a second axis; held_out_errors: standard errors of the checks.

    Raises InputError if there is no record.
    """
    if len(steps) == 0:
        raise InputError("no training records to draw; the log holds no step yet")
    figure, (axis,) = draw_figure(1, 1, (5.6, 3.4))
    axis.plot(steps, loss, color=LIGHT, linewidth=0.7, alpha=0.45, marker="o" if len(steps) == 1 else None)
    axis.plot(steps, _smooth(loss), color=LIGHT, linewidth=1.6, label="training loss")
    if len(held_out_steps):
        axis.errorbar(
            held_out_steps, held_out, held_out_errors, color=DARK, marker="o", markersize=3.5, linewidth=1.2,
            capsize=2, label="held-out bound",
        )  # fmt: skip
    axis.set_ylim(*_limits(np.concatenate([_smooth(loss)[len(loss) // 20 :], held_out])))
    axis.set_xlabel("step")
    axis.set_ylabel("bits per dimension")
    if minutes is not None and minutes[-1] > minutes[0]:
        over = axis.secondary_xaxis("top", functions=(_line(steps, minutes), _line(minutes, steps)))
        over.set_xlabel("minutes", fontsize=9, color=INK)
        over.xaxis.set_major_locator(FixedLocator(_apart(steps, minutes)))
        over.tick_params(labelsize=8, colors=INK)
        over.spines["top"].set(color=RULE)
    axis.legend(frameon=False, fontsize=8)
    return save(figure, path)


def _apart(steps: np.ndarray, minutes: np.ndarray) -> list[float]:
    """Round minutes to label, as far apart as their labels are wide, however unevenly the steps follow them."""
    chosen: list[float] = []
    for tick in MaxNLocator(6).tick_values(minutes[0], minutes[-1]):
        place = np.interp(tick, minutes, steps)
        before = np.interp(chosen[-1], minutes, steps) if chosen else -math.inf
        if minutes[0] <= tick <= minutes[-1] and place - before > 0.1 * (steps[-1] - steps[0]):
            chosen.append(float(tick))
    return chosen


def _smooth(values: np.ndarray) -> np.ndarray:
    """Median over a centred window of a twentieth of the records: an outlier doesn't bend it."""
    half = len(values) // 40
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Of the vertical axis: the first steep fall is cut off, so that the later differences can be seen."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(np.quantile(values, 0.97))
    margin = max(high - low, 0.05)
    return low - 0.15 * margin, high + 0.1 * margin


def _line(x: np.ndarray, y: np.ndarray) -> Callable[[ArrayLike], np.ndarray]:
    """Linear interpolation of y(x), continued at both ends by the mean slope, as an axis reaches past the records."""
    slope = (y[-1] - y[0]) / (x[-1] - x[0])

    def value(at: ArrayLike) -> np.ndarray:
        inside = np.clip(np.asarray(at, dtype=np.float64), x[0], x[-1])
        return np.interp(inside, x, y) + slope * (np.asarray(at, dtype=np.float64) - inside)

    return value


def bound_by_time(
    path: Path | str,
    gamma: Float[np.ndarray, " edge"],
    bits: Float[np.ndarray, " step"],
    errors: Float[np.ndarray, " step"] | None = None,
) -> Path:
    """Draws where the diffusion term comes from: bits per dimension per unit of gamma, whose area is the term.

    gamma: (K,) increasing negative log signal-to-noise ratios, the levels of a chain or the edges of bins.
    bits: (K-1,) contribution of each interval, in bits per dimension; errors: their standard errors.

    Raises InputError if gamma does not increase or is not one longer than bits.
    """
    if len(gamma) != len(bits) + 1 or not (np.diff(gamma) > 0).all():
        raise InputError(f"gamma must be increasing and one longer than bits; got {len(gamma)} and {len(bits)} values")
    figure, (axis,) = draw_figure(1, 1, (5.6, 3.2))
    widths = np.diff(gamma)
    axis.stairs(bits / widths, gamma, fill=True, color=DARK, alpha=0.25)
    axis.stairs(bits / widths, gamma, color=DARK, linewidth=1.2)
    if errors is not None:
        centres = 0.5 * (gamma[1:] + gamma[:-1])
        axis.errorbar(centres, bits / widths, errors / widths, fmt="none", ecolor=DARK, elinewidth=0.8)
    axis.set_xlim(gamma[0], gamma[-1])
    axis.set_ylim(bottom=min(0.0, float((bits / widths).min())))
    axis.set_xlabel(r"$\gamma = -\log\,\mathrm{SNR}$   (data on the left, noise on the right)")
    axis.set_ylabel("bits per dimension\nper unit of $\\gamma$")
    axis.text(
        0.98, 0.94, f"area: diffusion term\n{bits.sum():.3f} bits per dimension", transform=axis.transAxes,
        ha="right", va="top", fontsize=9, color=INK,
    )  # fmt: skip
    return save(figure, path)
