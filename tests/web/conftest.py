"""A folder with two small runs, and the page that shows them, served on this machine."""

import dataclasses
import importlib.util
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from lowerbound.cli.main import run
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf

TINY = ["--steps", "8", "--batch-size", "8", "--network.width", "8", "--num-evaluations", "4"]
"""So many evaluations that early weights are kept."""


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


def _is_loaded(address: str) -> bool:
    """Whether the page is there, and not the one that is shown while it is loaded."""
    try:
        urllib.request.urlopen(address).close()
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return False
    return True


@pytest.fixture(scope="session")
def served(folder, limits):
    """The page as the command shows it: its process, its port, and the address that it printed."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio is not installed")
    limits = dataclasses.replace(limits, most_steps=1000)  # so many that there is time to stop them
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(limits).items()]
    command = [sys.executable, "-m", "lowerbound", "studio", str(folder), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        while not _is_loaded(address):
            time.sleep(0.1)
        yield SimpleNamespace(process=process, address=address, port=int(address.rpartition(":")[2]))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
