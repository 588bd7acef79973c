"""Pictures of samples and of the way from noise to data, written as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save

MAX_CHANNELS = 8
MAX_PAIRS = 5
TEXT_HEIGHT = 16
Range = tuple[float, float]


def sample_grid(
    path: Path | str,
    samples: Num[np.ndarray, "batch *shape"],
    value_range: Range,
    data: Num[np.ndarray, "data *shape"] | None = None,
    columns: int | None = None,
) -> Path:
    """Draws samples in the way that suits their shape, vectors beside the data.

    samples: (N, C, H, W) images as a mosaic (channels apart unless 1 or 3), (N, C, D, H, W) volumes by their middle
    slices, (N, C, L) series as lines, (N, 2) points, (N, D) vectors as scatters of pairs of the first 5 dimensions.
    value_range: (low, high), the values drawn as black and white.
    data: real examples of the same shape, drawn beside vectors only.
    columns: of the grid; by default it is about square.

    Raises InputError for no samples, shapes that cannot be drawn, or an empty value range.
    """
    _check(samples, value_range)
    if samples.ndim >= 4:
        volumes = samples.ndim == 5
        told = f"slice {samples.shape[2] // 2 + 1} of {samples.shape[2]} of each volume" if volumes else ""
        return _mosaic(path, np.stack([_tile(sample, value_range) for sample in samples]), columns, told)
    if samples.ndim == 3:
        return _series(path, samples, value_range, columns)
    if samples.shape[1] == 1:
        return _histograms(path, samples, data)
    if samples.shape[1] == 2:
        return _points(path, samples, data)
    return _pairs(path, samples, data)


def _check(values: np.ndarray, value_range: Range) -> None:
    if len(values) == 0 or not 2 <= values.ndim <= 5:
        raise InputError(
            f"an array of shape {values.shape} cannot be drawn; give (N, D), (N, C, L), (N, C, H, W) or "
            "(N, C, D, H, W) with at least one example"
        )
    if not value_range[0] < value_range[1]:
        raise InputError(f"value_range {value_range} is empty; give (low, high) with low < high")


def _tile(example: np.ndarray, value_range: Range) -> np.ndarray:
    """One image (C, H, W) or volume (C, D, H, W) as bytes (H, W', 3)."""
    if example.ndim == 4:
        example = example[:, example.shape[1] // 2]
    low, high = value_range
    grey = np.clip((example.astype(np.float64) - low) / (high - low), 0, 1)
    grey = np.round(255 * np.nan_to_num(grey)).astype(np.uint8)
    if len(grey) == 3:
        return grey.transpose(1, 2, 0)
    if len(grey) > 1:
        gap = np.full((1, grey.shape[1], 1), 128, dtype=np.uint8)
        grey = np.concatenate([part for channel in grey[:MAX_CHANNELS] for part in (gap, channel[None])][1:], axis=2)
    return np.repeat(grey[0][:, :, None], 3, axis=2)


def _mosaic(path: Path | str, tiles: np.ndarray, columns: int | None, told: str = "") -> Path:
    """Tiles (N, H, W, 3) enlarged by a whole number and laid out with a gap, pixel for pixel; a line of text below them."""
    from PIL import Image, ImageDraw

    num_tiles, height, width, _ = tiles.shape
    columns = columns or max(1, round((num_tiles * height / width) ** 0.5))
    rows = -(-num_tiles // columns)
    zoom = max(1, round(640 / (columns * width)))
    gap = max(1, zoom // 2)
    sheet = np.full((rows * (height * zoom + gap) + gap, columns * (width * zoom + gap) + gap, 3), 208, dtype=np.uint8)
    for index, tile in enumerate(tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)):
        top = gap + (index // columns) * (height * zoom + gap)
        left = gap + (index % columns) * (width * zoom + gap)
        sheet[top : top + height * zoom, left : left + width * zoom] = tile
    if told:
        sheet = np.concatenate([sheet, np.full((TEXT_HEIGHT, *sheet.shape[1:]), 255, dtype=np.uint8)])
    picture = Image.fromarray(sheet)
    if told:
        ImageDraw.Draw(picture).text((gap, sheet.shape[0] - TEXT_HEIGHT + 2), told, fill=INK)
    picture.save(path, format="PNG")
    return Path(path)


def _series(path: Path | str, samples: np.ndarray, value_range: Range, columns: int | None) -> Path:
    columns = columns or max(1, round((len(samples) / 2) ** 0.5))
    rows = -(-len(samples) // columns)
    figure, axes = draw_figure(rows, columns, (2.4 * columns, 1.1 * rows))
    for number, (axis, sample) in enumerate(zip(axes, samples, strict=False)):
        _draw_series(axis, sample, value_range)
        # the scales once each: values along the left side, positions below the last of each column
        if number % columns == 0:
            axis.set_yticks(np.round(value_range, 2), [f"{value:.3g}" for value in value_range], fontsize=6)
        if number + columns >= len(samples):
            axis.set_xticks([0, len(sample[0]) - 1])
            axis.tick_params(axis="x", labelsize=6)
    for axis in axes[len(samples) :]:
        axis.set_axis_off()
    if 1 < len(samples[0]) <= MAX_CHANNELS:
        labels = [f"channel {channel}" for channel in range(len(samples[0]))]
        figure.legend(axes[0].get_lines(), labels, loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    return save(figure, path)


def _draw_series(axis: Axes, sample: np.ndarray, value_range: Range) -> None:
    for channel, values in enumerate(sample):
        axis.plot(values, color=_shade(channel, len(sample)), linewidth=0.8)
    margin = 0.05 * (value_range[1] - value_range[0])
    axis.set_ylim(value_range[0] - margin, value_range[1] + margin)
    axis.set_xticks([])
    axis.set_yticks([])


def _shade(index: int, total: int) -> tuple[float, float, float]:
    """From dark blue to light orange, monotone in lightness."""
    from matplotlib.colors import to_rgb

    weight = index / max(total - 1, 1)
    dark, light = np.array(to_rgb(DARK)), np.array(to_rgb(LIGHT))
    red, green, blue = (1 - weight) * dark + weight * light
    return float(red), float(green), float(blue)


def _histograms(path: Path | str, samples: np.ndarray, data: np.ndarray | None) -> Path:
    figure, (axis,) = draw_figure(1, 1, (4.2, 2.8))
    edges = np.histogram_bin_edges(samples if data is None else np.concatenate([samples, data]), bins=60).tolist()
    if data is not None:
        axis.hist(data[:, 0], edges, density=True, color=LIGHT, alpha=0.6, label="data")
    axis.hist(samples[:, 0], edges, density=True, histtype="step", color=DARK, label="samples")
    axis.legend(frameon=False, fontsize=8)
    return save(figure, path)


def _points(path: Path | str, samples: np.ndarray, data: np.ndarray | None) -> Path:
    panels = [("samples", samples)] if data is None else [("data", data), ("samples", samples)]
    figure, axes = draw_figure(1, len(panels), (3.2 * len(panels), 3.45))
    extent = _extent(panels[0][1])
    for axis, (title, values) in zip(axes, panels, strict=True):
        _draw_points(axis, values, extent, LIGHT if title == "data" else DARK)
        axis.set_title(title, fontsize=9, color=INK)
    return save(figure, path)


def _extent(values: np.ndarray, margin: float = 0.1) -> np.ndarray:
    """(D, 2): low and high of each dimension, with a margin relative to what lies between."""
    low, high = values.min(axis=0), values.max(axis=0)
    around = margin * np.maximum(high - low, 1e-12)
    return np.stack([low - around, high + around], axis=1)


def _draw_points(axis: Axes, values: np.ndarray, extent: np.ndarray, color: str = DARK) -> None:
    size = float(np.clip(2000 / len(values), 0.5, 8))
    axis.scatter(values[:, 0], values[:, 1], s=size, color=color, alpha=0.5, linewidths=0)
    axis.set_xlim(*extent[0])
    axis.set_ylim(*extent[1])
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_box_aspect(1)


def _pairs(path: Path | str, samples: np.ndarray, data: np.ndarray | None) -> Path:
    """Scatter of dimension i against j: samples below the diagonal, data above it, both as histograms on it."""
    num_dims = min(samples.shape[1], MAX_PAIRS)
    figure, axes = draw_figure(num_dims, num_dims, (1.5 * num_dims, 1.5 * num_dims))
    reference = samples if data is None else data
    extent = _extent(reference[:, :num_dims])
    for index, axis in enumerate(axes):
        row, column = divmod(index, num_dims)
        pair = [column, row]
        if row == column:
            edges = np.linspace(extent[row, 0], extent[row, 1], 40).tolist()
            if data is not None:
                axis.hist(data[:, row], edges, density=True, color=LIGHT, alpha=0.6)
            axis.hist(samples[:, row], edges, density=True, histtype="step", color=DARK)
            axis.set_xlim(*extent[row])
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_box_aspect(1)
        elif row > column:
            _draw_points(axis, samples[:, pair], extent[pair])
        elif data is not None:
            _draw_points(axis, data[:, pair], extent[pair], LIGHT)
        else:
            axis.set_axis_off()
        if row == num_dims - 1:
            axis.set_xlabel(f"dimension {column}", fontsize=8)
        if column == 0:
            axis.set_ylabel(f"dimension {row}", fontsize=8)
    told = [Line2D([], [], color=DARK, marker="o", linestyle="", label="samples (below the diagonal)")]
    if data is not None:
        told.append(Line2D([], [], color=LIGHT, marker="o", linestyle="", label="data (above it)"))
    figure.legend(handles=told, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return save(figure, path)


def denoising_strip(
    path: Path | str,
    states: Sequence[tuple[float, Num[np.ndarray, "batch *shape"]]],
    value_range: Range,
    rows: int = 4,
) -> Path:
    """Draws the way from noise to data, one column per time.

    states: (t, batch) in the order of sampling, t falling from 1 to 0, each batch as in `sample_grid`.
    value_range: (low, high); values outside are drawn at its ends.
    rows: how many examples; vectors are drawn as one row of scatters of their first two dimensions, each on the scale of
    the samples that the way ends in.
    """
    if not states:
        raise InputError("no states to draw; give at least one (t, batch)")
    for _, batch in states:
        _check(batch, value_range)
    vectors = states[0][1].ndim == 2
    rows = 1 if vectors else min(rows, len(states[0][1]))
    figure, axes = draw_figure(rows, len(states), (0.8 * len(states), 0.8 * rows + 0.2), 0.03)
    final = states[-1][1]
    shown = [0, min(1, final.shape[1] - 1)]
    around = _extent(final[:, shown], margin=0.5) if vectors else np.empty((2, 2))
    for index, axis in enumerate(axes):
        row, column = divmod(index, len(states))
        t, batch = states[column]
        if vectors:
            _draw_points(axis, batch[:, shown], around)
        elif batch.ndim == 3:
            _draw_series(axis, batch[row], value_range)
        else:
            axis.imshow(_tile(batch[row], value_range), interpolation="nearest")
            axis.set_axis_off()
        if row == 0:
            axis.set_title(f"t = {t:.2g}" if column == 0 else f"{t:.2g}", fontsize=8, color=INK)
    return save(figure, path)
