"""The pages of a report and of a comparison in a real browser: on a phone, in light and dark, by keyboard, on paper."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import NEEDS_BROWSER, launched

from lowerbound.cli.main import run

pytestmark = NEEDS_BROWSER
TINY = ["--steps", "8", "--batch-size", "8", "--network.width", "8"]
PAGES = ("images", "table", "series", "comparison")
PHONE, PAPER = 360, 680
"""Widths in pixels: of a small phone, and of what margins leave of a sheet of A4."""
FACTS = """() => ({
  width: document.documentElement.scrollWidth,
  lang: document.documentElement.lang,
  headings: [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((each) => Number(each.tagName[1])),
  pictures: [...document.images].map((each) => [each.alt, each.complete && each.naturalWidth > 0]),
  verdict: document.querySelector('h1 ~ .verdict').innerText,
  cut: [...document.querySelectorAll('body *')].filter((each) => each.scrollWidth > each.clientWidth + 1
    && getComputedStyle(each).overflowX === 'hidden').map((each) => each.tagName),
  scrolled: [...document.querySelectorAll('*')].filter((each) => each.scrollWidth > each.clientWidth + 1
    && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX))
    .map((each) => [each.tabIndex, each.ariaLabel, each.scrollWidth]),
})"""
COLOURS = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = (text) => channels(text).reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const ratio = (each) => {
    const ink = luminance(getComputedStyle(each).color);
    return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  };
  return [page, Math.min(...[...document.querySelectorAll('h1, h2, h3, p, td, th, li, dt, dd, figcaption')].map(ratio))];
}"""
"""The page's luminance, and the least contrast of text on it, as WCAG 2 defines both."""


@pytest.fixture(scope="module")
def pages(two_runs, tmp_path_factory):
    """Each page's file, by its name."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(two_runs / "digits", folder / "images")
    rng = np.random.default_rng(0)
    rows = [
        f"{age:.0f},{income:.2f},{'Saint-Rémy-de-Provence' if age > 50 else 'Ghent'}"
        for age, income in zip(rng.normal(45, 15, 200), rng.lognormal(10, 1, 200), strict=True)
    ]
    (folder / "people.csv").write_text("\n".join(["age,income of the household,city", *rows]))
    waves = [f"{np.sin(k / 4):.4f},{np.cos(k / 4) + noise:.4f}" for k, noise in enumerate(rng.normal(0, 0.1, 300))]
    (folder / "waves.csv").write_text("\n".join(["a,b", *waves]))
    for name, data in (("table", ["people.csv"]), ("series", ["waves.csv", "--window", "8", "--horizon", "2"])):
        assert run(["train", str(folder / data[0]), *data[1:], *TINY, "--out", str(folder / name)]) == 0
    for name in PAGES[:3]:
        assert run(["evaluate", str(folder / name), "--quick"]) == 0
        assert run(["report", str(folder / name)]) == 0
    models = ["--models", "diffusion", "flow"]
    assert run(["compare", "digits", *models, "--steps", "8", "--out", str(folder / "comparison")]) == 0
    files = {name: folder / name / "report.html" for name in PAGES[:3]}
    return {**files, "comparison": folder / "comparison" / "comparison.html"}


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(params=PAGES)
def page(request, browser, pages):
    """A page as a phone shows it, which asks for nothing and complains of nothing."""
    page, wrong = browser.new_page(viewport={"width": PHONE, "height": 800}), []
    file: Path = pages[request.param]
    page.on("request", lambda each: None if each.url.startswith((file.as_uri(), "data:")) else wrong.append(each.url))
    page.on("console", lambda each: wrong.append(each.text) if each.type in ("error", "warning") else None)
    page.on("pageerror", lambda each: wrong.append(str(each)))
    page.goto(file.as_uri())
    yield page
    assert wrong == []
    page.close()


def test_it_reads_on_a_phone_and_on_a_desk(page):
    for width in (PHONE, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        facts = page.evaluate(FACTS)
        assert facts["width"] <= width
        assert facts["cut"] == []
        # what is wider than its place can be scrolled, by keyboard too, and says what it is
        assert all(tab == 0 and label for tab, label, _ in facts["scrolled"])
        assert width == PHONE or facts["scrolled"] == []
    assert facts["lang"] == "en"
    assert "bits/dim" in facts["verdict"]
    assert facts["verdict"].endswith(".")
    assert facts["pictures"]
    assert all(alt and loaded for alt, loaded in facts["pictures"])
    levels = facts["headings"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(page, scheme):
    page.emulate_media(color_scheme=scheme)
    luminance, contrast = page.evaluate(COLOURS)
    assert (luminance > 0.9) if scheme == "light" else (luminance < 0.05)
    assert contrast > 4.5


def test_the_keyboard_reaches_what_can_be_opened_and_scrolled(page):
    reached = page.locator("summary, .scroll")
    for place in range(reached.count()):
        page.keyboard.press("Tab")
        assert reached.nth(place).evaluate("(each) => each === document.activeElement")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.parentElement.open")
            if page.locator("details[open] iframe").count():
                page.keyboard.press("Enter")  # what is in the frame is reached there, and tested with that page


def test_it_fits_on_paper(page):
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": PAPER, "height": 900})
    facts = page.evaluate(FACTS)
    assert facts["width"] <= PAPER
    assert facts["scrolled"] == []
    assert page.evaluate("[...document.querySelectorAll('table, img')].every((each) => each.scrollWidth <= innerWidth)")
    assert page.evaluate(COLOURS)[0] == 1
    assert not page.locator(".play").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
