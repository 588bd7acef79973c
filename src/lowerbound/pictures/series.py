"""Series: a line for each channel over the position."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lowerbound.pictures.canvas import DARK, INK, LIGHT, Range, draw_figure, label, save

MAX_NAMED = 8


def draw_all_series(
    path: Path | str,
    samples: Num[np.ndarray, "batch channels length"],
    value_range: Range,
    columns: int | None,
    names: Sequence[str] = (),
) -> Path:
    """A panel for each sample; the outer ones carry the axes, which are the same for all."""
    columns = columns or max(1, round((len(samples) / 2) ** 0.5))
    rows = -(-len(samples) // columns)
    figure, axes = draw_figure(rows, columns, (2.4 * columns + 0.4, 1.1 * rows + 0.5))
    for index, axis in enumerate(axes.flat):
        if index >= len(samples):
            axis.set_axis_off()
            continue
        row, column = divmod(index, columns)
        draw_series(axis, samples[index], value_range, left=column == 0, bottom=row == rows - 1)
    name_channels(figure, samples.shape[1], names)
    return save(figure, path)


def draw_series(
    axis: Axes, sample: Num[np.ndarray, "channels length"], value_range: Range, *, left: bool, bottom: bool
) -> None:
    """The channels of one series, with numbers on the axes that are asked for."""
    for values, colour in zip(sample, _shades(len(sample)), strict=True):
        axis.plot(values, color=colour, linewidth=0.8)
    low, high = value_range
    margin = 0.05 * (high - low)
    axis.set(xlim=(0, max(sample.shape[1] - 1, 1)), ylim=(low - margin, high + margin))
    axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.tick_params(labelbottom=bottom, labelleft=left, labelsize=7)
    axis.set_xlabel("position" if bottom else "", fontsize=8)
    axis.set_ylabel("value" if left else "", fontsize=8)


def name_channels(figure: Figure, num_channels: int, names: Sequence[str] = ()) -> None:
    """A legend of the channels' colours, where there are several, or one that has a name."""
    if num_channels == 1 and not names:
        return
    named = range(num_channels) if num_channels <= MAX_NAMED else (0, num_channels - 1)
    colours = _shades(num_channels)
    called = [label(name) for name in names] or [f"channel {channel}" for channel in range(num_channels)]
    handles = [Line2D([], [], color=colours[channel], label=called[channel]) for channel in named]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=MAX_NAMED, frameon=False, fontsize=8, labelcolor=INK
    )


def _shades(num_channels: int) -> np.ndarray:
    """A colour for each channel, from dark blue to light orange, monotone in lightness."""
    return LinearSegmentedColormap.from_list("shades", [DARK, LIGHT], max(num_channels, 2))(range(num_channels))
