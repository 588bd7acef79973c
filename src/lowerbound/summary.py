"""What a record that holds tensors says of itself in a line, in the place of all their numbers."""

import dataclasses
import math
import reprlib
from typing import Any

import numpy as np
from torch import Tensor

from lowerbound.rounding import figure_text

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_ENTRIES = 1 << 20
"""The most whose mean is taken: a line must not make anybody wait."""


def short_repr(self: Any) -> str:
    """A dataclass as `Name(field=..., ...)`, arrays by mean, standard error and shape, integers by range.

    `Elbo(nats=-108.2 ± 1.3 (64), ...)`. Fields that are None are left out. It is the `__repr__` of every record with tensors
    in it.
    """
    given = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__name__}({', '.join(f'{name}={_told(value)}' for name, value in given if value is not None)})"


def _told(value: Any) -> str:
    """A field's value, shortly."""
    if isinstance(value, Tensor):
        return _array(value.detach(), tuple(value.shape), str(value.dtype).removeprefix("torch."), str(value.device))
    if isinstance(value, np.ndarray):
        return _array(value, value.shape, str(value.dtype), "cpu")
    if isinstance(value, float):
        return f"{value:z.6g}"
    return repr(value) if dataclasses.is_dataclass(value) else _SHORT.repr(value)


def _array(values: Any, shape: tuple[int, ...], dtype: str, device: str) -> str:
    """Mean and standard error over the first axis, or the range of integers; the shape, and what is not as usual."""
    unusual = [word for word, usual in ((dtype, "float32"), (device, "cpu")) if word != usual]
    words = [f"({', '.join(map(str, shape))})" if shape else "", *unusual]
    if 0 < math.prod(shape) <= _ENTRIES and device != "meta" and ("int" in dtype or "float" in dtype):
        numbers = np.asarray(values.cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)
        words.insert(0, _range(numbers) if "int" in dtype else _mean(numbers))
    return " ".join(word for word in words if word)


def _range(numbers: np.ndarray) -> str:
    """The least and the largest, or the one there is."""
    least, most = int(numbers.min()), int(numbers.max())
    return f"{least} to {most}" if most > least else f"{least}"


def _mean(numbers: np.ndarray) -> str:
    """The mean over all with its standard error over the first axis, or the number that they all are."""
    with np.errstate(all="ignore"):
        mean = float(numbers.mean())
        if numbers.ndim == 0 or numbers.min() == numbers.max():
            return f"{mean:.6g}"
        each = numbers.reshape(len(numbers), -1).mean(1)
        return figure_text(mean, float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else None)
