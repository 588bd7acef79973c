"""Curves of a run: its training, and where in time its bound comes from, written as PNG files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Num
from matplotlib.ticker import MaxNLocator

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
    is_bound: bool = True,
) -> Path:
    """Draws the training loss and the held-out bound, in bits per dimension, against steps and minutes; a loss that is no
    bound on axes of its own.

    steps, loss: of every record of the log, increasing in steps.
    held_out_steps, held_out: of the checks on validation data; there may be none.
    minutes: of every record, a second axis; held_out_errors: standard errors of the checks.
    is_bound: whether the loss is a bound, in bits per dimension as the held-out one.

    Raises InputError if there is no record.
    """
    if len(steps) == 0:
        raise InputError("no training records to draw; the log holds no step yet")
    apart = not is_bound and len(held_out_steps) > 0
    figure, axes = draw_figure(1 + apart, 1, (5.6, 4.8 if apart else 3.4), space=0.05)
    axis, below = axes[0, 0], axes[-1, 0]
    below.plot(steps, loss, color=LIGHT, linewidth=0.7, alpha=0.45, marker="o" if len(steps) == 1 else None)
    below.plot(steps, _smooth(loss), color=LIGHT, linewidth=1.6, label="training loss")
    late = _smooth(loss)[len(loss) // 20 :]
    errors = np.zeros(len(held_out)) if held_out_errors is None else held_out_errors
    checks = np.concatenate([held_out - errors, held_out + errors])
    if len(held_out_steps):
        axis.errorbar(
            held_out_steps, held_out, held_out_errors, color=DARK, marker="o", markersize=3.5, linewidth=1.2,
            capsize=2, label="held-out bound",
        )  # fmt: skip
    if apart:
        axis.set(ylim=_limits(checks), ylabel="bits per dimension", xlim=below.get_xlim())
        below.set(ylim=_limits(late))
    else:
        axis.set(ylim=_limits(np.concatenate([late, checks])))
    below.set(xlabel="step", ylabel="bits per dimension" if is_bound else "loss, no bound")
    if minutes is not None and minutes[-1] > minutes[0]:
        over = axis.secondary_xaxis("top")
        over.set_xticks(*minute_ticks(steps, minutes, axis.get_xlim()))
        over.set_xlabel("minutes", fontsize=9, color=INK)
        over.tick_params(labelsize=8, colors=INK)
        over.spines["top"].set(color=RULE)
    # outside of the axes: inside there may be no place where curves leave it room
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return save(figure, path)


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


def minute_ticks(
    steps: Num[np.ndarray, " record"], minutes: Num[np.ndarray, " record"], within: tuple[float, float]
) -> tuple[list[float], list[str]]:
    """Steps at which round numbers of minutes had passed, and these: no two nearer than an eighth of the axis.

    Steps take unequal times, and a pause lets many minutes pass at one of them. Where that leaves fewer than three, the
    minutes of five steps at equal distances.
    """
    locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    ticks, labels = [], []
    rounds = locator.tick_values(float(minutes[0]), float(minutes[-1]))
    for minute in rounds[(minutes[0] <= rounds) & (rounds <= minutes[-1])]:
        step = float(np.interp(minute, minutes, steps))
        if not ticks or step - ticks[-1] >= (within[1] - within[0]) / 8:
            ticks.append(step)
            labels.append(f"{minute:.4g}")
    if len(ticks) < 3:
        ticks = np.linspace(steps[0], steps[-1], 5).tolist()
        labels = [f"{minute:.3g}" for minute in np.interp(ticks, steps, minutes)]
    return ticks, labels


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
    figure, [[axis]] = draw_figure(1, 1, (5.6, 3.2))
    widths = np.diff(gamma)
    density = bits / widths
    axis.stairs(density, gamma, fill=True, color=DARK, alpha=0.25)
    axis.stairs(density, gamma, color=DARK, linewidth=1.2)
    if errors is not None:
        centres = 0.5 * (gamma[1:] + gamma[:-1])
        axis.errorbar(centres, density, errors / widths, fmt="none", ecolor=DARK, elinewidth=0.8)
    axis.set(xlim=(gamma[0], gamma[-1]), ylim=(min(0.0, density.min()), None))
    axis.set_xlabel(r"$\gamma = -\log\,\mathrm{SNR}$   (data on the left, noise on the right)")
    axis.set_ylabel("bits per dimension\nper unit of $\\gamma$")
    axis.set_title(f"area: the diffusion term, {bits.sum():.3f} bits per dimension", fontsize=9, color=INK)
    return save(figure, path)
