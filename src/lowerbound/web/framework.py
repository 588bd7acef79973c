"""The framework of the page, which is an extra and may not be there; told to report to nobody."""

import os
from typing import Any

from lowerbound.data.extras import extra


class _Gradio:
    """The module gradio, imported when the first of its names is asked for.

    Raises:
        InputError: then, if it is not installed.
    """

    def __getattr__(self, name: str) -> Any:
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        return getattr(extra("gradio", "web", "the studio"), name)


gradio: Any = _Gradio()
