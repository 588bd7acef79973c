"""How a run's training went, from its log."""

from typing import Any

import numpy as np

from lowerbound.errors import InputError
from lowerbound.run.opened import Run

MOST_POINTS = 400


def training_columns(run: Run) -> dict[str, Any]:
    """The log's columns, steps averaged in at most `MOST_POINTS` groups, and whether the losses in it are bounds.

    Raises:
        InputError: for a line that is no record of a run, and for a distilled run, whose losses are no bits/dim.
    """
    if run.folder.is_distilled:
        raise InputError("the losses of a distilled run are mean squares: log.jsonl has them, and no curve in bits/dim")
    return columns_of(run.folder.read_log(), run.model.is_bound)


def columns_of(records: list[dict[str, Any]], is_bound: bool) -> dict[str, Any]:
    """The same of a log's records, of a run that may have no model yet."""
    steps = [record for record in records if "loss" in record]
    checks = [record for record in records if "held_out_bits_per_dim" in record]
    groups = np.array_split(np.arange(len(steps)), max(1, min(MOST_POINTS, len(steps))))

    def column(name: str) -> np.ndarray:
        values = np.array([record[name] for record in steps], dtype=np.float64)
        return np.array([values[group].mean() for group in groups if len(group)])

    def check(name: str) -> np.ndarray:
        return np.array([record[name] for record in checks], dtype=np.float64)

    return {
        "steps": column("step"),
        "loss": column("loss"),
        "minutes": column("seconds") / 60,
        "held_out_steps": check("step"),
        "held_out": check("held_out_bits_per_dim"),
        "held_out_errors": check("standard_error"),
        "is_bound": is_bound,
    }
