"""Pictures of the studio's screens, into docs/pictures: python docs/screens.py RUNS RUN.

Needs the extra `web`, playwright, and a chromium, whose path is taken from CHROMIUM. RUNS is a folder of runs, RUN the name
of the one to show.
"""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

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
WRITTEN = {"Or a rectangle, by the keyboard": "0, 0, 4, 8", "Name of the run": f"screen-{os.getpid()}"}
SECONDS_OF_TRAINING = 45
MOST_SECONDS = 180
"""What is waited for anything that was asked for."""
MOST_HEIGHT = 2100
MOST_BYTES = 150_000


def screen(page, tab: str, run: str) -> bytes:
    """A screen after its buttons have been pressed and the page has come to rest."""
    page.get_by_role("tab", name=tab, exact=True).click()
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
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height, MOST_HEIGHT)})
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1500)
    return page.screenshot()


def small(content: bytes) -> bytes:
    """A PNG picture of at most `MOST_BYTES`, in fewer colours and, if need be, half its size."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    while True:
        out = io.BytesIO()
        # colours that few pixels have, as lines do, are kept
        image.quantize(128, Image.Quantize.MAXCOVERAGE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST_BYTES:
            return out.getvalue()
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)


def main(runs: str, run: str, out: Path = OUT, looks: tuple[str, ...] = ("",)) -> None:
    """Serve the runs, and take a picture of each screen in each look: "", "dark" or "phone"."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "lowerbound", "studio", runs, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for look in looks:
            for tab in STEPS:
                size = {"width": WIDTHS.get(look, WIDTHS[""]), "height": 900}
                scheme = "dark" if look == "dark" else "light"
                page = browser.new_page(viewport=size, color_scheme=scheme)
                page.set_default_timeout(MOST_SECONDS * 1000)
                page.goto(f"{address}/?run={run}")
                page.get_by_text("The settings of the address are here").wait_for()
                content = screen(page, tab, run)
                name = f"studio-{tab.lower()}{look and f'-{look}'}.png"
                (out / name).write_bytes(small(content))
                print(out / name)
                page.close()
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else OUT, tuple(sys.argv[4:]) or ("",))
