"""Two small runs that all tests of the command line share."""

import pytest

from lowerbound.cli.main import run

TINY = ["--steps", "6", "--batch-size", "8", "--network.width", "8", "--num-evaluations", "2"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of digits given their labels."""
    out = tmp_path_factory.mktemp("digits") / "digits"
    small = [*TINY, "--network.blocks-per-level", "1", "--conditional"]
    assert run(["train", "digits", "--out", str(out), *small]) == 0
    return out


@pytest.fixture(scope="session")
def trained_moons(tmp_path_factory):
    """A run of points in the plane."""
    out = tmp_path_factory.mktemp("moons") / "moons"
    assert run(["train", "moons", "--out", str(out), *TINY]) == 0
    return out


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory, trained, trained_moons):
    """A folder with both runs in it, as digits and moons."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "digits").symlink_to(trained)
    (folder / "moons").symlink_to(trained_moons)
    return folder
