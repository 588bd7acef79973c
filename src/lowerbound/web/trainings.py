"""The training that the page has started: the command `lowerbound train` in a process of its own, one at a time."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

from lowerbound.data import DataConfig
from lowerbound.data.listing import ARCHIVES
from lowerbound.errors import InputError
from lowerbound.files.whole import replacing
from lowerbound.training.folder import RunFolder
from lowerbound.training.trainer import TRAINING_SHARE
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf

BUNDLED = ("digits", "moons", "swiss-roll", "checkerboard", "mixture")
"""Data that need no file and no network."""
UPLOADS = "uploads"
"""The folder beside the runs that keeps the files that runs were trained on."""
KINDS = (".csv", ".tsv", ".txt", ".parquet", ".npy", ".npz", *ARCHIVES)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SECONDS_TO_SAVE = 60
STOPPED = 130
"""How the command exits when it has been stopped, with everything saved."""
MOST_SAID = 2000
"""Bytes of what the command has said that are shown."""


class Trainings:
    """Starts, stops and goes on with training.

    Arguments:
        shelf: the runs, beside which new ones are put.
        limits: of what may be asked for.

    Attributes:
        folder: of the run that was trained last; None: none yet.
        source: its data.
    """

    def __init__(self, shelf: Shelf, limits: Limits):
        self.shelf, self.limits = shelf, limits
        self.folder: RunFolder | None = None
        self.source = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._was_stopped = False
        self._lock = Lock()

    @property
    def is_running(self) -> bool:
        """Whether a model is being trained."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether the command has ended, neither done nor stopped."""
        return self._process is not None and self._process.poll() not in (None, 0, STOPPED)

    @property
    def said(self) -> str:
        """The last lines that the command has said."""
        if self._output is None:
            return ""
        # read where it is: the command goes on writing where the file's position stands
        start = max(0, os.fstat(self._output.fileno()).st_size - MOST_SAID)
        return os.pread(self._output.fileno(), MOST_SAID, start).decode(errors="replace").strip()

    def begin(self, name: str, source: str | Path, minutes: float, conditional: bool = False) -> None:
        """Train a new run.

        Arguments:
            name: of the run.
            source: one of `BUNDLED`, or the path of a file, which is kept beside the runs.
            minutes: how long.
            conditional: whether it learns the data given their labels.

        Raises:
            InputError: for a name that is taken or none, data of another kind, more minutes than the limit, or while another
                training runs.
        """
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r:.80} is no name of a run: give letters, digits, - and _, at most 64")
        if self.shelf.is_single:
            raise InputError("this page shows a single run: start it with a folder of runs to train others beside it")
        folder = RunFolder(self.shelf.root / name)
        if name == UPLOADS or folder.path.exists():
            raise InputError(f"there is already something called {name!r} here: choose another name, or go on with it")
        self._check(minutes)
        if isinstance(source, Path):
            source = self._kept(source, name)
        elif source not in BUNDLED:
            raise InputError(f"no data {source!r:.40}: choose one of {', '.join(BUNDLED)}, or upload a file")
        self._start(folder, source, minutes, ["--conditional"] * conditional)

    def go_on(self, name: str, minutes: float) -> None:
        """Train a run of the shelf, or the one that was begun last, so many minutes more.

        Raises:
            InputError: if there is no such run, its command had further settings of the data, for more minutes than the
                limit, or while another training runs.
        """
        self._check(minutes)
        begun = self.folder is not None and self.folder.exists and self.folder.path.name == name
        folder = self.folder if begun and self.folder is not None else self.shelf.folder(name)
        config, _ = folder.read_config()
        data = config.data
        if data != DataConfig(data.source, conditional=data.conditional):
            raise InputError(f"{name} was begun with further settings of its data: go on with it by its own command")
        spent = max((record["seconds"] for record in folder.read_log()), default=0.0) / 60 / TRAINING_SHARE
        flags = ["--model", config.model.name, *["--conditional"] * data.conditional]
        self._start(folder, data.source, spent + minutes, flags)

    def stop(self) -> None:
        """Ask the training to save everything and end; it goes on from there when it is asked to."""
        if self._process is not None and self.is_running:
            self._was_stopped = True
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Stop, wait until everything is saved, and forget what the command has said."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(SECONDS_TO_SAVE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _check(self, minutes: float) -> None:
        if not 0 < minutes <= self.limits.most_minutes:
            raise InputError(f"{minutes:g} minutes: this page trains for up to {self.limits.most_minutes:,} at once")
        if self._was_stopped and self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_SAVE)  # what was stopped saves everything before it ends
        if self.is_running and self.folder is not None:
            raise InputError(f"{self.folder.path.name} is being trained: wait for its end, or stop it first")

    def _kept(self, file: Path, name: str) -> str:
        """A file that was uploaded, kept under the run's name."""
        if file.suffix.lower() not in KINDS:
            raise InputError(f"a file of type {file.suffix!r:.10}: give one of {', '.join(KINDS)}")
        if file.stat().st_size > self.limits.most_megabytes << 20:
            raise InputError(f"the file is larger than {self.limits.most_megabytes} megabytes")
        folder = self.shelf.root / UPLOADS
        if folder.is_symlink():
            raise InputError(f"{UPLOADS} is a link: move it away")
        folder.mkdir(exist_ok=True)
        kept = folder / f"{name}{file.suffix.lower()}"
        with replacing(kept) as unfinished:
            shutil.copyfile(file, unfinished)
        return str(kept.resolve())

    def _start(self, folder: RunFolder, source: str, minutes: float, flags: list[str]) -> None:
        command = ["train", source, "--out", str(folder.path.resolve()), "--minutes", f"{minutes:.4g}", *flags]
        with self._lock:
            self._check(self.limits.most_minutes)
            self.end()
            self._output = TemporaryFile()  # noqa: SIM115, `end` closes it
            self.folder, self.source, self._was_stopped = folder, source, False
            # a session of its own: Ctrl-C ends the page, which then tells its training to save everything
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lowerbound", *command], stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
