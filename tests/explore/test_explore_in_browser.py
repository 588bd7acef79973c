"""The page in a real browser: its figures are the library's, and it does what a hand does to it."""

import pytest
import torch
from browser import CHROMIUM, NEEDS_BROWSER, sync_api
from handed import Given

import lowerbound as lb
from lowerbound.denoiser.exact import GaussianMixture
from lowerbound.explore import page as written

pytestmark = NEEDS_BROWSER
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("explore") / "explore.html"
    file.write_text(written())
    asked = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.on("request", lambda each: asked.append(each.url))
        page.on("pageerror", lambda each: asked.append(str(each)))
        page.goto(file.as_uri())
        yield page
        assert asked == [file.as_uri()]
        browser.close()


def test_density_denoiser_bound_and_samples_are_the_library_s(page):
    """Of the density that the page shows, at the settings of its sliders: equal to 1e-6."""
    found = page.evaluate(
        """() => {
          const now = mixture(), plan = schedule(), num = numSteps(), source = normalPoints(5);
          const x = draws(now, 12, source), eps = x.map(() => Array.from({ length: num }, source.normal));
          const at = level(plan, 0.6), start = x.map(() => source.normal());
          return {
            means: now.means, std: now.std, gammas: [plan.gammaMin, plan.gammaMax], x, eps, start,
            exact: x.map((p) => logDensity(now, p)), guess: x.map((p) => denoise(now, p, at)),
            score: x.map((p) => score(now, p, at)),
            bound: x.map((p, i) => bound(now, plan, p, eps[i])).map((b) => [b.reconstruction, b.prior, b.diffusion]),
            ends: start.map((p) => trajectory("ddim", now, plan, p, num, source.normal).at(-1)),
          };
        }"""
    )
    values = {name: torch.tensor(value, dtype=DOUBLE) for name, value in found.items()}
    num, x = len(found["means"]), values["x"]
    covariances = values["std"] ** 2 * torch.eye(2, dtype=DOUBLE).expand(num, 2, 2)
    weights = torch.full((num,), 1 / num, dtype=DOUBLE)
    exact = GaussianMixture(weights, values["means"], covariances, lb.LinearGamma(*found["gammas"]))
    chain = torch.linspace(0, 1, values["eps"].shape[1] + 1, dtype=DOUBLE)
    prediction = exact(x, torch.full((len(x),), 0.6, dtype=DOUBLE))
    ours = lb.elbo(exact, lb.GaussianDecoder(), x, chain, noise=Given(values["eps"].transpose(0, 1)))
    ends = lb.sample(exact, lb.DDIM(), values["start"], chain.flip(0), lb.Stream(0))
    for name, expected in {
        "exact": exact.log_prob(x),
        "guess": prediction.x,
        "score": prediction.score,
        "bound": torch.stack([ours.reconstruction, ours.prior, ours.diffusion], 1),
        "ends": ends,
    }.items():
        assert ((values[name] - expected).abs() / (1 + expected.abs())).max() < 1e-6, name


def told(page) -> list[float]:
    """The exact figure and the bound that the page shows, once it shows those of its settings."""
    page.wait_for_timeout(500)
    return [float(page.locator(f"#told .{name}").inner_text().split("= ")[1].split()[0]) for name in ("exact", "bound")]


def test_a_stroke_a_key_and_sliders_change_what_is_shown(page):
    page.get_by_role("button", name="clear").click()
    box = page.locator("#plane").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 220, steps=15)
    page.mouse.up()
    drawn = page.evaluate("state.means.length")
    assert drawn > 8
    page.locator("#plane").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    assert page.evaluate("state.means.length") == drawn + 1
    exact, few = told(page)
    assert few < exact
    page.locator("#steps").fill("8")
    assert few < told(page)[1] < exact
    page.get_by_role("button", name="spiral").click()
    assert told(page)[0] != exact
