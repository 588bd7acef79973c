"""One stretch of training, from a start or a checkpoint to its end or an interruption: log, checkpoints, progress bar."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from tqdm import tqdm

from lowerbound.errors import InputError
from lowerbound.files import write_file
from lowerbound.training.checkpoint import Checkpoint, checkpoints
from lowerbound.training.divergence import Watch
from lowerbound.training.folder import RunFolder
from lowerbound.training.interruption import Interruption
from lowerbound.training.resume import go_on, set_aside
from lowerbound.training.training import Record, Training

CHECKPOINT_SECONDS = 60
_Kind = TypeVar("_Kind", bound=Training)


class Stretch(Generic[_Kind]):
    """One stretch of a training.

    Arguments:
        trainer: untrained, or at the newest checkpoint.
        folder: where log and checkpoints are.
        say: where lines for the user go.
        show_progress: whether to draw a progress bar.
    """

    def __init__(self, trainer: _Kind, folder: RunFolder, say: Callable[[str], None], show_progress: bool):
        self.trainer = trainer
        self.folder = folder
        self.say = say
        self.saved = time.monotonic()
        self.saved_step: int | None = None
        self.watch = Watch(trainer)
        self.bar = tqdm(
            total=100.0,
            initial=100 * min(1.0, trainer.progress),
            disable=None if show_progress else True,
            bar_format="{percentage:3.0f}%|{bar:24}| {desc}",
            desc="starting",
            miniters=0,
            mininterval=0.3,
        )

    def run(self) -> None:
        """Train to the end.

        Raises:
            KeyboardInterrupt: after an interruption, with everything saved.
            DivergenceError: where training diverges, with the last good checkpoint kept.
        """
        with Interruption() as interruption, self.bar, self.folder.open_log(self.trainer.step) as log:
            self.follow(log, interruption)

    def follow(self, log: IO[str], interruption: Interruption) -> None:
        """Take the steps, and do after each what is due."""
        smoothed = None
        if not checkpoints(self.folder.checkpoints):
            self.save(log)
        for record in self.records(log):
            shown = self.shown(record)
            log.write(json.dumps(shown) + "\n")
            smoothed = shown["loss"] if smoothed is None else 0.98 * smoothed + 0.02 * shown["loss"]
            self.bar.n = 100 * min(1.0, self.trainer.progress)
            self.bar.set_description_str(self.describe(record, smoothed), refresh=False)
            self.bar.update(0)
            self.after_step(log, interruption)
        if self.saved_step != self.trainer.step:  # its last batch was left out, or its end was not saved
            self.after_step(log, interruption)

    def records(self, log: IO[str]) -> Iterator[Record]:
        """One record per step."""
        return self.trainer.records()

    def shown(self, record: Record) -> dict[str, Any]:
        """A record as the log has it."""
        return asdict(record)

    def describe(self, record: Record, loss: float) -> str:
        """What stands beside the progress bar, the loss being the mean lately."""
        return self.trainer.words(loss)

    def is_due(self) -> bool:
        """Whether something is to be measured now."""
        return False

    def measure(self, log: IO[str]) -> None:
        """Measure what is due."""

    def after_step(self, log: IO[str], interruption: Interruption) -> None:
        """Measure, save and stop if it is time to, but keep nothing that is not fit to be kept."""
        trainer = self.trainer
        is_due = self.is_due()
        save_due = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        if is_due or save_due or interruption.requested or trainer.progress >= 1:
            self.watch.check()
            if is_due:
                self.measure(log)
            self.save(log)
        if interruption.requested and trainer.progress < 1:
            self.bar.close()
            self.say(f"stopped at step {trainer.step} with everything saved: repeat the command to go on")
            raise KeyboardInterrupt

    def save(self, log: IO[str]) -> None:
        """Write a checkpoint."""
        log.flush()
        Checkpoint.of(self.trainer.step, *self.trainer.state()).write(self.folder.checkpoints)
        self.saved, self.saved_step = time.monotonic(), self.trainer.step


@dataclass(frozen=True)
class Workplace:
    """Where something is trained that is not a run of its own: as `workplace` gives it.

    Arguments:
        folder: with log and checkpoints.
        fall_back: whether a damaged newest checkpoint is passed over.
        say: where lines for the user go.
    """

    folder: RunFolder
    fall_back: bool = False
    say: Callable[[str], None] = print


def complete(trainer: Training, place: Workplace | None = None) -> None:
    """Train to the end, from where it was interrupted if it was.

    Arguments:
        trainer: an untrained one.
        place: where it is kept to go on with; None: nowhere, and an interruption ends it.

    Raises:
        InputError: if a checkpoint is damaged, or training diverges.
        KeyboardInterrupt: after an interruption, with everything saved.
    """
    if place is None:
        for _ in trainer.records():
            pass
        return
    go_on(place.folder, trainer, place.say, place.fall_back)
    Stretch(trainer, place.folder, place.say, show_progress=True).run()


@contextmanager
def workplace(
    path: Path,
    settings: dict[str, Any],
    *,
    restart: bool = False,
    fall_back: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[Workplace]:
    """A folder to train in, which an interruption leaves, to go on from, and which is gone once what is trained is made.

    Arguments:
        path: of the folder.
        settings: all that the result depends on but the length, as JSON holds it.
        restart: set aside what is there, and begin again.
        fall_back: go on from the checkpoint before the newest, if that is damaged.
        say: where lines for the user go.

    Raises:
        InputError: if another process trains there, or it holds a training with other settings.
    """
    folder, facts = RunFolder(path), path / "settings.json"
    if path.is_symlink():
        raise InputError(f"{path} is a link, and training goes on in a folder there: remove it")
    path.mkdir(parents=True, exist_ok=True)
    made = False
    with folder.locked():
        try:
            if restart:
                set_aside(folder, say)
            elif folder.log.exists():
                _check_settings(facts, settings)
            write_file(facts, json.dumps(settings).encode())
            yield Workplace(folder, fall_back, say)
            made = True
        finally:
            if made or not folder.log.exists():
                shutil.rmtree(path)


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on with a training whose settings were others."""
    try:
        known = json.loads(path.read_bytes()[: 1 << 20])
    except (OSError, ValueError, RecursionError):
        known = None
    if known != settings:
        before = known if isinstance(known, dict) else {}
        others = [
            f"{key} was {str(before[key])[:40]!r}" for key in settings.keys() & before if before[key] != settings[key]
        ]
        told = f" ({', '.join(sorted(others))})" if others else ""
        raise InputError(
            f"{path.parent} holds an interrupted training with other settings{told}: repeat its own command to go on with "
            "it, or give --restart to begin again"
        )
