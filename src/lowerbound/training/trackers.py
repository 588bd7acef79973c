"""Where else a training's records go: TensorBoard, MLflow or Weights & Biases.

A tracker is a function of a step and its figures by their names. All figures of what is measured reach it, and those of
single steps at most once a second: a server would hold a training up that told it every step.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lowerbound.data.extras import extra

Tracker = Callable[[int, dict[str, float]], object]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
SECONDS_APART = 1.0
"""Between the steps that a tracker is told of."""


def open_tracker(name: TrackerName, folder: Path, config: dict[str, Any]) -> Tracker:
    """The tracker of a name, which shows a run under the name of its folder.

    Arguments:
        name: of the library.
        folder: of the run.
        config: of the run, as JSON holds it.

    Raises:
        InputError: if the library is not installed.
    """
    modules = {"tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
    return _TRACKERS[name](extra(modules[name], "track", f"--track {name}"), folder, config)


def _tensorboard(library: Any, folder: Path, config: dict[str, Any]) -> Tracker:
    writer = library.SummaryWriter(str(folder / "tensorboard"))

    def track(step: int, figures: dict[str, float]) -> None:
        for name, figure in figures.items():
            writer.add_scalar(name, figure, step)

    return track


def _mlflow(library: Any, folder: Path, config: dict[str, Any]) -> Tracker:
    library.start_run(run_name=folder.name)
    library.log_dict(config, "config.json")
    return lambda step, figures: library.log_metrics(figures, step=step)


def _wandb(library: Any, folder: Path, config: dict[str, Any]) -> Tracker:
    run = library.init(project="lowerbound", name=folder.name, dir=str(folder), config=config)
    return lambda step, figures: run.log(figures, step=step)


_TRACKERS: dict[str, Callable[[Any, Path, dict[str, Any]], Tracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


class Following:
    """A tracker that is told of the records of a log.

    Arguments:
        tracker: where they go; None: nowhere.
    """

    def __init__(self, tracker: Tracker | None = None):
        self.tracker = tracker
        self.last_time = -SECONDS_APART

    def __call__(self, record: dict[str, Any]) -> None:
        """Tell of a record: of its numbers, if it is of more than a step or it is time to."""
        is_step, now = "loss" in record, time.monotonic()
        if self.tracker is None or (is_step and now - self.last_time < SECONDS_APART):
            return
        self.last_time = now if is_step else self.last_time
        figures = {name: value for name, value in record.items() if name != "step" and not isinstance(value, str)}
        self.tracker(record["step"], figures)
