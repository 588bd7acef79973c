"""The picture of a question, from what its script prints: python docs/questions/views.py | python docs/plots.py views.

It goes to docs/questions/pictures, from where the site shows it below the answer.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from lowerbound.pictures.canvas import DARK, INK, LIGHT, draw_figure, save

PICTURES = Path(__file__).parent / "questions" / "pictures"
MIDDLE, PALE = "#7c9ebf", "#b8b8b8"
COLOURS = (DARK, LIGHT, MIDDLE, PALE)
NUM = r"(-?(?:[\d.]+(?:e[+-]\d+)?|nan))"
"""A number as scripts print it."""


def rows(text: str, pattern: str) -> list[tuple[str, ...]]:
    """The lines that begin as the pattern says, N standing for a number and blanks for any number of them."""
    found = re.findall("^" + pattern.replace(" ", " +").replace("N", NUM), text, re.MULTILINE)
    return [tuple(cell.strip() for cell in row) for row in found]


def bars(names: list[str], values: list[float], errors: list[float] | None, label: str) -> Figure:
    """A bar for each name, from the top down."""
    figure, [[axis]] = draw_figure(1, 1, (6.2, 0.5 + 0.3 * len(names)))
    axis.barh(range(len(names)), values, xerr=errors, color=DARK, height=0.6, ecolor=LIGHT)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel(label)
    return figure


def views(text: str) -> Figure:
    table = [[float(cell) for cell in row] for row in rows(text.partition("against the exact")[2], " N N N N N$")]
    figure, [[axis]] = draw_figure(1, 1, (5.4, 2.7))
    gammas, *columns = zip(*table, strict=True)
    # the score is the noise in other units: one relative error, one line
    for name, column, colour in zip(("noise, score", "x", "v"), columns[1:], (DARK, LIGHT, MIDDLE), strict=True):
        axis.semilogy(gammas, column, color=colour, marker="o", markersize=3, label=name)
    axis.set(xlabel=r"$\gamma$", ylabel="relative error")
    axis.legend(frameon=False, fontsize=8)
    return figure


def noise_or_x(text: str) -> Figure:
    table = rows(text.partition("3. Test bits")[2], " (x|eps|v) N ± N N ± N N ± N")
    figure, [[axis]] = draw_figure(1, 1, (5.4, 2.7))
    for place, (name, colour, marker) in enumerate(zip(("x", "noise", "v"), COLOURS, "osD", strict=False)):
        heights = [float(row[1 + 2 * place]) for row in table]
        across = [at + 0.15 * (place - 1) for at in range(3)]
        axis.plot(across, heights, marker, color=colour, markersize=6, label=f"under the loss of {name}")
    axis.set(xticks=range(3), xticklabels=["predicts x", "predicts the noise", "predicts v"], yscale="log")
    axis.set(xlim=(-0.5, 2.5), ylim=(2, 30))
    axis.set_yticks([2.5, 5, 10, 20], ["2.5", "5", "10", "20"])
    axis.minorticks_off()
    axis.set_ylabel("test bits/dim (bound)")
    axis.legend(frameon=False, fontsize=8)
    return figure


def all_terms_or_one(text: str) -> Figure:
    table = rows(text.rpartition("steps of training")[2], r"(\S.{46}.) N N ± N")
    values, errors = ([float(row[column]) for row in table] for column in (2, 3))
    return bars([row[0] for row in table], values, errors, "relative variance of the gradient, per network call")


def one_network(text: str) -> Figure:
    table = rows(text, " N N N N ± N")
    names = [f"{count} x {steps} steps" for count, steps, *_ in table]
    return bars(names, [float(row[3]) for row in table], [float(row[4]) for row in table], "test bits/dim (bound)")


def form_b_closed(text: str) -> Figure:
    names, values = [], []
    for part in re.split(r"^T = ", text, flags=re.MULTILINE)[1:]:
        for name, _, _, spread in rows(part, "  (form A|form B) N ± N standard deviation N"):
            names.append(f"{name}, T = {part.split()[0]}")
            values.append(float(spread))
    return bars(names, values, None, "nats: standard deviation of an example's bound")


def ancestral_is_langevin(text: str) -> Figure:
    table = [[float(cell) for cell in row] for row in rows(text, " N N N N N")]
    figure, [[axis]] = draw_figure(1, 1, (5.4, 2.7))
    steps, _, ratios, left_out, own = zip(*table, strict=True)
    axis.loglog(steps, ratios, color=DARK, marker="o", markersize=3, label="the rest, over the Langevin step")
    axis.loglog(steps, left_out, color=LIGHT, marker="o", markersize=3, label="its part in the variance at the end")
    axis.loglog(steps, own, color=MIDDLE, marker="o", markersize=3, label="that of the finite steps")
    axis.set(xlabel="steps T", ylabel="relative")
    axis.legend(frameon=False, fontsize=7)
    return figure


def score_objectives(text: str) -> Figure:
    table = rows(text, r"(\S.{19}.) N ± N N ± N N ± N")
    explicit, fisher = ([float(row[column]) for row in table] for column in (1, 3))
    figure, [[axis]] = draw_figure(1, 1, (4.6, 3.2))
    axis.axline((0, explicit[0] - fisher[0]), slope=1, color=PALE, linewidth=1)
    axis.scatter(fisher, explicit, color=DARK, s=16)
    # those that lie near one another have their names in a column of its own
    column, apart = 0.35 * max(fisher), 0.07 * (max(explicit) - min(explicit))
    line = {"arrowstyle": "-", "color": PALE, "linewidth": 0.6}
    placed = sorted(zip(fisher, explicit, (row[0] for row in table), strict=True))
    for number, (*point, name) in enumerate(placed):
        if point[0] < column / 1.5:
            at = (column, min(explicit) + apart * (number - 0.5))
            axis.annotate(name, point, at, fontsize=7, va="center", arrowprops=line)
        else:
            axis.annotate(name, point, (-6, 4), textcoords="offset points", fontsize=7, ha="right")
    axis.set(xlabel="Fisher divergence", ylabel="explicit score matching")
    axis.margins(0.1)
    return figure


def what_is_the_energy(text: str) -> Figure:
    table = rows(text, r"(of the \w+) (flow|energy network) N ± N N N$")
    names = [f"{kind}, points {points}" for points, kind, *_ in table]
    return bars(names, [float(row[4]) for row in table], None, "nats: spread of the difference from the exact log p")


def em_or_ascent(text: str) -> Figure:
    figure, [axes] = draw_figure(1, 2, (7.4, 2.8), space=0.05)
    parts = re.split(r"^(?=little noise|much noise)", text, flags=re.MULTILINE)[1:]
    for axis, part in zip(axes, parts, strict=True):
        table = [[float(cell) for cell in row] for row in rows(part, " N N N N$") if row[0].isdigit()]
        iterations, *ways = zip(*table, strict=True)
        for way, colour, name in zip(ways, COLOURS, ("EM", "ascent, exact q", "joint ascent"), strict=False):
            axis.loglog(iterations, way, color=colour, marker="o", markersize=3, label=name)
        axis.set_title(part.partition(":")[0], fontsize=8)
        axis.set_xlabel("iteration")
    axes[0].set_ylabel("nats below the maximum")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def density_ratio(text: str) -> Figure:
    table = rows(text, " N N N N$")
    names = [f"r1 = {penalty}" for penalty, *_ in table]
    return bars(names, [float(row[2]) for row in table], None, "nats: mean |logit - log p/g|")


def does_it_copy(text: str) -> Figure:
    names, values, errors = [], [], []
    for part in re.split(r"^A model trained on ", text, flags=re.MULTILINE)[1:]:
        for pattern, name in (
            ("  probability to be nearer than a held-out example N(?: ± N)?", "nearer"),
            (r"  the same relative to the \w+ nearest N(?: ± N)?", "relatively"),
        ):
            ((value, error),) = rows(part, pattern)
            names.append(f"{part.partition(' of')[0]} digits, {name}")
            values.append(float(value))
            errors.append(float(error or 0))
    figure = bars(names, values, errors, "probability to be nearer to training data than held-out digits")
    figure.axes[0].axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    return figure


PLOTS: dict[str, Callable[[str], Figure]] = {
    each.__name__: each
    for each in (
        views,
        noise_or_x,
        all_terms_or_one,
        one_network,
        form_b_closed,
        ancestral_is_langevin,
        score_objectives,
        what_is_the_energy,
        em_or_ascent,
        density_ratio,
        does_it_copy,
    )
}


def main(name: str) -> None:
    """Draw what comes in."""
    text = sys.stdin.read()
    PICTURES.mkdir(exist_ok=True)
    path = save(PLOTS[name](text), PICTURES / f"{name}.png")
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(64)
    few.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main(sys.argv[1])
