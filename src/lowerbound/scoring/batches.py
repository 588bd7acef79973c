"""Scores for engines that hand a function one batch of a table after another, in processes of their own.

Ray Data's `map_batches`, Dask's `map_partitions` and Spark's `mapInArrow` cut a table as they like, and repeat a batch whose
worker was lost. So a row's times and noise depend on the row alone: on a number that a column has for it, or on its content.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from lowerbound.data import Examples
from lowerbound.data.parts import numbers_of_content
from lowerbound.data.tables.examples import known_columns
from lowerbound.data.tables.frames import from_dataframe
from lowerbound.errors import InputError
from lowerbound.models import Effort
from lowerbound.run import Run, open_run
from lowerbound.run.examples import check_examples, conditions
from lowerbound.scoring.bound import AS_ADVISED, PARTS, Scores, num_bands, score
from lowerbound.scoring.columns import score_columns
from lowerbound.training.folder import RunFolder
from lowerbound.words.printable import printable


def score_batches(
    run: Run | Path | str,
    effort: Effort = AS_ADVISED,
    *,
    values: str | None = None,
    number: str | None = None,
    by: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Callable[[Any], Any]:
    """A function from a batch of examples to the same batch with their scores in further columns (`score_columns`).

    The batch is a RecordBatch or Table of Arrow, or a dataframe of pandas or polars, and so is what comes back; of an empty
    one it is empty too, with the columns that others have. A column gets a name that the batch has not: with a _ behind it.
    The function can be pickled: it holds the name of the run's folder, which a worker opens when it scores its first batch.

    Arguments:
        run: the folder of a run that every worker can read; of a `Run`, its folder's.
        effort: how much is spent on each example.
        values: the column with all entries of an example as a list, for a run that is not of a table; a table's columns
            are found by their names.
        number: the column with a number for each example, from 0 to 2^32 - 1, by which it has its times and noise, as it
            has by its place in `score`; if None, it has them by its content.
        by: as in `score`.
        batch_size: examples that are scored at a time; it changes speed, memory and the last digits' rounding; as many as
            `machine.processor.at_once` allows if None.
        seed: of times and noise.
        device: where each worker computes.

    Raises:
        InputError: if there is no run in the folder, or it is not scored so; the function, if a batch is not what the run
            takes.
    """
    folder = RunFolder(run.folder.path if isinstance(run, Run) else run)
    _, spec = folder.read_config()
    if spec.series is not None:
        raise InputError(f"the run in {folder.path} is of windows of series, whose rows are no examples: take `score`")
    if by is not None and by not in PARTS:
        raise InputError(f"by is {by!r}: scores are divided by {' or by '.join(PARTS)}, or None")
    if (values is None) != bool(spec.columns):
        takes = "a table, whose columns are found by their names: leave out" if spec.columns else "no table: give"
        raise InputError(f"the run in {folder.path} is of {takes} `values`, the column with all entries of an example")
    return _BatchScorer(str(folder.path.resolve()), effort, values, number, by, batch_size, seed, device)


@dataclass(frozen=True)
class _BatchScorer:
    """What `score_batches` returns, with its arguments."""

    path: str
    effort: Effort
    values: str | None
    number: str | None
    by: str | None
    batch_size: int | None
    seed: int
    device: str

    def __call__(self, batch: Any) -> Any:
        model = Path(self.path) / "model.safetensors"
        run = _opened(self.path, self.device, model.stat().st_mtime_ns if model.exists() else 0)
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        try:
            frame = nw.from_native(table, eager_only=True)
        except TypeError as error:
            raise InputError(
                f"a batch of type {type(batch).__name__}: it is to be a RecordBatch or Table of Arrow, or a dataframe of "
                "pandas or polars (of Ray Data: batch_format='pyarrow')"
            ) from error
        scores = self._scores(run, frame) if len(frame) else _none(run, self.effort, self.by)
        for name, column in score_columns(run, scores).items():
            while name in frame.columns:
                name += "_"  # noqa: PLW2901
            kind = nw.String if column.dtype.kind == "U" else None
            frame = frame.with_columns(
                nw.new_series(name, column.tolist(), kind or nw.Float64, backend=frame.implementation)
            )
        scored = frame.to_native()
        if not isinstance(batch, pa.RecordBatch):
            return scored
        return pa.RecordBatch.from_arrays([column.combine_chunks() for column in scored.columns], scored.column_names)

    def _scores(self, run: Run, frame: "nw.DataFrame[Any]") -> Scores:
        if self.values is None:
            known = {column.name for column in known_columns(run.spec)}
            chosen = [name for name in frame.columns if printable(name.strip()) in known]  # the rest is the caller's
            examples = from_dataframe(frame.select(chosen).to_native(), run.spec)
        else:
            examples = Examples("batch", _entries(run, self._column(frame, self.values)), run.spec.layout)
        check_examples(run, examples.values, "the batch")
        raw = np.asarray(examples.values, run.spec.encoding.dtype)
        numbers = numbers_of_content(raw) if self.number is None else self._numbers(frame)
        cond = conditions(run, examples, np.arange(len(raw)))
        settings = {"cond": cond, "numbers": numbers, "seed": self.seed, "by": self.by}
        return score(run, raw, self.effort, batch_size=self.batch_size, **settings)

    def _numbers(self, frame: "nw.DataFrame[Any]") -> np.ndarray:
        assert self.number is not None
        numbers = self._column(frame, self.number).to_numpy()
        if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= 1 << 32:
            raise InputError(
                f"the column {self.number} of a batch holds {numbers.min()} to {numbers.max()} in {numbers.dtype}: numbers "
                "of examples are integers from 0 to 2^32 - 1"
            )
        return numbers.astype(np.int64)

    def _column(self, frame: "nw.DataFrame[Any]", name: str) -> Any:
        if name not in frame.columns:
            raise InputError(f"a batch has no column {name}: it has {', '.join(frame.columns)}")
        return frame[name]


@lru_cache(maxsize=4)
def _opened(path: str, device: str, written: int) -> Run:
    """A run, opened once in each process as long as its weights are those of then."""
    return open_run(path, device)


def _entries(run: Run, column: Any) -> np.ndarray:
    """Examples of a column of lists, of tensors of an extension of Arrow's too."""
    array = column.to_arrow()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    num_examples = len(array)
    while isinstance(array, pa.ExtensionArray) or pa.types.is_struct(array.type) or pa.types.is_nested(array.type):
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_struct(array.type):  # a tensor's entries beside its shape
            array = array.field("data")
        else:
            array = array.flatten()
    if len(array) != num_examples * math.prod(run.spec.raw_shape):
        raise InputError(
            f"the column {column.name} of a batch has {len(array):,} entries of {num_examples:,} examples; the run takes "
            f"examples of shape {run.spec.raw_shape}"
        )
    return array.to_numpy(zero_copy_only=False).reshape(num_examples, *run.spec.raw_shape)


def _none(run: Run, effort: Effort, by: str | None) -> Scores:
    """The scores of no examples."""
    names = ("nats", "bits_per_dim", "reconstruction", "prior", "diffusion")
    nothing = dict.fromkeys((*names, "normalisation", "diffusion_error", "interval_95"), np.empty(0))
    scores = Scores(**nothing, kind="", num_calls=0)
    if by == "column":
        return replace(scores, entries=np.empty((0, *run.spec.raw_shape)))
    if by == "noise":
        return replace(scores, bands=np.empty((0, num_bands(run.model.completed(effort).num_draws or 1) + 2)))
    return scores
