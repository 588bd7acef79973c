"""The word that was meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that is written most like a given one; None if none is written nearly so."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)
