"""Pictures of sample quality: against network calls, and fidelity against variety, written as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save

COLOURS = (DARK, LIGHT, "#5aa0a0", "#8c2d3f", "#9a9a9a", "#6b4fa0", "#000000", "#b8b03c")
MARKERS = "osD^vPX*"
Figure = tuple[float, float]


def quality_by_calls(
    path: Path | str,
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    floor: Figure | None = None,
    distance: str = "Frechet distance",
) -> Path:
    """Draws a distance against the number of network calls, both on logarithmic axes, a curve for each sampler.

    curves: by name, triples of calls, distance and its standard error.
    floor: the distance of held-out data and its standard error, a horizontal band.
    distance: what it is called.

    Raises InputError if there is nothing to draw.
    """
    if not any(curves.values()):
        raise InputError("no figures of quality to draw: give at least one sampler and one number of calls")
    figure, [[axis]] = draw_figure(1, 1, (5.6, 3.6))
    for index, (name, points) in enumerate(curves.items()):
        calls, values, errors = zip(*sorted(points), strict=True)
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axis.errorbar(
            calls, values, errors, color=colour, marker=marker, markersize=4, linewidth=1.2, capsize=2, label=name
        )
    if floor is not None:
        value, error = floor
        axis.axhspan(value - error, value + error, color=INK, alpha=0.12, linewidth=0)
        axis.axhline(value, color=INK, linewidth=0.8, linestyle="--", label="held-out data")
    axis.set(xscale="log", yscale="log", xlabel="network calls per sample", ylabel=distance)
    ticks = sorted({point[0] for points in curves.values() for point in points})
    axis.set_xticks(ticks if len(ticks) <= 12 else ticks[:: -(-len(ticks) // 12)])
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.legend(frameon=False, fontsize=8)
    return save(figure, path)


def fidelity_and_variety(
    path: Path | str,
    labels: Sequence[str],
    panels: Sequence[tuple[str, str, Sequence[tuple[Figure, Figure]], tuple[Figure, Figure]]],
) -> Path:
    """Draws pairs of figures, variety to the right and fidelity upwards, joined in their order.

    labels: of the points, the scales of guidance.
    panels: for each the names of its two axes, the points as pairs of a value and its standard error, and the point of
        held-out data.

    Raises InputError if there is no point.
    """
    if len(labels) == 0:
        raise InputError("no figures of quality to draw: give at least one scale")
    figure, [axes] = draw_figure(1, len(panels), (3.4 * len(panels), 3.2), space=0.06)
    for axis, (variety, fidelity, points, real) in zip(axes, panels, strict=True):
        for label, pairs, style in (
            ("samples", points, {"color": DARK, "marker": "o", "markersize": 4, "linewidth": 1.0}),
            ("held-out data", [real], {"color": LIGHT, "marker": "s", "markersize": 5, "linestyle": "none"}),
        ):
            (x, x_errors), (y, y_errors) = np.moveaxis(np.array(pairs), 0, -1)
            axis.errorbar(x, y, y_errors, x_errors, label=label, elinewidth=0.7, **style)
        for label, ((x, _), (y, _)) in zip(labels, points, strict=True):
            axis.annotate(label, (x, y), (4, 4), textcoords="offset points", fontsize=8, color=INK)
        axis.set(xlabel=f"{variety} (variety)", ylabel=f"{fidelity} (fidelity)")
    axes[0].legend(frameon=False, fontsize=8)
    return save(figure, path)
