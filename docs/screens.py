"""Pictures of every screen, into docs/pictures: python docs/screens.py [--runs FOLDER --run NAME] [--look dark].

Those of the studio's first page and its panels, of the page on which a density is drawn, and of a report. Without --runs
small models of digits and moons are trained first, and that of digits is evaluated. Needs the extra `web`, playwright, and a
chromium, whose path is taken from CHROMIUM.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from lowerbound.explore import page as explore_page
from lowerbound.report.page import own_page, read_own
from lowerbound.run import open_run
from lowerbound.web.waiting import runs_page

OUT = Path(__file__).parent / "pictures"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
WIDTHS = {"": 1180, "phone": 390}
STEPS = {
    "Draw": [("button", "Draw")],
    "Likelihood": [("button", "Score")],
    "Edit": [
        ("textbox", "Or a rectangle, by the keyboard"),
        ("button", "Fill in"),
        ("button", "Interpolate"),
        ("button", "Vary"),
    ],
    "Learn": [("button", "Add noise"), ("button", "Estimate")],
    "Train": [("textbox", "Name of the run"), ("button", "Train")],
    "Run": [("button", "Are samples copies?")],
}
"""What a person does on each screen: buttons that are pressed, and fields that are written."""
WRITTEN = {"Or a rectangle, by the keyboard": "0, 0, 4, 8", "Name of the run": f"digits-{os.getpid()}"}
SECONDS_OF_TRAINING = 45
MOST_SECONDS = 180
"""What is waited for anything that was asked for."""
MOST_HEIGHT = 2100
MOST_BYTES = 250_000


def screen(page, tab: str, run: str) -> bytes:
    """A screen after its buttons have been pressed and the page has come to rest."""
    target = page.get_by_role("tab", name=tab, exact=True).first
    if target.is_visible():
        target.click()
    else:  # a phone has no room for all of them
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=tab).first.click()
    page.wait_for_timeout(1500)
    for role, name in STEPS[tab]:
        target = page.get_by_role(role, name=name, exact=role == "button")
        if role == "textbox":
            if target.first.is_visible():
                target.first.fill(WRITTEN[name])
            continue
        target.first.click()
        page.wait_for_timeout(1000)
        page.wait_for_function("!document.querySelector('.generating, .progress-text, .eta-bar')")
    if tab == "Train":
        page.locator("#training img").wait_for()
        page.wait_for_timeout(1000 * SECONDS_OF_TRAINING)
        page.get_by_role("button", name="Stop training").click()
    # as tall as what is on it: frames below a window's end would not be drawn
    height = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.gradio-container > *')].map((e) => e.scrollHeight))"
    )
    fit(page, height)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1500)
    return page.screenshot()


def fit(page, height: float) -> None:
    """Make a page as tall as what is on it, within reason."""
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(int(height), MOST_HEIGHT)})


def small(content: bytes) -> bytes:
    """A PNG picture of at most `MOST_BYTES`, in fewer colours and, if need be, smaller."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    while True:
        out = io.BytesIO()
        # colours that few pixels have, as lines do, are kept
        image.quantize(256, Image.Quantize.MAXCOVERAGE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST_BYTES:
            return out.getvalue()
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)


def new_page(browser, look: str):
    """A page of the browser in a look: "", "dark" or "phone"."""
    size = {"width": WIDTHS.get(look, WIDTHS[""]), "height": 900}
    page = browser.new_page(viewport=size, color_scheme="dark" if look == "dark" else "light")
    page.set_default_timeout(MOST_SECONDS * 1000)
    return page


def studio(browser, runs: Path, run: str, out: Path, looks: list[str]) -> None:
    """Serve the runs, and take a picture of each panel."""
    command = [sys.executable, "-m", "lowerbound", "studio", str(runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            for look in looks:
                for tab in STEPS:
                    page = new_page(browser, look)
                    page.goto(f"{address}/?run={run}")
                    page.get_by_text("The settings of the address are here").wait_for()
                    write(out, f"studio-{tab.lower()}", look, screen(page, tab, run))
                    page.close()
        finally:
            server.terminate()


def files(browser, runs: Path, run: str, out: Path, looks: list[str]) -> None:
    """Take a picture of the pages that need no server: a density to draw, the run's report, and the studio's first page."""
    with TemporaryDirectory() as folder:
        explore, report, first = (Path(folder) / f"{name}.html" for name in ("explore", "report", "first"))
        explore.write_text(explore_page())
        opened = open_run(runs / run)
        report.write_text(own_page(opened, read_own(opened))[0])
        first.write_text(runs_page(runs, run))
        for look in looks:
            for name, path in (("explore", explore), ("report", report), ("studio-first", first)):
                page = new_page(browser, look)
                page.goto(path.as_uri())
                if name == "explore":
                    page.get_by_role("button", name="spiral").click()
                fit(page, page.evaluate("document.body.getBoundingClientRect().bottom + 24"))
                page.wait_for_timeout(2500)
                write(out, name, look, page.screenshot())
                page.close()


def write(out: Path, name: str, look: str, content: bytes) -> None:
    """A picture by the name of its screen."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}{look and f'-{look}'}.png"
    path.write_bytes(small(content))
    print(path, flush=True)


def lowerbound(*words: object) -> None:
    """A command."""
    subprocess.run([sys.executable, "-m", "lowerbound", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="a folder of runs")
    parser.add_argument("--run", default="digits", help="the name of the one to show, which has been evaluated")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--look", choices=("light", "dark", "phone"), nargs="+", default=["light"])
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    looks = ["" if look == "light" else look for look in arguments.look]
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = arguments.runs or Path(folder)
        if arguments.runs is None:
            lowerbound("train", "digits", "--minutes", 3, "--conditional", "--out", runs / arguments.run)
            lowerbound("evaluate", runs / arguments.run)
            lowerbound("train", "moons", "--minutes", 0.5, "--out", runs / "moons")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for take in (files, studio):
            take(browser, runs, arguments.run, arguments.out, looks)
        browser.close()


if __name__ == "__main__":
    main()
