"""Examples as they are stored, made ready for a run: refused if they are not what it takes, with noise of their own."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from lowerbound.data import Examples, Levels, Reading, read_examples
from lowerbound.data.channels import ByChannel
from lowerbound.data.parts import check_finite, check_not_empty, num_observed
from lowerbound.data.series.windows import Stored, Windows
from lowerbound.data.tables.condition_vectors import condition_values
from lowerbound.errors import InputError
from lowerbound.rng import PerSample
from lowerbound.run.opened import Run
from lowerbound.settings import check_least
from lowerbound.words.counts import counted

Vector = Float[np.ndarray, " num_examples"]
"""A figure of each example."""
Batch = tuple[Tensor, Tensor | None, PerSample, np.ndarray]
"""Some examples, their conditions, their noise and their numbers."""


def read_for(run: Run, source: str, reading: Reading | None = None) -> Examples:
    """What a source holds, read as the data of a run are, but for what is said of this one.

    Raises:
        InputError: if there is no such source, or it cannot be read so.
    """
    data = run.config.data
    # they are of its own files
    labels = data.labels if Path(source).expanduser().resolve() == Path(data.source) else None
    return read_examples(replace(data, source=source, labels=labels), run.spec, reading)


def conditions(run: Run, examples: Examples, indices: np.ndarray, label: str | None = None) -> Tensor | None:
    """The conditions of examples as a run knows them: of a run that has any, where the data have them too; else None.

    Arguments:
        run: the model.
        examples: what a source holds.
        indices: of the examples.
        label: one class for all of them in the place of their own.

    Raises:
        InputError: for a class that the run does not know, vectors of another length, or a label of a run that takes none.
    """
    if label is not None:
        if not run.config.data.conditional or run.spec.num_condition_features:
            raise InputError(
                f"--label {label}: the run in {run.folder.path} takes no labels: train with --conditional on labelled data"
            )
        return run.labels([label]).expand(len(indices))
    if not run.config.data.conditional:
        return None
    if (series := run.spec.series) is not None or run.spec.vectors is not None:
        if examples.conditions is None:
            return None
        values = examples.conditions[indices]
        return run.given(values, f"{examples.name}: ") if series is None else series.condition(values)
    if examples.labels is None:
        return None
    present, positions = np.unique(examples.labels[indices], return_inverse=True)
    return run.labels([examples.class_names[k] for k in present])[torch.from_numpy(positions)]


def condition_rows(run: Run, examples: Examples, indices: np.ndarray, label: str | None = None) -> np.ndarray | None:
    """What stands in the columns that `conditions` are made of, of a table that has them; else None."""
    columns = run.spec.condition_columns
    if label is not None:
        conditions = run.labels([label]).expand(len(indices)).numpy()
    elif examples.conditions is not None:
        conditions = np.asarray(examples.conditions[indices])
    else:
        conditions = None if examples.labels is None else examples.labels[indices]
    return condition_values(conditions, columns) if columns and conditions is not None else None


def check_examples(run: Run, raw: Num[np.ndarray, "num_examples *any"] | Windows, name: str = "the data") -> None:
    """Refuse examples that are not what a run takes, saying what that is, by an InputError."""
    if not isinstance(raw, np.ndarray | Windows):
        raise InputError(
            f"{name} are an object of type {type(raw).__name__}: give an array of numpy, as examples are stored"
        )
    encoding, shape = run.spec.encoding, run.spec.raw_shape
    discrete = isinstance(encoding, Levels)
    may_miss = run.spec.has_missing
    low, high = (encoding.offset, encoding.offset + encoding.num_levels - 1) if discrete else (-math.inf, math.inf)
    values = f"integers from {low} to {high}" if discrete else "finite floats"
    values += ", or NaN where an entry is missing" if may_miss else ""
    takes = f"the run in {run.folder.path} takes examples of shape {shape}, channels first, of {values}"
    if raw.shape[1:] != shape or not len(raw):
        raise InputError(f"{name}: {counted(len(raw), 'example')} of shape {raw.shape[1:]}; {takes}")
    if raw.dtype.kind not in ("iub" if discrete else "f"):
        raise InputError(f"{name}: values of type {raw.dtype}; {takes}")
    try:
        check_finite(raw, may_miss)
        if may_miss:
            check_not_empty(num_observed(raw))
        if isinstance(encoding, ByChannel) and isinstance(raw, np.ndarray):
            encoding.encode(raw)
            if not run.spec.columns:  # of which their reader speaks
                for channel, code, number in encoding.rounded(raw):
                    warnings.warn(f"{name}, {channel.name}: {code.of_rounded(number)}", stacklevel=3)
    except InputError as error:
        gaps = ": fill gaps in first, by `lowerbound impute`" if run.spec.columns and not may_miss else ""
        raise InputError(f"{name}: {error}; {takes}{gaps}") from error
    if discrete and isinstance(raw, np.ndarray) and (raw.min() < low or raw.max() > high):
        raise InputError(f"{name}: values from {raw.min()} to {raw.max()}; {takes}")


def batches(
    run: Run, raw: Stored, cond: Tensor | None, numbers: np.ndarray | None, batch_size: int, seed: int
) -> Iterator[Batch]:
    """Batch by batch the examples, their conditions, their noise and their numbers, by which each has its own.

    Raises:
        InputError: as `check_examples`, or if batch_size is below 1.
    """
    check_least(1, batch_size=batch_size)
    check_examples(run, raw)
    numbers = np.arange(len(raw)) if numbers is None else numbers
    for first in range(0, len(raw), batch_size):
        part = slice(first, first + batch_size)
        x = run.encode(np.ascontiguousarray(raw[part])).to(run.device)
        batch_cond = None if cond is None else cond[part].to(run.device)
        yield x, batch_cond, PerSample([(seed << 32) + int(i) for i in numbers[part]]), numbers[part]


def condition_text(run: Run, has_cond: bool) -> str:
    """What a figure's description says of conditions."""
    if not run.config.data.conditional:
        return ""
    return ", given its condition" if has_cond else ", given no condition"
