"""Value objects that hold many numbers, printed in a line: shapes, and means with standard errors, not the numbers."""

import dataclasses
import math
import reprlib
from typing import Any

import numpy as np
from torch import Tensor, nn

from lowerbound.words.rounding import figure_text

_LONGEST = 180
"""Characters of a line, from which on fields are left out."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = 60


class Brief:
    """A dataclass (of `repr=False`) whose repr says what its tensors and arrays are instead of listing them.

    Words come first, as they say what kind of thing it is; fields that are None are left out, and the last ones of many.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        names = [field.name for field in dataclasses.fields(self)]  # pyrefly: ignore[bad-argument-type]
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        parts, length = [], len(type(self).__name__) + 2
        for name in sorted(values, key=lambda name: not isinstance(values[name], str)):
            part = f"{name}={_brief(values[name])}"
            length += len(part) + 2
            if length > _LONGEST:
                parts.append("...")
                break
            parts.append(part)
        return f"{type(self).__name__}({', '.join(parts)})"


def _brief(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return _numbers(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, tuple) and len(value) > 4:
        return f"<{len(value)}>"
    return repr(value) if dataclasses.is_dataclass(value) else _SHORT.repr(value)


def _numbers(values: Tensor | np.ndarray) -> str:
    """A shape; of one number for each example also the mean with its standard error, or the ends where they rise or fall."""
    shape = "x".join(map(str, values.shape)) or "1"
    if math.prod(values.shape[1:]) != 1:
        return f"<{shape}>"
    if isinstance(values, Tensor):
        values = values.detach().double().cpu().numpy()
    if values.dtype.kind not in "fiub":
        return f"<{shape}>"
    numbers = values.astype(np.float64).reshape(-1)
    if len(numbers) < 2:
        return f"{numbers[0]:.4g}" if len(numbers) else "<0>"
    rises = np.diff(numbers)
    if len(numbers) > 2 and ((rises > 0).all() or (rises < 0).all()):
        return f"<{shape}: {numbers[0]:.4g} to {numbers[-1]:.4g}>"
    mean, error = numbers.mean(), numbers.std(ddof=1) / len(numbers) ** 0.5
    if error <= 1e-12 * abs(mean):  # the same but for rounding
        return f"<{shape}: {mean:.4g}>"
    return f"<{shape}: {figure_text(mean, error)}>"
