"""What a model is built for, and what its samples are written as: all that a run knows of its data without having them."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from torch import Tensor

from lowerbound.blocks import Blocks, Real
from lowerbound.data.arrays.axes import Axes
from lowerbound.data.columns import Column
from lowerbound.data.encoding import Encoding, read_encoding
from lowerbound.data.series.windows import SeriesSpec
from lowerbound.data.vectors import Standardisation, check_normalisation
from lowerbound.errors import InputError
from lowerbound.files.records import read
from lowerbound.words.brief import Brief
from lowerbound.words.printable import printable

MOST_ENTRIES = 1 << 34
"""Of an example."""


@dataclass(frozen=True, repr=False)
class DataSpec(Brief):
    """The description of a data set.

    Arguments:
        name: where the data come from.
        shape: of one example as a model sees it, channels first: (D,), (C, L), (C, H, W) or (C, D, H, W).
        encoding: from stored values to what the model sees, and back.
        layout: the order of axes that the data came in and samples go out in.
        class_names: a name for each class; none of data without labels.
        vectors: the normalisation of the condition vectors; None of data without.
        fingerprint: by which a run knows its data again (`Dataset.fingerprint`); empty where nobody has asked for it yet.
        axes: of fields, what their axes are; None of other data.
        condition_columns: of a table, those that labels or condition vectors are made of; empty for everything else.
        series: what is known of the series that examples are windows of; None of all other data.
        condition_places: where the condition columns stand among all of the table's, counted from 0; empty if they come
            last, as of runs from before.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    layout: str = "ND"
    class_names: tuple[str, ...] = ()
    vectors: Standardisation | None = None
    fingerprint: str = ""
    axes: Axes | None = None
    condition_columns: tuple[Column, ...] = ()
    series: SeriesSpec | None = None
    condition_places: tuple[int, ...] = ()

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """The shape of one example as it is stored: `shape`, but where values take several entries each."""
        return self.encoding.raw_shape(self.shape)

    @property
    def num_dims(self) -> int:
        """The values of an example, by which nats become bits per dimension: its entries or, of a table, its columns."""
        return math.prod(self.raw_shape)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of a table; empty for everything else."""
        return self.encoding.columns

    @property
    def names(self) -> tuple[str, ...]:
        """What the values of an example, or its channels, are called, with their units; empty where they have no names."""
        if self.axes is not None:
            return self.axes.with_units
        return tuple(column.name for column in self.columns) or (self.series.channels if self.series else ())

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Of each of an example's channels its name, or its number where they have none."""
        return self.names or tuple(map(str, range(self.raw_shape[0])))

    @property
    def blocks(self) -> Blocks | None:
        """What the entries of x are, where they are of several kinds; None: all the same."""
        return self.encoding.blocks

    @property
    def num_levels(self) -> int | None:
        """K of discrete data; None of continuous data, and of tables, which have levels by column (`blocks`)."""
        return self.encoding.num_levels

    @property
    def has_missing(self) -> bool:
        """Whether entries may be missing, NaN as stored and as encoded."""
        return self.encoding.has_missing

    def observed(self, x: Tensor) -> Tensor | None:
        """Which entries of encoded examples are there, of their shape; None of data without missing entries: all."""
        return ~x.isnan() if self.has_missing else None

    def with_gaps(self) -> "DataSpec":
        """The same, with entries that may be missing whether or not one is.

        Raises:
            InputError: if there is no value for what is missing.
        """
        if "has_missing" not in {field.name for field in fields(self.encoding)}:  # pyrefly: ignore[bad-argument-type]
            raise InputError(
                f"{self.name} holds integers, of which no part can be hidden: leave out --hidden, or store floats"
            )
        return replace(self, encoding=replace(self.encoding, has_missing=True))  # pyrefly: ignore[bad-specialization]

    def check_complete(self, what: str) -> None:
        """Refuse data with missing entries for what takes none, by an InputError."""
        if self.has_missing:
            raise InputError(
                f"{self.name} has missing entries (NaN), which {what} does not take: a diffusion model does, to train, "
                "evaluate, score, sample and impute; for anything else leave out incomplete examples or fill them in"
            )

    def check_alike(self, what: str) -> None:
        """Refuse values that have probabilities beside ones that have densities, for what takes one kind alone, by an
        InputError."""
        discrete = [
            printable(name)
            for name, block in zip(self.channel_names, self.blocks or (), strict=False)
            if not isinstance(block, Real)
        ]
        if discrete:
            named = ", ".join(discrete[:5]) + ", ..." * (len(discrete) > 5)
            what_has = f"{'columns' if self.columns else 'channels'} of levels, units, categories or repeated values"
            remedy = "leave these columns out" if self.columns else "store levels as integers"
            raise InputError(
                f"{self.name} has {what_has} ({named}), which {what} does not take: a diffusion model does, to train, "
                f"evaluate, score, sample and impute; for anything else {remedy}, or have all numbers densities with "
                "--densities"
            )

    @property
    def num_classes(self) -> int:
        """How many labels there are as conditions; 0 where there are none, or vectors in their place."""
        return 0 if self.vectors is not None else len(self.class_names)

    @property
    def num_condition_features(self) -> int:
        """The length of a condition vector; 0 if the data have none."""
        return 0 if self.vectors is None else len(self.vectors.shift)

    def conditioned(self, conditional: bool) -> "DataSpec":
        """What a model of these data is built for: the same, without conditions if it is not to know any.

        Raises:
            InputError: if it is to know some, and the data have none.
        """
        if not conditional:
            return replace(self, class_names=(), vectors=None, condition_columns=(), condition_places=())
        if not (self.num_classes or self.num_condition_features or (self.series and self.series.covariates)):
            raise InputError(
                f"a conditional run was asked for, but {self.name} has neither labels nor condition vectors"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = {**asdict(self), "encoding": self.encoding.to_dict()}
        if self.axes is None:
            del values["axes"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "data_facts") -> "DataSpec":
        """From `to_dict`'s values.

        Raises:
            InputError: for a name that does not exist or a value of the wrong type.
        """
        values = dict(values)
        if values.pop("num_condition_features", 0):  # of before their normalisation
            raise InputError(
                f"this run of {values['name']} took condition vectors as they are, which is no longer done: train it anew"
            )
        for field in fields(cls):
            if field.name not in (*values, "vectors", "axes", "condition_columns", "series", "condition_places"):
                raise InputError(f"{source}: {field.name} is lacking")
        if not isinstance(values["encoding"], dict):
            raise InputError(f"{source}: encoding is {values['encoding']!r:.60}, which is not dict[str, Any]")
        with naming(source):
            values["encoding"] = read_encoding(values["encoding"])
        spec = read(cls, values, source)
        places, conditions = spec.condition_places, spec.condition_columns
        num_columns = len(spec.columns) + len(conditions)
        if places and not (len(places) == len(set(places) & set(range(num_columns))) == len(conditions)):
            raise InputError(
                f"{source}: condition_places are {places}, which are not {len(conditions)} of {num_columns} columns"
            )
        if not spec.shape or min(spec.shape) < 1 or math.prod(spec.shape) > MOST_ENTRIES:
            raise InputError(f"{source}: shape is {spec.shape}; an example has 1 to {MOST_ENTRIES:,} entries")
        with naming(source):
            spec.encoding.check(spec.shape)
            if spec.axes is not None:
                spec.axes.check(spec.raw_shape)
            if spec.vectors is not None:
                check_normalisation(spec.vectors.shift, spec.vectors.scale)
            if spec.series is not None:
                spec.series.check(spec.shape)
        class_names = tuple(map(printable, spec.class_names))
        return replace(spec, name=printable(spec.name), layout=printable(spec.layout), class_names=class_names)


@contextmanager
def naming(source: str) -> Generator[None]:
    """Begin the InputErrors from inside with what they are of, if they do not."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(source):
            raise
        raise InputError(f"{source}: {error}") from error
