"""Real numbers a share of which is one value, where they are to have densities: these have no end, and that is said."""

import warnings

import numpy as np
import pytest

from lowerbound.data import Examples
from lowerbound.data.codes.fit import FEWEST, LEAST_SHARE, frequent
from lowerbound.data.repeats import warn_of_repeats
from lowerbound.data.series.windows import Windows

RNG = np.random.default_rng(0)


def dry(*shape: int, share: float = 0.5) -> np.ndarray:
    """Rain, of which there is none in a share of the entries."""
    return np.where(RNG.random(shape) < share, 0.0, RNG.gamma(2.0, size=shape))


def test_values_are_frequent_from_a_share_and_a_number_on():
    values = np.arange(1000.0)
    values[: round(1000 * LEAST_SHARE)] = 7.5
    values[-15:] = -1.0
    found, shares = frequent(values)
    assert found.tolist() == [7.5]
    assert shares.tolist() == [LEAST_SHARE]
    assert not len(frequent(np.array([1.0] * (FEWEST - 1) + [2.0, 3.0]))[0])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (
            np.stack([RNG.normal(size=400), dry(400)], 1),
            r"channel 1 \(\d\d% are 0\): .*gamma_min.*leave out --densities",
        ),
        (dry(60, 2, 8, 8), r"channel 0 \(\d\d% are 0\), 1 \(\d\d% are 0\): "),
        (
            np.where(np.arange(4) == RNG.integers(0, 4, (500, 1, 1)), np.nan, dry(500, 1, 4)),
            r"channel 0 \(\d\d% are 0\)",
        ),
        (dry(50, 6), r"channel 0 \(.*3 \([^)]*\), \.\.\.: "),
    ],
)
def test_a_share_of_one_value_is_warned_of_where_it_is_to_have_a_density(examples, message):
    made = Examples("made", examples, {2: "ND", 3: "NCL", 4: "NCHW"}[examples.ndim])
    with pytest.warns(UserWarning, match=f"values are repeated in {message}"):
        assert made.dataset(densities=True).spec.blocks is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made.dataset().spec.blocks is not None


def test_levels_that_are_stored_as_floats_are_warned_of():
    photographs = (RNG.integers(0, 256, (40, 3, 16, 16)) / 255).astype(np.float32)
    with pytest.warns(UserWarning, match=r"channel 0 \(256 different values among 8,192\)"):
        Examples("made", photographs, "NCHW").dataset(densities=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Examples("made", RNG.normal(size=(40, 3, 16, 16)).astype(np.float16), "NCHW").dataset(densities=True)


def test_series_are_looked_at_row_by_row_under_their_names():
    rows = np.stack([RNG.normal(size=300), dry(300)], 1).astype(np.float32)
    windows = Windows(rows, np.arange(0, 280, 10), 20)
    with pytest.warns(UserWarning, match=r"channel rain \(\d\d% are 0\)"):
        warn_of_repeats(windows, np.arange(20), ("wind", "rain"))


def test_smooth_numbers_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Examples("made", RNG.normal(size=(300, 2)), "ND").dataset(densities=True)
        Examples("made", dry(300, 1, 4, 4, share=0.001), "NCHW").dataset(densities=True)
