"""Where an evaluation's files are."""

from pathlib import Path

from lowerbound.run import OpenedRun


def evaluation_folder(run: OpenedRun) -> Path:
    """The folder of a run's evaluation."""
    return run.folder.path / "evaluation"
