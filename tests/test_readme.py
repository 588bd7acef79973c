"""The README's Python runs, its pictures are drawn by a script, and the file tree is the one that is there."""

import math
import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from lowerbound.cli.main import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NUM_LEVELS = 17


def test_example_trains_samples_and_says_its_bits(tmp_path, monkeypatch, capsys):
    """With two seconds in the place of the README's."""
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    code, num_shortened = re.subn(r"minutes=[\d.]+", "minutes=0.03", example[1])
    assert num_shortened == 1
    assert len(list(filter(None, code.splitlines()))) == 12
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    printed = re.search(r"^(\d+\.\d+) ± (\d+\.\d+) bits/dim, bound", capsys.readouterr().out, re.MULTILINE)
    assert printed is not None
    bits, error = map(float, printed.groups())
    assert 0 < error < bits < math.log2(NUM_LEVELS)
    assert names["samples"].shape == (64, 1, 8, 8)
    assert names["samples"].min() >= 0
    assert names["samples"].max() < NUM_LEVELS
    assert (tmp_path / "samples.png").exists()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps."""
    out = tmp_path_factory.mktemp("strip") / "digits"
    small = ["--steps", "4", "--batch-size", "8", "--network.width", "8", "--network.blocks-per-level", "1"]
    assert run(["train", "digits", "--out", str(out), *small]) == 0
    return out


def test_the_pictures_are_drawn_from_a_run(tiny, tmp_path, monkeypatch):
    script, out = ROOT / "docs" / "strip.py", tmp_path / "strip.png"
    monkeypatch.setattr(sys, "argv", [str(script), str(tiny), "--out", str(out)])
    runpy.run_path(str(script), run_name="__main__")
    with Image.open(out) as drawn, Image.open(ROOT / "docs" / "strip.png") as shown:
        assert drawn.size == shown.size
    assert (ROOT / "docs" / "strip.png").stat().st_size < 150_000


def test_every_file_that_is_pointed_to_exists():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.parametrize("page", ["results.md", "images.md"])
def test_every_result_stands_beside_a_command(page):
    """Each part of the results names a script or a command that is there."""
    text = (ROOT / "docs" / page).read_text()
    for script in re.findall(r"python ((?:benchmarks|docs)/[\w/]+\.py)", text):
        assert (ROOT / script).exists(), script
    for part in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        if re.search(r"\d\.\d", part):
            assert re.search(r"python (benchmarks|docs)/|lowerbound (train|compare|evaluate)|make demo", part), part
            assert re.search(r"2026-\d\d-\d\d", part), part


def test_the_citation_is_of_this_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {version[1]}\n" in citation
    assert "the lowerbound authors" in citation.lower()
    assert f"version {version[1]}" in (ROOT / "CHANGELOG.md").read_text()


def test_tree_names_everything_there_is():
    tree = (ROOT / "CONTRIBUTING.md").read_text().split("## The tree")[1]
    named = set(re.findall(r"^  ([a-z_]+(?:\.py|/))", tree, re.MULTILINE))
    package = ROOT / "src" / "lowerbound"
    there = {p.name for p in package.glob("*.py")} | {f"{p.name}/" for p in package.iterdir() if p.is_dir()}
    assert named == there - {"__init__.py", "__main__.py", "__pycache__/"}
