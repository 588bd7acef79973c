"""The encoding of a table: each column by a code of its own (`codes`)."""

import warnings
from dataclasses import dataclass, field

import numpy as np

from lowerbound.blocks import Blocks, num_entries
from lowerbound.data.channels import ByChannel
from lowerbound.data.codes import AnyCode, OneHot, OnGrid
from lowerbound.data.codes.fit import fit_code
from lowerbound.data.codes.reals import MOST_SEARCHED
from lowerbound.data.columns import Column
from lowerbound.data.parts import check_finite
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief
from lowerbound.words.printable import printable

_FEW = 8
"""Columns that a warning names."""


@dataclass(frozen=True, repr=False)
class Columns(Brief, ByChannel):
    """Rows of a table, (N, C) in double precision, as blocks of entries of x, (N, D) with D the sum of the blocks' widths.

    Arguments:
        columns: of the table.
        codes: of each.
        has_missing: whether a value may be missing.
    """

    kind = "columns"
    # those of all others are none, which is no default here
    columns: tuple[Column, ...] = field()  # pyrefly: ignore[bad-override] - as of Levels
    codes: tuple[AnyCode, ...]  # pyrefly: ignore[bad-override]
    has_missing: bool = False  # pyrefly: ignore[bad-override]
    dtype = "float64"

    @classmethod
    def fit(
        cls, raw: np.ndarray, columns: tuple[Column, ...], splits: dict[str, np.ndarray], densities: bool = False
    ) -> "Columns":
        """The codes that suit the training rows, and hold the others.

        Warns of categories that training does not see.

        Arguments:
            raw: the rows, (N, C).
            columns: of the table.
            splits: row numbers by the names of the splits.
            densities: whether all real numbers and dates are to have densities, repeated ones too.

        Raises:
            InputError: for infinite values, a number of columns that is not theirs, or a column that has no code
                (`codes.fit_code`).
        """
        if raw.ndim != 2 or raw.shape[1] != len(columns) or raw.dtype != np.float64:
            raise InputError(f"{len(columns)} columns for values of shape {raw.shape} and type {raw.dtype}")
        check_finite(raw, may_miss=True)
        codes, train = [], splits["train"]
        for number, column in enumerate(columns):
            values = raw[:, number]
            trained = values[train]
            present, may_heap = trained[~np.isnan(trained)], len(columns) <= MOST_SEARCHED
            code = fit_code(column, present, may_heap=may_heap, densities=densities)
            if isinstance(code, OnGrid) and code.rounded(values, column).any():  # in other splits
                code = fit_code(column, present, may_heap=may_heap, may_be_recorded=False)
            if isinstance(code, OnGrid):
                code = code.holding(values[~np.isnan(values)])
            elif isinstance(code, OneHot):
                _warn_of_unseen(column, trained, values)
            codes.append(code)
        return cls(columns, tuple(codes), bool(np.isnan(raw).any()))

    @property
    def blocks(self) -> Blocks:
        return self._blocks

    @property
    def filling(self) -> np.ndarray:
        return np.array([code.filling for code in self.codes])

    @property
    def centers(self) -> np.ndarray:
        return np.array([code.center for code in self.codes])

    @property
    def description(self) -> str:
        counts = {"discrete": sum(isinstance(code, OnGrid | OneHot) for code in self.codes)}
        counts["continuous"] = len(self.codes) - counts["discrete"]
        said = " and ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        return f"{said} columns in {num_entries(self.blocks)} entries"

    def check(self, shape: tuple[int, ...]) -> None:
        known = self.shape((len(self.columns),))
        if len(self.columns) != len(self.codes) or shape != known:
            raise InputError(
                f"{len(self.columns)} columns with {len(self.codes)} codes of {known[0]} entries for a shape {shape}"
            )
        for column, code in zip(self.columns, self.codes, strict=True):
            if len(column.categories) != (code.num_categories if isinstance(code, OneHot) else 0):
                raise InputError(
                    f"column {column.name} has {len(column.categories)} categories, which its code has not"
                )


def _warn_of_unseen(column: Column, seen: np.ndarray, values: np.ndarray) -> None:
    unseen = np.setdiff1d(values[~np.isnan(values)], seen)
    if len(unseen):
        names = ", ".join(
            printable(column.categories[int(k)]) for k in unseen[:_FEW] if 0 <= k < len(column.categories)
        )
        warnings.warn(
            f"column {printable(column.name)} has {len(unseen)} categories that no training row has ({names}): what the "
            "model says of them is a guess",
            stacklevel=3,
        )
