"""Where named data sets that are not bundled are looked for."""

import os
import sys
from pathlib import Path


def data_directory() -> Path:
    """The folder of LOWERBOUND_DATA, else `lowerbound` in the platform's cache directory."""
    if configured := os.environ.get("LOWERBOUND_DATA"):
        return Path(configured).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "lowerbound"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/lowerbound").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "lowerbound"
