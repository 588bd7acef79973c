"""Examples as they are stored, and a data set opened for use: their encoding, and which of them are for what."""

import hashlib
import math
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.arrays.axes import Axes
from lowerbound.data.channels import ByChannel
from lowerbound.data.columns import Column
from lowerbound.data.encoding import Encoding
from lowerbound.data.fitting import SPLITS, check_type, complete_splits, fitted_encoding
from lowerbound.data.images.crops import at_places, middle
from lowerbound.data.memory import release
from lowerbound.data.parts import check_not_empty, gathered, num_observed, parts
from lowerbound.data.series.windows import SeriesSpec, Stored, Windows
from lowerbound.data.spec import DataSpec, naming
from lowerbound.data.vectors import Standardisation
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief
from lowerbound.words.counts import counted

_VERSION = "2-"
"""The beginning of a fingerprint that covers labels and splits."""
_ORDER_SEED = 0


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples and what is known of them.

    Arguments:
        spec: what they are, the encoding fitted on the training examples.
        examples: raw values, (N, *shape), channels first: (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W), of a table
            its columns, (N, C); possibly larger than memory, being read from a file, or cut from series, as they are looked
            at.
        train, validation, test: the numbers of the examples of each split, (num_examples,), disjoint.
        labels: (N,) class indices, or None.
        conditions: (N, F) float32 vectors as they came; of series covariates along them, (N, K, L); or None.
        layout_hint: if the layout was guessed and could be another, how they are read and how to have the other.
        notes: what else there is to be said of how they were read, a line each.
        whole: if the examples are the pieces in the middle of larger images, those, (N, C, H, W).
    """

    spec: DataSpec
    examples: Stored
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None
    conditions: Stored | None = None
    layout_hint: str = ""
    notes: tuple[str, ...] = ()
    whole: np.ndarray | None = None

    def __repr__(self) -> str:
        splits = ", ".join(f"{len(self.indices(split)):,} {split}" for split in SPLITS)
        return f"Dataset({self.spec.name!r}, {len(self.examples):,} examples of shape {self.spec.raw_shape}: {splits})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as a model sees it."""
        return self.spec.shape

    def indices(self, split: str) -> np.ndarray:
        """The indices of "train", "validation" or "test"."""
        assert split in SPLITS
        return getattr(self, split)

    def some(self, split: str, num: int | None = None, most_entries: int | None = None) -> np.ndarray:
        """The indices of so many examples of "train", "validation" or "test", or of all that there are, in a random order
        that is always the same: of more, the first are those of fewer.

        They stand for all of the split, whose own first examples may be of one class, or of one day.

        Arguments:
            split: the split.
            num: how many; None: all.
            most_entries: how many entries they may have together at most, for those that are kept in memory, but for the
                first two examples.
        """
        order = np.random.default_rng(_ORDER_SEED).permutation(self.indices(split))[:num]
        return order if most_entries is None else order[: max(2, most_entries // math.prod(self.shape))]

    def encoded(self, indices: np.ndarray, cuts: Tensor | None = None) -> Tensor:
        """Examples as the model sees them, (n, *shape); NaN where an entry is missing (`DataSpec.observed`).

        Arguments:
            indices: of the examples, (n,).
            cuts: of pieces of larger images, where to cut them, (n, 2) on [0, 1]; None: in the middle.
        """
        if self.whole is None or cuts is None:
            chosen = gathered(self.examples, indices)
        else:
            chosen = np.ascontiguousarray(at_places(self.whole, indices, self.spec.shape[1:], cuts.numpy()))
            release(self.whole)
        return self.spec.encoding.encode(chosen)

    def encoded_as(self, known: DataSpec) -> "Dataset":
        """The same examples as a model sees them that knows them, whatever encoding would be fitted to them today."""
        encoding = known.encoding
        if hasattr(encoding, "has_missing") and encoding.has_missing != self.spec.has_missing:
            encoding = replace(encoding, has_missing=self.spec.has_missing)  # pyrefly: ignore[bad-specialization]
        return replace(self, spec=replace(self.spec, encoding=encoding, shape=known.shape, series=known.series))

    @cached_property
    def num_observed(self) -> np.ndarray:
        """How many entries of each example are there, (N,)."""
        if not self.spec.has_missing:
            return np.broadcast_to(self.spec.num_dims, len(self.examples))  # one number, however many examples
        return num_observed(self.examples)

    def cond(self, indices: np.ndarray) -> Tensor | None:
        """The examples' condition: vectors, normalised, if the data have them, else labels, else None."""
        if self.spec.series is not None:
            return None if self.conditions is None else self.spec.series.condition(self.conditions[indices])
        if self.conditions is not None:
            assert self.spec.vectors is not None
            return self.spec.vectors(self.conditions[indices])
        return None if self.labels is None else torch.from_numpy(self.labels[indices])

    def fingerprint(self) -> str:
        """A hash by which a run knows its data again: of the examples, condition vectors, labels and splits."""
        digest = self._hash_values()
        if self.spec.columns:
            digest.update(repr((self.spec.columns, self.spec.condition_columns)).encode("utf-8", "surrogatepass"))
        for text in ("labels", *(() if self.labels is None else self.spec.class_names)):
            digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
        indices = {"labels": self.labels, **{split: self.indices(split) for split in SPLITS}}
        for name, array in indices.items():
            digest.update(f"{name} {-1 if array is None else len(array)}".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array, np.int64).data)
        return _VERSION + digest.hexdigest()[:16]

    def has_fingerprint(self, recorded: str) -> bool:
        """Whether these are the data of a fingerprint.

        One of before version 2 is of examples and condition vectors alone: where it agrees, a warning says that labels and
        splits are taken on trust.
        """
        if recorded.startswith(_VERSION):
            return self.fingerprint() == recorded
        if self._hash_values().hexdigest()[:16] != recorded:
            return False
        warnings.warn(
            f"an earlier version of this program noted which examples of {self.spec.name} were trained on, but neither "
            "their labels nor their splits: whether those are the same is not checked",
            stacklevel=2,
        )
        return True

    def _hash_values(self) -> Any:
        return _digest(self.examples if self.whole is None else self.whole, self.conditions)


@dataclass(frozen=True, eq=False, repr=False)
class Examples(Brief):
    """What a source holds, before an encoding is fitted or a split made: one example is enough.

    Arguments:
        name: the source.
        values: as stored, (N, *shape), channels first.
        layout: the order of axes that they came in.
        splits: indices by the names of `SPLITS`, as far as the source itself has them.
        labels: (N,) class indices, or None.
        class_names: a name for each class.
        conditions: (N, F) float32 vectors, or None.
        files: of a folder, each example's path in it, fit to be printed; empty otherwise.
        layout_hint: if the layout was guessed and could be another, how they are read and how to have the other.
        columns: of a table, whose values are (N, C) in double precision, NaN where one is missing; else empty.
        axes: of fields, what their axes are.
        series: what is known of the series that they are windows of; else None.
        condition_columns: of a table, those that its conditions are made of.
        condition_places: where they stand among all of its columns.
        notes: what else there is to be said of how they were read, a line each.
        whole: if the values are the pieces in the middle of larger images, those, (N, C, H, W).
    """

    name: str
    values: Stored
    layout: str
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    conditions: Stored | None = None
    files: tuple[str, ...] = ()
    layout_hint: str = ""
    columns: tuple[Column, ...] = ()
    axes: Axes | None = None
    series: SeriesSpec | None = None
    condition_columns: tuple[Column, ...] = ()
    condition_places: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    whole: np.ndarray | None = None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Of series and fields; empty where channels have none."""
        if self.axes is not None:
            return self.axes.variables
        return () if self.series is None else self.series.channels

    @classmethod
    def of(cls, dataset: Dataset) -> "Examples":
        """The examples of a data set, with the splits that it has."""
        name, layout, class_names = dataset.spec.name, dataset.spec.layout, dataset.spec.class_names
        splits = {split: dataset.indices(split) for split in SPLITS}
        return cls(
            name,
            dataset.examples,
            layout,
            splits,
            dataset.labels,
            class_names,
            dataset.conditions,
            columns=dataset.spec.columns,
            series=dataset.spec.series,
            condition_columns=dataset.spec.condition_columns,
            condition_places=dataset.spec.condition_places,
            notes=dataset.notes,
            whole=dataset.whole,
        )

    def cropped(self, size: tuple[int, int]) -> "Examples":
        """The pieces in the middle of images, of this height and width; the images stay `whole`."""
        assert isinstance(self.values, np.ndarray)
        height, width = self.values.shape[-2:]
        values = middle(self.values, size, self.name)
        note = f"crop      {size[0]} x {size[1]} of {height} x {width} pixels: at random places to train on, else the middle"
        return replace(self, values=values, whole=self.values, notes=(*self.notes, note))

    def dataset(
        self, num_levels: int | None = None, encoding: Encoding | None = None, densities: bool = False
    ) -> Dataset:
        """The data set to train on: its encoding fitted, missing splits made (see `assemble`)."""
        values, labels, conditions, class_names = self.values, self.labels, self.conditions, self.class_names
        with naming(self.name):
            if len(values) < 3 or 0 in values.shape:
                raise InputError(
                    f"{counted(len(values), 'example')} of shape {values.shape[1:]}; at least three are "
                    "needed, one each for training, validation and testing, and no axis may be empty"
                )
            check_type(values.dtype)
            if labels is not None:
                class_names = class_names or tuple(map(str, range(int(labels.max()) + 1)))
                if "train" in self.splits and len(unseen := np.setdiff1d(labels, labels[self.splits["train"]])):
                    raise InputError(
                        f"class {class_names[unseen[0]]} has no examples in the training split: leave out its examples, or "
                        "the labels"
                    )
            splits = complete_splits(self.splits, len(values))
            if not all(map(len, splits.values())):
                counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
                raise InputError(f"the splits have {counts}; at least one example is needed in each")
            encoding = encoding or fitted_encoding(
                values if self.whole is None else self.whole,
                splits,
                num_levels,
                self.columns,
                self.channel_names,
                densities,
            )
            if self.whole is not None and encoding.has_missing:
                raise InputError("--crop is for images of which no entry is missing, and there are NaN: leave it out")
            vectors, series = None, self.series
            if series is not None and isinstance(conditions, Windows):
                series = series.fitted(conditions.rows[conditions.is_covered(splits["train"])])
            elif conditions is not None:
                vectors = Standardisation.fit(conditions[splits["train"]])
            shape = encoding.shape(values.shape[1:])
            if series is not None and isinstance(encoding, ByChannel):
                series = replace(series, num_entries=shape[0])
            spec = DataSpec(
                self.name,
                shape,
                encoding,
                self.layout,
                class_names,
                vectors,
                condition_columns=self.condition_columns,
                condition_places=self.condition_places,
                axes=self.axes,
                series=series,
            )
            hints = {"layout_hint": self.layout_hint, "notes": self.notes}
            dataset = Dataset(spec, values, **splits, labels=labels, conditions=conditions, **hints, whole=self.whole)
            check_not_empty(dataset.num_observed)
        return dataset

    def fingerprint(self, indices: np.ndarray) -> str:
        """A hash of the examples, condition vectors, labels and names of files, and of which of them are chosen."""
        digest = _digest(self.values, self.conditions)
        digest.update("\0".join((*self.class_names, *self.files)).encode("utf-8", "surrogatepass"))
        for numbers in (self.labels, indices):
            digest.update(b"" if numbers is None else np.ascontiguousarray(numbers, np.int64).data)
        return digest.hexdigest()[:16]

    def indices(self, split: str | None = None) -> np.ndarray:
        """All indices, or those of a split as training makes it.

        Raises:
            InputError: if there are none.
        """
        num_examples = len(self.values)
        indices = np.arange(num_examples) if split is None else complete_splits(self.splits, num_examples)[split]
        if not len(indices):
            raise InputError(f"{self.name} has no examples{'' if split is None else f' in its {split} split'}")
        return indices


def _digest(examples: Stored, conditions: Stored | None) -> Any:
    """Of examples and their condition vectors, which may be larger than memory."""
    digest = hashlib.sha256(f"{examples.dtype}{examples.shape}".encode())
    for values in (examples, conditions):
        if isinstance(values, Windows):
            digest.update(np.ascontiguousarray(values.starts, np.int64).data)
            values = values.rows  # noqa: PLW2901 - each once, not in every window
        for _, part in () if values is None else parts(values):
            digest.update(np.ascontiguousarray(part).data)
    return digest


def assemble(
    name: str,
    examples: np.ndarray,
    *,
    layout: str,
    splits: dict[str, np.ndarray] | None = None,
    num_levels: int | None = None,
    labels: np.ndarray | None = None,
    class_names: tuple[str, ...] = (),
    conditions: np.ndarray | None = None,
    encoding: Encoding | None = None,
) -> Dataset:
    """A `Dataset` from raw examples, with the splits that are missing made and the encoding fitted.

    NaN in floats is an entry that is missing.

    Arguments:
        splits: indices by the names of `SPLITS`. Without any, a fixed tenth is for validation and a fixed tenth for
            testing; with a test split alone, a tenth of the rest, 5,000 at most, is for validation.
        num_levels: of integer data; from their type (uint8, uint16, bool), or from the range of the training examples, if
            None.
        encoding: one of the source's own; fitted (`fitting.fitted_encoding`) if None.
        (the rest as in `Examples`)

    Raises:
        InputError: if there are too few examples, infinite values, an example or a channel of which nothing is there,
            integers that do not fit their levels, or a class that is not in a training split that was given.
    """
    return Examples(name, examples, layout, splits or {}, labels, class_names, conditions).dataset(num_levels, encoding)
