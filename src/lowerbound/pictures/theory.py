"""Two pictures of the theory: models with more and more latents, and how far estimates of one bound spread."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save

RADIUS = 0.3
LADDERS = (
    ("VAE: one latent", ("x", "z"), "both learned"),
    ("hierarchical VAE: T latents, each given the one below it", ("x", "z_1", "z_2", r"\cdots", "z_T"), "both learned"),
    (
        "diffusion: latents of the data's shape, and q is a fixed Gaussian whose last latent is noise",
        ("x", "x_1", "x_2", r"\cdots", "x_T"),
        "q fixed, p learned",
    ),
)
"""Name, nodes, and what is learned, in the order of the theory: each is a case of the one above it."""
TERMS = (
    r"$\log p(x) \geq \mathrm{E}_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z))$",
    r"$\log p(x) \geq \mathrm{E}_q[\log p(x, z_{1:T}) - \log q(z_{1:T} \mid x)]$",
    r"$\log p(x) \geq$ reconstruction $-$ prior $-$ diffusion",
)


def ladder(path: Path | str) -> Path:
    """Draws a VAE, a hierarchical VAE and a diffusion model as chains: what infers above, what generates below."""
    figure, axes = draw_figure(len(LADDERS), 1, (7.6, 6.0), space=0.08)
    for axis, (name, nodes, learned), terms in zip(axes[:, 0], LADDERS, TERMS, strict=True):
        axis.set(xlim=(-0.6, 9.2), ylim=(-1.5, 1.0), aspect="equal")
        axis.set_axis_off()
        axis.set_title(f"{name} ({learned})", fontsize=9, color=INK, loc="left")
        places = np.linspace(0, 2.15 * (len(nodes) - 1), len(nodes))
        for center, node in zip(places, nodes, strict=True):
            _node(axis, center, node)
        for number, (left, right) in enumerate(zip(places[:-1], places[1:], strict=True)):
            is_first = number == 0
            _arrow(axis, left, right, 0.16, DARK, "q" if is_first else "")
            _arrow(axis, right, left, -0.16, LIGHT, "p" if is_first else "")
        axis.text(0 - RADIUS, -1.15, terms, fontsize=9, color=INK, va="center")
    return save(figure, path)


def _node(axis: Axes, center: float, text: str) -> None:
    if text != r"\cdots":
        face = "#dfe7ef" if text == "x" else "white"
        axis.plot(center, 0, "o", markersize=25, markerfacecolor=face, markeredgecolor=INK, markeredgewidth=0.9)
    axis.text(center, 0, f"${text}$", ha="center", va="center", fontsize=10, color=INK)


def _arrow(axis: Axes, start: float, end: float, height: float, color: str, text: str) -> None:
    gap = RADIUS * 1.25 * np.sign(end - start)
    style = {"arrowstyle": "->", "color": color, "linewidth": 1.3}
    axis.annotate("", (end - gap, height), (start + gap, height), arrowprops=style)
    if text:
        axis.text((start + end) / 2, height * 2.9, f"${text}$", ha="center", va="center", fontsize=10, color=color)


def spreads(path: Path | str, draws: Mapping[str, Float[np.ndarray, " draw"]], name: str) -> Path:
    """Draws estimates of one figure by several ways, each its row: every draw, their mean, and a standard deviation.

    draws: by the ways' names; name: of the figure, the horizontal axis.
    """
    figure, [[axis]] = draw_figure(1, 1, (7.0, 0.75 * len(draws) + 0.8))
    rng = np.random.default_rng(0)  # of where a dot stands within its row
    for row, values in enumerate(draws.values()):
        axis.plot(values, row + rng.uniform(-0.22, 0.22, len(values)), ".", color=DARK, markersize=3, alpha=0.35)
        axis.errorbar(values.mean(), row, xerr=values.std(), fmt="o", color=LIGHT, capsize=5, linewidth=2, markersize=5)
    axis.set_yticks(range(len(draws)), list(draws), fontsize=8)
    axis.invert_yaxis()
    # the rarest draws of a heavy tail would press all others together
    low, high = np.quantile(np.concatenate(list(draws.values())), [0.005, 0.995])
    margin = 0.05 * max(high - low, 1e-9)
    axis.set(xlabel=name, xlim=(low - margin, high + margin))
    return save(figure, path)
