"""Measured numbers as text, to the digits that are known."""

import math

import numpy as np

_DIGITS = 6
"""The most significant digits of a value: what single precision holds."""
_ROUNDING = 1e-6
"""An error of so small a share of the value is rounding."""


def figure_text(value: float, standard_error: float | None = None) -> str:
    """A number with its standard error, to the digits that the error leaves: 1.2345 and 0.0321 give "1.234 ± 0.032".

    The error has two significant digits (three or more where they stand before the point), the value as many as that
    leaves it and at most six: an error of zero, or below a millionth of the value, which is rounding, is left out. Numbers
    of a million or more, and errors below 1e-5, are in powers of ten.

    Arguments:
        value: any float; NaN and infinities are words.
        standard_error: of the value, 0 or more; NaN where it is not known, which is said; None: the value alone, to four
            digits.
    """
    if standard_error is None:
        return f"{value:.4g}"
    if standard_error == 0 or math.isnan(value):
        return f"{value:.{_DIGITS}g}"
    if math.isnan(standard_error):
        return f"{value:.4g} (error not known)"
    if not (standard_error < math.inf and math.isfinite(value)):
        return f"{value:.4g} ± {standard_error:.2g}"
    if standard_error < _ROUNDING * abs(value):
        return f"{value:.{_DIGITS}g}"
    unit = _exponent(standard_error, 2) - 1  # of the error's second digit
    digits = _exponent(value, _DIGITS) - unit + 1 if value else 0  # that this leaves the value
    hidden, digits = max(0, digits - _DIGITS), min(digits, _DIGITS)
    if unit >= -_DIGITS and max(abs(value), standard_error) < 0.9999995 * 10**_DIGITS:
        places = max(0, -unit)
        return f"{value:z.{max(0, places - hidden)}f} ± {standard_error:.{places}f}"
    if digits == _DIGITS:
        return f"{value:#.{_DIGITS}g} ± {standard_error:.1e}"
    units = round(value / 10.0**unit) if digits < 1 else 0  # none, or one
    shown = f"{value:.{digits - 1}e}" if digits >= 1 else f"{units * 10.0**unit:.0e}" if units else "0"
    return f"{shown} ± {standard_error:.1e}"


def share_text(share: float, standard_error: float) -> str:
    """A share in per cent with its standard error; without it where that is not known, or smaller than what is shown."""
    shown = f"{standard_error:.1%}"
    return f"{share:.1%}" if math.isnan(standard_error) or shown == "0.0%" else f"{share:.1%} ± {shown}"


def nine_digits(values: np.ndarray, about: float | np.ndarray = 0.0) -> np.ndarray:
    """Floats to the nine digits that single precision fills, of any shape, in the type that they have.

    Arguments:
        values: any.
        about: what they were computed as differences from, (C,) of values (*, C): the nine digits are those of the
            difference, where it is the smaller.
    """
    size, apart = (_exponents(each) for each in (values, values - about))
    digits = np.minimum(9 + np.maximum(size - apart, 0), 17)
    short = [float(f"{value:.{n}g}") for value, n in zip(values.reshape(-1).tolist(), digits.reshape(-1), strict=True)]
    return np.array(short, values.dtype).reshape(values.shape)


def _exponents(values: np.ndarray) -> np.ndarray:
    """The powers of ten of numbers' first digits; of zero the least that there is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(
            np.floor(np.log10(np.abs(values.astype(np.float64)))), nan=0, posinf=0, neginf=-400
        ).astype(int)


def _exponent(value: float, digits: int) -> int:
    """The power of ten of a number's first digit once it is rounded to so many."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])
