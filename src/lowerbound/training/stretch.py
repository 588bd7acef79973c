"""One stretch of training, from a start or a checkpoint to its end or an interruption: log, checkpoints, progress bar."""

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from tqdm import tqdm

from lowerbound.errors import InputError
from lowerbound.files.whole import in_place, write_file
from lowerbound.machine.interruption import Interruption
from lowerbound.training.checkpoint import checkpoints, write_checkpoint
from lowerbound.training.divergence import check_sound
from lowerbound.training.folder import RunFolder
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.training.resume import go_on, set_aside
from lowerbound.training.trackers import Following, Tracker
from lowerbound.training.training import DivergenceError, Record, Training

CHECKPOINT_SECONDS = 60
BAR = "{percentage:3.0f}%|{bar:10}| {desc}"
"""How progress is shown, so that what matters of it fits eighty columns."""
_Kind = TypeVar("_Kind", bound=Training)


class Stretch(Generic[_Kind]):
    """One stretch of a training.

    Arguments:
        trainer: untrained, or at the newest checkpoint.
        folder: where log and checkpoints are.
        say: where lines for the user go.
        show_progress: whether to draw a progress bar.
        tracker: where the log's records go besides.
    """

    stops_early = False
    """Whether what was measured ends it before its length is reached."""
    fixed_loss = 0.0
    """What a loss is shown with besides: constants that nothing is learned from, in its own unit."""
    log: IO[str]
    interruption: Interruption

    def __init__(
        self,
        trainer: _Kind,
        folder: RunFolder,
        say: Callable[[str], None] = print,
        show_progress: bool = True,
        tracker: Tracker | None = None,
    ):
        self.trainer = trainer
        self.processes = trainer.processes
        self.folder = folder
        self.say = say if self.processes.is_first else lambda line: None
        self.tell = Following(tracker if self.processes.is_first else None)
        self.saved = time.monotonic()
        self.saved_step: int | None = None
        self.sound_loss = check_sound(trainer)
        self.bar = tqdm(
            total=100.0,
            initial=100 * min(1.0, trainer.progress),
            disable=None if show_progress and self.processes.is_first else True,
            bar_format=BAR,
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
        with Interruption() as self.interruption, self.bar:
            while True:
                with in_place(self.folder.log), self.open_log() as self.log:
                    try:
                        self.follow()
                        return
                    except DivergenceError as error:
                        self.recover(error)

    def open_log(self) -> IO[str]:
        """The log, of the first process; the others' records go nowhere."""
        return self.folder.open_log(self.trainer.step) if self.processes.is_first else open(os.devnull, "a")

    def follow(self) -> None:
        """Take the steps, and do after each what is due."""
        smoothed = None
        if not self.processes.by_first(lambda: len(checkpoints(self.folder.checkpoints))):
            self.save()
        for record in self.records():
            loss = record.loss + self.fixed_loss
            self._write({**asdict(record), "loss": loss})
            smoothed = loss if smoothed is None else 0.98 * smoothed + 0.02 * loss
            self.bar.n = 100 * min(1.0, self.trainer.progress)
            self.bar.set_description_str(self.describe(smoothed), refresh=False)
            self.bar.update(0)
            self.after_step()
            if self.stops_early:
                return
        if self.saved_step != self.trainer.step:  # its last batch was left out, or its end was not saved
            self.after_step()

    def records(self) -> Iterator[Record]:
        """One record per step."""
        return self.trainer.records()

    def recover(self, error: DivergenceError) -> None:
        """Go back to a state to go on from, or raise the error."""
        raise error

    def describe(self, loss: float) -> str:
        """What stands beside the progress bar, the loss being the mean lately."""
        return self.trainer.words(loss)

    def is_due(self) -> bool:
        """Whether something is to be measured now."""
        return False

    def measure(self) -> None:
        """Measure what is due."""

    def after_step(self) -> None:
        """Measure, save and stop if it is time to, but keep nothing that is not fit to be kept."""
        ends, is_first = self.trainer.progress >= 1, self.processes.is_first
        is_due, is_time, requested = self.processes.most(
            [
                is_first and self.is_due(),
                is_first and time.monotonic() - self.saved > CHECKPOINT_SECONDS,
                self.interruption.requested or 0,
            ]
        )
        if is_due or ends or requested or is_time:
            with self.processes.together():
                self.sound_loss = check_sound(self.trainer, self.sound_loss)
            if is_due:
                self.measure()
            self.save()
        if requested and not ends and not self.stops_early:
            self.interruption.requested = int(requested)
            self.bar.close()
            self.say(f"stopped at step {self.trainer.step} with everything saved: repeat the command to go on")
            raise KeyboardInterrupt

    def save(self) -> None:
        """Write a checkpoint."""
        folder, trainer = self.folder.checkpoints, self.trainer
        if trainer.is_sharded:
            from lowerbound.training.parallel.shards import write_shards  # which takes a while to import

            self.processes.by_first(self.log.flush)
            write_shards(folder, trainer.step, *trainer.state(), self.processes)
        else:

            def write() -> None:
                self.log.flush()
                write_checkpoint(folder, trainer.step, *trainer.state())

            self.processes.by_first(write)
        self.saved, self.saved_step = time.monotonic(), self.trainer.step

    def note(self, **facts: Any) -> None:
        """Write into the log what happened after the last step."""
        self._write({"step": self.trainer.step, "seconds": self.trainer.seconds, **facts})

    def _write(self, record: dict[str, Any]) -> None:
        self.log.write(json.dumps(record) + "\n")
        self.tell(record)


@dataclass(frozen=True)
class Workspace:
    """Where something is trained that is not a run of its own: as `open_workspace` gives it.

    Arguments:
        folder: with log and checkpoints.
        fall_back: whether a damaged newest checkpoint is passed over.
    """

    folder: RunFolder
    fall_back: bool = False


def complete(trainer: Training, workspace: Workspace | None = None) -> None:
    """Train to the end, from where it was interrupted if it was.

    Arguments:
        trainer: an untrained one.
        workspace: where it is kept to go on with; None: nowhere, and an interruption ends it.

    Raises:
        InputError: if a checkpoint is damaged, or training diverges.
        KeyboardInterrupt: after an interruption, with everything saved.
    """
    if workspace is None:
        for _ in trainer.records():
            pass
        return
    trainer.processes.by_first(lambda: go_on(workspace.folder, trainer, print, workspace.fall_back))
    trainer.share()
    Stretch(trainer, workspace.folder).run()


@contextmanager
def open_workspace(
    path: Path,
    settings: dict[str, Any],
    *,
    restart: bool = False,
    fall_back: bool = False,
    processes: Processes = ALONE,
) -> Generator[Workspace]:
    """A folder to train in, which an interruption leaves, to go on from, and which is gone once what is trained is made.

    Arguments:
        path: of the folder.
        settings: all that the result depends on but the length, as JSON holds it.
        restart: set aside what is there, and begin again.
        fall_back: go on from the checkpoint before the newest, if that is damaged.
        processes: that train there, of which the first owns the folder.

    Raises:
        InputError: if another process trains there, or it holds a training with other settings.
    """
    with ExitStack() as opened:
        yield processes.by_first(lambda: opened.enter_context(_own_workspace(path, settings, restart, fall_back)))


@contextmanager
def _own_workspace(path: Path, settings: dict[str, Any], restart: bool, fall_back: bool) -> Generator[Workspace]:
    """The workspace of the process that owns the folder."""
    folder, facts = RunFolder(path), path / "settings.json"
    if path.is_symlink():
        raise InputError(f"{path} is a link, and training goes on in a folder there: remove it")
    path.mkdir(parents=True, exist_ok=True)
    made = False
    with folder.locked():
        try:
            if restart:
                set_aside(folder, lambda line: print(f"{line} until this training is done"))
            elif folder.log.exists():
                _check_settings(facts, settings)
            write_file(facts, json.dumps(settings).encode())
            yield Workspace(folder, fall_back)
            made = True
        finally:
            if made or not folder.log.exists():
                shutil.rmtree(path)


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on with a training whose settings were others."""
    try:
        stored = json.loads(path.read_bytes()[: 1 << 20])
    except (OSError, ValueError, RecursionError):
        stored = None
    if stored == settings:
        return
    before = stored if isinstance(stored, dict) else {}
    others = [
        f"{name} was {str(before[name])[:40]!r}"
        for name in sorted(settings.keys() & before)
        if before[name] != settings[name]
    ]
    listed = f" ({', '.join(others)})" if others else ""
    raise InputError(
        f"{path.parent} holds an interrupted training with other settings{listed}: repeat its own command to go on with "
        "it, or give --restart to begin again"
    )
