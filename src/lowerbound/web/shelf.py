"""The runs that the page shows: those of one folder, by their names, opened when they are asked for."""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.folder import model_hash
from lowerbound.run import Run, open_run
from lowerbound.run.autoguided import for_samples
from lowerbound.training.folder import RunFolder
from lowerbound.web.run_folders import check_runs, find_runs, is_single

MOST_OPEN = 3
"""Runs that are held in memory; the one that was used longest ago makes room for another."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A run in use on the page.

    Arguments:
        name: by which the page calls it.
        run: the model.
    """

    name: str
    run: Run

    @cached_property
    def dataset(self) -> Dataset:
        """Its data.

        Raises:
            InputError: if they are no longer there, or no longer the same.
        """
        return self.run.open_dataset()

    @cached_property
    def for_samples(self) -> Run:
        """The run as samples are drawn from it where no guidance is asked for: guided by its early weights, or as it is."""
        return for_samples(self.run)

    @property
    def is_autoguided(self) -> bool:
        """Whether it has early weights that samples are guided by."""
        return self.for_samples is not self.run

    @cached_property
    def weights(self) -> str:
        """The hash of the weights, by which a file of samples knows which model it is of."""
        return model_hash(self.run)

    @cached_property
    def training_values(self) -> np.ndarray | None:
        """Training examples to draw beside samples, at most 2,000 of them, as stored; None if the data are gone."""
        try:
            return self.dataset.examples[self.dataset.some("train", 2000)]
        except InputError:
            return None


class Shelf:
    """The runs below a folder, or a single run.

    A name is looked up in what was found there, never joined to a path: no name leads anywhere else.

    Arguments:
        root: a run, or a folder that holds some.

    Raises:
        InputError: if there is no run that has a model.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser()
        self._opened: OrderedDict[str, tuple[int, Opened]] = OrderedDict()
        self._lock = Lock()
        check_runs(self.root)

    @property
    def is_single(self) -> bool:
        """Whether it is a run itself that was given, and no folder that holds some."""
        return is_single(self.root)

    def names(self) -> list[str]:
        """The names of the runs that are there now."""
        return sorted(find_runs(self.root))

    @property
    def first(self) -> Opened:
        """The first run that can be drawn from, with which the page opens.

        Raises:
            InputError: if there is none any more, or all are damaged: what is wrong with the first.
        """
        check_runs(self.root)
        names = self.names()
        for name in names:
            with suppress(InputError):
                opened = self.open(name)
                _ = opened.for_samples  # whose early weights may be damaged, too
                return opened
        return self.open(names[0])

    def open(self, name: str) -> Opened:
        """A run by its name.

        Raises:
            InputError: if there is none of this name, or its files are damaged.
        """
        folder = self.folder(name)
        with self._lock:
            written = folder.model.stat().st_mtime_ns
            if name in self._opened and self._opened[name][0] == written:
                self._opened.move_to_end(name)
            else:
                self._opened[name] = written, Opened(name, open_run(folder.path))
            while len(self._opened) > MOST_OPEN:
                self._opened.popitem(last=False)
            return self._opened[name][1]

    def folder(self, name: str) -> RunFolder:
        """The folder of a run by its name.

        Raises:
            InputError: if there is none of this name.
        """
        folders = find_runs(self.root)
        if name not in folders:
            raise InputError(f"there is no run {name!r:.80} here: choose one of {', '.join(sorted(folders)[:20])}")
        return RunFolder(folders[name])
