"""Series: a line for each channel over the position."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lowerbound.pictures.canvas import DARK, INK, LIGHT, Range, draw_figure, save
from lowerbound.pictures.ranges import UNIT, OwnRanges, channel_labels, own_ranges, within

MAX_NAMED = MOST_IN_A_ROW = 8
LETTER, LINE, SIDE = 0.07, 0.17, 0.5
"""Of a legend, in inches: about the width of a letter, the height of a row, and what stands beside a name."""
FEW = 3
"""Channels that are told apart by how far they are from dark to light alone; more of them differ in hue as well."""


def draw_all_series(
    path: Path | str,
    samples: Num[np.ndarray, "batch channels length"],
    value_range: Range,
    columns: int | None,
    names: Sequence[str] = (),
) -> Path:
    """A panel for each sample; the outer ones carry the axes, which are the same for all."""
    own = own_ranges(samples)
    columns = columns or max(1, round((len(samples) / 2) ** 0.5))
    rows = -(-len(samples) // columns)
    figure, axes = draw_figure(rows, columns, (2.4 * columns + 0.4, 1.1 * rows + 0.5))
    for index, axis in enumerate(axes.flat):
        if index >= len(samples):
            axis.set_axis_off()
            continue
        row, column = divmod(index, columns)
        draw_series(axis, samples[index], value_range, own, left=column == 0, bottom=row == rows - 1)
    name_channels(figure, samples.shape[1], names, own)
    return save(figure, path)


def draw_series(
    axis: Axes,
    sample: Num[np.ndarray, "channels length"],
    value_range: Range,
    own: OwnRanges | None,
    *,
    left: bool,
    bottom: bool,
) -> None:
    """The channels of one series, with numbers on the axes that are asked for; each in its own range if it has one."""
    if own is not None:
        sample, value_range = within(sample, own), UNIT
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
    if own is not None:
        axis.set(yticks=[])  # the legend tells the ranges


def name_channels(figure: Figure, num_channels: int, names: Sequence[str] = (), own: OwnRanges | None = None) -> None:
    """A legend of the channels' colours, and of their own ranges, where there are several, or one that has a name.

    The figure grows by what it takes.
    """
    if num_channels == 1 and not names:
        return
    named = range(num_channels) if num_channels <= MAX_NAMED else (0, num_channels - 1)
    colours = _shades(num_channels)
    called = channel_labels(num_channels, names, own)
    handles = [Line2D([], [], color=colours[channel], label=called[channel]) for channel in named]
    widest = SIDE + LETTER * max(len(called[channel]) for channel in named)
    ncols = min(MOST_IN_A_ROW, max(1, int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + LINE * -(-len(named) // ncols))
    figure.legend(handles=handles, loc="outside upper center", ncols=ncols, frameon=False, fontsize=8, labelcolor=INK)


def _shades(num_channels: int) -> np.ndarray:
    """A colour for each channel, from dark to light, monotone in lightness."""
    if num_channels > FEW:
        return colormaps["viridis"](np.linspace(0, 0.88, num_channels))
    return LinearSegmentedColormap.from_list("shades", [DARK, LIGHT], max(num_channels, 2))(range(num_channels))
