"""The server: it shows at once which runs there are, to one machine alone unless it is asked for more, then the studio."""

import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lowerbound.errors import InputError
from lowerbound.web.guard import LOOPBACK
from lowerbound.web.limits import Limits
from lowerbound.web.run_folders import check_runs
from lowerbound.web.waiting import waiting


def serve(root: Path | str, limits: Limits, host: str, port: int | None, say: Callable[[str], object]) -> None:
    """Show the runs of a folder until it is stopped.

    Arguments:
        root: a run, or a folder of runs.
        limits: of what may be asked for.
        host: the address to listen at.
        port: the port; the first free one from 7860 on if None.
        say: told the page's address as soon as it can be asked for.

    Raises:
        InputError: if there is no run, the address or the port cannot be had, or gradio is not there.
    """
    root = Path(root).expanduser()
    check_runs(root)
    hosts = LOOPBACK if host in LOOPBACK else None
    listening = _listen(host, port)
    with TemporaryDirectory(prefix="lowerbound-studio-") as uploads, listening:
        shown = f"[{host}]" if ":" in host else host
        with waiting(listening, root, hosts):
            say(f"http://{shown}:{listening.getsockname()[1]}")
            # what takes the time until the studio is there
            from lowerbound.machine.processor import leave_busy_processors
            from lowerbound.web.shelf import Shelf
            from lowerbound.web.studio import application
            from lowerbound.web.trainings import Trainings

            leave_busy_processors()
            shelf = Shelf(root)
            # who trains writes files: nobody from elsewhere does
            trainings = None if hosts is None else Trainings(shelf, limits)
            page = application(shelf, limits, Path(uploads), hosts, trainings)
            import uvicorn  # which comes with the framework of the page
        try:
            uvicorn.Server(uvicorn.Config(page, log_level="warning")).run(sockets=[listening])
        finally:
            if trainings is not None:
                trainings.end()


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens, so that an address that is printed is there."""
    family, ports = socket.AF_INET6 if ":" in host else socket.AF_INET, range(7860, 7960) if port is None else (port,)
    for last in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, last))
            listening.listen(128)
        except (OSError, OverflowError) as error:
            listening.close()
            if last == ports[-1]:
                named = port or f"{ports[0]} to {last}"
                raise InputError(
                    f"cannot listen at {host}, port {named} ({error}): give another --host or --port"
                ) from error
        else:
            return listening
    raise AssertionError("a range of ports is not empty")
