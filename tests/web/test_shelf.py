"""Runs are found below the folder and nowhere else, whatever a name says."""

import gc
import shutil

import pytest

from lowerbound.errors import InputError
from lowerbound.web.limits import Limits
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gradio leaves sockets open
def test_the_page_opens_with_the_first_run_that_is_whole(folder, tmp_path):
    files = {"a-model": "model.safetensors", "a-config": "config.json", "a-early": "early.safetensors"}
    for name in (*files, "b-whole"):
        shutil.copytree(folder / "digits", tmp_path / name)
    for name, file in files.items():
        damaged = tmp_path / name / file
        damaged.write_bytes(damaged.read_bytes()[:100])
    shelf = Shelf(tmp_path)
    assert shelf.first.name == "b-whole"
    pytest.importorskip("gradio")
    from lowerbound.web import draw, studio

    panels = []
    with pytest.MonkeyPatch.context() as patch:
        real = draw.DrawPanel
        patch.setattr(draw, "DrawPanel", lambda *given: panels.append(real(*given)) or panels[0])
        studio.page(shelf, Limits())
    for asked in ({}, *({"run": name} for name in files)):
        run, *_, said = panels[0].on_load(asked)
        assert run.value == "b-whole"
        assert ("cannot be followed" in said) == bool(asked)
    gc.collect()  # what gradio leaves open is noticed here, and not by another test


def test_a_page_of_damaged_runs_alone_says_what_is_wrong(folder, tmp_path):
    shutil.copytree(folder / "digits", tmp_path / "alone")
    (tmp_path / "alone" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"alone/config\.json"):
        _ = Shelf(tmp_path).first


def test_messages_name_no_paths_of_this_machine():
    assert plain("the run in /home/somebody/runs/digits takes no labels") == "the run in digits takes no labels"
    assert plain("3 bits/dim at ~/runs/a/b: and/or") == "3 bits/dim at b: and/or"
