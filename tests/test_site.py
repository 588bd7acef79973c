"""The site's pages: each in a toctree, each link to a page or file that is there, and the guide says what its code says."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from lowerbound.cli.flags import flags
from lowerbound.cli.score import Options as ScoreOptions
from lowerbound.cli.train import Options as TrainOptions

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md"))
QUESTIONS = [f"questions/{script.stem}" for script in sorted((DOCS / "questions").glob("*.py"))]


def load(name: str):
    """A script of docs as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


snippets = load("snippets")


def entries(page: str) -> list[str]:
    """What a page's toctrees list."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    listed = [line.strip() for tree in trees for line in tree.splitlines() if line.strip() and line[0] != ":"]
    return [(Path(page).parent / line).as_posix() for line in listed]


def test_every_page_is_reached_once_from_the_front():
    reached, ahead = [], ["index"]
    while ahead:
        reached.append(page := ahead.pop())
        ahead += entries(page) if page in PAGES else []
    assert sorted(reached) == sorted([*PAGES, *QUESTIONS])


def test_the_likelihood_of_my_data_is_at_most_two_clicks_away():
    assert "[the likelihood of my data](howto/likelihood.md)" in (DOCS / "index.md").read_text()
    assert "[The likelihood of my data](docs/howto/likelihood.md)" in (DOCS.parent / "README.md").read_text()


def test_every_picture_has_words():
    """Which its page shows below it, where it stands alone."""
    for page in DOCS.rglob("*.md"):
        assert all(map(str.strip, re.findall(r"!\[([^\]]*)\]\(", page.read_text()))), page


def test_a_picture_that_stands_alone_has_its_words_below_it():
    nodes = pytest.importorskip("docutils.nodes")
    pytest.importorskip("sphinx")
    alone, picture = load("extensions/captions").alone, nodes.image(alt="What it shows")
    assert alone(nodes.paragraph("", "", picture)) is picture
    assert alone(nodes.paragraph("", "", nodes.reference("", "", picture))) is None  # of a table of links, say
    assert alone(nodes.paragraph("", "", nodes.Text("See "), picture)) is None
    assert alone(nodes.paragraph("", "Words.")) is None


LONGER = ("4_bound", "6_score", "7_energy", "heavy_tails")
"""Two seconds each; `make docs` runs them too."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in LONGER)) for page in snippets.PAGES],
)
def test_a_page_shows_what_its_snippets_print_and_draw(page, tmp_path):
    for each in snippets.run(page, tmp_path):
        assert snippets.agree(each.shown, each.printed), each
    drawn = snippets.pictures(page)
    assert drawn
    for name in drawn:
        assert (tmp_path / name).exists()
        assert (page.parent / "pictures" / name).stat().st_size < 60_000


def test_figures_that_differ_are_seen():
    assert snippets.agree("log p 1.23 ± 0.04\n", "log p 1.24 ± 0.03\n")
    assert not snippets.agree("log p 1.23\n", "log p 1.26\n")
    assert not snippets.agree("log p 1.23\n", "log q 1.23\n")
    assert not snippets.agree("", "1 line\n")


@pytest.mark.parametrize("page", ["likelihood", "compare", "learn"])
def test_a_page_for_each_kind_of_reader_runs(page, tmp_path, monkeypatch, capsys):
    """With a shorter training, if there is one."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "howto" / f"{page}.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    short = (
        code.replace("minutes=0.5", "steps=20")
        .replace("[:100]", "[:10]")
        .replace("], 2000)", "], 300)")
        .replace("range(300)", "range(100)")
    )
    exec(compile(short, f"{page}.md", "exec"), names)
    assert capsys.readouterr().out
    if page == "compare":  # each with more steps is nearer, and those of second order are nearer than that of first
        errors = names["errors"]
        assert all(errors[name, 20] < errors[name, 10] for name in ("DDIM", "DPMSolver", "Heun"))
        assert max(errors["DPMSolver", 20], errors["Heun", 20]) < errors["DDIM", 20]
    if page == "learn":
        assert names["bound"] < names["data"].log_prob(names["x"]).mean()


def test_the_options_on_the_pages_for_readers_are_there():
    text = "\n".join(page.read_text() for page in (DOCS / "howto").glob("*.md"))
    known = {*flags(TrainOptions).values(), *flags(ScoreOptions).values(), "--calls", "--samplers"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", text)) <= known
