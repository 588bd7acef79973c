"""The studio answers before it is loaded, and on the same socket afterwards."""

import base64
import http.client
import re
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lowerbound.errors import InputError
from lowerbound.web.guard import LOOPBACK
from lowerbound.web.limits import Limits
from lowerbound.web.serve import _listen, serve
from lowerbound.web.waiting import runs_page, waiting


def ask(port, path="/?run=digits", host="127.0.0.1"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def test_a_page_of_the_runs_until_another_server_has_the_socket(folder):
    with _listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with waiting(listening, folder, LOOPBACK):
            for path in ("/?run=digits", "/gradio_api/file=/etc/passwd", "/../../etc/passwd"):
                status, headers, body = ask(port, path)
                assert (status, headers["Retry-After"]) == (503, "1")
                assert headers["Content-Security-Policy"].startswith("default-src 'self'")
                assert "?run=more/moons" in body
                assert "passwd" not in body
            assert ask(port, host="elsewhere.example")[0] == 421
        accepted = []

        def serve_one():
            connection, _ = listening.accept()
            with connection:
                accepted.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nthe page")

        listening.settimeout(20)
        other = threading.Thread(target=serve_one)
        other.start()
        assert (ask(port)[0], accepted[0][:5]) == (200, b"GET /")
        other.join(20)


def test_the_runs_are_shown_with_their_last_samples_and_the_one_that_is_asked_for_is_marked(folder):
    page = runs_page(folder, "more/moons")
    assert re.search(r"<a href='\?run=more/moons' aria-current=true>", page)
    assert page.count("aria-current=") == 1
    newest = max((folder / "digits" / "samples").iterdir())
    assert base64.b64encode(newest.read_bytes()).decode() in page
    assert "<a href='?run=digits' aria-current=true>" in runs_page(folder, "<script>")
    assert "<a href='?run=digits' aria-current=true>" in runs_page(folder / "digits", "")


def test_names_are_text_and_links_lead_nowhere(tmp_path):
    run = tmp_path / "<b>'"
    run.mkdir()
    for name in ("config.json", "model.safetensors"):
        (run / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "step-1.png").write_bytes(b"a secret")
    (run / "samples").symlink_to(tmp_path / "elsewhere")
    page = runs_page(tmp_path, "")
    assert "?run=%3Cb%3E%27" in page
    assert "&lt;b&gt;&#x27;" in page
    assert "<b>" not in page
    assert "<img" not in page


def test_an_address_that_is_told_before_anything_takes_long():
    code = (
        "import sys; from lowerbound.web.limits import Limits; from lowerbound.web.serve import serve\n"
        "def say(address):\n    print(address, *sys.modules); sys.exit()\n"
        "serve(sys.argv[1], Limits(), '127.0.0.1', 0, say)"
    )
    with TemporaryDirectory() as folder:
        for name in ("config.json", "model.safetensors"):
            Path(folder, name).touch()
        command = [sys.executable, "-c", code, folder]
        address, *loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert address.startswith("http://127.0.0.1:")
    assert not {"torch", "gradio", "pandas", "matplotlib", "scipy"}.intersection(loaded)


def test_no_address_is_told_where_there_is_nothing_to_show(tmp_path):
    told = []
    with pytest.raises(InputError, match="no trained run"):
        serve(tmp_path, Limits(), "127.0.0.1", 0, told.append)
    assert told == []


def test_what_takes_long_to_import_is_left_until_the_address_is_told():
    code = "import sys, lowerbound.cli.main, lowerbound.cli.studio; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "lowerbound.web.serve" in loaded
    assert not {"torch", "gradio", "pandas", "matplotlib", "scipy", "lowerbound.training"}.intersection(loaded)
