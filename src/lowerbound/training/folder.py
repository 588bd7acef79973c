"""The run folder: what lies where, and how it is written and read.

config.json          the configuration and what the run knows of its data
log.jsonl            one record per training step, and per evaluation along the way, with examples per second, the most
                     memory, and the share of the steps' time in which they waited for data
checkpoints/         the newest states, to go on from
model.safetensors    the averaged weights, to use
early.safetensors    the averaged weights of early in the run, an eighth of it or a little more: a weaker model of the same
                     kind, for autoguidance; written once
samples/             pictures drawn along the way
variance.json        the analytic reverse variance, once it has been asked for
classifier.safetensors  a classifier of noisy data, once it has been asked for
"""

import hashlib
import json
import math
import os
import reprlib
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from torch import nn

from lowerbound import imports
from lowerbound.data import DataSpec
from lowerbound.data.source import is_path
from lowerbound.errors import InputError
from lowerbound.files.records import MOST_BYTES
from lowerbound.files.weights import read_metadata
from lowerbound.files.whole import in_place, names_in, read_text, write_file
from lowerbound.nn.size import check_size
from lowerbound.training.build import build_denoiser, build_relative
from lowerbound.training.config import SCHEMA_VERSION, Config
from lowerbound.words.nearest import nearest

MEASURED = ("variance.json", "classifier.safetensors")
"""Files of what is measured or trained for a run once it is there."""
CLOCKS = ("seconds", "examples_per_second", "peak_memory_bytes", "data_share")
"""Of a record of the log, what is of the machine and how busy it was, and another when the same run is trained again."""
MOST_PARAMETERS = 1 << 32
MOST_LOG_BYTES = 1 << 32
_LARGEST = 1e300
_POSSIBLE: set[str] = set()
"""Hashes of configurations whose models were found to be possible: the same file is read many times."""


class RunFolder:
    """The paths of a run and its small files."""

    def __init__(self, path: Path | str):
        self.path = Path(path).expanduser()
        self.config = self.path / "config.json"
        self.log = self.path / "log.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.safetensors"
        self.early = self.path / "early.safetensors"
        self.samples = self.path / "samples"
        self.lock = self.path / "lock"
        self.files = (self.config, self.log, self.model, self.early, self.lock, *map(self.path.joinpath, MEASURED))

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.is_file()

    @property
    def is_distilled(self) -> bool:
        """Whether the model here is a student, made for a few steps of its own."""
        return "times" in self.read_metadata()

    def read_metadata(self) -> dict[str, str]:
        """What model.safetensors says of its weights; nothing if it is not there or damaged."""
        try:
            return read_metadata(self.model)
        except InputError:
            return {}

    def check(self) -> None:
        """Refuse a folder in which something is not what a run has there, before it is read or written through.

        Raises:
            InputError: for a file in the place of the run, a link in that of a folder or of the lock, and a device or a pipe
                in that of a file.
        """
        if self.path.is_file():
            raise InputError(f"{self.path} is a file: give the folder of a run")
        for folder in (self.checkpoints, self.samples, self.path / "evaluation"):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise InputError(f"{folder} is {_kind(folder)}, and a run has a folder there: move it away")
        if self.lock.is_symlink():  # it is written in place
            raise InputError(f"{self.lock} is a link, and a run has a file there: remove it")
        for file in self.files:
            if file.exists() and not file.is_file():
                raise InputError(f"{file} is {_kind(file)}, and a run has a file there: move it away")

    def write_config(self, config: Config, spec: DataSpec) -> None:
        """Write config.json."""
        content = {"schema_version": SCHEMA_VERSION, **config.to_dict(), "data_facts": spec.to_dict()}
        write_file(self.config, (json.dumps(content, indent=2) + "\n").encode())

    def read_config(self) -> tuple[Config, DataSpec]:
        """Read config.json.

        Raises:
            InputError: if there is no run here, or its configuration is damaged or of a newer schema.
        """
        self.check()
        try:
            values = json.loads(read_text(self.config, MOST_BYTES))
        except FileNotFoundError as error:
            parent = self.path.parent
            runs = [name for name in names_in(parent) if (parent / name / self.config.name).is_file()]
            remedy = "give a folder that `lowerbound train` made"
            if near := nearest(self.path.name, runs):
                remedy = f"did you mean {parent / near}?"
            elif not is_path(str(self.path)):
                remedy = f"fetch it first, by `lowerbound import {self.path}`"
            raise InputError(f"there is no run in {self.path}: {remedy}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.config} is damaged: {type(error).__name__} {error}") from error
        return configuration(values, str(self.config))

    def read_log(self) -> list[dict[str, Any]]:
        """The records of the log; a last line that an interruption left incomplete is not one.

        Raises:
            InputError: if a line is damaged, or no record.
        """
        if not self.log.is_file():
            return []
        records = []
        lines = read_text(self.log, MOST_LOG_BYTES).splitlines()
        for number, line in enumerate(lines, 1):
            source = f"{self.log}, line {number}"
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                if number < len(lines):
                    raise InputError(f"{source} is damaged: {error}") from error
            else:
                _check_record(records[-1], source)
        return records

    def open_log(self, last_step: int) -> IO[str]:
        """The log for appending after `last_step`: what stands there of later steps is removed first."""
        self.write_log(record for record in self.read_log() if record["step"] <= last_step)
        return self.log.open("a")

    def write_log(self, records: Iterable[dict[str, Any]]) -> None:
        """Write the whole log."""
        write_file(self.log, "".join(json.dumps(record) + "\n" for record in records).encode())

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the run against a second process.

        Raises:
            InputError: if another process trains here.
        """
        self.check()
        with self.lock.open("a+") as file:
            try:
                _lock(file)
            except OSError as error:
                file.seek(0)
                raise InputError(f"another process ({file.read().strip()}) is training in {self.path}") from error
            file.truncate(0)
            with in_place(self.lock):
                os.write(file.fileno(), f"pid {os.getpid()}".encode())  # not when it is closed
            yield

    @property
    def is_locked(self) -> bool:
        """Whether a process trains here."""
        import fcntl

        if not self.lock.is_file():
            return False
        with self.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go at once
            except BlockingIOError:
                return True
        return False


def configuration(values: Any, source: str) -> tuple[Config, DataSpec]:
    """The configuration that config.json holds, and what it says of the data.

    Arguments:
        values: its content.
        source: where that is from, for messages.

    Raises:
        InputError: if it is damaged, of another schema, or of a model that is too large.
    """
    try:
        digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()
        values = dict(values)
        version = values.pop("schema_version")
        if version != SCHEMA_VERSION:
            is_newer = isinstance(version, int) and version > SCHEMA_VERSION
            raise InputError(
                f"{source} has the schema version {version!r}, this program knows {SCHEMA_VERSION}: install "
                f"{'a newer' if is_newer else 'the older'} lowerbound, or train the run anew"
            )
        spec = DataSpec.from_dict(values.pop("data_facts"), f"{source}: data_facts")
        config = Config.from_dict(values)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f"{source} is damaged: {type(error).__name__} {error}") from error

    def build() -> nn.Module:
        """Where the parameters are."""
        if config.imported is not None:
            return imports.stated(config.imported).build()
        if not config.model.is_denoiser:
            return build_relative(config.model, spec)
        return build_denoiser(config, spec.conditioned(config.data.conditional))

    if digest not in _POSSIBLE:
        check_size(build, MOST_PARAMETERS, source)
        _POSSIBLE.add(digest)
    return config, spec


def _lock(file: IO[str]) -> None:
    """Lock a file, at the second try: `is_locked` may hold it for a moment.

    Raises:
        OSError: if another process holds it.
    """
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check_record(record: Any, source: str) -> None:
    """Refuse what is no record of the log; a loss may have been infinite or no number, where and when may not."""
    if not isinstance(record, dict):
        raise InputError(f"{source} is damaged: it should be an object, got {reprlib.repr(record)}")
    names = {"step", "seconds", *({"loss", "held_out_bits_per_dim"} & record.keys())}
    if "held_out_bits_per_dim" in record:
        names.add("standard_error")
    for name in sorted(names):
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
            raise InputError(f"{source} is damaged: {name} is {reprlib.repr(value)}, which is not a number")
        if name in ("step", "seconds") and not math.isfinite(value):
            raise InputError(f"{source} is damaged: {name} is {value}, which is not finite")
    count = record.get("num_examples")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise InputError(
            f"{source} is damaged: num_examples is {reprlib.repr(count)}, which is not a number of examples"
        )


def _kind(path: Path) -> str:
    """What a path is, in words."""
    if path.is_symlink():
        return "a link"
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "a device or a pipe"
