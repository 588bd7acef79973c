"""Runs are found below the folder and nowhere else, whatever a name says."""

import pytest

from lowerbound.errors import InputError
from lowerbound.web.shelf import Shelf
from lowerbound.web.show import plain


def test_runs_of_a_folder_and_a_single_run(folder, shelf):
    assert shelf.names() == ["digits", "more/moons"]
    assert Shelf(folder / "digits").names() == ["digits"]
    assert shelf.open("digits") is shelf.open("digits")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../studio/digits",
        "digits/",
        "./digits",
        "more/../digits",
        "/etc",
        "more",
        "%2e%2e/x",
        "digits\0",
    ],
)
def test_no_name_leads_elsewhere(shelf, name):
    with pytest.raises(InputError, match="there is no run"):
        shelf.open(name)


def test_links_lead_nowhere(folder, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(folder / "digits")
    with pytest.raises(InputError, match="no trained run"):
        Shelf(tmp_path / "runs")


def test_a_folder_without_runs_is_refused(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="no trained run"):
            Shelf(root)


def test_messages_name_no_paths_of_this_machine():
    assert plain("the run in /home/somebody/runs/digits takes no labels") == "the run in digits takes no labels"
    assert plain("3 bits/dim at ~/runs/a/b: and/or") == "3 bits/dim at b: and/or"
