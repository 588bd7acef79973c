"""Figures are written to the digits that are known, whatever the two floats are."""

import math
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lowerbound.training.held_out import held_out_text
from lowerbound.words.rounding import figure_text, nine_digits, share_text

POSITIVE = st.floats(min_value=1e-300, max_value=1e300)
ANY = st.floats() | st.integers(-9, 9).flatmap(lambda k: st.floats(-9.99, 9.99).map(lambda m: m * 10.0**k))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-6.609074785898077842, 2.7e-17, "-6.60907"),
        (1.2345, 0.0321, "1.234 ± 0.032"),
        (0.0996, 0.0996, "0.10 ± 0.10"),
        (0.0, 0.0, "0"),
        (-6.6090747858, 0.0, "-6.60907"),
        (1.23456, 5e-5, "1.23456 ± 0.000050"),
        (1.23456, 2e-6, "1.23456 ± 2.0e-06"),
        (1.23456, 9e-7, "1.23456"),
        (12345678.0, 20.0, "1.23457e+07 ± 2.0e+01"),
        (0.0, 1e-9, "0 ± 1.0e-09"),
        (-0.001, 0.5, "0.00 ± 0.50"),
        (1e30, 3e28, "1.000e+30 ± 3.0e+28"),
        (3e-9, 1e-9, "3.0e-09 ± 1.0e-09"),
        (math.inf, 1.0, "inf ± 1"),
        (math.nan, math.nan, "nan"),
        (1.5, math.nan, "1.5 (error not known)"),
        (1.0, math.inf, "1 ± inf"),
        (123456789.0, None, "1.235e+08"),
    ],
)
def test_extreme_figures(value, error, text):
    assert figure_text(value, error) == text


@given(value=ANY, error=st.none() | ANY.map(abs))
@example(value=0.0, error=math.nan)
def test_no_figure_is_longer_than_it_has_meaning(value, error):
    figures = figure_text(value, error).removesuffix(" (error not known)")
    for text in figures.split(" ± "):
        assert len(text) <= len("-1.23456e-300")
        mantissa = re.split("e[+-]", text)[0]
        assert len(re.sub(r"[-.]", "", mantissa).lstrip("0")) <= 6


@given(value=st.floats(-1e300, 1e300), error=POSITIVE)
@example(value=0.03125, error=5.960464477539063e-08)
@example(value=501000000000001.0, error=9950000000000000.0)
def test_the_value_is_rounded_where_its_error_is(value, error):
    text = figure_text(value, error)
    if "±" not in text:  # rounding of the value, no error of it
        assert error <= 1.01e-6 * abs(value)
        assert abs(float(text) - value) <= 0.501e-5 * abs(value)
        return
    shown, told = map(float, text.split(" ± "))
    assert abs(told - error) <= 0.051 * error
    unit = 10.0 ** (int(f"{told:e}".split("e")[1]) - 1)  # of the error as shown: 0.996 is 1.0
    assert abs(shown - value) <= max(0.501 * unit, 0.501e-5 * abs(value))


@pytest.mark.parametrize(
    ("share", "error", "text"),
    [(0.5, 0.0321, "50.0% ± 3.2%"), (1.0, 0.0, "100.0%"), (0.25, 0.0004, "25.0%"), (0.25, math.nan, "25.0%")],
)
def test_shares_have_an_error_where_there_is_one_to_show(share, error, text):
    assert share_text(share, error) == text


def test_held_out_bits_have_an_error_where_there_is_one():
    assert held_out_text(1.94231, 0.1164) == "held-out 1.9423 ± 0.1164 bits/dim"
    assert held_out_text(2.0, 0.0) == held_out_text(2.0, math.nan) == "held-out 2.0000 bits/dim"


def test_digits_that_are_known_count_from_what_the_numbers_lie_about():
    assert nine_digits(np.array([0.1234567891234, 123456.7891234])).tolist() == [0.123456789, 123456.789]
    seconds = np.array([[1_704_103_217.0, 0.1 + 0.2], [1_704_103_217.25, np.nan]])
    about = np.array([1_704_100_000.0, 0.0])
    assert np.array_equal(
        nine_digits(seconds, about), [[1_704_103_217, 0.3], [1_704_103_217.25, np.nan]], equal_nan=True
    )
    assert nine_digits(np.array([5.0, 0.0]), 5.0).tolist() == [5.0, 0.0]
