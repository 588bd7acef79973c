"""Windows over long series: examples that are looked up in the rows when they are asked for, and take no memory before."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from lowerbound.data.vectors import Standardisation, check_normalisation
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief


@dataclass(frozen=True, eq=False, repr=False)
class Windows(Brief):
    """Examples (N, C, L) that overlap in the rows of series; used where an array of examples is.

    Arguments:
        rows: of all series, one after another, (T, C).
        starts: the row that each window begins with, (N,).
        length: L, the rows of a window.
    """

    rows: np.ndarray
    starts: np.ndarray
    length: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, C, L)."""
        return (len(self.starts), self.rows.shape[1], self.length)

    @property
    def ndim(self) -> int:
        """Three."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.rows.dtype

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> np.ndarray:
        """One window, (C, L), a view; or several, (n, C, L), a copy of these alone."""
        return sliding_window_view(self.rows, self.length, axis=0)[self.starts[index]]

    def is_covered(self, chosen: np.ndarray) -> np.ndarray:
        """Which rows some of the chosen windows hold, (T,) booleans.

        Arguments:
            chosen: numbers of windows.
        """
        begun = np.zeros(len(self.rows) + 1, np.int64)
        np.add.at(begun, self.starts[chosen], 1)
        np.add.at(begun, self.starts[chosen] + self.length, -1)
        return begun[:-1].cumsum() > 0


Stored = np.ndarray | Windows
"""Examples as they are stored, (N, *shape)."""


@dataclass(frozen=True, repr=False)
class SeriesSpec(Brief):
    """What a model knows of the series that its windows are of.

    A condition is what is given along a window, (B, D + K, L), NaN where nothing is: the D entries of the channels as the
    model sees them, and K covariates.

    Arguments:
        channels: the names of the channels.
        horizon: the last steps of a window, which a forecast draws given those before; 0: none are set apart.
        step: the time from one row to the next, in words.
        covariates: the names of the K series that are known at every step, also of the future.
        normalisation: of the covariates; None before training, or if there are none.
        num_entries: D; None: one for each channel.
    """

    channels: tuple[str, ...]
    horizon: int = 0
    step: str = ""
    covariates: tuple[str, ...] = ()
    normalisation: Standardisation | None = None
    num_entries: int | None = None

    @property
    def num_own(self) -> int:
        """D."""
        return self.num_entries or len(self.channels)

    @property
    def num_given(self) -> int:
        """D + K."""
        return self.num_own + len(self.covariates)

    def fitted(self, covariates: np.ndarray) -> "SeriesSpec":
        """The same with the normalisation of rows of covariates, (T, K)."""
        return replace(self, normalisation=Standardisation.fit(covariates))

    def condition(self, covariates: np.ndarray) -> Float[Tensor, "num_examples num_given length"]:
        """The covariates along windows, (N, K, L), as a model is given them, and no entry of the channels."""
        assert self.normalisation is not None
        num, _, length = covariates.shape
        flat = self.normalisation(np.moveaxis(covariates, 1, 2).reshape(num * length, -1))
        along = flat.reshape(num, length, -1).movedim(2, 1)
        return torch.cat([along.new_full((num, self.num_own, length), math.nan), along], 1)

    def condition_of(
        self,
        x: Float[Tensor, "batch entries length"],
        known: Bool[Tensor, "batch entries length"],
        cond: Float[Tensor, "batch num_given length"] | None = None,
    ) -> Float[Tensor, "batch num_given length"]:
        """The condition that the known entries of x are, beside the covariates of `cond`, if there are any."""
        entries = torch.where(known, x, math.nan)
        if not self.covariates:
            return entries
        others = (
            x.new_full((len(x), len(self.covariates), x.shape[2]), math.nan) if cond is None else cond[:, x.shape[1] :]
        )
        return torch.cat([entries, others], 1)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse, with an InputError, what no windows of this shape are of."""
        if len(shape) != 2 or self.num_own != shape[0] or not 0 <= self.horizon < shape[1]:
            raise InputError(f"{self.num_own} entries and a horizon of {self.horizon} for windows of shape {shape}")
        if (self.normalisation is not None) != bool(self.covariates):
            raise InputError("covariates have a normalisation, and nothing else has one")
        if self.normalisation is not None:
            check_normalisation(self.normalisation.shift, self.normalisation.scale)
