"""The report is one file that holds everything, with all text escaped."""

import base64
import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.pictures.samples import sample_grid
from lowerbound.report.html import Findings, Picture, Report, Table, html
from lowerbound.words.rounding import figure_text

NASTY = "<script>alert('x')</script> & \"quoted\""


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, document: str):
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(document)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def report(tmp_path) -> Report:
    path = sample_grid(tmp_path / "grid.png", np.random.default_rng(0).random((4, 1, 3, 3)), (0, 1))
    return Report(
        title=NASTY,
        verdict=NASTY,
        paragraphs=(NASTY,),
        tables=(Table(NASTY, ("model", NASTY), (("a", NASTY), ("b", "1.2 ± 0.1")), main=1),),
        findings=(Findings(NASTY, (NASTY,), "serious"),),
        glossary=((NASTY, NASTY),),
        pictures=(Picture(NASTY, path, wide=True),),
        configuration={"train": {"steps": 10, NASTY: NASTY}},
    )


def test_all_text_is_escaped_and_tags_are_balanced(report):
    reader = Reader(html(report))
    assert "script" not in [tag for tag, _ in reader.tags]
    assert "".join(reader.text).count(NASTY) == 14
    assert [attributes["alt"] for tag, attributes in reader.tags if tag == "img"] == [NASTY]


def test_nothing_is_fetched_and_the_picture_is_inside(report):
    reader = Reader(html(report))
    linked = [value for _, attributes in reader.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(linked) == 1
    prefix, data = linked[0].split(",")
    assert prefix == "data:image/png;base64"
    with open(report.pictures[0].path, "rb") as file:
        assert base64.b64decode(data) == file.read()
    assert not {"link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    assert "url(" not in html(report)


def test_a_page_to_play_in_stands_in_a_frame_that_reaches_nothing(report):
    played = "<!doctype html><script>document.title = 'x'</script>"
    reader = Reader(html(dataclasses.replace(report, play=played)))
    (frame,) = [attributes for tag, attributes in reader.tags if tag == "iframe"]
    assert frame["srcdoc"] == played
    assert frame["sandbox"] == "allow-scripts"
    assert "script" not in [tag for tag, _ in reader.tags]


def test_the_same_report_gives_the_same_text(report):
    assert html(report) == html(report)


def test_the_verdict_leads_and_pictures_come_before_findings_and_these_before_figures(report):
    text = html(dataclasses.replace(report, verdict="What it comes to.", first=report.pictures, pictures=()))
    places = [text.index(part) for part in ("What it comes to.", "<img", "<h2>Findings", "<h2>Figures", "<h2>Glossary")]
    assert places == sorted(places)
    assert "<h2>Pictures" not in text
    assert "@media print" in text


def test_an_empty_report_has_no_empty_sections():
    assert "<h2>" not in html(Report("title"))


def test_pictures_that_are_missing_or_no_png_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        html(Report("title", pictures=(Picture("caption", tmp_path / "none.png"),)))
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(InputError, match="not a PNG"):
        html(Report("title", pictures=(Picture("caption", tmp_path / "text.png"),)))


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(InputError, match="1 cells"):
        Table("caption", ("a", "b"), (("1",),))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.2345, 0.0321, "1.234 ± 0.032"),
        (123.456, 12.3, "123 ± 12"),
        (0.0012, 0.0001, "0.00120 ± 0.00010"),
        (2.5, None, "2.5"),
        (2.5, 0.0, "2.5"),
        (2.5, float("nan"), "2.5 (error not known)"),
    ],
)
def test_a_figure_keeps_the_digits_that_its_error_leaves(value, error, text):
    assert figure_text(value, error) == text


def test_controls_in_names_of_others_are_shown_as_escapes():
    name = "cat\x1b[2J\u202e"
    document = html(Report(title=name, tables=(Table("a", (name,), ()),), configuration={name: name}))
    assert document.isprintable() or not {c for c in document if not c.isprintable()} - {"\n"}
    assert document.count("cat\\x1b[2J\\u202e") == 5
