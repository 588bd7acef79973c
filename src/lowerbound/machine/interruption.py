"""Ctrl-C, SIGTERM and SIGHUP: in training a flag that is looked at when it is safe to stop, elsewhere an exception.

A signal that is ignored when the program starts, as nohup does with SIGHUP and a shell with the Ctrl-C of what it runs in
the background, stays ignored.
"""

import os
import signal
import stat
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from lowerbound.errors import Stopped

Handler = Callable[[int, FrameType | None], object]
SAME_REQUEST = 2.0
"""Seconds in which a SIGTERM or SIGHUP that comes again is still the first: SLURM and systemd send theirs to all processes
of a job, of which a launcher passes it on to the others, and so does a shell with the one of its terminal."""
ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Interruption:
    """While entered, the first signal sets `requested`; a second one ends the program at once, as it would have.

    A KeyboardInterrupt that leaves it after the request of another signal than Ctrl-C's becomes `Stopped`.

    Attributes:
        requested: the number of the signal that has come, or None.
    """

    def __init__(self):
        self.requested: int | None = None
        self._since: float | None = None
        self._handling = ExitStack()

    def __enter__(self) -> "Interruption":
        self._handling.enter_context(handling([signal.SIGINT, *ENDING], self._request))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._handling.close()
        if self.requested not in (None, signal.SIGINT) and kind is KeyboardInterrupt:
            raise Stopped(self.requested) from None

    def _request(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._since is None:
            self.requested, self._since = number, now
            _leave_terminal()
        elif number not in ENDING or now - self._since > SAME_REQUEST:
            self._handling.close()
            signal.raise_signal(number)


@contextmanager
def stoppable() -> Generator[None]:
    """While entered, SIGTERM and SIGHUP raise `Stopped` where the program is, as Ctrl-C raises KeyboardInterrupt."""

    def stop(number: int, frame: FrameType | None) -> None:
        _leave_terminal()
        raise Stopped(number)

    with handling(ENDING, stop):
        yield


@contextmanager
def handling(numbers: Iterable[int], handler: Handler) -> Generator[None]:
    """While entered, a handler is called for those signals that are not ignored."""
    with ExitStack() as restoring:
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(ValueError):  # not the main thread: signals are somebody else's matter
                    restoring.callback(signal.signal, number, signal.signal(number, handler))
        yield


def _leave_terminal() -> None:
    """Let what is still to be printed go nowhere if the terminal is gone: it would raise errors before all is saved."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
