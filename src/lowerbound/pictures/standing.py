"""Where one figure stands among others of its kind, and what each entry of an example adds to it, as PNG files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, label, save

MOST_BARS = 60
MOST_LINES = 8


def standing(path: Path | str, others: Mapping[str, Float[np.ndarray, " _"]], value: float, name: str) -> Path:
    """Draws histograms of figures with a line at one.

    others: sets of figures, by what they are of; the first one filled, the others as outlines. value: the one; name: of
    the horizontal axis.

    Raises InputError if a set has no finite figure.
    """
    others = {kind: figures[np.isfinite(figures)] for kind, figures in others.items()}
    if not others or not all(map(len, others.values())):
        raise InputError("there are no figures to draw a histogram of; give at least one that is finite")
    figure, [[axis]] = draw_figure(1, 1, (5.6, 3.0))
    together = np.concatenate([*others.values()])
    edges = np.histogram_bin_edges(together, bins=min(30, max(5, len(together) // (4 * len(others)))))
    for number, (kind, figures) in enumerate(others.items()):
        share, counts = float(np.mean(figures < value)), np.histogram(figures, edges)[0]
        text = f"{kind}: {share:.0%} of {len(figures)} lie below"
        style = {"linewidth": 1.3} if number else {"fill": True, "alpha": 0.35}
        axis.stairs(counts / len(figures), edges, color=INK if number else DARK, label=text, **style)
    axis.axvline(value, color=LIGHT, linewidth=2.2)
    axis.set(xlabel=name, ylabel="share of examples")
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return save(figure, path)


def by_entry(
    path: Path | str, values: Float[np.ndarray, "*shape"], names: tuple[str, ...] = (), unit: str = "bits"
) -> Path:
    """Draws what each entry of an example adds, in bits, say: a map, a line for each channel of a series, else bars.

    values: of one example: (C, H, W), or (C, D, H, W) of which the channels and the depth are summed, (C, L), of which the
    first `MOST_LINES` channels are drawn, or (D,), of which the first `MOST_BARS` are; names: of the columns or channels;
    unit: of the values. What is NaN is left blank.
    """
    if values.ndim >= 3:
        figure, [[axis]] = draw_figure(1, 1, (4.2, 3.6))
        summed = tuple(range(values.ndim - 2))
        pixels = np.where(np.isnan(values).all(summed), np.nan, np.nansum(values, summed))
        image = axis.imshow(pixels, cmap="cividis", interpolation="nearest")
        figure.colorbar(image, ax=axis, label=unit)
        axis.set_axis_off()
        return save(figure, path)
    called = [label(name) for name in names]
    if values.ndim == 2:
        lines = values[:MOST_LINES]
        figure, axes = draw_figure(len(lines), 1, (5.6, 1.3 * len(lines) + 0.7))
        for number, axis in enumerate(axes[:, 0]):
            axis.step(range(lines.shape[1]), lines[number], where="mid", color=DARK)
            axis.axhline(0, color=INK, linewidth=0.8)
            axis.set_title(called[number] if called else f"channel {number}", fontsize=8, color=INK)
            axis.set_ylabel(unit)
            axis.tick_params(labelbottom=number == len(lines) - 1)
        axes[-1, 0].set_xlabel("position")
        return save(figure, path)
    bars = values[:MOST_BARS]
    figure, [[axis]] = draw_figure(1, 1, (5.6, 2.8))
    axis.bar(range(len(bars)), bars, color=DARK)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set(xlabel="column" if names else "entry", ylabel=unit)
    if len(bars) <= 20:
        slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if names else {}
        axis.set_xticks(range(len(bars)), called[: len(bars)] or list(map(str, range(len(bars)))), **slanted)
    return save(figure, path)
