"""The panel `train`: a model that learns as one watches, its held-out bits and its samples along the way."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lowerbound.errors import InputError
from lowerbound.pictures import training_curve
from lowerbound.run.history import columns_of
from lowerbound.run.overview import Overview, overview
from lowerbound.training.build import build_model
from lowerbound.training.folder import RunFolder
from lowerbound.web.framework import gradio
from lowerbound.web.limits import Limits
from lowerbound.web.show import drawn, picture, plain, said, with_messages
from lowerbound.web.trainings import BUNDLED, KINDS, Trainings
from lowerbound.words.rounding import figure_text

SECONDS_BETWEEN = 2.0
"""Between two looks at a training."""
NOTHING_YET = "Choose data and press Train: the curve appears here as the model learns."


@lru_cache(maxsize=4)
def _is_bound(config: Path, written: int) -> bool:
    """Whether the loss of the run with this configuration is a bound."""
    settings, spec = RunFolder(config.parent).read_config()
    return build_model(settings, spec).is_bound


@lru_cache(maxsize=4)
def _curve(log: Path, written: int) -> str:
    """The curve of a log, drawn anew when more has been written."""
    folder = RunFolder(log.parent)
    try:
        is_bound = _is_bound(folder.config, folder.config.stat().st_mtime_ns)
        columns = columns_of(folder.read_log(), is_bound)
        return picture(
            drawn(lambda path: training_curve(path, **columns)), "Training loss and held-out bits/dim so far"
        )
    except (InputError, OSError):  # there is no step yet
        return ""


def progress(folder: RunFolder) -> tuple[str, str]:
    """The curve of a run in training and its newest samples, as pictures; empty where there is none yet."""
    curve = _curve(folder.log, folder.log.stat().st_mtime_ns) if folder.log.is_file() else ""
    pictures = sorted(folder.samples.glob("step-*.png")) if folder.samples.is_dir() else []
    if not pictures:
        return curve, ""
    step = int(pictures[-1].stem.partition("-")[2])
    return curve, picture(pictures[-1].read_bytes(), f"Samples after step {step:,}")


def sentence(run: Overview) -> str:
    """How a run stands, in words."""
    parts = [f"{Path(run.path).name}: {run.state}"]
    if run.step is not None and run.minutes is not None:
        parts.append(f"step {run.step:,} after {run.minutes:.1f} minutes of training")
    if run.held_out_bits_per_dim is not None:
        parts.append(f"held-out {figure_text(run.held_out_bits_per_dim, run.standard_error)} bits/dim")
    return ", ".join(parts) + (f" ({plain(run.reason)})" if run.reason else "") + "."


class TrainPanel:
    """The panel's components and what they do.

    Arguments:
        trainings: that the page may start.
        limits: of what may be asked for.
        run: the page's choice of a run, a component.
    """

    def __init__(self, trainings: Trainings, limits: Limits, run: Any):
        self.trainings = trainings
        most = limits.most_minutes
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                data = gradio.Dropdown(list(BUNDLED), value=BUNDLED[0], label="Data")
                file = gradio.File(
                    label="Or your own: table, array, .zip of images", file_types=list(KINDS), height=170
                )
                name = gradio.Textbox(
                    "my-run", label="Name of the run", info="A new one to train, or one to go on with"
                )
                minutes = gradio.Slider(min(0.5, most), most, min(3, most), step=0.5, label="Minutes")
                conditional = gradio.Checkbox(False, label="Learn the data given their labels, too")
                begin = gradio.Button("Train", variant="primary")
                with gradio.Row():
                    stop = gradio.Button("Stop training")
                    go_on = gradio.Button("Go on")
            with gradio.Column(scale=2, min_width=300):
                status = gradio.HTML(said(NOTHING_YET))
                curve, samples = gradio.HTML(elem_id="training"), gradio.HTML()
        timer = gradio.Timer(SECONDS_BETWEEN, active=False)
        self.shown = [status, curve, samples, timer, run]
        private = {"api_visibility": "private", "show_progress": "hidden", "concurrency_id": "train"}
        begin.click(
            with_messages(self.on_begin), [name, data, file, minutes, conditional], self.shown, api_name="train",
            show_progress="hidden", concurrency_id="train",
        )  # fmt: skip
        go_on.click(with_messages(self.on_go_on), [name, minutes], self.shown, **private)
        run.change(lambda chosen: chosen, run, name, api_visibility="private", show_progress="hidden")
        stop.click(with_messages(self.on_stop), None, self.shown, **private)
        timer.tick(with_messages(self.on_show), None, self.shown, **private)

    def on_begin(self, name: str, data: str, file: str | None, minutes: float, conditional: bool) -> list[Any]:
        """Train a new run."""
        self.trainings.begin(name.strip(), Path(file) if file else data, float(minutes), bool(conditional))
        return self.on_show()

    def on_go_on(self, name: str, minutes: float) -> list[Any]:
        """Train a run further."""
        self.trainings.go_on(name.strip(), float(minutes))
        return self.on_show()

    def on_stop(self) -> list[Any]:
        """Save everything and stop."""
        self.trainings.stop()
        return self.on_show()

    def on_show(self) -> list[Any]:
        """How the training stands."""
        trainings, names = self.trainings, gradio.Dropdown(choices=self.trainings.shelf.names())
        if trainings.folder is None:
            return [said(NOTHING_YET), "", "", gradio.Timer(active=False), names]
        runs, name = trainings.is_running, trainings.folder.path.name
        if not trainings.folder.exists:
            source = Path(trainings.source).name
            text = f"{name}: reading {source} ..." if runs else f"{name} was not trained. {plain(trainings.said)}"
            return [said(text), "", "", gradio.Timer(active=runs), names]
        text = sentence(overview(trainings.folder.path))
        if trainings.has_failed:
            text += f" It failed: {plain(trainings.said.splitlines()[-1])}" if trainings.said else " It failed."
        elif not runs:
            text += " Everything is saved: choose it above to draw from it, or go on."
        return [said(text), *progress(trainings.folder), gradio.Timer(active=runs), names]
