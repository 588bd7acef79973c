"""Where an evaluation's files are, and its figures read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lowerbound.errors import InputError
from lowerbound.run import OpenedRun

Figures = TypeVar("Figures")


def evaluation_folder(run: OpenedRun) -> Path:
    """The folder of a run's evaluation."""
    return run.folder.path / "evaluation"


def read_figures(run: OpenedRun, parse: Callable[[dict[str, Any]], Figures]) -> Figures:
    """What `parse` makes of a run's evaluation.json.

    Raises:
        InputError: if there is none, or it is damaged: if `parse` raises KeyError, TypeError or ValueError.
    """
    path = evaluation_folder(run) / "evaluation.json"
    try:
        return parse(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise InputError(
            f"there is no evaluation in {run.folder.path} yet: lowerbound evaluate {run.folder.path}"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({error}): lowerbound evaluate {run.folder.path} writes it anew"
        ) from error
