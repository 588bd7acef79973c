"""Going on with the run that is in a folder, or beginning it again when that is asked for."""

import itertools
from collections.abc import Callable
from pathlib import Path

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.training.checkpoint import check_shards, checkpoints, clean, read_checkpoint, step_of
from lowerbound.training.config import Config, as_flags, differences
from lowerbound.training.divergence import check_sound
from lowerbound.training.folder import RunFolder
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.trainer import Trainer
from lowerbound.training.training import Training

MAY_CHANGE = "training."
"""Settings that a resumed run may change: how it is trained, never what is trained."""
MAY_NOT_CHANGE = ("training.optimizer", "training.purpose", "training.augment")
"""The exceptions: an optimiser cannot go on from another one's memory, what a run is for is asked when it is begun, and a
network that is not told of changes cannot be."""
LENGTHS = ("training.steps:", "training.minutes:")
"""Settings that are given anew to go on with a run that has stopped."""
_MOST_SHOWN = 3
"""Of the settings that differ, with their values."""
_RESTART = "repeat the command with --restart to begin again at step 0 (the old log and weights are kept aside)"


def resume(folder: RunFolder, trainer: Trainer, say: Callable[[str], None], fall_back: bool = False) -> None:
    """Bring the trainer to the newest checkpoint of the run in the folder, if the run is the same.

    Arguments:
        folder: where the run is.
        trainer: an untrained one.
        say: where lines for the user go.
        fall_back: whether the checkpoint before the newest is taken if that is damaged, which is renamed then.

    Raises:
        InputError: if it is another run, its data are no longer the same, or its checkpoints are damaged or gone.
    """
    config, _ = folder.read_config()
    changes = check_same(folder, trainer.config, trainer.dataset)
    if folder.is_distilled:
        raise InputError(
            f"{folder.path} holds a distilled run, which is not trained on: choose another folder with --out"
        )
    if not go_on(folder, trainer, say, fall_back):
        return
    if config.training.learning_rate != trainer.config.training.learning_rate:
        trainer.rate_scale = 1.0
    if trainer.patience is not None and any(change.startswith(LENGTHS) for change in changes):
        trainer.patience.renew()
    for change in changes:
        say(f"  changed: {as_flags(change)}")


def check_same(folder: RunFolder, config: Config, dataset: Dataset) -> list[str]:
    """Refuse a folder that holds a run of other settings or other data; returns those settings that are others and may be.

    Arguments:
        folder: of a run.
        config, dataset: of the training that is to go on there.

    Raises:
        InputError: if it is another run, or its data are no longer the same.
    """
    changes = check_settings(folder, config)
    check_data(folder, dataset)
    return changes


def check_data(folder: RunFolder, dataset: Dataset) -> None:
    """Refuse a folder that holds a run of other data, by an InputError."""
    _, spec = folder.read_config()
    if not dataset.has_fingerprint(spec.fingerprint):
        raise InputError(
            f"{folder.path} was trained on other data than {dataset.spec.name} holds now, or on other labels or splits of "
            "them: choose another --out"
        )


def check_settings(folder: RunFolder, config: Config) -> list[str]:
    """Refuse a folder that holds a run of other settings, as `check_same`, whatever the data are now."""
    before, _ = folder.read_config()
    check_own(folder, before)
    changes = differences(before, config)
    fixed = [d for d in changes if not d.startswith(MAY_CHANGE) or d.startswith(MAY_NOT_CHANGE)]
    if fixed:
        raise InputError(
            f"{folder.path} holds a run with other settings ({_listed(fixed)}): choose another folder with --out, or repeat "
            "its own settings to go on with it"
        )
    return changes


def _listed(changes: list[str]) -> str:
    """Settings that differ, by their flags: the first few with their values, of the others the names."""
    few, more = changes[:_MOST_SHOWN], [as_flags(change).partition(":")[0] for change in changes[_MOST_SHOWN:]]
    return ", ".join(map(as_flags, few)) + (f"; also {', '.join(more)}" if more else "")


def check_effect(folder: RunFolder, trainer: Trainer) -> None:
    """Refuse other settings for a run that has nothing left to train, by an InputError: they would have no effect.

    Arguments:
        folder: where the run is.
        trainer: brought to its newest checkpoint.
    """
    changes = differences(folder.read_config()[0], trainer.config)
    is_over = trainer.progress >= 1 or (trainer.patience is not None and trainer.patience.is_over)
    if changes and is_over:
        raise InputError(
            f"the run in {folder.path} is complete, at step {trainer.step:,}, and other settings have no effect on it "
            f"({_listed(changes)}): choose another folder with --out, give more --steps or --minutes to go "
            "on with it, or give --restart to begin again at step 0"
        )


def check_own(folder: RunFolder, config: Config) -> None:
    """Refuse to train on what was trained elsewhere, by an InputError."""
    if config.imported is not None:
        raise InputError(
            f"{folder.path} holds a model that was trained elsewhere, which is not trained on: choose another folder with "
            "--out"
        )


def go_on(folder: RunFolder, trainer: Training, say: Callable[[str], None], fall_back: bool = False) -> bool:
    """Bring a training to the newest checkpoint in a folder; returns whether there is one.

    Arguments:
        (as in `resume`)

    Raises:
        InputError: if checkpoints are damaged or gone.
    """
    sharing = _sharing(trainer)
    sharing.by_first(lambda: clean(folder.checkpoints))
    saved = checkpoints(folder.checkpoints)
    if not saved:
        steps = [record["step"] for record in folder.read_log() if "loss" in record]
        if steps or folder.model.exists():
            trained = (
                f"was trained for {max(steps):,} steps, but its checkpoints are gone"
                if steps
                else "has its weights alone, as it was exported, and no checkpoints to go on from"
            )
            raise InputError(f"the run in {folder.path} {trained}: {_RESTART}, or choose another folder with --out")
        return False
    newest, *before = reversed(saved)
    try:
        restore(trainer, newest)
    except InputError as error:
        if not before:
            raise InputError(f"{error}; there is no checkpoint before it: {_RESTART}") from error
        if not fall_back:
            raise InputError(
                f"{error}; repeat the command with --fall-back to go on from the checkpoint before it, of step "
                f"{step_of(before[0])}"
            ) from error
        try:
            restore(trainer, before[0])
        except InputError as other:
            raise InputError(f"{error}, and {other}: {_RESTART}") from other
        damaged = newest.with_name(f"damaged-{newest.name}")
        renamed = sharing.by_first(lambda: newest.rename(_numbered(damaged)))  # nothing of it is lost
        say(f"{error}; the checkpoint before it is taken, and this one kept as {renamed.name}")
    say(f"going on in {folder.path} after step {trainer.step}")
    return True


def by_whom(trainer: Training, work: Callable[[], None]) -> None:
    """Let those bring a trainer to a checkpoint who have to: of a divided one all, each its part; else the first one."""
    if trainer.is_sharded:
        work()
    else:
        trainer.processes.by_first(work)


def restore(trainer: Training, path: Path) -> None:
    """Bring a trainer to a checkpoint, whoever wrote it: one process, or several that had a part each.

    Raises:
        InputError: if that is damaged, of another configuration, or of a training that has diverged.
    """
    sharing = _sharing(trainer)
    state = sharing.by_first(lambda: check_shards(path))
    if state is not None:
        from lowerbound.training.parallel.shards import read_shards  # which takes a while to import

        tensors = read_shards(path, dict(trainer.trained.named_parameters()), sharing)
    else:
        tensors, state = read_checkpoint(path)
    try:
        with sharing.together():
            trainer.restore(tensors, state)
        check_sound(trainer)
    except InputError as error:
        raise InputError(f"damaged checkpoint: {path} ({error})") from error


def _sharing(trainer: Training) -> Processes:
    """The processes that read a checkpoint together."""
    return trainer.processes if trainer.is_sharded else ALONE


def set_aside(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Move what a run has made so far into a folder of its own inside the run's, so that it begins again at step 0."""
    made = [path for path in (folder.log, folder.model, folder.early, folder.checkpoints) if path.exists()]
    if not made:
        return
    aside = _numbered(folder.path / "before-restart")
    aside.mkdir()
    for path in made:
        path.rename(aside / path.name)
    say(f"beginning again; what was there is in {aside}")


def _numbered(path: Path) -> Path:
    """The path with the first number behind it that nothing is called yet."""
    names = (path.with_name(f"{path.name}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
