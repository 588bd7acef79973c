"""Encodings that have a code for each channel: the columns of a table, the entries of vectors, the variables of fields."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lowerbound.blocks import Blocks, num_entries, with_noise
from lowerbound.data.codes import AnyCode, Code, PointMasses
from lowerbound.data.columns import Column
from lowerbound.data.encoding import Encoding, seen
from lowerbound.data.parts import check_finite, numbers_of_content
from lowerbound.errors import InputError
from lowerbound.rng import PerSample, derive_seeds

_SEED = 2718281828
"""Of the noise that stands for numbers in examples where a channel has a value of its own probability."""


class ByChannel(Encoding):
    """Examples (N, C, *spatial), as blocks of entries of x, (N, D, *spatial) with D the sum of the blocks' widths: a
    dataclass.

    A missing value is NaN, in all entries of its block.

    Attributes:
        codes: of each channel.
    """

    codes: tuple[AnyCode, ...]
    num_levels = None

    @property
    def channels(self) -> tuple[Column, ...]:
        """What the values of each are."""
        return self.columns

    @cached_property
    def _blocks(self) -> Blocks:
        return tuple(code.block for code in self.codes)

    @property
    def _first(self) -> np.ndarray:
        """The first entry of each block."""
        return np.cumsum([0, *(block.width for block in self._blocks)])[:-1]

    def raw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.codes), *shape[1:])

    def shape(self, raw_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (num_entries(self._blocks), *raw_shape[1:])

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1:2] != (len(self.codes),):
            raise InputError(f"examples of shape {raw.shape[1:]} were given where {len(self.codes)} values are known")
        check_finite(raw, self.has_missing)
        parts = []
        for values, channel, code in zip(np.moveaxis(raw, 1, 0), self.channels, self.codes, strict=True):
            entries = code.encode(values.reshape(-1).astype(np.float64), channel)
            parts.append(np.moveaxis(entries.reshape(*values.shape, -1), -1, 1))
        x = np.concatenate(parts, 1)
        if any(isinstance(code, PointMasses) for code in self.codes):
            seeds = derive_seeds(_SEED, 0, torch.from_numpy(numbers_of_content(raw)))
            x = with_noise(torch.from_numpy(x), self._blocks, PerSample(seeds)).numpy()
        return seen(x)

    def decode(self, x: Tensor) -> np.ndarray:
        return np.stack([_of_each(code.decode, part) for code, part in self._parts(x)], 1)

    def log_det(self, x: Tensor) -> Tensor:
        slopes = [_log_slope(code, part).reshape(len(x), -1).sum(1) for code, part in self._parts(x)]
        return torch.from_numpy(np.sum(slopes, 0)).to(x.device)

    def log_slopes(self, x: Tensor) -> Tensor:
        slopes = np.zeros(x.shape)
        slopes[:, self._first] = np.stack([_log_slope(code, part) for code, part in self._parts(x)], 1)
        return torch.from_numpy(slopes).to(x.device)

    def by_value(self, figures: np.ndarray) -> np.ndarray:
        return np.add.reduceat(figures, self._first, 1)

    def observed_entries(self, observed: np.ndarray) -> np.ndarray:
        return observed.repeat([block.width for block in self._blocks], 1)

    def rounded(self, raw: np.ndarray) -> list[tuple[Column, AnyCode, int]]:
        """The channels some of whose values are taken for the nearest that have a place, with their codes and how many
        these are."""
        found = []
        for values, channel, code in zip(np.moveaxis(raw, 1, 0), self.channels, self.codes, strict=True):
            num = int(code.rounded(values.reshape(-1).astype(np.float64), channel).sum())
            found += [(channel, code, num)] * (num > 0)
        return found

    @property
    def draws_tails_in(self) -> np.ndarray:
        return np.repeat([code.draws_tails_in for code in self.codes], [block.width for block in self._blocks])

    @property
    def value_range(self) -> tuple[float, float]:
        low, high = zip(*(code.value_range for code in self.codes), strict=True)
        return float(min(low)), float(max(*high, min(low) + 1e-30))

    def _parts(self, x: Tensor) -> Iterator[tuple[AnyCode, np.ndarray]]:
        """Each code with its entries in double precision, (N, width, *spatial)."""
        entries = x.detach().cpu().double().numpy()
        return zip(self.codes, np.split(entries, self._first[1:], 1), strict=True)


def _of_each(function, part: np.ndarray) -> np.ndarray:
    """What a function says of entries, (n, width), for each place of (N, width, *spatial)."""
    each = np.moveaxis(part, 1, -1)
    return function(each.reshape(-1, part.shape[1])).reshape(each.shape[:-1])


def _log_slope(code: Code, part: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(part[:, 0]), 0, _of_each(code.log_slope, part))
