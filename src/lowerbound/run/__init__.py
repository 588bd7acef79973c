"""A trained run in use: the model, its samples and imputations, and what is measured or trained for it once and kept."""

from lowerbound.run.opened import (
    OpenedRun,
    RelativeRun,
    Run,
    check_levels,
    open_any,
    open_configured,
    open_run,
)

__all__ = [
    "OpenedRun",
    "RelativeRun",
    "Run",
    "check_levels",
    "open_any",
    "open_configured",
    "open_run",
]
