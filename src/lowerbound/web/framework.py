"""The framework of the page, which is an extra and may not be there; told to report to nobody."""

import importlib
import os
from typing import Any

from lowerbound.errors import InputError


def framework() -> Any:
    """The module gradio.

    Raises:
        InputError: if it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return importlib.import_module("gradio")
    except ImportError as error:
        raise InputError(f"the studio needs gradio ({error}): pip install 'lowerbound[web]'") from error
