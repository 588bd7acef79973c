"""The studio answers before it is loaded, and on the same socket afterwards."""

import http.client
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from lowerbound.errors import InputError
from lowerbound.web.limits import Limits
from lowerbound.web.serve import _listen, serve
from lowerbound.web.waiting import waiting


def ask(port, path="/?run=digits"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def test_a_page_that_asks_again_until_another_server_has_the_socket():
    with _listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with waiting(listening):
            for path in ("/?run=digits", "/gradio_api/file=/etc/passwd"):
                status, headers, body = ask(port, path)
                assert (status, headers["Retry-After"]) == (503, "1")
                assert 'http-equiv="refresh"' in body
                assert "passwd" not in body
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


def test_an_address_that_is_told_before_the_runs_are_looked_for(tmp_path):
    told = []
    with pytest.raises(InputError, match="no trained run"):
        serve(tmp_path, Limits(), "127.0.0.1", 0, lambda address: told.append(ask(int(address.rpartition(":")[2]))[0]))
    assert told == [503]


def test_what_takes_long_to_import_is_left_until_the_address_is_told():
    code = "import sys, lowerbound.cli.main, lowerbound.cli.studio; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "lowerbound.web.serve" in loaded
    assert not {"gradio", "pandas", "matplotlib", "scipy", "lowerbound.training"}.intersection(loaded)
