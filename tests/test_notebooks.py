"""The notebooks run from their first cell to their last, and are kept without outputs."""

import json
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
SHORTER = {
    "theory": {r"^num_steps = .*": "num_steps = 100"},
    "table": {r"^minutes = .*": "minutes = 0.02"},
    "images": {r"^minutes = .*": "minutes = 0.02", r"^(test = .*)": r"\1[:10]"},
}
"""The budgets of a notebook, and those of a test."""


def cells(name: str, kind: str) -> list[str]:
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.fixture
def performed(tmp_path, monkeypatch):
    """What runs a notebook in an empty folder, on a small budget, and gives its names."""
    monkeypatch.chdir(tmp_path)
    before = matplotlib.get_backend()
    matplotlib.use("Agg")

    def perform(name: str) -> dict:
        code = "\n\n".join(cells(name, "code"))
        for usual, small in SHORTER[name].items():
            code, num_shortened = re.subn(usual, small, code, flags=re.MULTILINE)
            assert num_shortened == 1
        names: dict = {"__name__": name}
        exec(compile(code, f"{name}.ipynb", "exec"), names)
        assert len(plt.get_fignums()) >= 3
        return names

    yield perform
    plt.close("all")
    matplotlib.use(before)


def test_there_are_three():
    assert NAMES == ["images", "table", "theory"]


@pytest.mark.parametrize("name", NAMES)
def test_one_is_kept_without_outputs_and_links_to_what_is_there(name):
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    text = "\n".join(cells(name, "markdown"))
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (NOTEBOOKS / target).exists(), target


def test_the_theory_holds(performed):
    """Its own assertions compare each function with the library's."""
    names = performed("theory")
    exact, bounds = names["exact"].item(), [bound.item() for bound in names["bounds"]]
    assert bounds[0] < bounds[3] < bounds[-1] < exact + 0.05
    assert names["library"].item() == pytest.approx(exact, abs=0.05)
    assert names["learned"].item() < exact + 0.1


def test_a_table_has_a_density(performed):
    names = performed("table")
    assert names["scores"].nats.mean() < names["truth"](names["test"]).mean() + 0.1
    assert names["blame"].nats[0] < names["scores"].nats.mean()
    assert names["draws"].shape == (2, 100)
    assert names["made"].shape == (500, 3)


def test_a_folder_of_images_has_samples_and_bits(performed):
    names = performed("images")
    assert 0 < names["error"] < names["bits"] < 4.1
    assert len(names["test"]) == 10
    assert names["filled"].samples.shape == (4, 5, 1, 8, 8)
