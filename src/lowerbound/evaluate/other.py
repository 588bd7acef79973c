"""Data on which a run was not trained, scored as its own are: with the run's encoding, all of their examples."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from lowerbound.data import Dataset, Reading
from lowerbound.errors import InputError, flag
from lowerbound.run import Run
from lowerbound.run.examples import check_examples, conditions, read_for


def open_evaluated(run: Run, source: str | None = None, reading: Reading | None = None) -> tuple[Dataset, bool]:
    """The data to evaluate a run on, and whether they are its own.

    Arguments:
        run: the model.
        source: its own data if None; else these, wherever they lie now, or any of the same kind.
        reading: what is said of others than its own.

    Raises:
        InputError: if they can't be read, or are of another kind.
    """
    if reading is not None and reading.changed and source is None:
        raise InputError(
            f"{flag(next(iter(reading.changed)))} has no effect without --data: a run's own data are read as for "
            "its training"
        )
    if source is None:
        return run.open_dataset(), True
    try:
        return run.open_dataset(source), True
    except InputError:
        own = run.config.data.source
        if own and Path(source).expanduser().resolve() == Path(own).expanduser().resolve():
            raise  # its own file, changed: some of it was trained on
        return other_dataset(run, source, reading), False


def other_dataset(run: Run, source: str, reading: Reading | None = None) -> Dataset:
    """Data of the same kind as a run's own, all of whose examples are held out.

    Raises:
        InputError: if they can't be read, or are of another shape, type or range, or of classes that the run does not know.
    """
    examples = read_for(run, source, reading)
    check_examples(run, examples.values, examples.name)
    indices, nothing = np.arange(len(examples.values)), np.empty(0, dtype=np.int64)
    cond = conditions(run, examples, indices)
    spec = replace(run.spec, name=examples.name, layout=examples.layout, fingerprint="")
    dataset = Dataset(spec, examples.values, train=nothing, validation=nothing, test=indices)
    if cond is None:
        return replace(dataset, spec=replace(spec, class_names=(), vectors=None))
    if spec.vectors is not None:
        return replace(dataset, conditions=examples.conditions)
    return replace(dataset, labels=cond.numpy())


def folder_name(dataset: Dataset) -> str:
    """Of the evaluation on other data."""
    stem = re.sub(r"[^a-z0-9]+", "-", dataset.spec.name.rpartition("/")[2].lower()).strip("-")[:40]
    return f"of-{stem or 'data'}-{dataset.fingerprint()[:8]}"
