"""Ctrl-C, SIGTERM and SIGHUP: in training a flag that is looked at when it is safe to stop, elsewhere an exception.

A signal that is ignored when the program starts, as nohup does with SIGHUP and a shell with the Ctrl-C of what it runs in
the background, stays ignored.
"""

import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lowerbound.errors import Stopped

Handler = Callable[[int, FrameType | None], object]
ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Interruption:
    """While entered, the first signal sets `requested`; a second one ends the program at once, as it would have.

    A KeyboardInterrupt that leaves it after the request of another signal than Ctrl-C's becomes `Stopped`.

    Attributes:
        requested: the number of the signal that has come, or None.
    """

    def __init__(self):
        self.requested: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        self._previous = _handle([signal.SIGINT, *ENDING], self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _restore(self._previous)
        if self.requested not in (None, signal.SIGINT) and kind is KeyboardInterrupt:
            raise Stopped(self.requested) from None

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        _leave_terminal()
        _restore(self._previous)


@contextmanager
def stoppable() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP raise `Stopped` where the program is, as Ctrl-C raises KeyboardInterrupt."""

    def stop(number: int, frame: FrameType | None) -> None:
        _leave_terminal()
        raise Stopped(number)

    previous = _handle(ENDING, stop)
    try:
        yield
    finally:
        _restore(previous)


def _handle(numbers: Iterable[int], handler: Handler) -> dict[int, object]:
    """Install a handler for those signals that are not ignored; returns those that were there."""
    previous: dict[int, object] = {}
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        try:
            previous[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread: signals are somebody else's matter
            break
    return previous


def _restore(previous: dict[int, object]) -> None:
    while previous:
        number, handler = previous.popitem()
        signal.signal(number, handler)  # pyright: ignore[reportArgumentType]


def _leave_terminal() -> None:
    """Let what is still to be printed go nowhere if the terminal is gone: it would raise errors before all is saved."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
