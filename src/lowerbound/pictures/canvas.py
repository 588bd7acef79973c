"""The style that all pictures share, and the one way a figure becomes a file.

Figures are made without pyplot, so that nothing global changes. Colours differ in lightness as well as in hue, so that
they can be told apart in grey: samples and held-out data are DARK, training data is LIGHT.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Num, Shaped
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from lowerbound.errors import InputError

DARK, LIGHT, INK, RULE = "#1f4e79", "#e08a3c", "#333333", "#d0d0d0"
DPI = 150
LONGEST_LABEL = 22
Range = tuple[float, float]
"""Low and high: the values drawn as black and white, or at the ends of an axis."""


def draw_figure(rows: int, columns: int, inches: tuple[float, float], space: float = 0.02) -> tuple[Figure, np.ndarray]:
    """An empty figure of `inches` (width, height) and its axes, (rows, columns); `space` between them is relative."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=space, hspace=space)
    figure = Figure(figsize=inches, dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.tick_params(labelsize=8, colors=INK, length=3)
        axis.xaxis.label.set(size=9, color=INK)
        axis.yaxis.label.set(size=9, color=INK)
        axis.yaxis.set_major_locator(MaxNLocator(6))
        axis.spines[:].set(color=RULE, linewidth=0.8)
    return figure, axes


def label(name: str) -> str:
    """A name as matplotlib draws it: no mathematics is read into it, and its end is left out where it is long."""
    return (name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 3]}...").replace("$", r"\$")


def save(figure: Figure, path: Path | str) -> Path:
    """Writes the figure as PNG and returns its path."""
    figure.savefig(path, format="png")
    return Path(path)


def drawable(values: Shaped[np.ndarray, "*shape"], value_range: Range) -> Num[np.ndarray, "*shape"]:
    """Examples as numbers, which truth values are drawn as; an InputError of what there is no way to draw."""
    if len(values) == 0 or not 2 <= values.ndim <= 5:
        raise InputError(
            f"an array of shape {values.shape} cannot be drawn; give (N, D), (N, C, L), (N, C, H, W) or "
            "(N, C, D, H, W) with at least one example"
        )
    if not value_range[0] < value_range[1]:
        raise InputError(f"value_range {value_range} is empty; give (low, high) with low < high")
    return values.view(np.uint8) if values.dtype == bool else values
