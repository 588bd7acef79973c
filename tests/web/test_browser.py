"""The page as a person uses it, in a real browser: nothing is asked of other places, and nothing complains."""

import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser import NEEDS_BROWSER, launched
from PIL import Image

from lowerbound.web.guard import LOOPBACK
from lowerbound.web.serve import _listen
from lowerbound.web.waiting import waiting

pytestmark = NEEDS_BROWSER
DONE = "#samples figcaption"
STEP = r"""() => Math.max(...[...document.querySelectorAll('.studio-said')].map(
  (each) => Number((each.innerText.match(/^browsed: .*step ([\d,]+)/) ?? ['', '-1'])[1].replaceAll(',', ''))))"""
"""The step of the run that is trained, as the page tells it."""


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser, served):
    """A page of a phone's width, and what it asked for of other places."""
    page = browser.new_page(viewport={"width": 400, "height": 900}, accept_downloads=True)
    outside = []
    page.on(
        "request",
        lambda each: None if each.url.startswith((served.address, "data:", "blob:")) else outside.append(each.url),
    )
    page.on("console", lambda each: outside.append(each.text) if each.type == "error" else None)
    page.set_default_timeout(120_000)
    page.goto(f"{served.address}/?run=digits&count=3&steps=4&sampler=ddim&seed=5")
    page.get_by_text("The settings of the address are here").wait_for()
    yield page
    assert outside == []
    page.close()


def processor_seconds(process):
    """What a process has computed, in all of its threads."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def tab(page, name):
    """Go to a panel, by the menu if there is no room for its tab."""
    target = page.get_by_role("tab", name=name, exact=True)
    if not target.first.is_visible():
        page.get_by_role("button", name="More tabs").or_(page.locator(".overflow-menu > button")).first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()
    else:
        target.first.click()


def test_draw_download_and_drop(page, served, tmp_path):
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Draw", exact=True).click()
    link = page.locator("a[download='samples.npz']")
    link.wait_for()
    assert "3 samples; 4 network calls" in page.locator(DONE).inner_text()
    page.wait_for_url("**steps=4**")
    assert "seed=5" in page.url
    first = page.locator("#samples img").get_attribute("src")
    with page.expect_download() as waiting:
        link.click()
    waiting.value.save_as(tmp_path / "samples.npz")
    with np.load(tmp_path / "samples.npz", allow_pickle=False) as arrays:
        assert arrays["x"].shape == (3, 8, 8)
    page.goto(f"{served.address}/?run=digits&seed=1")
    page.get_by_text("The settings of the address are here").wait_for()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "samples.npz")
    page.locator("a[download='samples.npz']").wait_for()
    page.get_by_text("Done.").first.wait_for()
    assert "3 samples; 4 network calls" in page.locator(DONE).inner_text()
    assert page.locator("#samples img").get_attribute("src") == first


def test_stop_stops_and_says_so(page, served):
    page.goto(f"{served.address}/?run=digits&count=8&steps=1000&sampler=ddim")
    page.get_by_text("The settings of the address are here").wait_for()
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_text("on their way").wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopped: no further step is taken").wait_for()
    stopped = page.locator(DONE).inner_text()
    assert "on their way" in stopped
    spent = processor_seconds(served.process.pid)
    page.wait_for_timeout(3000)
    assert page.locator(DONE).inner_text() == stopped
    assert page.get_by_text("Stopped: no further step is taken").is_visible()
    assert processor_seconds(served.process.pid) - spent < 1
    page.get_by_role("spinbutton", name="number input for Steps").locator("visible=true").first.fill("4")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator("a[download='samples.npz']").wait_for()
    page.get_by_text("Done.").first.wait_for()


def test_paint_and_fill_in(page):
    tab(page, "Edit")
    canvas = page.locator("canvas").first
    canvas.wait_for()
    page.wait_for_timeout(3000)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle - 60, height)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(middle - 60 + 10 * step, height, steps=3)
    page.mouse.up()
    page.wait_for_timeout(2000)
    page.get_by_role("spinbutton", name="number input for Answers").fill("3")
    page.get_by_role("spinbutton", name="number input for Steps").locator("visible=true").fill("5")
    page.get_by_role("button", name="Fill in", exact=True).click()
    page.get_by_text("3 answers, by pigdm in 5 steps").wait_for()


def test_a_score_by_the_keyboard_alone(page):
    tab(page, "Likelihood")
    page.wait_for_timeout(500)
    number = page.get_by_role("spinbutton", name="Example").locator("visible=true").first
    number.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("3")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Score":
            break
    page.keyboard.press("Enter")
    page.get_by_text("example 3 of the test split").first.wait_for()
    page.get_by_text("among held-out and training ones").wait_for()


def test_every_field_has_a_name(page):
    names = page.evaluate(
        """[...document.querySelectorAll('input, select, textarea, button, img, iframe')]
        .filter((each) => each.offsetParent !== null)
        .filter((each) => !(each.labels?.length || each.ariaLabel || each.title || each.alt || each.innerText
          || each.placeholder || each.closest('label') || each.closest('[aria-label]')))
        .map((each) => each.outerHTML.slice(0, 200))"""
    )
    assert names == []


def test_train_stop_and_go_on(page, folder):
    tab(page, "Train")
    page.get_by_role("textbox", name="Name of the run").fill("browsed")
    page.get_by_role("button", name="Train", exact=True).press("Enter")
    page.locator("#training img").wait_for()
    page.get_by_role("button", name="Stop training").press("Enter")
    page.get_by_text("browsed: interrupted").wait_for()
    stopped = page.evaluate(STEP)
    page.get_by_role("button", name="Go on").press("Enter")
    # a process that is stopped before its first step has nothing to go on from but what was there
    page.wait_for_function(f"(stopped) => ({STEP})() > stopped", arg=stopped)
    page.get_by_role("button", name="Stop training").press("Enter")
    page.get_by_text("browsed: interrupted").wait_for()
    assert page.evaluate(STEP) > stopped
    page.get_by_role("textbox", name="Name of the run").fill("../outside")
    page.get_by_role("button", name="Train", exact=True).press("Enter")
    page.get_by_text("is no name of a run").wait_for()
    assert not (folder.parent / "outside").exists()


def test_train_on_a_file_of_one_s_own(page, folder, tmp_path):
    """Images in an archive are learned; another kind, too large a file and a damaged one are refused in words."""
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)):
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "png")
            archive.writestr(f"pictures/{number}.png", content.getvalue())
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    (tmp_path / "large.csv").write_bytes(bytes(2 << 20))
    (tmp_path / "damaged.zip").write_bytes((tmp_path / "pictures.zip").read_bytes()[:500])
    # the framework asks how far a file has come also when all of it has: its server then knows nothing of it any more
    ended = {"content_type": "text/event-stream", "body": 'data: {"msg": "done"}\n\n'}
    page.route("**/upload_progress**", lambda route: route.fulfill(**ended))
    tab(page, "Train")
    name, file = page.get_by_role("textbox", name="Name of the run"), page.locator("input[type=file]").last
    for refused, words in (("model.pkl", "Only .csv, .tsv"), ("large.csv", "maximum allowed size of 1")):
        file.set_input_files(tmp_path / refused)
        page.get_by_text(words).first.wait_for()
    for uploaded, words in (("damaged", "damaged was not trained"), ("pictures", "pictures: training, step")):
        name.fill(uploaded)
        file.set_input_files(tmp_path / f"{uploaded}.zip")
        page.locator(".file-preview", has_text=uploaded).wait_for()
        page.get_by_role("button", name="Train", exact=True).press("Enter")
        page.get_by_text(words).first.wait_for()
        page.get_by_label("Clear").locator("visible=true").first.click()
    page.get_by_role("button", name="Stop training").press("Enter")
    page.get_by_text("pictures: interrupted").wait_for()
    assert (folder / "uploads" / "pictures.zip").read_bytes() == (tmp_path / "pictures.zip").read_bytes()


def test_learn_in_a_frame_of_its_own(page):
    tab(page, "Learn")
    page.locator("#curves img").wait_for()
    frame = page.frame_locator("iframe.studio-frame").first
    frame.locator("#plane").wait_for()
    assert "nats" in frame.locator("#told").inner_text()


def test_the_runs_are_there_first_and_the_studio_takes_their_place(browser, folder):
    """The first page by the keyboard; another server on its socket stands for the studio."""

    class Studio(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"<p>the studio of {self.path}</p>".encode())

        def log_message(self, *_):
            pass

    page, asked = browser.new_page(viewport={"width": 400, "height": 900}), set()
    page.on("request", lambda each: asked.add(each.url.split("/")[2] if each.url.startswith("http") else "inside"))
    with _listen("127.0.0.1", 0) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with waiting(listening, folder, LOOPBACK):
            page.goto(f"http://{address}/")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            link = page.get_by_role("link", name="more/moons")
            assert link.get_attribute("aria-current") is None
            link.press("Enter")
            page.wait_for_url("**/?run=more/moons")
            assert link.get_attribute("aria-current") == "true"
            assert page.get_by_role("status").inner_text().startswith("The studio is being loaded")
        server = ThreadingHTTPServer(("", 0), Studio, bind_and_activate=False)
        server.socket.close()
        server.socket = listening
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        page.get_by_text("the studio of /?run=more/moons").wait_for()
        server.shutdown()
        thread.join()
    assert asked <= {address, "inside"}
    page.close()
