"""One example for a panel: of the run's own data by its number, or a visitor's own file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lowerbound.data import Examples
from lowerbound.data.fitting import SPLITS
from lowerbound.data.tables.frames import to_table
from lowerbound.errors import InputError
from lowerbound.run.examples import check_examples, conditions, read_for
from lowerbound.settings import check_choice
from lowerbound.web.framework import gradio
from lowerbound.web.shelf import Opened
from lowerbound.words.brief import Brief

OWN = 0
"""The number, by which its noise is known, of an example that is a visitor's own."""


@dataclass(frozen=True, eq=False, repr=False)
class Example(Brief):
    """One example as it is stored.

    Arguments:
        raw: (1, *shape).
        cond: its condition, (1, ...), of a run that knows any.
        number: by which it has its noise.
        name: for people.
    """

    raw: np.ndarray
    cond: Tensor | None
    number: int
    name: str

    @property
    def numbers(self) -> np.ndarray:
        """Of the batch of one."""
        return np.array([self.number])


def of_data(opened: Opened, split: str, number: int) -> Example:
    """An example of the run's data.

    Raises:
        InputError: if the data are gone, or there is none of this number.
    """
    check_choice("the split", split, SPLITS)
    dataset = opened.dataset
    indices = dataset.indices(split)
    if not 0 <= number < len(indices):
        raise InputError(f"example {number}: the {split} split has the examples 0 to {len(indices) - 1}")
    chosen = indices[[number]]
    cond = dataset.cond(chosen) if opened.run.config.data.conditional else None
    name = f"example {number} of the {split} split"
    if dataset.labels is not None:
        name += f", label {dataset.spec.class_names[dataset.labels[chosen[0]]]}"
    return Example(np.ascontiguousarray(dataset.examples[chosen]), cond, int(chosen[0]), name)


def of_file(opened: Opened, path: Path, number: int = 0) -> Example:
    """An example from a file that was uploaded: a picture, or a row of an array.

    Raises:
        InputError: if it cannot be read, or is not what the run takes.
    """
    suffix, run = path.suffix.lower(), opened.run
    if suffix == ".png":
        from lowerbound.data.images.examples import colour, read_image

        try:
            image = read_image(path, background=colour(run.config.data.background))
        except InputError as error:
            raise InputError(f"the picture cannot be used: {error}") from error
        values = image[None, None] if image.ndim == 2 else image.transpose(2, 0, 1)[None]
        if values.shape[1] == 3 and run.spec.raw_shape[0] == 1 and (values == values[:, :1]).all():
            values = values[:, :1]
        examples = Examples("the picture", values, run.spec.layout)
    elif suffix in (".npy", ".npz"):
        examples = read_for(run, str(path))
    else:
        raise InputError(f"a file of type {suffix!r:.10}: give a .png picture, or an .npy or .npz array")
    if not 0 <= number < len(examples.values):
        raise InputError(f"example {number}: the file has the examples 0 to {len(examples.values) - 1}")
    chosen = np.array([number])
    raw = np.ascontiguousarray(examples.values[chosen])
    check_examples(run, raw, "the file")
    return Example(raw, conditions(run, examples, chosen), OWN, f"example {number} of the file")


def cells(opened: Opened, raw: np.ndarray) -> list[list[str]]:
    """The values of vectors (N, D) as people read them: categories and dates of a table as they are written there."""
    if opened.run.spec.columns:
        columns = [column.to_pylist() for column in to_table(opened.run.spec, raw, as_text=True).columns]
    else:
        columns = raw.T.tolist()
    return [list(map(_cell, row)) for row in zip(*columns, strict=True)]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def names_of(opened: Opened) -> list[str]:
    """The columns of a table; of other vectors their dimensions, counted."""
    spec = opened.run.spec
    return [column.name for column in spec.columns] or [f"dimension {k}" for k in range(spec.num_dims)]


def choice(label: str = "Example", number: int = 0) -> tuple[Any, Any]:
    """The components that choose one of the run's own data: its split and its number."""
    with gradio.Row():
        split = gradio.Dropdown(list(SPLITS[::-1]), value="test", label="Split", min_width=110)
        chosen = gradio.Number(number, label=label, precision=0, minimum=0, min_width=110)
    return split, chosen
