"""Series that go on: what is known, what was drawn as bands, and what came, written as PNG files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save
from lowerbound.words.brief import Brief

BANDS = {0.9: 0.18, 0.5: 0.38}
"""Shares of the samples that lie within a band, and how opaque it is."""
MOST_CHANNELS = 4


@dataclass(frozen=True, eq=False, repr=False)
class Drawn(Brief):
    """A window of a series, part of which was drawn.

    Arguments:
        title: what it is.
        known: values, (C, L); NaN where they were drawn.
        samples: (K, C, L), of which what is known is not looked at.
        truth: (C, L) where it is known, NaN elsewhere; None if nothing is.
    """

    title: str
    known: Num[np.ndarray, "channels length"]
    samples: Num[np.ndarray, "num_samples channels length"]
    truth: Num[np.ndarray, "channels length"] | None = None


def draw_bands(path: Path | str, windows: Sequence[Drawn], channels: Sequence[str], step: str) -> Path:
    """Draws windows in rows, their channels in columns, against time: the median of what was drawn, and bands of 50 and 90 %
    of the samples.

    windows: at least one.
    channels: the names of the C channels, of which the first `MOST_CHANNELS` are drawn.
    step: the time from one value to the next, in words.

    Raises InputError if there are no windows.
    """
    if not windows:
        raise InputError("no windows to draw; give at least one")
    columns = min(len(channels), MOST_CHANNELS)
    rows = len(windows)
    figure, axes = draw_figure(rows, columns, (3.2 * columns + 0.4, 1.7 * rows + 0.7))
    for row, window in enumerate(windows):
        for column in range(columns):
            axis = axes[row, column]
            _draw(axis, window, column)
            axis.set_ylabel(channels[column], fontsize=8)
            if row == rows - 1:
                axis.set_xlabel(f"time from the first value drawn, in steps of {step}", fontsize=8)
        axes[row, 0].set_title(window.title, fontsize=8, color=INK, loc="left")
    handles = [
        Line2D([], [], color=INK, linewidth=0.9, label="known"),
        Line2D([], [], color=LIGHT, linewidth=1.2, label="truth"),
        Line2D([], [], color=DARK, linewidth=1.2, label="median"),
        *(
            Patch(color=DARK, alpha=opacity, linewidth=0, label=f"{share:.0%} of the samples")
            for share, opacity in BANDS.items()
        ),
    ]
    if all(window.truth is None for window in windows):
        del handles[1]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=8, labelcolor=INK)
    return save(figure, path)


def _draw(axis: Axes, window: Drawn, channel: int) -> None:
    """One channel of a window."""
    known, samples = window.known[channel], window.samples[:, channel].astype(np.float64)
    is_drawn = np.isnan(known)
    first = int(np.argmax(is_drawn)) if is_drawn.any() else 0
    places = np.arange(len(known)) - first
    axis.plot(places, known, color=INK, linewidth=0.9)
    samples = np.where(is_drawn, samples, np.nan)
    if is_drawn.any():
        drawn = samples[:, is_drawn]
        for share, opacity in BANDS.items():
            low, high = np.full((2, len(known)), np.nan)
            low[is_drawn], high[is_drawn] = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2], axis=0)
            axis.fill_between(places, low, high, color=DARK, alpha=opacity, linewidth=0)
        median = np.full(len(known), np.nan)
        median[is_drawn] = np.median(drawn, axis=0)
        axis.plot(places, median, color=DARK, linewidth=1.2)
    if window.truth is not None:
        axis.plot(places, np.where(is_drawn, window.truth[channel], np.nan), color=LIGHT, linewidth=1.2)
    axis.set_xlim(places[0], max(places[-1], places[0] + 1))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.tick_params(labelsize=7)
