"""One self-contained HTML file about a run: a verdict, pictures, findings, tables, a glossary, the configuration.

`html` is a pure function of a `Report`, apart from reading the pictures and page.css: no external resource, no script but
that of a page to play in, which is folded away in a frame of its own, all text escaped, legible in light and dark, on a
narrow screen and on paper.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape as as_html
from importlib.resources import files
from pathlib import Path
from typing import Any

from lowerbound.errors import InputError
from lowerbound.words.printable import printable

PLAY = "Draw a density of your own, and watch the bound close on log p"


@dataclass(frozen=True)
class Table:
    """A table of text: a caption, a header and rows of as many cells; row `main`, if any, is set in bold."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    main: int | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise InputError(f"table '{self.caption}': a row has {len(row)} cells, the header {len(self.header)}")


@dataclass(frozen=True)
class Picture:
    """A PNG file and its caption; a wide one takes the whole width."""

    caption: str
    path: Path | str
    wide: bool = False


@dataclass(frozen=True)
class Findings:
    """Findings that matter equally: their heading, a sentence each, and the name of their colour in page.css, if any."""

    heading: str
    sentences: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True)
class Report:
    """What a report says, in the order in which it says it.

    title, warnings: the head. verdict: all of it in one sentence; paragraphs: what is to be known besides. first: the
    pictures that are looked at before anything is read. findings: in groups, the most serious first. tables: figures.
    pictures: the others. glossary: words, each with what it means. play: a whole page in HTML that explains by being played
    with. configuration: nested mapping of settings, shown as indented text that can be folded away.
    """

    title: str
    warnings: tuple[str, ...] = ()
    verdict: str = ""
    paragraphs: tuple[str, ...] = ()
    first: tuple[Picture, ...] = ()
    findings: tuple[Findings, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    glossary: tuple[tuple[str, str], ...] = ()
    play: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)


def html(report: Report) -> str:
    """The report as one HTML document.

    Raises InputError if a picture is missing or is not a PNG file.
    """
    parts = [f"<h1>{escape(report.title)}</h1>"]
    parts += [f'<p class="warning">{escape(text)}</p>' for text in report.warnings]
    if report.verdict:
        parts.append(f'<p class="verdict">{escape(report.verdict)}</p>')
    parts += _pictures(report.first)
    parts += [f"<p>{escape(text)}</p>" for text in report.paragraphs]
    if report.findings:
        parts += ["<h2>Findings</h2>", *map(_findings, report.findings)]
    if report.tables:
        parts += ["<h2>Figures</h2>", *map(_table, report.tables)]
    if report.pictures:
        parts += ["<h2>Pictures</h2>", *_pictures(report.pictures)]
    if report.glossary:
        words = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in report.glossary)
        parts += ["<h2>Glossary</h2>", f"<dl>{words}</dl>"]
    if report.play:
        parts.append(_play(report.play))
    if report.configuration:
        lines = escape("\n".join(_lines(report.configuration)))
        parts += ["<h2>Configuration</h2>", f"<details><summary>All settings</summary><pre>{lines}</pre></details>"]
    body, style = "\n".join(parts), files("lowerbound.report").joinpath("page.css").read_text()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Text as a page shows it, with controls that others' names may hold as escapes."""
    return as_html(printable(text, keep="\n"))


def _play(page: str) -> str:
    """The page in a frame that can reach nothing outside of itself."""
    frame = f'<iframe title="{PLAY}" sandbox="allow-scripts" loading="lazy" srcdoc="{as_html(page)}"></iframe>'
    details = f"<details><summary>{PLAY}</summary>{frame}</details>"
    return f'<section class="play"><h2>What a bound is</h2>{details}</section>'


def _findings(findings: Findings) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in findings.sentences)
    style = f"finding {findings.style}".strip()
    return f'<section class="{style}"><h3>{escape(findings.heading)}</h3><ul>{items}</ul></section>'


def _pictures(pictures: tuple[Picture, ...]) -> list[str]:
    return [f'<div class="pictures">{"".join(map(_picture, pictures))}</div>'] if pictures else []


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = ""
    for index, row in enumerate(table.rows):
        opening = '<tr class="main">' if index == table.main else "<tr>"
        rows += opening + "".join(map(_cell, row)) + "</tr>"
    body = f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
    caption = escape(table.caption)
    # what can be scrolled is reached by keyboard, and then has a name
    return f'<h3>{caption}</h3><div class="scroll" tabindex="0" role="region" aria-label="{caption}">{body}</div>'


def _cell(text: str) -> str:
    """A cell; a figure and its error stay on one line."""
    return f'<td class="figure">{escape(text)}</td>' if " ± " in text and len(text) < 40 else f"<td>{escape(text)}</td>"


def _picture(picture: Picture) -> str:
    path = Path(picture.path)
    if not path.is_file():
        raise InputError(f"the picture {path} does not exist; write it before the report")
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"the picture {path} is not a PNG file; a report embeds PNG only")
    caption, data = escape(picture.caption), base64.b64encode(content).decode()
    opening = '<figure class="wide">' if picture.wide else "<figure>"
    image = f'<div class="frame"><img alt="{caption}" src="data:image/png;base64,{data}"></div>'
    return f"{opening}{image}<figcaption>{caption}</figcaption></figure>"


def _lines(settings: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", *_lines(value, indent + "    ")]
        else:
            lines.append(f"{indent}{name} = {value}")
    return lines
