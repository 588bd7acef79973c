"""Values that a share of continuous data have where there are to be densities: a density has no end there."""

import math
import warnings
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from lowerbound.data.codes.fit import frequent
from lowerbound.data.parts import gathered
from lowerbound.data.series.windows import Stored, Windows
from lowerbound.words.printable import printable

_SEARCHED = 1 << 20
"""Entries of examples that are looked at, about."""
_SEARCHED_OF_CHANNEL = 1 << 16
_MOST_CHANNELS = 1_000
_FEWEST_OF_LEVELS, _TIMES_SEEN = 4096, 16
"""Values of a channel from which on those that are different are counted, and how often each is there on average where they
are taken for levels."""
_NAMED = 4
"""Channels that a warning names."""


def warn_of_repeats(
    examples: Stored, train: np.ndarray, names: tuple[str, ...] = (), coded: Sequence[bool] = ()
) -> None:
    """Warn of channels with densities a share of which is one value: a density has no end there.

    Arguments:
        examples: (N, C, *), NaN where an entry is missing.
        train: numbers of the training examples, some of which are looked at.
        names: of the channels; their numbers if there are none.
        coded: which channels have probabilities where values are repeated; none if it is empty.
    """
    if examples.shape[1] > _MOST_CHANNELS:
        return
    if isinstance(examples, Windows):
        channels = examples.rows[examples.is_covered(train)].T
    else:
        num = max(1, _SEARCHED // math.prod(examples.shape[1:]))
        some = gathered(examples, train[:: len(train) // num + 1])
        channels = np.moveaxis(some, 1, 0).reshape(some.shape[1], -1)
    found = []
    for name, values, has_code in zip_longest(names or map(str, range(len(channels))), channels, coded):
        if has_code:
            continue
        looked_at = values[:: len(values) // _SEARCHED_OF_CHANNEL + 1]
        if what := _repeated(looked_at[~np.isnan(looked_at)]):
            found.append(f"{printable(name)} ({what})")
    if not found:
        return
    is_series = isinstance(examples, Windows)
    remedy = "" if is_series else "leave out --densities, and such values have probabilities; "
    warnings.warn(
        f"values are repeated in channel {', '.join(found[:_NAMED])}{', ...' * (len(found) > _NAMED)}: a density grows at "
        "such a value as far as the schedule's least noise lets it, 1 / (sigma_0 sqrt(2 pi)) in scaled units, so that bits "
        f"depend on gamma_min and say nothing of how good a model is; {remedy}where one means that nothing is known, NaN",
        stacklevel=4,
    )


def _repeated(values: np.ndarray) -> str:
    """What is repeated, in words; "" if nothing is."""
    each, shares = frequent(values)
    if len(each):
        most = int(shares.argmax())
        return f"{shares[most]:.0%} are {each[most]:.6g}"
    if len(values) >= _FEWEST_OF_LEVELS and _TIMES_SEEN * (num := len(np.unique(values))) <= len(values):
        return f"{num:,} different values among {len(values):,}"
    return ""
