"""Libraries that only some kinds of data need."""

import importlib
from typing import Any

from lowerbound.errors import InputError


def extra(module: str, name: str, purpose: str) -> Any:
    """A library of an extra.

    Arguments:
        module: what is imported.
        name: of the extra.
        purpose: what it is needed for, for the message.

    Raises:
        InputError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        lacking = error.name or module
        raise InputError(
            f"{purpose} needs {lacking}, which is not installed: pip install 'lowerbound[{name}]'"
        ) from error
