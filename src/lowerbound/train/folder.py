"""The run folder: what lies where, and how it is written and read.

config.json          the configuration and what the run knows of its data
log.jsonl            one record per training step and per evaluation along the way
checkpoints/         the newest states, to go on from
model.safetensors    the averaged weights, to use
early.safetensors    the averaged weights of early in the run, an eighth of it or a little more: a weaker model of the same
                     kind, for autoguidance; written once
samples/             pictures drawn along the way
variance.json        the analytic reverse variance, once it has been asked for
classifier.safetensors  a classifier of noisy data, once it has been asked for
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open

from lowerbound.data import Dataset, Encoding, Standardisation, read_encoding
from lowerbound.errors import InputError
from lowerbound.files import write_file
from lowerbound.printable import printable
from lowerbound.train.config import SCHEMA_VERSION, Config


@dataclass(frozen=True)
class DataFacts:
    """What a run knows of its data without having them at hand."""

    name: str
    shape: tuple[int, ...]
    layout: str
    encoding: Encoding
    class_names: tuple[str, ...]
    vectors: Standardisation | None
    fingerprint: str

    @property
    def num_condition_features(self) -> int:
        """The length of a condition vector; 0 if the data have none."""
        return 0 if self.vectors is None else len(self.vectors.shift)

    @classmethod
    def of(cls, dataset: Dataset) -> "DataFacts":
        """The facts of a data set."""
        return cls(
            name=dataset.name,
            shape=dataset.shape,
            layout=dataset.layout,
            encoding=dataset.encoding,
            class_names=dataset.class_names,
            vectors=dataset.vectors,
            fingerprint=dataset.fingerprint(),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "encoding": self.encoding.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DataFacts":
        """From `to_dict`'s values; KeyError or TypeError if they are not."""
        if values.get("num_condition_features"):  # of before their normalisation
            raise InputError(
                f"this run of {values['name']} took condition vectors as they are, which is no longer done: train it anew"
            )
        return cls(
            name=printable(values["name"]),
            shape=tuple(values["shape"]),
            layout=printable(values["layout"]),
            encoding=read_encoding(values["encoding"]),
            class_names=tuple(map(printable, values["class_names"])),
            vectors=Standardisation.of(values.get("vectors")),
            fingerprint=values["fingerprint"],
        )


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

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.is_file()

    @property
    def is_distilled(self) -> bool:
        """Whether the model here is a student, made for a few steps of its own."""
        return "times" in self.read_metadata()

    def read_metadata(self) -> dict[str, str]:
        """What model.safetensors says of its weights; nothing if it is not there."""
        try:
            with safe_open(self.model, framework="pt") as file:
                return file.metadata() or {}
        except (OSError, SafetensorError):
            return {}

    def write_config(self, config: Config, facts: DataFacts) -> None:
        """Write config.json."""
        content = {"schema_version": SCHEMA_VERSION, **config.to_dict(), "data_facts": facts.to_dict()}
        write_file(self.config, (json.dumps(content, indent=2) + "\n").encode())

    def read_config(self) -> tuple[Config, DataFacts]:
        """Read config.json.

        Raises:
            InputError: if there is no run here, or its configuration is damaged or of a newer schema.
        """
        try:
            values = json.loads(self.config.read_text())
            version = values.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise InputError(
                    f"{self.config} has the schema version {version}, this program knows {SCHEMA_VERSION}: install "
                    f"{'a newer' if version > SCHEMA_VERSION else 'the older'} lowerbound, or train the run anew"
                )
            facts = DataFacts.from_dict(values.pop("data_facts"))
            return Config.from_dict(values), facts
        except FileNotFoundError as error:
            raise InputError(f"there is no run in {self.path}: give a folder that `lowerbound train` made") from error
        except NotADirectoryError as error:
            raise InputError(f"{self.path} is a file: give the folder of a run") from error
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{self.config} is damaged: {type(error).__name__} {error}") from error

    def read_log(self) -> list[dict[str, Any]]:
        """The records of the log; a last line that an interruption left incomplete is not one.

        Raises:
            InputError: if a line is damaged, or no record.
        """
        if not self.log.is_file():
            return []
        records = []
        lines = self.log.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number < len(lines):
                    raise InputError(f"{self.log}, line {number} is damaged: {error}") from error
                break
            if not isinstance(records[-1], dict):
                raise InputError(f"{self.log}, line {number} is damaged: it should be an object, got {line[:40]!r}")
        return records

    def open_log(self, last_step: int) -> IO[str]:
        """The log for appending after `last_step`: what stands there of later steps is removed first."""
        kept = [record for record in self.read_log() if record["step"] <= last_step]
        write_file(self.log, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return self.log.open("a")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second process.

        Raises:
            InputError: if another process trains here.
        """
        import fcntl

        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise InputError(f"another process ({file.read().strip()}) is training in {self.path}") from error
            file.truncate(0)
            file.write(f"pid {os.getpid()}")
            file.flush()
            yield
