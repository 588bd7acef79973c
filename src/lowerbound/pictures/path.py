"""The way from noise to data in one picture, a column for each time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import INK, LIGHT, Range, draw_figure, drawable, label, save
from lowerbound.pictures.mosaic import explained, own_ranges_of_fields, tile
from lowerbound.pictures.ranges import own_ranges
from lowerbound.pictures.series import draw_series, name_channels
from lowerbound.pictures.vectors import Limits, draw_histogram, draw_points, limits

_FOLLOWED = 6
_WIDEST = 2.0  # of the frame around vectors, in widths of the data
_FAR = 0.005  # share of the values on either side of a frame that may lie beyond it, and are drawn at its edge
_WIDTH = 12.0  # the most inches of a picture


def denoising_strip(
    path: Path | str,
    states: Sequence[tuple[float, Shaped[np.ndarray, "batch *shape"]]],
    value_range: Range,
    rows: int = 4,
    within: Limits | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Draws the way from noise to data, one column per time.

    states: (t, batch) in the order of sampling, t falling from 1 to 0, each batch as in `sample_grid`.
    value_range: (low, high) of everything but vectors; values outside are drawn at its ends.
    rows: how many examples are shown; of vectors, how many pairs of dimensions, all examples as points in a frame that is
        the same at all times, some of them in another colour so that they can be followed.
    within: (D, 2), low and high of vectors' frame; by default those of the states (`path_limits`).
    names: of the D dimensions or C channels; numbers in their place if empty.

    Raises InputError for no states, shapes that cannot be drawn, or an empty value range.
    """
    if not states:
        raise InputError("no states to draw; give at least one (t, batch)")
    states = [(t, drawable(batch, value_range)) for t, batch in states]
    num_axes = states[0][1].ndim
    if num_axes == 2:
        return _draw_vectors(path, states, rows, within, [label(name) for name in names])
    first = [(t, batch[:rows]) for t, batch in states]
    return (_draw_series if num_axes == 3 else _draw_tiles)(path, first, value_range, names)


def _draw_tiles(
    path: Path | str, states: Sequence[tuple[float, np.ndarray]], value_range: Range, names: Sequence[str]
) -> Path:
    """Images or slices of volumes, all of them in one frame: a frame for each would take most of the time."""
    own = own_ranges_of_fields(states[-1][1])
    tiles = np.array([[tile(example, value_range, own) for example in batch] for _, batch in states]).swapaxes(0, 1)
    rows, columns, height, width, _ = tiles.shape
    gap = max(1, min(height, width) // 8)
    cells = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    sheet = cells.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), 3)[:-gap, :-gap]
    inches = min(0.8 * max(1.0, width / height), _WIDTH / columns)
    caption = explained(states[0][1].shape[1:], names, own)
    words = 0.6 if caption else 0.3
    figure, [[axis]] = draw_figure(1, 1, (inches * columns, inches * rows * min(height / width, 4.0) + words))
    axis.imshow(sheet, interpolation="nearest")
    axis.set_xticks((width - 1) / 2 + (width + gap) * np.arange(columns), _times(states), size=8, color=INK)
    axis.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    axis.set(yticks=[], frame_on=False)
    if caption:
        figure.supxlabel(caption, fontsize=8, color=INK)
    return save(figure, path)


def _draw_series(
    path: Path | str, states: Sequence[tuple[float, np.ndarray]], value_range: Range, names: Sequence[str]
) -> Path:
    rows, columns, num_channels = len(states[0][1]), len(states), states[0][1].shape[1]
    own = own_ranges(states[-1][1])
    inches = min(0.8 * 4 / 3, _WIDTH / columns)
    figure, axes = draw_figure(rows, columns, (inches * columns, inches * rows * 3 / 4 + 0.5), 0.03)
    for (row, column), axis in np.ndenumerate(axes):
        draw_series(axis, states[column][1][row], value_range, own, left=column == 0, bottom=row == rows - 1)
        axis.set_xlabel("position" if row == rows - 1 and column == 0 else "")
    _name_times(axes[0], states)
    name_channels(figure, num_channels, names, own)
    return save(figure, path)


def path_limits(states: Sequence[Shaped[np.ndarray, "batch dims"]]) -> Limits:
    """Low and high of each dimension over all states but for a few far values; at most twice as wide as the last one.

    Noise that is much wider than the data, as that of a variance-exploding schedule, would leave them a dot.
    """
    last, everywhere = limits(states[-1], _FAR), limits(np.concatenate(states), _FAR)
    centre, half = last.mean(1, keepdims=True), _WIDEST * (last[:, 1:] - last[:, :1]) / 2
    return np.clip(everywhere, centre - half, centre + half)


def _draw_vectors(
    path: Path | str, states: Sequence[tuple[float, np.ndarray]], rows: int, within: Limits | None, names: Sequence[str]
) -> Path:
    num_dims = states[0][1].shape[1]
    within = path_limits([batch for _, batch in states]) if within is None else within
    called = names or [f"dimension {number}" for number in range(num_dims)]
    firsts = range(0, num_dims, 2)[:rows]
    pairs = [(min(first, max(num_dims - 2, 0)), min(first + 1, num_dims - 1)) for first in firsts]
    figure, axes = draw_figure(len(pairs), len(states), (0.85 * len(states) + 0.3, 0.85 * len(pairs) + 0.5), 0.03)
    for (row, column), axis in np.ndenumerate(axes):
        across, up = pairs[row]
        frame, batch = within[[across, up]], states[column][1]
        if across == up:
            draw_histogram(axis, np.clip(batch[:, 0], *frame[0]), None, frame, 30)
            axis.set(xticks=[], yticks=[])
        else:
            points = np.clip(batch[:, [across, up]], frame[:, 0], frame[:, 1])
            draw_points(axis, points, frame)
            axis.scatter(*points[:_FOLLOWED].T, s=9, color=LIGHT, linewidths=0)
        if column == 0:
            axis.set_ylabel("density" if across == up else called[up], fontsize=7)
            axis.set_xlabel(called[across], fontsize=7)
    _name_times(axes[0], states)
    return save(figure, path)


def _name_times(axes: np.ndarray, states: Sequence[tuple[float, np.ndarray]]) -> None:
    for axis, time in zip(axes, _times(states), strict=True):
        axis.set_title(time, fontsize=8, color=INK)


def _times(states: Sequence[tuple[float, np.ndarray]]) -> list[str]:
    return [f"t = {t:.2g}" if column == 0 else f"{t:.2g}" for column, (t, _) in enumerate(states)]
