"""What is shown from the first moment on, while the studio and what it is made of are being loaded: the runs there are.

Each run has its name and the samples that were drawn last in its training. Following a name chooses the run with which the
studio opens. The page asks by itself whether the studio is there, and then is replaced by it.
"""

import base64
import html
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from lowerbound.web.guard import HEADERS, is_asked_by
from lowerbound.web.run_folders import find_runs

SECONDS_TO_ASK = 5
MOST_RUNS = 100
"""That are shown by name."""
MOST_PICTURES = 12
"""Runs whose samples are shown."""
MOST_BYTES = 1 << 18
"""Of such a picture."""
MOST_CHOSEN = 4
"""Pages that are kept, each with another run that is marked."""


@contextmanager
def waiting(listening: socket.socket, root: Path, hosts: tuple[str, ...] | None) -> Generator[None]:
    """While entered, whoever asks at a socket for anything is shown which runs there are.

    Arguments:
        listening: which afterwards listens still, to be handed to another server.
        root: a run, or a folder of runs.
        hosts: the names by which the page may be asked for; any if None.
    """

    @lru_cache(MOST_CHOSEN)
    def page(chosen: str) -> bytes:
        """Made once: it asks several times a second, beside what is being loaded."""
        return runs_page(root, chosen).encode()

    class Answer(BaseHTTPRequestHandler):
        """With a status that tells programs to come again."""

        timeout = SECONDS_TO_ASK

        def do_GET(self) -> None:
            """Show the page."""
            if is_asked_by(self.headers.get("host", ""), hosts):
                chosen = parse_qs(urlsplit(self.path).query).get("run", [""])[0]
                status, body = 503, page(chosen)
            else:
                status, body = 421, b"this page is for this machine alone"
            self.send_response(status)
            for name, value in {**HEADERS, "Retry-After": "1", "Content-Type": "text/html; charset=utf-8"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def runs_page(root: Path, chosen: str) -> str:
    """The runs, as a page in HTML.

    Arguments:
        root: a run, or a folder of runs.
        chosen: the name of the one that the address asks for, if there is one of this name.
    """
    runs = sorted(find_runs(root).items())[:MOST_RUNS]
    if chosen not in dict(runs):
        chosen = runs[0][0] if runs else ""
    items = "".join(
        f"<li><a href='?run={quote(name)}'{' aria-current=true' * (name == chosen)}>"
        f"{_samples(folder) if number < MOST_PICTURES else ''}{html.escape(name)}</a></li>"
        for number, (name, folder) in enumerate(runs)
    )
    return files("lowerbound.web").joinpath("waiting.html").read_text().replace("<!-- runs -->", items)


def _samples(run: Path) -> str:
    """The samples of a run that were drawn last while it was trained, as a picture; nothing if there are none."""
    try:
        folder = run / "samples"
        pictures = [] if folder.is_symlink() else sorted(folder.glob("step-*.png"))
        if not pictures or pictures[-1].is_symlink() or pictures[-1].stat().st_size > MOST_BYTES:
            return ""
        content = base64.b64encode(pictures[-1].read_bytes()).decode()
    except OSError:
        return ""
    return f"<img src='data:image/png;base64,{content}' alt=''>"
