"""Vectors: histograms of one dimension, points of two, scatters of pairs of more."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, Shaped
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, label, save

MAX_PAIRS = 5
Limits = Float[np.ndarray, "dims 2"]


def limits(values: Shaped[np.ndarray, "batch dims"], share: float = 0.0) -> Limits:
    """Low and high of each dimension, with a margin; what is not finite has no place.

    share: of the values on either side that may lie beyond, so that a few far ones leave room for the others.
    """
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    has_finite = np.isfinite(finite).any(0)
    ends = np.tile([[0.0], [1.0]], values.shape[1])
    ends[:, has_finite] = np.nanquantile(finite[:, has_finite], [share, 1 - share], axis=0)
    low, high = ends
    margin = np.maximum(0.1 * (high - low), 1e-6 * np.maximum(np.abs(low), 1e-6))
    return np.stack([low - margin, high + margin], axis=1)


def draw_vectors(
    path: Path | str,
    samples: Num[np.ndarray, "batch dims"],
    data: Num[np.ndarray, "data dims"] | None,
    within: Limits | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Samples, and beside them data; `within` are the axes' limits, those of the data or samples if None, and `names` the
    dimensions'."""
    if within is None:
        shown = (samples if data is None else data)[:, :MAX_PAIRS]
        within = limits(np.concatenate([samples, data]) if data is not None and samples.shape[1] == 1 else shown)
    draw = {1: _histograms, 2: _points}.get(samples.shape[1], _pairs)
    return draw(path, samples, data, within, [label(name) for name in names])


def draw_points(axis: Axes, values: Num[np.ndarray, "batch 2"], within: Limits, color: str = DARK) -> None:
    """A scatter in a square whose axes have fixed limits and no numbers."""
    size = float(np.clip(2000 / len(values), 0.5, 8))
    axis.scatter(values[:, 0], values[:, 1], s=size, color=color, alpha=0.5, linewidths=0)
    axis.set(xlim=within[0], ylim=within[1], xticks=[], yticks=[], box_aspect=1)
    if num_missing := int((~np.isfinite(values)).any(1).sum()):
        axis.set_xlabel(f"{num_missing} not finite", fontsize=7)


def draw_histogram(
    axis: Axes, samples: Num[np.ndarray, " batch"], data: Num[np.ndarray, " data"] | None, within: Limits, bins: int
) -> None:
    """The density of samples as a line, that of data as an area, over the one dimension of `within`."""
    edges = np.linspace(within[0, 0], within[0, 1], bins + 1)
    if data is not None:
        axis.stairs(_density(data, edges), edges, fill=True, color=LIGHT, alpha=0.6, label="data")
    axis.stairs(_density(samples, edges), edges, color=DARK, label="samples")
    axis.set(xlim=within[0], ylim=(0, None))


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares of all values, those outside too, by the widths of the bins."""
    return np.histogram(values, edges)[0] / len(values) / np.diff(edges)


def _histograms(
    path: Path | str, samples: np.ndarray, data: np.ndarray | None, within: Limits, names: list[str]
) -> Path:
    figure, [[axis]] = draw_figure(1, 1, (4.2, 2.8))
    draw_histogram(axis, samples[:, 0], None if data is None else data[:, 0], within, 60)
    axis.set(xlabel=names[0] if names else "value", ylabel="density")
    axis.legend(frameon=False, fontsize=8)
    return save(figure, path)


def _points(path: Path | str, samples: np.ndarray, data: np.ndarray | None, within: Limits, names: list[str]) -> Path:
    panels = [("samples", samples)] if data is None else [("data", data), ("samples", samples)]
    figure, [axes] = draw_figure(1, len(panels), (3.2 * len(panels), 3.45))
    for axis, (title, values) in zip(axes, panels, strict=True):
        draw_points(axis, values, within, LIGHT if title == "data" else DARK)
        axis.set_title(title, fontsize=9, color=INK)
        axis.set_xlabel("\n".join(name for name in (axis.get_xlabel(), *names[:1]) if name), fontsize=8)
    axes[0].set_ylabel("".join(names[1:]), fontsize=8)
    return save(figure, path)


def _pairs(path: Path | str, samples: np.ndarray, data: np.ndarray | None, within: Limits, names: list[str]) -> Path:
    """Scatter of dimension i against j: samples below the diagonal, data above it, both as histograms on it."""
    num_dims = min(samples.shape[1], MAX_PAIRS)
    kind, names = "columns" if names else "dimensions", names or [f"dimension {number}" for number in range(num_dims)]
    figure, axes = draw_figure(num_dims, num_dims, (1.5 * num_dims, 1.5 * num_dims + 0.3))
    for (row, column), axis in np.ndenumerate(axes):
        pair = [column, row]
        if row == column:
            draw_histogram(axis, samples[:, row], None if data is None else data[:, row], within[[row]], 39)
            axis.set(xticks=[], yticks=[], box_aspect=1)
        elif row > column:
            draw_points(axis, samples[:, pair], within[pair])
        elif data is not None:
            draw_points(axis, data[:, pair], within[pair], LIGHT)
        else:
            axis.set_axis_off()
        if row == num_dims - 1:
            axis.set_xlabel(names[column], fontsize=8)
        if column == 0:
            axis.set_ylabel(names[row], fontsize=8)
    colours = {"samples, below the diagonal": DARK} | ({} if data is None else {"data, above the diagonal": LIGHT})
    handles = [Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, colour in colours.items()]
    title = None if samples.shape[1] <= MAX_PAIRS else f"the first {MAX_PAIRS} of {samples.shape[1]} {kind}"
    figure.legend(
        handles=handles, title=title, loc="outside upper center", ncols=2, frameon=False, fontsize=8, title_fontsize=8
    )
    return save(figure, path)
