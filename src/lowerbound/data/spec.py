"""What a model is built for, and what its samples are written as: all that a run knows of its data without having them."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from lowerbound.brief import Brief
from lowerbound.data.encoding import Affine, Encoding, Levels, read_encoding
from lowerbound.data.vectors import Standardisation
from lowerbound.errors import InputError
from lowerbound.printable import printable
from lowerbound.records import read

MOST_ENTRIES = 1 << 34
"""Of an example."""


@dataclass(frozen=True, repr=False)
class DataSpec(Brief):
    """The description of a data set.

    Arguments:
        name: where the data come from.
        shape: of one example, channels first: (D,), (C, L), (C, H, W) or (C, D, H, W).
        encoding: from stored values to what the model sees, and back.
        layout: the order of axes that the data came in and samples go out in.
        class_names: a name for each class; none of data without labels.
        vectors: the normalisation of the condition vectors; None of data without.
        fingerprint: by which a run knows its data again (`Dataset.fingerprint`); empty where nobody has asked for it yet.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    layout: str = "ND"
    class_names: tuple[str, ...] = ()
    vectors: Standardisation | None = None
    fingerprint: str = ""

    @property
    def num_dims(self) -> int:
        """D, the entries of an example."""
        return math.prod(self.shape)

    @property
    def num_levels(self) -> int | None:
        """K of discrete data, None of continuous data."""
        return self.encoding.num_levels

    @property
    def has_missing(self) -> bool:
        """Whether entries may be missing, NaN as stored and as encoded."""
        return self.encoding.has_missing

    def observed(self, x: Tensor) -> Tensor | None:
        """Which entries of encoded examples are there, of their shape; None of data without missing entries: all."""
        return ~x.isnan() if self.has_missing else None

    def check_complete(self, what: str) -> None:
        """Refuse data with missing entries for what takes none, by an InputError."""
        if self.has_missing:
            raise InputError(
                f"{self.name} has missing entries (NaN), which {what} does not take: a diffusion model does, to train, "
                "evaluate, score, sample and impute; for anything else leave out incomplete examples or fill them in"
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
            return replace(self, class_names=(), vectors=None)
        if not (self.num_classes or self.num_condition_features):
            raise InputError(
                f"a conditional run was asked for, but {self.name} has neither labels nor condition vectors"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "encoding": self.encoding.to_dict()}

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
        stored = read(_Stored, values, source)
        if not stored.shape or min(stored.shape) < 1 or math.prod(stored.shape) > MOST_ENTRIES:
            raise InputError(f"{source}: shape is {stored.shape}; an example has 1 to {MOST_ENTRIES:,} entries")
        spec = cls(
            name=printable(stored.name),
            shape=stored.shape,
            layout=printable(stored.layout),
            encoding=read_encoding(stored.encoding),
            class_names=tuple(map(printable, stored.class_names)),
            vectors=stored.vectors,
            fingerprint=stored.fingerprint,
        )
        _check(spec, source)
        return spec


@dataclass(frozen=True)
class _Stored:
    """`DataSpec` as JSON holds them."""

    name: str
    shape: tuple[int, ...]
    layout: str
    encoding: dict[str, Any]
    class_names: tuple[str, ...]
    fingerprint: str
    vectors: Standardisation | None = None


def _check(spec: DataSpec, source: str) -> None:
    """Refuse what no data have, with an InputError."""
    encoding = spec.encoding
    try:
        kind = np.dtype(encoding.dtype).kind
    except TypeError:
        kind = ""
    if kind not in ("iub" if isinstance(encoding, Levels) else "f"):
        raise InputError(f"{source}: the values are of the type {encoding.dtype!r}, which is not theirs")
    maps = [spec.vectors] if spec.vectors is not None else []
    for each in (*maps, *([encoding] if isinstance(encoding, Affine) else [])):
        if len(each.shift) != len(each.scale) or not all(map(math.isfinite, each.shift)):
            raise InputError(f"{source}: a normalisation has a finite shift and a scale for each feature")
        if not all(0 < scale < math.inf for scale in each.scale):
            raise InputError(f"{source}: the scales of a normalisation are positive")
    if isinstance(encoding, Affine) and len(encoding.shift) != spec.shape[0]:
        raise InputError(f"{source}: {len(encoding.shift)} shifts for {spec.shape[0]} channels")
    if isinstance(encoding, Levels) and abs(encoding.offset) >= 1 << 62:
        raise InputError(f"{source}: levels from {encoding.offset} on fit into no type")
