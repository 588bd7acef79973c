"""The panel `draw`: samples as they come out of noise, two ways of drawing them side by side, and files of them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lowerbound.data.arrays.examples import to_layout
from lowerbound.data.tables.frames import to_table
from lowerbound.errors import InputError
from lowerbound.guidance import ClassifierFree
from lowerbound.pictures import sample_grid
from lowerbound.pictures.path import path_limits
from lowerbound.pictures.vectors import Limits as AxisLimits
from lowerbound.run import Run
from lowerbound.run.generate import network_calls, states
from lowerbound.sampling import SAMPLERS, Plan
from lowerbound.sampling.plan import DEFAULT_SAMPLER, GRIDS
from lowerbound.settings import check_choice
from lowerbound.web.example import cells, names_of
from lowerbound.web.framework import gradio
from lowerbound.web.limits import Limits
from lowerbound.web.recipe import IN_TURN, NO_LABEL, Recipe, read_recipe, write_npy, write_npz, write_png, write_rows
from lowerbound.web.shelf import Opened, Shelf
from lowerbound.web.show import computing, downloads, drawn, picture, plain, said, side_by_side, table, with_messages
from lowerbound.words.brief import Brief

MOST_ROWS = 10
"""Of a table that are shown as text; its files hold all."""
SECONDS_BETWEEN = 0.15
"""The least between two pictures of a way from noise to data."""
GRID_NAMES = tuple(name for name in GRIDS if not name.startswith("minimal"))
"""Those that nothing has to be measured for, which would be written into the run's folder."""
LINK_SCRIPT = (
    "(link) => { if (!link) return link; const whole = new URL(link, window.location.href.split('?')[0]).href; "
    "window.history.replaceState(null, '', whole); return whole; }"
)
DRAWING = "Drawing ..."
STOPPED = "Stopped: no further step is taken. What was drawn so far stays; Draw begins anew."
STOP_SCRIPT = f"(status) => status.replace({DRAWING!r}, {STOPPED!r})"
"""What stands at its end, done or refused, is left as it is."""


@dataclass(frozen=True, eq=False, repr=False)
class Frame(Brief):
    """Samples on their way.

    Arguments:
        t: how far they are, from 1, noise, to 0, data.
        samples: in the units of the stored data, (N, *shape).
        calls: network calls of each so far.
        finished: whether they are the samples.
    """

    t: float
    samples: np.ndarray
    calls: float
    finished: bool


def draw(opened: Opened, recipe: Recipe, limits: Limits) -> Iterator[Frame]:
    """Samples as a recipe says, a frame now and then on their way, and at last the samples themselves.

    Raises:
        InputError: for what is above the limits, or does not fit the run.
    """
    limits.check(samples=recipe.count, steps=recipe.steps or 1)
    run, plan = opened.run, _plan(opened.run, recipe)
    cond = _conditions(run, recipe)
    guided = _guided(opened, recipe)
    if not run.is_denoiser:
        ((t, samples),) = states(run, recipe.count, seed=recipe.seed)
        yield Frame(t, samples, 1, True)
        return
    shown = 0.0
    with network_calls(guided.denoiser) as calls:
        for t, samples in states(guided, recipe.count, plan, seed=recipe.seed, cond=cond):
            if t == 0 or time.monotonic() - shown > SECONDS_BETWEEN:
                shown = time.monotonic()
                yield Frame(t, samples, sum(calls) / recipe.count, t == 0)


def _plan(run: Run, recipe: Recipe) -> Plan | None:
    """The sampler and its grid; None of a model that has its own."""
    check_choice("the sampler", recipe.sampler, SAMPLERS)
    check_choice("the grid", recipe.grid, GRID_NAMES)
    if not run.is_denoiser or run.diffusion.times is not None:
        return None
    return run.diffusion.plan(SAMPLERS[recipe.sampler], recipe.steps or None, recipe.grid)


def _conditions(run: Run, recipe: Recipe) -> torch.Tensor | None:
    if recipe.label == NO_LABEL:
        return None
    if not run.config.data.conditional or not run.spec.num_classes:
        raise InputError(f"this run takes no labels: choose the label {NO_LABEL!r}")
    names = list(run.spec.class_names) if recipe.label == IN_TURN else [recipe.label]
    cond = run.labels(names)
    return cond[torch.arange(recipe.count) % len(cond)]


def _guided(opened: Opened, recipe: Recipe) -> Run:
    run = opened.run
    if recipe.by_early_weights and not opened.is_autoguided:
        raise InputError(
            "this run is not drawn from with guidance by early weights: it keeps none, or is of other data"
        )
    if recipe.guidance == 1:
        return opened.for_samples if recipe.autoguided else run
    if recipe.label == NO_LABEL:
        raise InputError("guidance needs a label to guide to: choose one, or the scale 1, which is no guidance")
    return run.around(ClassifierFree(run.denoiser, recipe.guidance))


def labels_of(run: Run) -> list[str]:
    """The labels that may be chosen."""
    conditional = run.config.data.conditional and run.spec.num_classes
    return [NO_LABEL, IN_TURN, *run.spec.class_names] if conditional else [NO_LABEL]


def axes(opened: Opened, samples: np.ndarray | None = None) -> AxisLimits | None:
    """The limits of vectors' axes, those of the training data, so that they stay while samples move."""
    if len(opened.run.spec.raw_shape) != 1:
        return None
    values = opened.training_values
    values = samples if values is None else values
    return None if values is None else path_limits([values.astype(np.float64)])


def show(opened: Opened, frame: Frame, recipe: Recipe, title: str) -> tuple[str, bytes]:
    """A frame as HTML, and its picture."""
    spec, within = opened.run.spec, axes(opened, frame.samples)
    data = opened.training_values if frame.finished and within is not None else None
    values, names = spec.encoding.value_range, spec.names
    content = drawn(lambda path: sample_grid(path, frame.samples, values, data, within=within, names=names))
    state = "samples" if frame.finished else f"on their way, t = {frame.t:.2f}"
    label = "" if recipe.label == NO_LABEL else f", label {recipe.label}"
    guided = ", guided by early weights" if recipe.by_early_weights else ""
    text = f"{title}{recipe.count} {state}{label}{guided}; {frame.calls:.4g} network calls each"
    return picture(content, text) + (rows(opened, frame.samples) if spec.columns and frame.finished else ""), content


def rows(opened: Opened, samples: np.ndarray) -> str:
    """The first samples of a table's run as its rows, with all columns and the names of categories."""
    shown = cells(opened, samples[:MOST_ROWS])
    caption = "The samples as rows" if len(shown) == len(samples) else f"The first {len(shown)} of {len(samples)} rows"
    return table(caption, names_of(opened), shown)


def files(opened: Opened, frame: Frame, content: bytes, recipe: Recipe, name: str = "samples") -> dict[str, bytes]:
    """The samples as files, each with its recipe."""
    run = opened.run
    recipe = replace(recipe, weights=opened.weights)
    arrays = to_layout(frame.samples, run.spec.layout)
    made = {
        f"{name}.png": write_png(content, recipe),
        f"{name}.npy": write_npy(arrays, recipe),
        f"{name}.npz": write_npz(arrays, recipe),
    }
    if run.spec.columns:
        made[f"{name}.csv"] = write_rows(to_table(run.spec, frame.samples, as_text=True), recipe)
    elif frame.samples.ndim == 2:
        columns = [pa.array(column, from_pandas=True) for column in frame.samples.T]  # NaN is missing
        made[f"{name}.csv"] = write_rows(pa.table(columns, names_of(opened)), recipe)
    return made


def note_on_weights(opened: Opened, recipe: Recipe) -> str:
    """Whether the model of a recipe is the one that is here."""
    if recipe.weights and recipe.weights != opened.weights:
        return "The weights of this run are no longer those that the file was drawn from: the samples will differ."
    return ""


class DrawPanel:
    """The panel's components and what they do.

    Arguments:
        shelf: the runs.
        limits: of what may be asked for.
        run: the page's choice of a run, a component.
    """

    def __init__(self, shelf: Shelf, limits: Limits, run: Any):
        self.shelf, self.limits = shelf, limits
        first = shelf.first
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                self.count = gradio.Slider(
                    1, limits.most_samples, self.unasked.count, step=1, label="Number of samples"
                )
                self.seed = gradio.Number(
                    0, label="Seed", precision=0, info="Sample i depends on the seed and i alone."
                )
                self.first = self._way(first)
                with gradio.Accordion("Beside it: other settings, the same seed", open=False):
                    self.beside = gradio.Checkbox(False, label="Draw these too")
                    self.second = self._way(first)
                with gradio.Row():
                    button = gradio.Button("Draw", variant="primary", elem_id="draw")
                    stop = gradio.Button("Stop", elem_id="stop")
            with gradio.Column(scale=2, min_width=300):
                self.status = gradio.HTML(said("Press Draw: samples come out of noise step by step."))
                left, right = side_by_side("samples", "samples-beside")
                left_files, right_files = gradio.HTML(), gradio.HTML()
                # without a button in its label: the label would be the button's, and the field have no name
                link = gradio.Textbox(label="Link to these samples", interactive=False)
                dropped = gradio.File(
                    label="Drop a file of samples here: its settings come back",
                    file_types=[".png", ".npy", ".npz", ".csv"],
                    height=170,
                )
        self.run = run
        self.settings = [self.count, self.seed, *self.first, self.beside, *self.second]
        drawing = [run, *self.settings], [left, right, left_files, right_files, self.status, link]
        event = computing(button.click, self.on_draw, *drawing, "draw")
        event.then(None, link, link, js=LINK_SCRIPT)
        # first the drawing ends, then the page says so, or a frame that was on its way would take the word back
        stopped = stop.click(None, cancels=[event])
        stopped.then(None, self.status, self.status, js=STOP_SCRIPT)
        # a person's choice alone: the settings of an address or a file bring their own labels
        run.input(with_messages(self.on_run), run, [*self.first[4:], *self.second[4:]], api_visibility="private")
        restored = dropped.upload(with_messages(self.on_file), dropped, self.loaded, api_visibility="private")
        computing(restored.then, self.on_draw, *drawing)

    def _way(self, opened: Opened) -> list[Any]:
        return [
            gradio.Dropdown(list(SAMPLERS), value=DEFAULT_SAMPLER, label="Sampler"),
            gradio.Slider(0, self.limits.most_steps, 0, step=1, label="Steps", info="0: as many as are advised"),
            gradio.Dropdown(list(GRID_NAMES), value="visible", label="Grid"),
            gradio.Slider(0, 10, 1, step=0.25, label="Guidance", info="1: none; needs a label"),
            gradio.Dropdown(labels_of(opened.run), value=NO_LABEL, label="Label"),
            gradio.Checkbox(
                opened.is_autoguided,
                label="Guided by early weights",
                info="Away from what the model was early in its training; not where Guidance is another than 1",
                visible=opened.is_autoguided,
            ),
        ]

    def recipe(self, run: str, count: int, seed: int, way: Any) -> Recipe:
        """From the values of the components."""
        sampler, steps, grid, guidance, label, autoguided = way
        settings = {"seed": int(seed or 0), "count": int(count), "autoguided": bool(autoguided)}
        return Recipe(run, sampler, int(steps), grid, float(guidance), label, **settings)

    def on_draw(self, run: str, count: int, seed: int, *values: Any) -> Iterator[list[str]]:
        """Draw, and show the way."""
        first, (beside, *second) = values[: len(self.first)], values[len(self.first) :]
        opened = self.shelf.open(run)
        recipes = [self.recipe(run, count, seed, way) for way in ([first, second] if beside else [first])]
        link = recipes[0].query
        shown, saved = ["", ""], ["", ""]
        for index, recipe in enumerate(recipes):
            title = f"{'left' if index == 0 else 'right'}, {recipe.sampler}: " if beside else ""
            for frame in draw(opened, recipe, self.limits):
                shown[index], content = show(opened, frame, recipe, title)
                if frame.finished:
                    name = f"samples-{index + 1}" if beside else "samples"
                    saved[index] = downloads(files(opened, frame, content, recipe, name))
                done = frame.finished and index == len(recipes) - 1
                yield [*shown, *saved, said("Done." if done else DRAWING), link]

    def on_run(self, run: str) -> list[Any]:
        """Offer the labels of another run, and its guidance."""
        opened = self.shelf.open(run)
        return self._offered(opened, NO_LABEL, opened.is_autoguided) * 2

    def _offered(self, opened: Opened, label: str, autoguided: bool) -> list[Any]:
        """The components of a way whose choices are a run's own."""
        switch = gradio.Checkbox(value=autoguided, visible=opened.is_autoguided)
        return [gradio.Dropdown(choices=labels_of(opened.run), value=label), switch]

    def restored(self, recipe: Recipe, note: str) -> list[Any]:
        """The values of the components that a recipe names."""
        opened = self.shelf.open(recipe.run)
        labels = labels_of(opened.run)
        _plan(opened.run, recipe)
        _guided(opened, recipe)
        check_choice("the label", recipe.label, labels)
        self.limits.check(samples=recipe.count, steps=recipe.steps or 1)
        own = self._offered(opened, recipe.label, recipe.autoguided)
        way = [recipe.sampler, recipe.steps, recipe.grid, recipe.guidance, *own]
        note = " ".join(filter(None, [note, note_on_weights(opened, recipe)]))
        run = gradio.Dropdown(choices=self.shelf.names(), value=recipe.run)
        return [run, recipe.count, recipe.seed, *way, *way, said(note)]

    def on_file(self, path: str) -> list[Any]:
        """Bring back the settings that a file carries."""
        from pathlib import Path

        return self.restored(read_recipe(Path(path)), "The settings of the file are back.")

    def on_load(self, query: dict[str, str]) -> list[Any]:
        """The settings that the address names, or the first run's."""
        default = self.unasked
        if not query:
            return self.restored(default, "Press Draw: samples come out of noise step by step.")
        try:
            # an address that says how samples were drawn says too whether they were guided
            recipe = Recipe.of_query(query, replace(default, autoguided=False))
            if query.keys() <= {"run"}:
                recipe = replace(recipe, autoguided=self.shelf.open(recipe.run).is_autoguided)
            return self.restored(recipe, "The settings of the address are here: press Draw.")
        except InputError as error:  # an old link: the page is to come up all the same
            return self.restored(default, f"The address cannot be followed: {plain(str(error))}")

    @property
    def unasked(self) -> Recipe:
        """What the page opens with: the first run, and no more samples than may be drawn."""
        first = self.shelf.first
        recipe = Recipe(first.name)
        return replace(recipe, count=min(recipe.count, self.limits.most_samples), autoguided=first.is_autoguided)

    @property
    def loaded(self) -> list[Any]:
        """The components that `on_load` sets."""
        return [self.run, self.count, self.seed, *self.first, *self.second, self.status]
