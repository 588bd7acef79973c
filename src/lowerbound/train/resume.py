"""Going on with the run that is in a folder, or beginning it again when that is asked for."""

from collections.abc import Callable

from lowerbound.errors import InputError
from lowerbound.train.checkpoint import checkpoints, clean, read_checkpoint
from lowerbound.train.config import differences
from lowerbound.train.folder import DataFacts, RunFolder
from lowerbound.train.loop import Trainer

MAY_CHANGE = "training."
"""Settings that a resumed run may change: how it is trained, never what is trained."""
MAY_NOT_CHANGE = "training.optimizer"
"""The exception: an optimiser cannot go on from another one's memory."""


def resume(folder: RunFolder, trainer: Trainer, say: Callable[[str], None]) -> None:
    """Bring the trainer to the newest checkpoint of the run in the folder, if the run is the same.

    Raises:
        InputError: if it is another run, its data are no longer the same, or its checkpoints are damaged or gone.
    """
    config, facts = folder.read_config()
    found = differences(config, trainer.config)
    fixed = [d for d in found if not d.startswith(MAY_CHANGE) or d.startswith(MAY_NOT_CHANGE)]
    if fixed:
        raise InputError(
            f"{folder.path} holds a run with other settings ({fixed[0]}{' ...' * (len(fixed) > 1)}): choose another "
            "folder with --out, or repeat its own settings to go on with it"
        )
    if facts.fingerprint != DataFacts.of(trainer.dataset).fingerprint:
        raise InputError(
            f"{folder.path} was trained on other data than {trainer.dataset.name} holds now: choose another --out"
        )
    if folder.is_distilled:
        raise InputError(
            f"{folder.path} holds a distilled run, which is not trained on: choose another folder with --out"
        )
    clean(folder.checkpoints)
    newest = checkpoints(folder.checkpoints)[-1:]
    if not newest:
        steps = [record["step"] for record in folder.read_log() if "loss" in record]
        if steps or folder.model.exists():
            raise InputError(
                f"the run in {folder.path} was trained for {max(steps, default=0):,} steps, but its checkpoints are gone: "
                "repeat the command with --restart to begin again at step 0 (the old log and weights are kept aside), or "
                "choose another folder with --out"
            )
        return
    trainer.restore(*read_checkpoint(newest[0]))
    say(f"going on with the run in {folder.path} after step {trainer.step}")
    for difference in found:
        say(f"  changed: {difference}")


def set_aside(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Move what a run has made so far into a folder of its own inside the run's, so that it begins again at step 0."""
    made = [path for path in (folder.log, folder.model, folder.early, folder.checkpoints) if path.exists()]
    if not made:
        return
    number = 1
    while (aside := folder.path / f"before-restart-{number}").exists():
        number += 1
    aside.mkdir()
    for path in made:
        path.rename(aside / path.name)
    say(f"beginning again; what was there is in {aside}")
