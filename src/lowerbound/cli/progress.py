"""Progress on a console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def stage(name: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar of a name and a total, which disappears when it is done."""
    with tqdm(total=total, desc=name, leave=False, disable=None) as bar:
        yield bar.update


def say(text: str) -> None:
    """Print lines at once, also into a pipe."""
    print(text, flush=True)
