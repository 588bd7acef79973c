"""Tables as files, written as .csv, .tsv, .parquet or .feather: by which names, known before any table is (`arrow`)."""

from pathlib import Path

from lowerbound.errors import InputError
from lowerbound.files.whole import check_folder

TEXTS = {".csv": ",", ".tsv": "\t"}
"""Tables of text, and what separates their columns."""
SUFFIXES = (*TEXTS, ".parquet", ".feather")


def check_table(path: Path) -> None:
    """Refuse, before anything is computed, a name that no table can be written to.

    Raises:
        InputError: for another suffix, or a folder that is not there.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"cannot write a table to {path}: the name must end in {', '.join(SUFFIXES)}")
    check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
