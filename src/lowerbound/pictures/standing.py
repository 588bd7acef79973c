"""Where one figure stands among others of its kind, and what each entry of an example adds to it, as PNG files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save

MOST_BARS = 60


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
        label = f"{kind}: {share:.0%} of {len(figures)} lie below"
        style = {"linewidth": 1.3} if number else {"fill": True, "alpha": 0.35}
        axis.stairs(counts / len(figures), edges, color=INK if number else DARK, label=label, **style)
    axis.axvline(value, color=LIGHT, linewidth=2.2)
    axis.set(xlabel=name, ylabel="share of examples")
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return save(figure, path)


def by_entry(path: Path | str, bits: Float[np.ndarray, "*shape"], names: tuple[str, ...] = ()) -> Path:
    """Draws what each entry of an example adds, in bits: a map of an image, the channels' sum, else bars.

    bits: of one example, (C, H, W) or of another shape, of which the first `MOST_BARS` entries are drawn; names: of a
    table's columns.
    """
    if bits.ndim == 3:
        figure, [[axis]] = draw_figure(1, 1, (4.2, 3.6))
        image = axis.imshow(bits.sum(0), cmap="cividis", interpolation="nearest")
        figure.colorbar(image, ax=axis, label="bits")
        axis.set_axis_off()
        return save(figure, path)
    bars = bits.reshape(-1)[:MOST_BARS]
    figure, [[axis]] = draw_figure(1, 1, (5.6, 2.8))
    axis.bar(range(len(bars)), bars, color=DARK)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set(xlabel="column" if names else "entry", ylabel="bits")
    if len(bars) <= 20:
        shown = names[: len(bars)] or tuple(map(str, range(len(bars))))
        axis.set_xticks(range(len(bars)), [name[:12] for name in shown], rotation=45 if names else 0)
    return save(figure, path)
