"""Libraries that are loaded when a test first uses them: while tests are collected, each process would load them all."""

import importlib
import importlib.util
from typing import Any

import pytest


class Later:
    """A module that is loaded at the first use of a public name of it: for others pytest asks whatever it finds in a file.

    Arguments:
        name: its own.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def if_installed(library: str, module: str | None = None) -> Any:
    """The library, or a module that needs it, loaded later; a test file that asks for what is not installed is skipped."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed", allow_module_level=True)
    return Later(module or library)
