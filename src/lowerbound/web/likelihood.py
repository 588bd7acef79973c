"""The panel `likelihood`: what one example costs in bits, term by term, entry by entry, and among others."""

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowerbound.errors import InputError
from lowerbound.evaluate.nearest import Mapped, most_searched, nearest
from lowerbound.models import Effort
from lowerbound.pictures import bound_by_time
from lowerbound.pictures.standing import by_entry, standing
from lowerbound.scoring import Flow, Scores, score, score_density
from lowerbound.web.example import Example, cells, choice, names_of, of_data, of_file
from lowerbound.web.framework import gradio
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import MOST_OPEN, Opened, Shelf
from lowerbound.web.show import computing, drawn, picture, pictured, said, table
from lowerbound.words.rounding import figure_text

NUM_COMPARED = 128
"""Examples of a split among which one stands."""
COMPARED_WITH = {"held-out examples": "test", "training examples": "train"}
COMPARED_DRAWS = 16
NUM_NEIGHBOURS = 5
MOST_SHOWN = 40
MOST_BESIDE = 8
"""Columns that are shown of an example, and of each of its neighbours."""


def terms(example: Example, scores: Scores) -> str:
    """The bound in its terms as a table."""
    rows = [
        (name, f"{getattr(scores, name)[0]:.4f}")
        for name in ("reconstruction", "prior", "diffusion", "normalisation")
        if name != "normalisation" or scores.normalisation.any()
    ]
    error = scores.diffusion_error[0]
    rows.append(("their sum", figure_text(scores.bits_per_dim[0], error)))
    rows.append(("log p, at least", f"{scores.nats[0]:.2f} nats"))
    caption = f"{example.name}: {scores.kind}, {scores.num_calls} network calls"
    return table(caption, ("term", "bits/dim"), rows)


def by_flow(opened: Opened, example: Example, seed: int) -> str:
    """The density of the probability flow as a table, or why there is none."""
    try:
        flow = score_density(
            opened.run, example.raw, Flow(num_probes=2), cond=example.cond, numbers=example.numbers, seed=seed
        )
    except InputError as error:
        return said(f"The probability flow has no figure: {error}")
    rows = [
        ("bits/dim", figure_text(flow.bits_per_dim[0], math.hypot(flow.standard_error[0], flow.solver_error[0]))),
        ("of its error the solver's, by its own estimate", f"{flow.solver_error[0]:.2g}"),
        ("network calls", str(int(flow.num_calls[0]))),
    ]
    return table(f"By the probability flow: {flow.kind}, {flow.settings}", ("figure", "value"), rows)


def entries(opened: Opened, scores: Scores) -> str:
    """What each entry adds, as a picture."""
    assert scores.entries is not None
    bits = -scores.entries[0] / math.log(2)
    names = opened.run.spec.names
    kinds = {1: "column" if names else "entry", 2: "channel and position", 3: "pixel"}
    kind = kinds.get(bits.ndim, "row and column, all slices together")
    return picture(drawn(lambda path: by_entry(path, bits, names)), f"Bits by {kind}, {np.nansum(bits):.4g} in all")


def bands(opened: Opened, scores: Scores) -> str:
    """What each part of the noise adds, as a picture."""
    assert scores.bands is not None
    within = scores.bands[0, 1:-1]
    ends = torch.linspace(0, 1, len(within) + 1, dtype=torch.float64)
    gamma = opened.run.denoiser.schedule.gamma(ends).numpy()
    bits = -within / (math.log(2) * _num_dims(scores))
    return picture(drawn(lambda path: bound_by_time(path, gamma, bits)), "Where along the noise the bits arise")


def _num_dims(scores: Scores) -> float:
    return -scores.nats[0] / (math.log(2) * scores.bits_per_dim[0])


@lru_cache(maxsize=MOST_OPEN)
def compared(opened: Opened) -> dict[str, np.ndarray]:
    """Bits/dim of held-out and of training examples, in few calls each."""
    dataset = opened.dataset
    effort = Effort(num_draws=COMPARED_DRAWS) if opened.run.is_denoiser else Effort()
    bits = {}
    for kind, split in COMPARED_WITH.items():
        chosen = dataset.some(split, NUM_COMPARED)
        cond = dataset.cond(chosen) if opened.run.config.data.conditional else None
        bits[kind] = score(opened.run, dataset.examples[chosen], effort, cond=cond, numbers=chosen).bits_per_dim
    return bits


def standing_picture(opened: Opened, scores: Scores) -> str:
    """Where the example stands among held-out and training ones, as a picture."""
    value = float(scores.bits_per_dim[0])
    content = drawn(lambda path: standing(path, compared(opened), value, "bits per dimension"))
    return picture(content, "The example, the line, among held-out and training ones")


def neighbours(opened: Opened, raw: np.ndarray, num: int = NUM_NEIGHBOURS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training examples nearest to each of some: these themselves as stored, their numbers, and their distances.

    The distance is the root mean square difference of encoded entries; what is missing counts as the mean.
    """
    dataset = opened.dataset
    # all, or as many as take some seconds
    training = np.sort(dataset.some("train", most_searched(len(raw), math.prod(dataset.shape)) // 10))
    examples = Mapped(training, lambda indices: _flat(dataset.encoded(indices)))
    distances, places = nearest(_flat(opened.run.encode(raw)), examples, min(num, len(training)))
    numbers = training[places]
    return dataset.examples[numbers.reshape(-1)].reshape(*numbers.shape, *raw.shape[1:]), numbers, distances


def _flat(values: torch.Tensor) -> np.ndarray:
    return torch.nan_to_num(values).flatten(1).numpy()


def near(opened: Opened, example: Example) -> str:
    """The nearest training examples, as a picture and a table."""
    training_examples, numbers, distances = neighbours(opened, example.raw)
    both = np.concatenate([example.raw, training_examples[0]])
    named_numbers = ", ".join(map(str, numbers[0]))
    text = f"The example, which is the first, and its nearest training examples, numbers {named_numbers}"
    header = ["example", "distance"]
    rows = [[str(n), f"{far:.4g}"] for n, far in zip(numbers[0], distances[0], strict=True)]
    shown = ""
    if both.ndim > 2:
        shown = pictured(opened, both, text, len(both) if both.ndim > 3 else None)
    else:
        header += names_of(opened)[:MOST_BESIDE]
        rows = [[*row, *own[:MOST_BESIDE]] for row, own in zip(rows, cells(opened, training_examples[0]), strict=True)]
    caption = "Nearest training examples, by root mean square difference of encoded values"
    return shown + table(caption, header, rows)


class LikelihoodPanel:
    """The panel's components and what they do; arguments as of `DrawPanel`."""

    def __init__(self, shelf: Shelf, limits: Limits, run: Any):
        self.shelf = shelf
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                split, number = choice()
                file = gradio.File(
                    label="Or your own: .png, .npy or .npz", file_types=[".png", ".npy", ".npz"],
                    height=170,
                )  # fmt: skip
                flow = gradio.Checkbox(False, label="Also by the probability flow (slower)")
                seed = gradio.Number(0, label="Seed of times and noise", precision=0, minimum=0)
                button = gradio.Button("Score", variant="primary")
                status = gradio.HTML(said("The bound of one example in its three terms."))
                shown = gradio.HTML()
            with gradio.Column(scale=2, min_width=300):
                figures, density = gradio.HTML(), gradio.HTML()
                where, noise = gradio.HTML(), gradio.HTML()
                among, training = gradio.HTML(), gradio.HTML()
        places = [status, shown, figures, density, where, noise, among, training]
        computing(button.click, self.on_score, [run, split, number, file, flow, seed], places, "score")

    def on_score(
        self, run: str, split: str, number: int, file: str | None, flow: bool, seed: int
    ) -> Iterator[list[str]]:
        """Show what is known as soon as it is."""
        opened, number, seed = self.shelf.open(run), int(number or 0), int(seed or 0)
        example = of_file(opened, Path(file), number) if file else of_data(opened, split, number)
        parts = [""] * 8
        parts[0] = said("Scoring ...")
        parts[1] = show_example(opened, example)
        yield parts
        settings = {"cond": example.cond, "numbers": example.numbers, "seed": seed}
        is_denoiser = opened.run.is_denoiser
        scores = score(opened.run, example.raw, by="column" if is_denoiser else None, **settings)
        parts[2] = terms(example, scores)
        yield parts
        if is_denoiser:
            parts[4] = entries(opened, scores)
            parts[5] = bands(opened, score(opened.run, example.raw, by="noise", **settings))
            yield parts
        parts[6] = standing_picture(opened, scores)
        parts[7] = near(opened, example)
        yield parts
        if flow:
            parts[3] = (
                by_flow(opened, example, seed) if is_denoiser else said("The model is no diffusion: it has no flow.")
            )
        parts[0] = said("Done.")
        yield parts


def show_example(opened: Opened, example: Example) -> str:
    """An example as a picture, or a table of its values."""
    if example.raw.ndim > 2:
        return pictured(opened, example.raw, example.name, columns=1)
    rows = list(zip(names_of(opened), cells(opened, example.raw)[0], strict=True))[:MOST_SHOWN]
    return table(example.name, ("column" if opened.run.spec.columns else "entry", "value"), rows)
