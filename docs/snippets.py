"""Runs the pages whose figures and pictures come from their own snippets.

python docs/snippets.py           # says where a page shows anything else than what its snippets print
python docs/snippets.py --write   # writes into the pages what is printed, and beside them the pictures that are made

The Python blocks of a page run one after the other, as they are read, in an empty folder. A block of `text` right below one
of Python is what that one prints; a picture of the page's folder `pictures` is a file that one of them writes.
"""

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
PAGES = [*sorted((DOCS / "guide").glob("[0-9]*.md")), DOCS / "heavy_tails.md"]
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<shown>.*?)```\n)?", re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(pictures/([\w-]+\.png)\)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
COLOURS = 64


@dataclass(frozen=True)
class Ran:
    """A block of Python: what the page shows of it, and what it printed."""

    shown: str
    printed: str


def run(page: Path, folder: Path) -> list[Ran]:
    """The blocks of a page, run in a folder where their pictures stay."""
    names: dict = {"__name__": page.stem}
    ran = []
    for block in BLOCK.finditer(page.read_text()):
        printed = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            exec(compile(block["code"], page.name, "exec"), names)
        ran.append(Ran(block["shown"] or "", printed.getvalue()))
    return ran


def agree(shown: str, printed: str) -> bool:
    """Whether two texts are the same but for two units in the last place of a number."""
    if NUMBER.split(shown) != NUMBER.split(printed):
        return shown.split() == printed.split()
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(abs(float(one) - float(other)) <= 2.01 * unit(one) for one, other in pairs)


def unit(number: str) -> float:
    """Of the last place of a number."""
    return 10.0 ** -len(number.partition(".")[2]) if "." in number else 0.0


def pictures(page: Path) -> list[str]:
    """The pictures that a page shows of those that its snippets make."""
    return PICTURE.findall(page.read_text())


def write(page: Path, folder: Path, ran: list[Ran]) -> None:
    """What was printed into the page, and its pictures, in few colours, beside it."""
    printed: Iterator[Ran] = iter(ran)

    def renewed(block: re.Match) -> str:
        output = next(printed).printed
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{output}```\n" if output else "")

    page.write_text(BLOCK.sub(renewed, page.read_text()))
    for name in pictures(page):
        (page.parent / "pictures").mkdir(exist_ok=True)
        with Image.open(folder / name) as image:
            few = image.convert("RGB").quantize(COLOURS)
        few.save(page.parent / "pictures" / name, optimize=True)


def main() -> None:
    """Run the pages that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", nargs="*", type=Path, default=PAGES, help="the pages; all by default")
    parser.add_argument("--write", action="store_true", help="write what is printed and drawn into the pages")
    arguments = parser.parse_args()
    num_snippets = num_pictures = num_wrong = 0
    for page in arguments.page:
        with tempfile.TemporaryDirectory() as folder:
            ran = run(page.resolve(), Path(folder))
            if arguments.write:
                write(page, Path(folder), ran)
        num_snippets += len(ran)
        num_pictures += len(pictures(page))
        for each in ran:
            if not arguments.write and not agree(each.shown, each.printed):
                num_wrong += 1
                print(f"{page} shows\n{each.shown}but its snippet prints\n{each.printed}")
    seconds = sum(os.times()[:2])
    print(
        f"{len(arguments.page)} pages, {num_snippets} snippets run, {num_pictures} pictures, {seconds:.0f} s of processor"
    )
    sys.exit(1 if num_wrong else 0)


if __name__ == "__main__":
    main()
