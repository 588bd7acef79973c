"""The range of each channel, where on one range for all some of them would be flat lines, or black beside white."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num

from lowerbound.pictures.canvas import label

LEAST_SHARE = 0.2
"""Of a common range: a channel that took less of it would be flat."""
UNIT = (0.0, 1.0)
OwnRanges = Float[np.ndarray, "channels 2"]
"""Low and high of each channel."""


def own_ranges(values: Num[np.ndarray, "batch channels *space"]) -> OwnRanges | None:
    """Low and high of each channel, where on a common range some of them would be flat; None where none would."""
    finite, apart = np.isfinite(values), (0, *range(2, values.ndim))
    low = np.where(finite, values, np.inf).min(apart).astype(np.float64)
    high = np.where(finite, values, -np.inf).max(apart).astype(np.float64)
    spans = np.where(high > low, high - low, np.nan)
    if np.isnan(spans).all() or np.nanmin(spans) >= LEAST_SHARE * (high[high >= low].max() - low[high >= low].min()):
        return None
    # a channel of one value lies in the middle of its own
    value = np.where(np.isfinite(high), high, 0.0)
    return np.stack([np.where(high > low, low, value - 0.5), np.where(high > low, high, value + 0.5)], axis=1)


def within(example: Num[np.ndarray, "channels *space"], own: OwnRanges) -> Float[np.ndarray, "channels *space"]:
    """An example with each channel's own range as 0 to 1."""
    low, high = (end.reshape(-1, *(1,) * (example.ndim - 1)) for end in own.T)
    return (example - low) / (high - low)


def channel_labels(num_channels: int, names: Sequence[str], own: OwnRanges | None) -> list[str]:
    """The channels' names or numbers, and their own ranges."""
    called = [label(name) for name in names] or [f"channel {channel}" for channel in range(num_channels)]
    if own is None:
        return called
    return [f"{name}, {low:.4g} to {high:.4g}" for name, (low, high) in zip(called, own, strict=True)]
