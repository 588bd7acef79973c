"""The analytic reverse variance of a run: measured once on its training data, and kept in its folder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lowerbound.analytic_variance import NUM_GAMMAS, WithVariance, measure_variance
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.files.records import read_json, to_json
from lowerbound.files.whole import file_hash, write_file
from lowerbound.rng import Stream
from lowerbound.run.opened import Run
from lowerbound.words.brief import Brief

ENTRIES = 16_000_000
"""About how many entries of examples go through the network when the variance is measured."""
MOST_EXAMPLES = 4096
ENTRIES_AT_ONCE = 100_000


def with_analytic_variance(
    run: Run,
    *,
    conditional: bool = False,
    dataset: Dataset | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int], object] = lambda levels: None,
) -> Run:
    """The run with a denoiser that knows its analytic variance (`analytic.measure_variance`).

    It is read from variance.json in the run folder, or measured on training examples and written there if that holds none
    for the run's present weights.

    Arguments:
        run: the model.
        conditional: whether the model is used with conditions: what they tell makes the variance smaller.
        dataset: the run's data; opened where they were in training if None, and only if they are needed.
        say: where the line that says where the variance comes from goes.
        progress: called with 1 after each of `analytic.NUM_GAMMAS` levels.

    Raises:
        InputError: if the data are needed and not there.
    """
    conditional = conditional and run.config.data.conditional
    path, name = run.folder.path / "variance.json", "given conditions" if conditional else "given none"
    weights = file_hash(run.folder.model)
    tables = _read(path, weights)
    try:
        denoiser = _with_table(run, tables[name])
        say(f"analytic reverse variance: as measured before, in {path}")
    except (KeyError, InputError):
        table = _measure(run, dataset or run.open_dataset(), conditional, progress)
        denoiser = _with_table(run, table)
        write_file(path, to_json(_Stored(weights, {**tables, name: table})).encode())
        say(f"analytic reverse variance: measured on {table.num_examples:,} training examples, kept in {path}")
    return run.around(denoiser)


def _measure(run: Run, dataset: Dataset, conditional: bool, progress: Callable[[int], object]) -> "_Table":
    num_dims = math.prod(dataset.shape)
    indices = dataset.some("train", min(MOST_EXAMPLES, max(64, ENTRIES // (NUM_GAMMAS * num_dims))))
    cond = dataset.cond(indices) if conditional else None
    x = dataset.encoded(indices).to(run.device)
    measured = measure_variance(
        run.denoiser.given(None if cond is None else cond.to(run.device), dataset.spec.observed(x)),
        x,
        Stream(0, run.device),
        batch_size=max(1, ENTRIES_AT_ONCE // num_dims),
        progress=progress,
    )
    return _Table(len(indices), tuple(measured.gammas.tolist()), tuple(measured.x_vars.tolist()))


def _with_table(run: Run, table: "_Table") -> WithVariance:
    """The run's denoiser with a table: without the conditions that it was measured with, which are of its examples alone."""
    gammas, x_vars = (torch.tensor(column, dtype=torch.float64) for column in (table.gamma, table.x_var))
    return WithVariance(run.denoiser, gammas, x_vars)


@dataclass(frozen=True, repr=False)
class _Table(Brief):
    """The variance at some noise levels, and on how many examples it was measured."""

    num_examples: int
    gamma: tuple[float, ...]
    x_var: tuple[float, ...]

    def __post_init__(self):
        if len(self.gamma) != len(self.x_var):
            raise InputError(f"{len(self.x_var)} variances at {len(self.gamma)} noise levels")


@dataclass(frozen=True)
class _Stored:
    """What variance.json holds: tables by what the model was given, and the hash of its weights."""

    weights: str
    tables: dict[str, _Table]


def _read(path: Path, weights: str) -> dict[str, _Table]:
    """The tables that belong to these weights; none where the file is missing, damaged or of other weights."""
    try:
        stored = read_json(_Stored, path)
    except (OSError, InputError):
        return {}
    return stored.tables if stored.weights == weights else {}
