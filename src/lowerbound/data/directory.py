"""Where named data sets that are not bundled are looked for, and where large data are put aside while they are used."""

import os
import sys
from pathlib import Path


def data_directory() -> Path:
    """The folder of LOWERBOUND_DATA, else `cache_directory`."""
    configured = os.environ.get("LOWERBOUND_DATA")
    return Path(configured).expanduser() if configured else cache_directory()


def cache_directory(make: bool = False) -> Path:
    """The folder `lowerbound` in the platform's cache directory, which is on a disk as a temporary directory may not be.

    Arguments:
        make: whether it is to be there.
    """
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "lowerbound"
    elif sys.platform == "darwin":
        folder = Path("~/Library/Caches/lowerbound").expanduser()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "lowerbound"
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    return folder
