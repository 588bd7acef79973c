"""What is told on a console beside results: progress, and that a model is weak."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from lowerbound.baselines import weakness
from lowerbound.run import Run
from lowerbound.words.printable import printable


@contextmanager
def stage(name: str, total: int) -> Generator[Callable[[int], object]]:
    """A bar of a name and a total, which disappears when it is done."""
    with tqdm(total=total, desc=name, leave=False, disable=None) as bar:
        yield bar.update


def say(text: str, file: TextIO | None = None) -> None:
    """Print lines at once, also into a pipe; what a terminal would obey is shown in its place."""
    print(printable(text, keep="\n"), file=file, flush=True)


def say_weakness(run: Run) -> None:
    """Say so if held-out data cost its model more bits than its simplest baseline, as training has measured it."""
    if (sentence := weakness(run.metadata)) is not None:
        print(f"note: {sentence}", file=sys.stderr)
