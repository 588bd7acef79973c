"""The encoding of a table: each column by a code of its own (`codes`)."""

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lowerbound.blocks import Blocks, num_entries, with_noise
from lowerbound.data.encoding import Encoding, seen
from lowerbound.data.parts import check_finite, numbers_of_content
from lowerbound.data.tables.codes import OneHot, OnGrid, fit_code
from lowerbound.data.tables.columns import Column
from lowerbound.data.tables.masses import PointMasses
from lowerbound.data.tables.reals import MOST_SEARCHED, Scaled, Warped
from lowerbound.errors import InputError
from lowerbound.rng import PerSample, derive_seeds
from lowerbound.words.brief import Brief
from lowerbound.words.printable import printable

_FEW = 8
"""Columns that a warning names."""
_SEED = 2718281828
"""Of the noise that stands for numbers in rows where a column has a value of its own probability."""


@dataclass(frozen=True, repr=False)
class Columns(Brief, Encoding):
    """Rows of a table, (N, C) in double precision, as blocks of entries of x, (N, D) with D the sum of the blocks' widths.

    A missing value is NaN, in all entries of its block.

    Arguments:
        columns: of the table.
        codes: of each.
        has_missing: whether a value may be missing.
    """

    kind = "columns"
    # those of all others are none, which is no default here
    columns: tuple[Column, ...] = field()  # pyrefly: ignore[bad-override] - as of Levels
    codes: tuple[Scaled | Warped | PointMasses | OnGrid | OneHot, ...]
    has_missing: bool = False  # pyrefly: ignore[bad-override]
    num_levels = None
    dtype = "float64"

    @classmethod
    def fit(cls, raw: np.ndarray, columns: tuple[Column, ...], splits: dict[str, np.ndarray]) -> "Columns":
        """The codes that suit the training rows, and hold the others.

        Warns of categories that training does not see.

        Arguments:
            raw: the rows, (N, C).
            columns: of the table.
            splits: row numbers by the names of the splits.

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
            code = fit_code(column, trained[~np.isnan(trained)], may_heap=len(columns) <= MOST_SEARCHED)
            if isinstance(code, OnGrid):
                code = code.holding(values[~np.isnan(values)])
            elif isinstance(code, OneHot):
                _warn_of_unseen(column, trained, values)
            codes.append(code)
        return cls(columns, tuple(codes), bool(np.isnan(raw).any()))

    @property
    def blocks(self) -> Blocks:
        return tuple(code.block for code in self.codes)

    def raw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.columns),)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x."""
        return (num_entries(self.blocks),)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1:] != (len(self.columns),):
            raise InputError(f"rows of {raw.shape[1:]} values were given where {len(self.columns)} columns are known")
        check_finite(raw, self.has_missing)
        each = zip(raw.T.astype(np.float64), self.columns, self.codes, strict=True)
        parts = [code.encode(values, column) for values, column, code in each]
        x = np.concatenate(parts, 1)
        if any(isinstance(code, PointMasses) for code in self.codes):
            seeds = derive_seeds(_SEED, 0, torch.from_numpy(numbers_of_content(raw)))
            x = with_noise(torch.from_numpy(x), self.blocks, PerSample(seeds)).numpy()
        return seen(x)

    def decode(self, x: Tensor) -> np.ndarray:
        return np.stack([code.decode(part) for code, part in self._parts(x)], 1)

    def log_det(self, x: Tensor) -> Tensor:
        total = np.zeros(len(x))
        for code, part in self._parts(x):
            total += np.where(np.isnan(part[:, 0]), 0, code.log_slope(part))
        return torch.from_numpy(total).to(x.device)

    def log_slopes(self, x: Tensor) -> Tensor:
        slopes = [
            np.pad(np.where(np.isnan(part[:, :1]), 0, code.log_slope(part)[:, None]), ((0, 0), (0, part.shape[1] - 1)))
            for code, part in self._parts(x)
        ]
        return torch.from_numpy(np.concatenate(slopes, 1)).to(x.device)

    def by_value(self, figures: np.ndarray) -> np.ndarray:
        return np.add.reduceat(figures, np.cumsum([0, *(block.width for block in self.blocks)])[:-1], 1)

    def observed_entries(self, observed: np.ndarray) -> np.ndarray:
        return observed.repeat([block.width for block in self.blocks], 1)

    @property
    def draws_tails_in(self) -> np.ndarray:
        return np.repeat([code.draws_tails_in for code in self.codes], [block.width for block in self.blocks])

    @property
    def filling(self) -> np.ndarray:
        return np.array([code.filling for code in self.codes])

    @property
    def centers(self) -> np.ndarray:
        return np.array([code.center for code in self.codes])

    @property
    def value_range(self) -> tuple[float, float]:
        ends = self.decode(torch.full((1, *self.shape), -3.0)), self.decode(torch.full((1, *self.shape), 3.0))
        return float(ends[0].min()), float(max(ends[1].max(), ends[0].min() + 1))

    @property
    def description(self) -> str:
        counts = {"discrete": sum(isinstance(code, OnGrid | OneHot) for code in self.codes)}
        counts["continuous"] = len(self.codes) - counts["discrete"]
        said = " and ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        return f"{said} columns in {self.shape[0]} entries"

    def check(self, shape: tuple[int, ...]) -> None:
        if len(self.columns) != len(self.codes) or shape != self.shape:
            raise InputError(
                f"{len(self.columns)} columns with {len(self.codes)} codes of {self.shape[0]} entries for a shape {shape}"
            )
        for column, code in zip(self.columns, self.codes, strict=True):
            if len(column.categories) != (code.num_categories if isinstance(code, OneHot) else 0):
                raise InputError(
                    f"column {column.name} has {len(column.categories)} categories, which its code has not"
                )

    def _parts(self, x: Tensor):
        """Each code with its entries in double precision."""
        entries = x.detach().cpu().double().numpy()
        ends = np.cumsum([block.width for block in self.blocks])[:-1]
        return zip(self.codes, np.split(entries, ends, 1), strict=True)


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
