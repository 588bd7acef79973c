"""The encoding of vectors of real numbers some of whose columns have heavy tails, or lie in heaps."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.encoding import Affine, Encoding, seen, stored
from lowerbound.data.parts import check_finite
from lowerbound.data.tables.columns import Column
from lowerbound.data.tables.reals import Scaled, Warped, real_code
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

MOST_COLUMNS = 128
MOST_ROWS = 20_000
"""To which codes are fitted."""
ANY = Column("any", "real", "float64")
"""Every real number has a place."""


@dataclass(frozen=True, repr=False)
class Marginals(Brief, Encoding):
    """Vectors of floats, (N, D), each entry by a code of its column: shifted and scaled, or made about normal.

    Arguments:
        codes: of the columns.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
    """

    kind = "marginals"
    codes: tuple[Scaled | Warped, ...]
    dtype: str = "float32"  # pyrefly: ignore[bad-override] - as of Levels
    has_missing: bool = False  # pyrefly: ignore[bad-override]
    num_levels = None

    @classmethod
    def where_needed(cls, affine: Affine, examples: np.ndarray, train: np.ndarray) -> Encoding:
        """This encoding if a column asks for it (`reals.real_code`), else the affine one.

        Arguments:
            affine: of the same examples.
            examples: vectors of floats, (N, D), NaN where an entry is missing.
            train: numbers of the training rows.
        """
        if examples.shape[1] > MOST_COLUMNS:
            return affine
        rows = examples[train[:: len(train) // MOST_ROWS + 1]].astype(np.float64)
        codes = [real_code(values[~np.isnan(values)]) for values in rows.T]
        if not any(isinstance(code, Warped) for code in codes):
            return affine
        scaled = map(Scaled, affine.shift, affine.scale)
        chosen = (code if isinstance(code, Warped) else plain for code, plain in zip(codes, scaled, strict=True))
        return cls(tuple(chosen), affine.dtype, affine.has_missing)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1:] != (len(self.codes),):
            raise InputError(f"examples of shape {raw.shape[1:]} were given where {len(self.codes)} entries are known")
        check_finite(raw, self.has_missing)
        entries = [code.encode(values, ANY) for code, values in zip(self.codes, raw.T.astype(np.float64), strict=True)]
        return seen(np.concatenate(entries, 1))

    def decode(self, x: Tensor) -> np.ndarray:
        return stored(np.stack([code.decode(part) for code, part in self._columns(x)], 1), self.dtype)

    def log_det(self, x: Tensor) -> Tensor:
        return self.log_slopes(x).sum(1)

    def log_slopes(self, x: Tensor) -> Tensor:
        slopes = [np.where(np.isnan(part[:, 0]), 0, code.log_slope(part)) for code, part in self._columns(x)]
        return torch.from_numpy(np.stack(slopes, 1)).to(x.device)

    @property
    def draws_tails_in(self) -> np.ndarray:
        return np.array([code.draws_tails_in for code in self.codes])

    @property
    def value_range(self) -> tuple[float, float]:
        low, high = (self.decode(torch.full((1, len(self.codes)), end)) for end in (-3.0, 3.0))
        return float(low.min()), float(high.max())

    @property
    def description(self) -> str:
        warped = sum(isinstance(code, Warped) for code in self.codes)
        return f"continuous, stored as {self.dtype}, normalised per channel, {warped} of {len(self.codes)} by quantiles"

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        if shape != (len(self.codes),):
            raise InputError(f"{len(self.codes)} codes for examples of shape {shape}")

    def _columns(self, x: Tensor) -> zip:
        return zip(self.codes, x.detach().cpu().double().numpy().T[:, :, None], strict=True)
