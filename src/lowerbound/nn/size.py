"""How large a module would be, found out before any of its numbers take memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from lowerbound.errors import InputError

MOST_TENSORS = 20_000
"""Parameters of one module."""


def check_size(build: Callable[[], nn.Module], most: int, source: str) -> None:
    """Refuse a module that would have more numbers than it may, by building it without them.

    Arguments:
        build: makes the module.
        most: how many numbers its parameters may have together; they may be `MOST_TENSORS`.
        source: what asks for the module, for messages.

    Raises:
        InputError: if it would, or cannot be built.
    """
    num_tensors = num_numbers = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal num_tensors, num_numbers
        num_tensors += 1
        num_numbers += 0 if parameter is None else parameter.numel()
        if num_tensors > MOST_TENSORS or num_numbers > most:
            raise InputError(
                f"{source} calls for a network of {num_numbers:,} parameters in {num_tensors:,} tensors or more; at most "
                f"{most:,} in {MOST_TENSORS:,} are possible here"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _Unfilled():
            build()
    except InputError:
        raise
    except NotImplementedError:  # an operation without numbers that torch does not have: settings bound such networks
        pass
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{source} calls for a network that cannot be built: {error}") from error
    finally:
        handle.remove()


class _Unfilled(TorchFunctionMode):
    """While entered, parameters are not initialised: without numbers that does nothing, but it imports a compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.init.normal_:
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))
