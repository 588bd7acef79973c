"""The training of a model into a run folder, from its beginning or from where it was left."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from lowerbound.data import Dataset, check_batch_size
from lowerbound.errors import InputError
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder
from lowerbound.training.forest import fit_forest
from lowerbound.training.parallel.processes import joined
from lowerbound.training.resume import by_whom, check_effect, check_same, resume, set_aside
from lowerbound.training.session import Session
from lowerbound.training.trackers import TrackerName, open_tracker
from lowerbound.training.trainer import Trainer


def train(
    config: Config,
    dataset: Dataset,
    out: Path | str,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    fall_back: bool = False,
    say: Callable[[str], None] = print,
    show_progress: bool = True,
    track: TrackerName | None = None,
) -> RunFolder:
    """Train a model into a run folder, or go on with the run that is there.

    Arguments:
        config: the run's configuration.
        dataset: the data.
        out: the run folder.
        device: where to train.
        restart: set what the folder's run has made aside, and begin it again at step 0.
        fall_back: go on from the checkpoint before the newest, if that is damaged.
        say: where lines for the user go.
        show_progress: whether to draw a progress bar.
        track: a library that the records of the log go to besides.

    Returns:
        The run folder, with model.safetensors in it.

    Raises:
        InputError: if the folder holds another run, the data do not suffice, or the loss diverges.
        KeyboardInterrupt: after an interruption, with everything saved.
    """
    if config.model.is_grown:
        if track is not None:
            raise InputError(f"--track {track} has no effect on a forest, whose log is written at its end")
        return fit_forest(config, dataset, out, device=device, restart=restart, say=say, show_progress=show_progress)
    folder = RunFolder(out)
    if config.training.hidden:
        dataset = replace(dataset, spec=dataset.spec.with_gaps())
    _check_num_examples(config, dataset, None if restart else folder)
    processes = joined(device)
    if config.training.batch_size < processes.count:
        raise InputError(
            f"--batch-size is {config.training.batch_size}, that of all {processes.count} processes together: give at least "
            "one example to each"
        )
    if config.training.shard and processes.count == 1:
        warnings.warn("--shard has no effect in one process: give --processes", stacklevel=2)
    say = say if processes.is_first else lambda line: None
    trainer = Trainer(config, dataset, processes.own(device), processes)

    def begin() -> bool:
        """Whether there is a run to go on with."""
        folder.samples.mkdir(parents=True, exist_ok=True)
        lock.enter_context(folder.locked())
        if restart:
            set_aside(folder, say)
        if not folder.exists and (any(folder.path.glob("*.safetensors")) or folder.log.exists()):
            raise InputError(f"{folder.path} holds files of a run but no config.json: choose another folder with --out")
        return folder.exists

    def settle() -> None:
        folder.write_config(config, replace(dataset.spec, fingerprint=dataset.fingerprint()))

    with ExitStack() as lock:
        if processes.by_first(begin):
            by_whom(trainer, lambda: resume(folder, trainer, say, fall_back))
            processes.by_first(lambda: check_effect(folder, trainer))
        processes.by_first(settle)
        trainer.share()
        if trainer.step == 0:
            trainer.fit_below()
        if trainer.progress >= 1:
            say(f"the run in {folder.path} is complete; give more --steps or --minutes to go on with it")
            return folder
        if trainer.patience is not None and trainer.patience.is_over:
            say(
                f"the run in {folder.path} has stopped early: {trainer.patience.reason}; give more --steps or --minutes, or "
                "a larger --patience, to go on with it"
            )
            return folder
        tracker = None
        if track is not None and processes.is_first:
            tracker = open_tracker(track, folder.path, config.to_dict())
        session = Session(trainer, folder, say, show_progress, tracker)
        session.run()
        if processes.is_first:
            for sentence in session.closing():
                say(sentence)
    return folder


def _check_num_examples(config: Config, dataset: Dataset, folder: RunFolder | None) -> None:
    """Refuse too few examples for a batch; of a folder whose run had others, for that they are not the same."""
    if config.training.batch_size > len(dataset.train) and folder is not None and folder.exists:
        check_same(folder, config, dataset)
    check_batch_size(config.training.batch_size, len(dataset.train))
