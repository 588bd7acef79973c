"""Two small runs that all tests of the command line share."""

import shutil

import pytest


@pytest.fixture(scope="session")
def trained(two_runs, tmp_path_factory):
    """A run of digits given their labels."""
    return shutil.copytree(two_runs / "digits", tmp_path_factory.mktemp("digits") / "digits")


@pytest.fixture(scope="session")
def trained_moons(two_runs, tmp_path_factory):
    """A run of points in the plane."""
    return shutil.copytree(two_runs / "moons", tmp_path_factory.mktemp("moons") / "moons")


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory, trained, trained_moons):
    """A folder with both runs in it, as digits and moons."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "digits").symlink_to(trained)
    (folder / "moons").symlink_to(trained_moons)
    return folder
