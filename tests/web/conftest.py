"""A folder with two small runs, and the page that shows them, served on this machine."""

import threading
import time
import warnings
from types import SimpleNamespace

import pytest

from lowerbound.cli.main import run
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf

TINY = ["--steps", "6", "--batch-size", "8", "--network.width", "8", "--num-evaluations", "2"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Runs of digits, given their labels, and of moons, one folder deeper."""
    out = tmp_path_factory.mktemp("studio")
    small = ["--network.blocks-per-level", "1", "--conditional"]
    assert run(["train", "digits", "--out", str(out / "digits"), *TINY, *small]) == 0
    assert run(["train", "moons", "--out", str(out / "more" / "moons"), *TINY]) == 0
    return out


@pytest.fixture(scope="session")
def shelf(folder):
    return Shelf(folder)


@pytest.fixture(scope="session")
def digits(shelf):
    return shelf.open("digits")


@pytest.fixture(scope="session")
def moons(shelf):
    return shelf.open("more/moons")


@pytest.fixture(scope="session")
def limits():
    return Limits(most_samples=8, most_steps=20, most_megabytes=1, most_waiting=4)


@pytest.fixture(scope="session")
def served(shelf, limits, tmp_path_factory):
    """The page on a free port of 127.0.0.1: its port, its address and the folder of uploads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the framework's own
        pytest.importorskip("gradio")
        import uvicorn

        from lowerbound.web.studio import _listen, application

        uploads = tmp_path_factory.mktemp("uploads")
        listening = _listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(application(shelf, limits, uploads), log_level="error"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    assert server.started
    yield SimpleNamespace(port=port, address=f"http://127.0.0.1:{port}", uploads=uploads)
    server.should_exit = True
    thread.join(10)
    listening.close()
