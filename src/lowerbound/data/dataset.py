"""A data set opened for use: raw examples, their encoding, and which of them are for what."""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.encoding import Affine, Encoding, Levels
from lowerbound.data.parts import check_not_empty, num_observed, parts, ranges
from lowerbound.data.spec import DataSpec, naming
from lowerbound.data.vectors import Standardisation
from lowerbound.errors import InputError
from lowerbound.printable import printable

_SPLIT_SEED = 0
_MAX_LEVELS = 65_536
_LEVELS_OF_TYPES = {"bool": 2, "uint8": 256, "uint16": 65_536}
SPLITS = ("train", "validation", "test")
_VERSION = "2-"
"""The beginning of a fingerprint that covers labels and splits."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples and what is known of them.

    Arguments:
        spec: what they are, the encoding fitted on the training examples.
        examples: raw values, (N, *shape), channels first: (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W); possibly
            larger than memory, being read from a file as they are looked at.
        train, validation, test: the numbers of the examples of each split, (num_examples,), disjoint.
        labels: (N,) class indices, or None.
        conditions: (N, F) float32 vectors as they came, or None.
        otherwise: if the layout was guessed and could be another, how they are read and how to have the other.
    """

    spec: DataSpec
    examples: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None
    conditions: np.ndarray | None = None
    otherwise: str = ""

    def __repr__(self) -> str:
        splits = ", ".join(f"{len(self.indices(split)):,} {split}" for split in SPLITS)
        return f"Dataset({self.spec.name!r}, {len(self.examples):,} examples of shape {self.shape}: {splits})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.examples.shape[1:]

    def indices(self, split: str) -> np.ndarray:
        """The indices of "train", "validation" or "test"."""
        assert split in SPLITS
        return getattr(self, split)

    def encoded(self, indices: np.ndarray) -> Tensor:
        """Examples as the model sees them, (n, *shape); NaN where an entry is missing (`DataSpec.observed`)."""
        return self.spec.encoding.encode(np.ascontiguousarray(self.examples[indices]))

    @cached_property
    def num_observed(self) -> np.ndarray:
        """How many entries of each example are there, (N,)."""
        if not self.spec.has_missing:
            return np.full(len(self.examples), self.spec.num_dims)
        return num_observed(self.examples)

    def cond(self, indices: np.ndarray) -> Tensor | None:
        """The examples' condition: vectors, normalised, if the data have them, else labels, else None."""
        if self.conditions is not None:
            assert self.spec.vectors is not None
            return self.spec.vectors(self.conditions[indices])
        return None if self.labels is None else torch.from_numpy(self.labels[indices])

    def fingerprint(self) -> str:
        """A hash by which a run knows its data again: of the examples, condition vectors, labels and splits."""
        digest = self._hash_values()
        for text in ("labels", *(() if self.labels is None else self.spec.class_names)):
            digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
        indices = {"labels": self.labels, **{split: self.indices(split) for split in SPLITS}}
        for name, array in indices.items():
            digest.update(f"{name} {-1 if array is None else len(array)}".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array, np.int64).data)
        return _VERSION + digest.hexdigest()[:16]

    def has_fingerprint(self, known: str) -> bool:
        """Whether these are the data of a fingerprint.

        One of before version 2 is of examples and condition vectors alone: where it agrees, a warning says that labels and
        splits are taken on trust.
        """
        if known.startswith(_VERSION):
            return self.fingerprint() == known
        if self._hash_values().hexdigest()[:16] != known:
            return False
        warnings.warn(
            f"an earlier version of this program noted which examples of {self.spec.name} were trained on, but neither "
            "their labels nor their splits: whether those are the same is not checked",
            stacklevel=2,
        )
        return True

    def _hash_values(self) -> Any:
        """Of the examples and their condition vectors, which may be larger than memory."""
        digest = hashlib.sha256(f"{self.examples.dtype}{self.examples.shape}".encode())
        for values in (self.examples, self.conditions):
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
    otherwise: str = "",
    encoding: Encoding | None = None,
) -> Dataset:
    """A `Dataset` from raw examples, with the splits that are missing made and the encoding fitted.

    NaN in floats is an entry that is missing.

    Arguments:
        splits: indices by the names of `SPLITS`. Without any, a fixed tenth is for validation and a fixed tenth for
            testing; with a test split alone, a tenth of the rest, 5,000 at most, is for validation.
        num_levels: of integer data; from their type (uint8, uint16, bool), or from the range of the training examples, if
            None.
        encoding: one of the source's own; `Levels` for integers and `Affine` for floats if None.
        (the rest as in `Dataset`)

    Raises:
        InputError: if there are too few examples, infinite values, an example or a channel of which nothing is there,
            integers that do not fit their levels, or a class that is not in a training split that was given.
    """
    with naming(name):
        if len(examples) < 3 or 0 in examples.shape:
            raise InputError(
                f"{len(examples)} example{'s' * (len(examples) != 1)} of shape {examples.shape[1:]}; at least three are "
                "needed, one each for training, validation and testing, and no axis may be empty"
            )
        check_type(examples.dtype)
        if labels is not None:
            class_names = class_names or tuple(map(str, range(int(labels.max()) + 1)))
            if splits and "train" in splits and len(untrained := np.setdiff1d(labels, labels[splits["train"]])):
                raise InputError(
                    f"class {class_names[untrained[0]]} has no examples in the training split: leave out its examples, or "
                    "the labels"
                )
        splits = complete_splits(splits or {}, len(examples))
        if not all(map(len, splits.values())):
            counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
            raise InputError(f"the splits have {counts}; at least one example is needed in each")
        encoding = encoding or _encoding(examples, splits, num_levels)
        vectors = None if conditions is None else Standardisation.fit(conditions[splits["train"]])
        spec = DataSpec(name, examples.shape[1:], encoding, layout, class_names, vectors)
        dataset = Dataset(spec, examples, **splits, labels=labels, conditions=conditions, otherwise=otherwise)
        check_not_empty(dataset.num_observed)
    return dataset


def describe(dataset: Dataset) -> str:
    """What was understood of the data, in a few lines."""
    spec = dataset.spec
    lines = [
        f"data      {printable(spec.name)}: {len(dataset.examples):,} examples of shape {dataset.shape} "
        f"(read as {spec.layout})",
        *([f"layout    {dataset.otherwise}"] if dataset.otherwise else []),
        f"values    {spec.encoding.description}",
        *([f"missing   {_missing(dataset)}"] if spec.has_missing else []),
        "splits    " + ", ".join(f"{len(dataset.indices(split)):,} {split}" for split in SPLITS),
    ]
    if dataset.labels is not None:
        names = ", ".join(map(printable, spec.class_names[:12])) + (", ..." if len(spec.class_names) > 12 else "")
        lines.append(f"classes   {len(spec.class_names)}: {names}")
    if dataset.conditions is not None:
        lines.append(f"condition vectors of {dataset.conditions.shape[1]} features, normalised per feature")
    return "\n".join(lines)


def _missing(dataset: Dataset) -> str:
    """How many entries are missing, and what a model makes of them."""
    num_observed, num_dims = dataset.num_observed, dataset.spec.num_dims
    num_complete = int((num_observed == num_dims).sum())
    return (
        f"{1 - num_observed.mean() / num_dims:.1%} of the entries; {num_complete:,} of {len(num_observed):,} examples are "
        "complete: the model learns from the entries that are there, and sees which they are"
    )


def _encoding(examples: np.ndarray, splits: dict[str, np.ndarray], num_levels: int | None) -> Encoding:
    """Levels of integers and a density of floats, fitted on the training split."""
    if examples.dtype.kind in "iub":
        return _levels(examples, splits, num_levels)
    if num_levels is not None:
        raise InputError(f"--num-levels {num_levels} was given, but the values are floats: store integers")
    chosen = np.zeros(len(examples), bool)
    chosen[splits["train"]] = True
    return Affine.fit(examples, chosen)


def _levels(examples: np.ndarray, splits: dict[str, np.ndarray], num_levels: int | None) -> Levels:
    """The levels of integers: those of their type, those given, or those from the smallest to the largest training value."""
    extremes, dtype = ranges(examples, splits), examples.dtype
    low, high = extremes["train"]
    lowest, highest = min(low for low, _ in extremes.values()), max(high for _, high in extremes.values())
    if highest >= 1 << 63:
        raise InputError(f"integers up to {highest} do not fit into 64 bits with a sign: subtract an offset")
    begin = offset = min(low, 0)
    whose = f"of --num-levels {num_levels}"
    if num_levels is None:
        if low == high:
            raise InputError(f"every value is {low} in the training split; give --num-levels if there are others")
        if dtype.name in _LEVELS_OF_TYPES:
            return Levels(_LEVELS_OF_TYPES[dtype.name], 0, str(dtype))
        if high - low >= _MAX_LEVELS:
            raise InputError(
                f"integers from {low} to {high} are more than {_MAX_LEVELS:,} levels: store them as floats to model them as "
                "continuous"
            )
        offset, num_levels, whose = low, high - low + 1, "of the training split"
    last = offset + num_levels - 1
    for split in SPLITS:
        smallest, largest = extremes[split]
        if smallest < offset or largest > last:
            value = smallest if smallest < offset else largest
            needed = highest - min(begin, lowest) + 1
            shift = f"add {-lowest} to every value and " if lowest < begin else ""
            remedy = f"{shift}give --num-levels of at least {needed}"
            if needed > _MAX_LEVELS:
                remedy = "store them as floats to model them as continuous"
            raise InputError(
                f"the {split} split holds the value {value}, outside the levels {whose}, {offset} to {last}: {remedy}"
            )
    most = 1 if dtype.kind == "b" else min(np.iinfo(dtype).max, np.iinfo(np.int64).max)
    if last > most:
        raise InputError(
            f"{num_levels} levels from {offset} do not fit into values of type {dtype}, of which at most {most} is read: "
            "store them in another type or give fewer levels"
        )
    return Levels(num_levels, offset, str(dtype))


def check_type(dtype: np.dtype) -> None:
    """Refuse values that are no real numbers, saying what to do with them, with an InputError."""
    remedies = {
        "c": "store real and imaginary parts as two channels",
        "M": "store times as numbers, such as seconds since the first",
        "m": "store durations as numbers, such as seconds",
        "U": "store words as numbers, or the columns of numbers alone",
        "S": "store words as numbers, or the columns of numbers alone",
        "V": "store named fields as columns of one array, with numpy.lib.recfunctions.structured_to_unstructured",
    }
    if dtype.kind not in "iubf":
        remedy = remedies.get(dtype.kind, "store numbers")
        raise InputError(f"values of type {dtype}; integers, booleans and floats are accepted: {remedy}")


def complete_splits(splits: dict[str, np.ndarray], num_examples: int) -> dict[str, np.ndarray]:
    """Indices of all of `SPLITS`, those that are missing made as `assemble` says."""
    if set(splits) == set(SPLITS):
        return splits
    free = np.random.default_rng(_SPLIT_SEED).permutation(num_examples)
    if "train" in splits:
        free = free[np.isin(free, splits["train"])]
    elif splits:
        free = free[~np.isin(free, np.concatenate(list(splits.values())))]
    tenth = max(1, len(free) // 10)
    for split, num in (("test", tenth), ("validation", min(tenth, 5000))):
        if split not in splits:
            splits, free = {**splits, split: np.sort(free[:num])}, free[num:]
    return {**splits, "train": np.sort(free)}
