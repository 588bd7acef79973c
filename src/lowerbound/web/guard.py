"""What stands before the page: nothing is asked of other places, no file but an upload comes out, nothing too large in."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""The names by which a machine calls itself."""
POLICY = "; ".join(
    [
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
        "frame-ancestors 'self'",
        "form-action 'self'",
        "base-uri 'self'",
    ]
)
"""By which a browser refuses every request of the page to another place. The page's framework needs its inline scripts."""
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""By which an answer is kept to the page."""
OUTSIDE = re.compile(r"<(?:link|meta|script)\b[^>]*https?://[^>]*>(?:\s*</script>)?")
"""Tags of the framework that would fetch fonts and scripts from elsewhere, or name a picture there."""
MOST_JSON = 1 << 20
FILE_ROUTES = re.compile(r"^/+(?:gradio_api/+)?(?:file|proxy|stream|custom_component|component_server)\b")
"""Routes of the framework that hand out what a path or an address names."""


class Guard:
    """An application that takes only requests which mean no harm, and passes them on.

    Arguments:
        application: the page.
        uploads: the folder of what visitors uploaded, all that a path may lead to.
        most_bytes: of an upload.
        hosts: the names by which the page may be asked for; any if None. A page of elsewhere whose name was made to point
            to this machine is refused by it.
    """

    def __init__(self, application: Any, uploads: Path, most_bytes: int, hosts: tuple[str, ...] | None = None):
        self.application = application
        self.uploads = uploads.resolve()
        self.most_bytes = most_bytes
        self.hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(send, *refusal)
            return
        count, most = 0, self._most(scope["path"])

        async def receive_counted() -> Any:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            return {"type": "http.disconnect"} if count > most else message  # one that lied about its length

        await self.application(scope, receive_counted, _Outgoing(send))

    def _most(self, path: str) -> int:
        return self.most_bytes + MOST_JSON if path.rstrip("/").endswith("/upload") else MOST_JSON

    def _refusal(self, scope: Any, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """A status and why, of a request that is not passed on."""
        if not is_asked_by(headers.get(b"host", ""), self.hosts):
            return 421, "this page is for this machine alone"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._most(scope["path"]):
            return 413, f"too large: an upload has at most {self.most_bytes >> 20} megabytes"
        path = _decoded(scope["path"])
        if path is None or "\\" in path or "\0" in path or ".." in re.split(r"[/=]", path):
            return 400, "no such path"
        if match := FILE_ROUTES.match(path):
            if not match[0].endswith("file") or not path[match.end() :].startswith("="):
                return 403, "no such path"
            file = Path(path[match.end() + 1 :])
            if not file.is_absolute() or not file.resolve().is_relative_to(self.uploads):
                return 403, "no such file"
        return None


def is_asked_by(host: str, hosts: tuple[str, ...] | None) -> bool:
    """Whether a request calls the machine by a name that it may, with or without a port; any if None."""
    return hosts is None or re.sub(r":\d*$", "", host).strip("[]") in hosts


def _decoded(path: str) -> str | None:
    """A path without any of its codes, however often it was coded; None of one that does not end."""
    for _ in range(8):
        if (plain := unquote(path)) == path:
            return path
        path = plain
    return None


class _Outgoing:
    """What is sent, with headers that keep the page to itself, and HTML without its tags that lead outside."""

    def __init__(self, send: Any):
        self.send, self.body = send, b""
        self.start: dict[str, Any] | None = None

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if pair[0].lower() != b"server"]
            headers += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": headers}
            kind = dict(headers).get(b"content-type", b"")
            if kind.startswith(b"text/html") and b"content-encoding" not in dict(headers):
                self.start = message
                return
        elif self.start is not None:
            self.body += message.get("body", b"")
            if message.get("more_body", False):
                return
            body = OUTSIDE.sub("", self.body.decode()).encode()
            headers = [pair for pair in self.start["headers"] if pair[0].lower() != b"content-length"]
            await self.send({**self.start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            self.start, message = None, {"type": "http.response.body", "body": body}
        await self.send(message)


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = reason.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
