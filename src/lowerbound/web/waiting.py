"""What is shown from the first moment on, while the page and what it is made of are still being loaded."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="1"><title>lowerbound studio</title></head>
<body style="font: 1rem/1.5 system-ui, sans-serif; margin: 2rem"><h1 style="font-size: 1.35rem">lowerbound studio</h1>
<p role="status">Loading. The studio appears here by itself in a few seconds.</p></body></html>
"""
SECONDS_TO_ASK = 5


@contextmanager
def waiting(listening: socket.socket) -> Iterator[None]:
    """While entered, whoever asks at a socket for anything is shown a page that asks again every second.

    Arguments:
        listening: which afterwards listens still, to be handed to another server.
    """
    server = ThreadingHTTPServer(("", 0), _Waiting, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _Waiting(BaseHTTPRequestHandler):
    """The page, with a status that tells programs to come again."""

    timeout = SECONDS_TO_ASK

    def do_GET(self) -> None:
        """Show the page."""
        body = PAGE.encode()
        self.send_response(503)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
