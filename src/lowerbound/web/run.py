"""The panel `run`: how a run was trained, what its evaluation found, its family, and whether its samples are copies."""

from typing import Any

import numpy as np

from lowerbound.errors import InputError
from lowerbound.pictures import training_curve
from lowerbound.report.comparison import comparison_page, read_comparison
from lowerbound.report.page import own_page, read_own
from lowerbound.run.generate import generate
from lowerbound.run.history import training_columns
from lowerbound.web.framework import gradio
from lowerbound.web.likelihood import neighbours
from lowerbound.web.shelf import Opened, Shelf
from lowerbound.web.show import computing, drawn, framed, picture, pictured, plain, said, table

NUM_SAMPLES = 6
NUM_NEAREST = 4


def training(opened: Opened) -> str:
    """The curve of its training as a picture, or why there is none."""
    try:
        columns = training_columns(opened.run)
        content = drawn(lambda path: training_curve(path, **columns))
    except InputError as error:
        return said(f"No curve: {plain(str(error))}")
    return picture(content, "Training loss and held-out bits per dimension")


def facts(opened: Opened) -> str:
    """What the run is, as a table."""
    run = opened.run
    told_bits = run.metadata.get("held_out_bits_per_dim")
    rows = [
        ("model", run.config.model.name),
        ("data", plain(run.spec.name)),
        ("examples", f"{' x '.join(map(str, run.spec.raw_shape))}, {run.spec.encoding.description}"),
        ("parameters", f"{run.num_parameters:,}"),
        ("step", run.metadata.get("step", "?")),
    ]
    if told_bits is not None:
        rows.append(("held-out bits/dim along the way", f"{float(told_bits):.4f}"))
    return table(f"The run {opened.name}", ("fact", "value"), rows)


def evaluation(opened: Opened) -> str:
    """Its report as a page of its own, or how to make one."""
    try:
        page, _ = own_page(opened.run, read_own(opened.run))
    except InputError as error:
        return said(f"No report: {plain(str(error))}")
    return framed(page, f"The report of the run {opened.name}", "56rem")


def family(opened: Opened) -> str:
    """The comparison that the run was part of as a page of its own, or how to make one."""
    folder = opened.run.folder.path.parent
    try:
        page = comparison_page(read_comparison(folder), folder)
    except FileNotFoundError:
        return said(
            f"No comparison yet: lowerbound compare {plain(opened.run.spec.name)} trains the family and makes one."
        )
    except InputError as error:
        return said(f"The comparison cannot be shown: {plain(str(error))}")
    return framed(page, "The family compared", "56rem")


def copies(opened: Opened, seed: int) -> str:
    """Fresh samples, each with the training examples that are nearest to it."""
    samples = generate(opened.for_samples, NUM_SAMPLES, seed=seed)
    examples, numbers, distances = neighbours(opened, samples, NUM_NEAREST)
    shown = ""
    if samples.ndim > 2:
        rows = np.concatenate([samples[:, None], examples], 1)
        text = "In each row a sample, and the training examples that are nearest to it"
        shown = pictured(opened, rows.reshape(-1, *samples.shape[1:]), text, rows.shape[1])
    lines = [(str(k), f"{distances[k, 0]:.4g}", ", ".join(map(str, numbers[k]))) for k in range(len(samples))]
    caption = "By root mean square difference of encoded values: a copy would be at 0"
    return shown + table(caption, ("sample", "distance", "nearest training examples"), lines)


class RunPanel:
    """The panel's components and what they do; arguments as of `DrawPanel`."""

    def __init__(self, shelf: Shelf, run: Any):
        self.shelf = shelf
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                described = gradio.HTML()
                seed = gradio.Number(0, label="Seed of the samples", precision=0, minimum=0)
                button = gradio.Button("Are samples copies?", variant="primary")
            with gradio.Column(scale=2, min_width=300):
                curve, near = gradio.HTML(), gradio.HTML()
        page = gradio.HTML()
        gradio.Markdown("### The family")
        compared = gradio.HTML()
        self.shown = [described, curve, page, compared]
        computing(button.click, self.on_copies, [run, seed], near, "copies")

    def on_show(self, run: str) -> list[str]:
        """What is known of a run."""
        opened = self.shelf.open(run)
        return [facts(opened), training(opened), evaluation(opened), family(opened)]

    def on_copies(self, run: str, seed: int) -> str:
        """Look for copies."""
        return copies(self.shelf.open(run), int(seed or 0))
