"""A data set opened for use: raw examples in memory, their encoding, and which of them are for what."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.encoding import Affine, Encoding, Levels, check_finite
from lowerbound.data.vectors import Standardisation
from lowerbound.errors import InputError

_SPLIT_SEED = 0
_MAX_LEVELS = 65_536
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples and what is known of them.

    Arguments:
        name: where they come from.
        examples: raw values, (N, *shape), channels first: (N, D), (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        encoding: to what the model sees, fitted on the training examples.
        train, validation, test: indices into the examples, disjoint.
        labels: (N,) class indices, or None.
        class_names: a name for each class.
        conditions: (N, F) float32 vectors as they came, or None.
        layout: the order of axes that the data came in and samples go out in.
        vectors: the normalisation of the conditions, fitted on those of the training examples.
    """

    name: str
    examples: np.ndarray
    encoding: Encoding
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    conditions: np.ndarray | None = None
    layout: str = "ND"
    vectors: Standardisation | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.examples.shape[1:]

    def indices(self, split: str) -> np.ndarray:
        """The indices of "train", "validation" or "test"."""
        assert split in SPLITS
        return getattr(self, split)

    def encoded(self, indices: np.ndarray) -> Tensor:
        """Examples as the model sees them, (n, *shape)."""
        return self.encoding.encode(np.ascontiguousarray(self.examples[indices]))

    def cond(self, indices: np.ndarray) -> Tensor | None:
        """The examples' condition: vectors, normalised, if the data have them, else labels, else None."""
        if self.conditions is not None:
            assert self.vectors is not None
            return self.vectors(self.conditions[indices])
        return None if self.labels is None else torch.from_numpy(self.labels[indices])

    def fingerprint(self) -> str:
        """A hash of the raw examples, and of their condition vectors, by which a run knows its data again."""
        digest = hashlib.sha256(f"{self.examples.dtype}{self.examples.shape}".encode())
        digest.update(np.ascontiguousarray(self.examples).data)
        if self.conditions is not None:
            digest.update(np.ascontiguousarray(self.conditions).data)
        return digest.hexdigest()[:16]


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
) -> Dataset:
    """A `Dataset` from raw examples, with the splits that are missing made and the encoding fitted.

    Arguments:
        splits: indices by the names of `SPLITS`. Without any, a fixed tenth is for validation and a fixed tenth for
            testing; with a test split alone, a tenth of the rest, 5,000 at most, is for validation.
        num_levels: of integer data; from their type (8 and 16 bit, bool) or their range if None.
        (the rest as in `Dataset`)

    Raises:
        InputError: if there are too few examples, values that are not finite, or integers that do not fit their levels.
    """
    if len(examples) < 3 or 0 in examples.shape:
        raise InputError(
            f"{name}: {len(examples)} examples of shape {examples.shape[1:]}; at least three are needed, one each for "
            "training, validation and testing, and no axis may be empty"
        )
    splits = complete_splits(splits or {}, len(examples))
    empty = [split for split in SPLITS if not len(splits[split])]
    if empty:
        counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
        raise InputError(f"{name}: the splits have {counts}; at least one example is needed in each")
    if examples.dtype.kind in "iub":
        encoding: Encoding = _levels(name, examples, num_levels)
    elif examples.dtype.kind == "f":
        if num_levels is not None:
            raise InputError(f"{name}: num_levels={num_levels} was given, but the values are floats: store integers")
        try:
            check_finite(examples)
            encoding = Affine.fit(examples[splits["train"]])
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    else:
        raise InputError(f"{name}: values of type {examples.dtype}; integers, booleans and floats are accepted")
    if labels is not None and not class_names:
        class_names = tuple(map(str, range(int(labels.max()) + 1)))
    try:
        vectors = None if conditions is None else Standardisation.fit(conditions[splits["train"]])
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return Dataset(
        name=name,
        examples=examples,
        encoding=encoding,
        **splits,
        labels=labels,
        class_names=class_names,
        conditions=conditions,
        layout=layout,
        vectors=vectors,
    )


def describe(dataset: Dataset) -> str:
    """What was understood of the data, in a few lines."""
    encoding = dataset.encoding
    if isinstance(encoding, Levels):
        last = encoding.offset + encoding.num_levels - 1
        values = f"{encoding.num_levels} levels, {encoding.offset} to {last}, stored as {encoding.dtype}"
    else:
        values = f"continuous, stored as {encoding.dtype}, normalised per channel"
    lines = [
        f"data      {dataset.name}: {len(dataset.examples):,} examples of shape {dataset.shape} (read as {dataset.layout})",
        f"values    {values}",
        "splits    " + ", ".join(f"{len(dataset.indices(split)):,} {split}" for split in SPLITS),
    ]
    if dataset.labels is not None:
        names = ", ".join(dataset.class_names[:12]) + (", ..." if len(dataset.class_names) > 12 else "")
        lines.append(f"classes   {len(dataset.class_names)}: {names}")
    if dataset.conditions is not None:
        lines.append(f"condition vectors of {dataset.conditions.shape[1]} features, normalised per feature")
    return "\n".join(lines)


def _levels(name: str, examples: np.ndarray, num_levels: int | None) -> Levels:
    low, high = int(examples.min()), int(examples.max())
    by_type = {"bool": 2, "uint8": 256, "uint16": 65_536}.get(examples.dtype.name)
    if num_levels is None and by_type is not None:
        return Levels(by_type, 0, str(examples.dtype))
    if num_levels is None and high - low >= _MAX_LEVELS:
        raise InputError(
            f"{name}: integers from {low} to {high} are more than {_MAX_LEVELS:,} levels: store them as floats to model "
            "them as continuous"
        )
    if high >= 1 << 63:
        raise InputError(f"{name}: integers up to {high} do not fit into 64 bits with a sign: subtract an offset")
    offset = min(low, 0) if num_levels is not None else low
    num_levels = high - low + 1 if num_levels is None else num_levels
    if high - offset >= num_levels:
        raise InputError(
            f"{name}: the values go from {low} to {high}, which is more than the {num_levels} levels given: give "
            f"num_levels of at least {high - offset + 1}"
        )
    if num_levels < 2:
        raise InputError(f"{name}: every value is {low}; give num_levels if there are others that do not occur")
    most = 1 if examples.dtype.kind == "b" else min(np.iinfo(examples.dtype).max, np.iinfo(np.int64).max)
    if offset + num_levels - 1 > most:
        raise InputError(
            f"{name}: {num_levels} levels from {offset} do not fit into values of type {examples.dtype}, of which at most "
            f"{most} is read: store them in another type or give fewer levels"
        )
    return Levels(num_levels, offset, str(examples.dtype))


def complete_splits(splits: dict[str, np.ndarray], num_examples: int) -> dict[str, np.ndarray]:
    """Indices of all of `SPLITS`, those that are missing made as `assemble` says."""
    given = set(splits)
    if given == set(SPLITS):
        return splits
    order = np.random.default_rng(_SPLIT_SEED).permutation(num_examples)
    taken = np.concatenate([splits[name] for name in given]) if given else np.empty(0, dtype=np.int64)
    rest = order[~np.isin(order, taken)] if "train" not in given else order[np.isin(order, splits["train"])]
    tenth = max(1, len(rest) // 10)
    if "test" not in given:
        splits, rest = {**splits, "test": np.sort(rest[:tenth])}, rest[tenth:]
    if "validation" not in given:
        tenth = min(tenth, 5000)
        splits, rest = {**splits, "validation": np.sort(rest[:tenth])}, rest[tenth:]
    return {**splits, "train": np.sort(rest)}
