"""The panel `edit`: parts of an example filled in anew, examples between two, and variations of one."""

from collections import Counter
from typing import Any

import numpy as np
import torch

from lowerbound.data.tables.frames import SECONDS_OF_A_DAY
from lowerbound.edit import interpolate, time_of_strength, vary
from lowerbound.errors import InputError
from lowerbound.inverse.fitted import fitted_mixture
from lowerbound.pictures import sample_grid
from lowerbound.pictures.mosaic import tile
from lowerbound.pictures.standing import by_entry
from lowerbound.rng import PerSample
from lowerbound.run import check_levels
from lowerbound.run.impute import METHODS, MIXTURE, Imputations, impute, named_method
from lowerbound.settings import check_choice
from lowerbound.web.example import Example, cells, choice, names_of, of_data
from lowerbound.web.framework import gradio
from lowerbound.web.limits import Limits
from lowerbound.web.marked import SPATIAL, marked
from lowerbound.web.shelf import Opened, Shelf
from lowerbound.web.show import computing, drawn, picture, pictured, said, side_by_side, table, with_messages
from lowerbound.words.rounding import figure_text

CANVAS = 384
"""About the side of the picture that is painted on, in pixels of the screen."""
TOLERANCE = 1e-3
MOST_NAMED = 64
"""Columns or channels that may be chosen one by one."""
BY_NUMBERS = "Or a rectangle, by the keyboard"
"""The place of a part of a picture, which can be painted over as well."""


def is_picture(opened: Opened) -> bool:
    """Whether the run's examples can be painted on."""
    shape = opened.run.spec.raw_shape
    return len(shape) == 3 and shape[0] in (1, 3)


def canvas(opened: Opened, example: Example) -> np.ndarray:
    """An example enlarged by a whole number, to be painted on, (H, W, 3)."""
    pixels = tile(example.raw[0], opened.run.spec.encoding.value_range)
    zoom = max(1, CANVAS // max(pixels.shape[:2]))
    return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)


def fill(
    opened: Opened, example: Example, missing: np.ndarray, method: str, count: int, steps: int, seed: int
) -> list[str]:
    """Answers to what is missing, their mean and their spread, as pictures.

    Arguments:
        missing: True where an entry is to be filled in, of the shape of the example.

    Raises:
        InputError: if nothing or everything is missing, or the method is unknown.
    """
    check_choice("the method", method, [MIXTURE, *METHODS])
    run, observed = opened.run, ~missing[None] & ~_absent(example.raw)
    if observed.all():
        raise InputError("nothing is marked: paint over what is to be filled in, or say where it is")
    if not observed.any():
        raise InputError("everything is marked: leave something to go by, or draw samples")
    settings = {"num_steps": steps, "cond": example.cond, "numbers": example.numbers, "seed": seed}
    made = impute(run, example.raw, observed, method=named_method(run, method), num_samples=count, **settings)
    values, spread = run.spec.encoding.value_range, np.nan_to_num(made.std[0])
    if example.raw.ndim == 2:
        return [filled_columns(opened, made, np.flatnonzero(~observed[0])), "", ""]
    shown = [pictured(opened, made.samples[0], f"{count} answers, by {method} in {steps} steps")]
    # where nothing is known a picture is black, and the line of a series has a gap
    both = np.where(missing[None], np.nan if example.raw.ndim == 3 else values[0], example.raw.astype(float))
    shown.append(pictured(opened, np.concatenate([both, made.mean]), "What was known; the mean", columns=2))
    bare = spread / max(values[1] - values[0], 1e-300)
    if bare.ndim >= 3:
        content = drawn(lambda path: sample_grid(path, spread[None], (0.0, max(float(spread.max()), 1e-9)), columns=1))
        shown.append(picture(content, f"Their spread, up to {bare.max():.1%} of the range of values"))
    else:
        content = drawn(lambda path: by_entry(path, spread, run.spec.names, unit="spread"))
        shown.append(picture(content, "Their spread by position, in the units of the data"))
    return shown


def filled_columns(opened: Opened, made: Imputations, gaps: np.ndarray) -> str:
    """Of each column that was filled in its mean and spread, or how often each category came out, and some answers."""
    spec, draws, spread = opened.run.spec, made.samples[0], np.nan_to_num(made.std[0])
    kinds = {k: column.kind for k, column in enumerate(spec.columns)}
    dates = [k for k in gaps if kinds.get(k) == "date"]
    central = draws[:1].copy()
    central[:, dates] = made.mean[:, dates]
    names, answers, (middle,) = names_of(opened), cells(opened, draws), cells(opened, central)
    rows = []
    for k in gaps[:MOST_NAMED]:
        values = [answer[k] for answer in answers]
        if spec.columns and spec.columns[k].categories:
            # they have no mean: how often each came out says the same
            summary = ", ".join(f"{name}: {count} of {len(values)}" for name, count in Counter(values).most_common(4))
        elif k in dates:
            summary = f"{middle[k]} ± {figure_text(spread[k] / SECONDS_OF_A_DAY)} days"
        else:
            summary = figure_text(made.mean[0, k], spread[k])
        rows.append((names[k], summary, ", ".join(values[:6])))
    return table("What was filled in", ("column", "mean ± spread, or counts", "answers"), rows)


def _absent(raw: np.ndarray) -> np.ndarray:
    return np.isnan(raw) if raw.dtype.kind == "f" else np.zeros(raw.shape, bool)


@torch.no_grad()
def between(opened: Opened, first: Example, second: Example, count: int, seed: int) -> str:
    """Examples between two, along the sphere of their noises, as a picture."""
    run = opened.run
    check_levels(run, "editing")
    _check_complete(first, second)
    cond = None if first.cond is None else first.cond.to(run.device)
    noise = PerSample([seed]) if run.spec.num_levels is not None else None
    x_from, x_to = (run.encode(each.raw).to(run.device) for each in (first, second))
    weights = torch.linspace(0, 1, count + 2, device=run.device)[1:-1]
    way = interpolate(run.denoiser.given(cond), x_from, x_to, weights, noise=noise, tolerance=TOLERANCE)
    row = np.concatenate([first.raw, run.decode(way[:, 0]), second.raw])
    places = [first.name, *(f"{weight:.0%} of the way" for weight in weights.tolist()), second.name]
    return _row(opened, row, f"From {first.name}, to {second.name}", places)


@torch.no_grad()
def variations(opened: Opened, example: Example, strength: float, count: int, seed: int) -> str:
    """An example, noised and sampled down again several times, as a picture."""
    run = opened.run
    check_levels(run, "editing")
    _check_complete(example)
    plan, t = run.diffusion.plan(), time_of_strength(run.denoiser, strength, run.spec.num_levels)
    cond = None if example.cond is None else example.cond.to(run.device).repeat_interleave(count, 0)
    x = run.encode(example.raw).to(run.device).repeat_interleave(count, 0)
    noise = PerSample([(seed << 32) + k for k in range(count)])
    made = run.decode(vary(run.denoiser.given(cond), x, t, plan.sampler, plan.times, noise))
    text = f"{count} variations from t = {t:.2f} of {example.name}, which is the first"
    places = [example.name, *(f"variation {number}" for number in range(1, count + 1))]
    return _row(opened, np.concatenate([example.raw, made]), text, places)


def _check_complete(*examples: Example) -> None:
    if any(_absent(example.raw).any() for example in examples):
        raise InputError("entries are missing: fill them in first")


def _row(opened: Opened, raw: np.ndarray, text: str, places: list[str]) -> str:
    """Examples as a picture; vectors as named rows too, since points do not tell which is which."""
    columns = len(raw) if len(raw) <= 10 and raw.ndim > 3 else None
    shown = pictured(opened, raw, text, columns, opened.training_values if raw.ndim == 2 else None)
    if raw.ndim > 2:
        return shown
    lines = [[label, *line[:MOST_NAMED]] for label, line in zip(places, cells(opened, raw), strict=True)]
    return shown + table("One after the other", ["place", *names_of(opened)[:MOST_NAMED]], lines)


class EditPanel:
    """The panel's components and what they do; arguments as of `DrawPanel`."""

    def __init__(self, shelf: Shelf, limits: Limits, run: Any):
        self.shelf, self.limits = shelf, limits
        opened = shelf.first
        most = min(64, limits.most_samples)
        gradio.Markdown("### Fill in")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=300):
                split, number = choice()
                load = gradio.Button("Show the example")
                editor = gradio.ImageEditor(
                    label="Paint over", sources=(), transforms=(), type="numpy", layers=False,
                    brush=gradio.Brush(default_size=40, colors=["#e08a3c"], color_mode="fixed"), image_mode="RGBA",
                    height=460, buttons=[], visible=is_picture(opened),
                )  # fmt: skip
                corner = gradio.Textbox(label=BY_NUMBERS, info=SPATIAL[2][0], placeholder=SPATIAL[2][1])
                columns = gradio.CheckboxGroup([], label="Columns to fill in", visible=False)
                model = opened.run
                stands_upon_one = model.is_denoiser and fitted_mixture(model.denoiser) is not None
                usual = MIXTURE if stands_upon_one else "pigdm"
                method = gradio.Dropdown([MIXTURE, *METHODS], value=usual, label="Method")
                answers = gradio.Slider(1, most, min(16, most), step=1, label="Answers")
                steps = gradio.Slider(1, min(200, limits.most_steps), min(50, limits.most_steps), step=1, label="Steps")
                seed = gradio.Number(0, label="Seed", precision=0, minimum=0)
                button = gradio.Button("Fill in", variant="primary")
            with gradio.Column(scale=2, min_width=300):
                status = gradio.HTML(said("Several answers, and where they differ."))
                made = gradio.HTML()
                mean, spread = side_by_side()
        self.shown = [editor, columns, corner]
        self.chosen = [run, split, number]
        load.click(with_messages(self.on_show), self.chosen, self.shown, api_visibility="private")
        run.change(with_messages(self.on_show), self.chosen, self.shown, api_visibility="private")
        asked = [*self.chosen, editor, corner, columns, method, answers, steps, seed]
        computing(button.click, self.on_fill, asked, [status, made, mean, spread], "fill")
        gradio.Markdown("### Between two examples, and variations")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                first, second = choice("From example"), choice("To example", 1)
                num_between = gradio.Slider(1, most, min(6, most), step=1, label="Examples between them")
                turn = gradio.Button("Interpolate", variant="primary")
                strength = gradio.Slider(
                    0, 1, 0.5, step=0.05, label="Strength of variations", info="of the first example"
                )
                num_varied = gradio.Slider(1, most, min(7, most), step=1, label="Variations")
                change = gradio.Button("Vary", variant="primary")
            with gradio.Column(scale=2, min_width=300):
                way, varied = gradio.HTML(), gradio.HTML()
        computing(turn.click, self.on_between, [run, *first, *second, num_between, seed], way, "interpolate")
        computing(change.click, self.on_vary, [run, *first, strength, num_varied, seed], varied, "vary")

    def on_show(self, run: str, split: str, number: int) -> list[Any]:
        """Put an example on the canvas, or offer its columns."""
        opened = self.shelf.open(run)
        if is_picture(opened):
            pixels = canvas(opened, of_data(opened, split, int(number or 0)))
            value = {"background": pixels, "layers": [], "composite": pixels}
            hidden = gradio.CheckboxGroup(choices=[], value=[], visible=False)
            what, instance = SPATIAL[2]
            corner = gradio.Textbox(label=BY_NUMBERS, info=what, placeholder=instance, visible=True)
            return [gradio.ImageEditor(value=value, visible=True), hidden, corner]
        spec = opened.run.spec
        shape, num_axes = spec.raw_shape, len(spec.raw_shape) - 1
        names = names_of(opened) if num_axes == 0 else spec.names or [f"channel {k}" for k in range(shape[0])]
        label = "Columns to fill in" if num_axes == 0 else "Channels to fill in"
        choices = [(name, k) for k, name in enumerate(names[:MOST_NAMED])] if len(names) > 1 or num_axes == 0 else []
        offered = gradio.CheckboxGroup(
            choices=choices,
            value=[],
            visible=bool(choices),
            label=label,
            info="None: all of them" if num_axes else None,
        )
        what, instance = SPATIAL.get(num_axes, ("", ""))
        label = "Where along the series" if num_axes == 1 else "Where in the example"
        corner = gradio.Textbox(value="", label=label, info=what, placeholder=instance, visible=num_axes > 0)
        return [gradio.ImageEditor(value=None, visible=False), offered, corner]

    def on_fill(
        self, run: str, split: str, number: int, editor: dict[str, Any] | None, corner: str, columns: list[int],
        method: str, answers: int, steps: int, seed: int,
    ) -> list[str]:  # fmt: skip
        """Fill in what is marked."""
        self.limits.check(samples=int(answers), steps=int(steps))
        opened = self.shelf.open(run)
        example = of_data(opened, split, int(number or 0))
        layers = ((editor or {}).get("layers") or []) if is_picture(opened) else []
        missing = marked(opened.run.spec.raw_shape, layers, corner or "", [int(k) for k in columns or []])
        done = fill(opened, example, missing, method, int(answers), int(steps), int(seed or 0))
        return [said("Done."), *done]

    def on_between(
        self, run: str, split: str, number: int, split_to: str, number_to: int, count: int, seed: int
    ) -> str:
        """Go from one example to another."""
        self.limits.check(samples=int(count))
        opened = self.shelf.open(run)
        first, second = of_data(opened, split, int(number or 0)), of_data(opened, split_to, int(number_to or 0))
        return between(opened, first, second, int(count), int(seed or 0))

    def on_vary(self, run: str, split: str, number: int, strength: float, count: int, seed: int) -> str:
        """Vary an example."""
        self.limits.check(samples=int(count))
        opened = self.shelf.open(run)
        example = of_data(opened, split, int(number or 0))
        return variations(opened, example, min(1.0, max(0.0, float(strength))), int(count), int(seed or 0))
