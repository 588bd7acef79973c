"""`--processes`: a verb in several processes, that it starts on this machine or torchrun has started."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch

from lowerbound.cli.device import pick_device
from lowerbound.cli.launcher import end_with_launcher, launch
from lowerbound.training.folder import RunFolder
from lowerbound.training.parallel.processes import PATIENCE, Processes, joined

Result = TypeVar("Result")
A_DAY = timedelta(days=1)
"""How long processes that wait for one another once, at the end of their shares, do so; one that has ended is noticed at
once."""


def join(
    verb: str, count: int, arguments: list[str], device: str, patience: timedelta = PATIENCE, *, run: Path | None = None
) -> tuple[Processes, torch.device]:
    """The processes that do a verb, and the device of this one; does not return where they were still to be started.

    Arguments:
        verb: which.
        count: how many, as `--processes` says.
        arguments: of the verb.
        device: as `--device` says.
        patience: how long each waits for another one that does not answer.
        run: of a verb that takes one, its folder, which is looked at before any process is started.

    Raises:
        InputError: if the folder holds no run, or the device cannot be used.
    """
    if run is not None:
        RunFolder(run).read_config()
    if count > 1 and "WORLD_SIZE" not in os.environ:
        sys.stdout.flush()
        sys.exit(launch([sys.executable, "-m", "lowerbound", verb, *arguments], count))
    end_with_launcher()
    picked = pick_device(device)
    processes = joined(picked, patience)
    return processes, processes.own(picked)


def first_then_all(processes: Processes, work: Callable[[], Result]) -> Result:
    """What each of them finds in a file that the first one makes if it is not there."""
    results: list[Result] = []
    processes.by_first(lambda: results.append(work()))
    return results[0] if results else work()
