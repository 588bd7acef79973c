"""Value objects that hold many numbers, printed in a line: shapes, and means with standard errors, not the numbers."""

import dataclasses
import reprlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Brief:
    """A dataclass (of `repr=False`) whose repr says what its tensors and arrays are instead of listing them."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        values = {field.name: getattr(self, field.name) for field in fields}
        shown = [f"{name}={_brief(value)}" for name, value in values.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return _numbers(value.detach())
    if isinstance(value, nn.Module):
        return type(value).__name__
    return reprlib.repr(value)


def _numbers(tensor: Tensor) -> str:
    """A shape and, of one number an example, the mean with its standard error."""
    shape = "x".join(map(str, tensor.shape)) or "1"
    if tensor.ndim != 1 or len(tensor) < 2:
        return f"<{shape}>" if tensor.numel() != 1 else f"{tensor.item():.4g}"
    numbers = tensor.double()
    error = numbers.std() / len(numbers) ** 0.5
    if error == 0:
        return f"<{shape}: {numbers[0]:.4g}>"
    return f"<{shape}: {numbers.mean():.4g} ± {error:.2g}>"
