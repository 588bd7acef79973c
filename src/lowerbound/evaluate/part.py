"""A part of an evaluation: what it is called, what it costs, how it is found, and what is then known.

An evaluation is a sequence of parts. Each says before it starts what it will cost, is kept as soon as it is known, and is
found again by its key; one that can't be had leaves its reason and does not touch the others.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[int], object]
"""Called with the number of units that were done."""
Stage = Callable[[str, int], AbstractContextManager[Progress]]
"""Opens a progress display of a name and a total; what it gives is called with the number of units done."""
VERSION = 2
"""Of how parts are found: what another one left is found anew."""
PROBE_SECONDS = 0.5
PROBED = (1, 2, 4, 8, 16, 32, 64)
"""Examples, one number after the other, until a number takes `PROBE_SECONDS`."""


@dataclass(frozen=True)
class Figures:
    """What a part found: a frozen record that JSON can hold; what it says to people is in `report`."""


@dataclass(frozen=True)
class Cost:
    """What a part takes.

    Arguments:
        work: in words.
        calls: of the network, for one example each; 0 where there are none.
        at_least: whether the number of calls is found out on the way and may be larger.
    """

    work: str
    calls: float = 0.0
    at_least: bool = False


@dataclass(frozen=True)
class Part:
    """One thing that an evaluation finds out.

    Arguments:
        name: by which it is kept.
        title: in words.
        cost: what it takes.
        compute: finds it; takes a folder to put its files in, and what shows progress.
        units: of progress.
        settings: all that its result depends on, beside model and data, as JSON can hold it.
        files: names of the files that it may leave in the folder.
        missing: why it can't be had, if that is known before.
        is_shared: whether all processes compute it together; else the first one does.
    """

    name: str
    title: str
    cost: Cost
    compute: Callable[[Path, Progress], Figures]
    units: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    missing: str | None = None
    is_shared: bool = False

    def key(self, identity: Sequence[str]) -> str:
        """By which its result is known again: a hash of the model's and the data's identity and of the settings."""
        content = json.dumps([VERSION, self.name, list(identity), dict(self.settings)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass
class Pace:
    """Seconds for a network call of one example, from what was measured so far.

    Arguments:
        calls: that were measured.
        seconds: that they took together.
    """

    calls: float = 0.0
    seconds: float = 0.0

    @property
    def per_call(self) -> float | None:
        """Seconds; None before anything was measured."""
        return self.seconds / self.calls if self.seconds > 0 else None

    def add(self, cost: Cost, seconds: float) -> None:
        """Learn from a part that is done."""
        if cost.calls and not cost.at_least:
            self.calls, self.seconds = self.calls + cost.calls, self.seconds + seconds

    def probe(self, calls_of: Callable[[int], float]) -> None:
        """Measure before anything is known: one example, then twice as many each time until it takes long enough to tell.

        Arguments:
            calls_of: makes calls for so many examples and returns how many it made.
        """
        calls_of(1)  # the first call of all does what is done once
        for num_examples in PROBED:
            began = time.perf_counter()
            self.calls = calls_of(num_examples)
            self.seconds = time.perf_counter() - began
            if self.seconds > PROBE_SECONDS:
                return

    def seconds_for(self, cost: Cost) -> float | None:
        """About how long a part will take; None where that is not known."""
        return cost.calls * self.per_call if cost.calls and self.per_call else None
