"""The time of an audit: of a dear density each check is made with as many points as the time allows."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from lowerbound.auditing.subject import Points, Subject
from lowerbound.errors import InputError
from lowerbound.words.counts import counted


class Stage(NamedTuple):
    """A part of an audit, and when it ends at the latest, as a share of the whole time.

    Time that one leaves is the next one's.
    """

    ends: float
    share: float


SAMPLES = Stage(0.2, 0.2)
LOOKED_AT_AGAIN = Stage(0.4, 0.2)
GRID = Stage(0.5, 0.1)
DRAWS = Stage(0.7, 0.2)
OTHER_SAMPLES = Stage(0.8, 0.1)
SCORED = Stage(0.9, 0.1)
BOUNDED = Stage(0.95, 0.05)
TRUTH = Stage(1.0, 0.05)
TIMES_OVER = 8
"""That the log densities of the points which are looked at again are taken, of some of them alone, and of a few finely."""

LEAST = 10
"""Log densities that an audit takes at least, about: of a single point, again, and finely."""
MOST_OVER, MOST_SECONDS = 3, 30.0
"""Times the minutes that these may take, and seconds that one may take in any case: the first of all is slow by itself."""

now = time.thread_time
"""Of one core: what else runs on the machine takes nothing of it."""

Made = TypeVar("Made")
FirstFigures = Float[np.ndarray, " num_afforded"]


@dataclass
class Pace:
    """How long one kind of thing takes: the seconds of each in the last block of them, NaN before the first."""

    seconds: float = math.nan

    def blocks(self, block: Callable[[int, int], Made], num: int, seconds: float) -> list[Made]:
        """Blocks of things numbered from `start` to `stop`, of the first so many of `num` as the time suffices for.

        A single one goes first if nothing is known of them, after one that is thrown away, for the first call of all may
        take longer; and each further block is as large as the last one's pace allows.
        """
        made, done, began = [], 0, now()
        while done < num:
            if math.isnan(self.seconds):
                block(0, 1)
                size = 1
            else:
                size = self.affordable(seconds - (now() - began), num - done)
            if size == 0:
                break
            started = now()
            made.append(block(done, done + size))
            done += size
            self.seconds = (now() - started) / size
        return made

    def affordable(self, seconds: float, num: int) -> int:
        """How many of `num` things are made in so much time."""
        return num if num * self.seconds <= seconds else max(0, int(seconds / max(self.seconds, 1e-9)))


@dataclass
class Allowance:
    """A density, and the time that may be spent on it.

    Arguments:
        subject: the density.
        minutes: of one core, for the whole audit, from now on.
    """

    subject: Subject
    minutes: float
    _began: float = field(init=False)
    _of_density: Pace = field(default_factory=Pace)
    _of_samples: Pace = field(default_factory=Pace)
    _short: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = now()

    def looked_at_again(self, x: Points) -> Float[np.ndarray, "num_afforded num_dims"]:
        """The first so many points, one at least, as can be looked at again and again."""
        seconds = self._left(LOOKED_AT_AGAIN) / TIMES_OVER
        parts = self._of_density.blocks(lambda i, j: self._density(x[i:j])[0], len(x), seconds)
        return x[: max(1, sum(map(len, parts)))]

    def log_prob(self, x: Points, noun: str, stage: Stage) -> tuple[FirstFigures, FirstFigures | None]:
        """As the subject's, of the first so many points as a stage's time suffices for.

        Arguments:
            x: (N, D).
            noun: what they are, in the plural.
            stage: of the audit.
        """
        parts = self._of_density.blocks(lambda i, j: self._density(x[i:j]), len(x), self._left(stage))
        values = np.concatenate([np.empty(0), *(values for values, _ in parts)])
        errors = [errors for _, errors in parts if errors is not None]
        self._note(noun, len(values), len(x), stage, self._of_density)
        return values, np.concatenate(errors) if errors else None

    def sample(self, num: int, seed: int, stage: Stage) -> Points:
        """So many samples of the subject, or as many as a stage's time suffices for: one at least."""
        assert self.subject.sample is not None
        sample = self.subject.sample

        def block(start: int, stop: int) -> Points:
            return sample(stop - start, int(np.random.SeedSequence([seed, start]).generate_state(1)[0]))

        drawn = np.concatenate(self._of_samples.blocks(block, num, self._left(stage)) or [block(0, 1)])
        self._note("samples", len(drawn), num, stage, self._of_samples)
        return drawn

    def affordable(self, num: int, stage: Stage) -> int:
        """How many log densities of `num` are made in a stage's time, at the pace of the last ones."""
        return self._of_density.affordable(self._left(stage), num)

    @property
    def note(self) -> str:
        """What the time was too short for, and how much would do; empty if it sufficed."""
        if not self._short:
            return ""
        made = ", ".join(f"{made:,} of {num:,} {noun}" for noun, (made, num, _) in self._short.items())
        needed = math.ceil(max(minutes for _, _, minutes in self._short.values()))
        time_given = "1 minute" if self.minutes == 1 else f"{self.minutes:g} minutes"
        return f"the {time_given} allowed sufficed for {made}: all take {counted(needed, 'minute')} or less (--minutes)"

    def _density(self, x: Points) -> tuple[FirstFigures, FirstFigures | None]:
        """Log densities, if the first of all takes no longer than it may.

        Raises:
            InputError: if it does.
        """
        is_first, began = math.isnan(self._of_density.seconds), now()
        figures, seconds = self.subject.log_prob(x), now() - began
        if is_first and seconds > max(MOST_SECONDS, MOST_OVER * 60 * self.minutes / LEAST):
            raise InputError(
                f"one log density takes {seconds:.0f} s of a core, and an audit takes some {LEAST} of them at least: give "
                f"more time (--minutes {math.ceil(LEAST * seconds / 60)})"
            )
        return figures

    def _left(self, stage: Stage) -> float:
        return 60 * self.minutes * stage.ends - (now() - self._began)

    def _note(self, noun: str, made: int, num: int, stage: Stage, pace: Pace) -> None:
        if made < num:
            self._short[noun] = made, num, num * pace.seconds / 60 / stage.share
