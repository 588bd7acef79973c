"""The measured reverse variance: what it is on closed-form data, that nothing is better, and how a run keeps it."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from oracles import double, gaussian, mixture

from lowerbound import Ancestral, Gaussian, GaussianDecoder, LevelPosterior, LinearGamma, Stream, elbo, sample, start
from lowerbound.analytic_variance import NUM_GAMMAS, WithVariance, measure_variance
from lowerbound.cli.main import run
from lowerbound.denoiser import Denoiser, Empirical, Prediction
from lowerbound.errors import InputError
from lowerbound.models import Effort
from lowerbound.run import open_run, variance
from lowerbound.run.variance import with_analytic_variance
from lowerbound.samplers.base import trajectory
from lowerbound.scoring import score

SCHEDULE = LinearGamma(-8.0, 6.0)
ORACLES = {"Gaussian": gaussian(SCHEDULE), "mixture": mixture(SCHEDULE)}
SPREAD = 0.37
ISOTROPIC = Gaussian(double([0.2, -0.1, 0.4]), SPREAD * torch.eye(3, dtype=torch.float64), SCHEDULE)


def expected_variance(denoiser: Denoiser, gammas) -> torch.Tensor:
    """E Var[x | x_t] per entry of data in the plane, by the trapezoidal rule in x_t."""
    found = []
    for gamma in gammas.tolist():
        level = SCHEDULE.level(SCHEDULE.inverse(double([gamma])).item())
        side = torch.linspace(-1, 1, 241, dtype=torch.float64) * (5 * level.sigma + 3.5 * level.alpha)
        points = torch.cartesian_prod(side, side)
        mass = denoiser.log_marginal(points, level).exp() * (side[1] - side[0]) ** 2
        assert mass.sum() == pytest.approx(1, abs=1e-4)
        found.append((mass @ denoiser(points, level).x_var.mean(1)).item())
    return double(found)


class Shrunken(Denoiser):
    """A denoiser whose mean is wrong, and what it was last called with."""

    def __init__(self, exact: Denoiser):
        super().__init__(exact.schedule, exact.shape)
        self.exact = exact
        self.told = ()

    def predict(self, x_t, level, cond, observed):
        self.told = cond, observed
        exact = self.exact(x_t, level, None, observed)
        return Prediction(x_t, level, 0.7 * exact.x + 0.1, self.schedule, variance_mix=torch.ones_like(x_t))


def chain(num_steps: int) -> torch.Tensor:
    return torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)


def nats(denoiser: Denoiser, x: torch.Tensor, num_steps: int, reverse: str = "analytic") -> torch.Tensor:
    return elbo(denoiser, GaussianDecoder(), x, chain(num_steps), noise=Stream(1), reverse=reverse).nats


@pytest.mark.parametrize("name", ORACLES)
def test_it_is_the_expected_posterior_variance(name):
    denoiser = ORACLES[name]
    parts = [measure_variance(denoiser, denoiser.sample(400, Stream(k)), Stream(100 + k), 6) for k in range(25)]
    tables = torch.stack([part.x_vars for part in parts])
    exact = expected_variance(denoiser, parts[0].gammas[1:])  # the grid is too coarse for the least noise
    mean, error = tables.mean(0)[1:], tables.std(0)[1:] / 5
    assert bool((error < 0.04 * exact).all())
    assert bool(((mean - exact).abs() < 4 * error + 1e-9).all()), (mean, exact, error)


@pytest.mark.parametrize("num_steps", [5, 10, 50])
@pytest.mark.parametrize("name", ORACLES)
def test_the_bound_is_better_than_with_fixed_variances(name, num_steps):
    denoiser = ORACLES[name]
    measured = measure_variance(denoiser, denoiser.sample(2000, Stream(2)), Stream(3), batch_size=2000)
    x = denoiser.sample(1500, Stream(4))
    analytic = nats(measured, x, num_steps)
    for other in ("lower", "upper"):
        gain = analytic - nats(measured, x, num_steps, other)
        assert gain.mean() > 3 * gain.std() / len(x) ** 0.5, other


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_nothing_is_better_for_a_mean_that_is_wrong(factor):
    denoiser = Shrunken(ORACLES["mixture"])
    x, other = ORACLES["mixture"].sample(6000, Stream(5)).chunk(2)
    best = measure_variance(denoiser, x, Stream(6), batch_size=3000)
    assert bool((best.x_vars > 1.5 * measure_variance(denoiser.exact, x, Stream(6), batch_size=3000).x_vars).any())
    gain = nats(best, other, 5) - nats(WithVariance(denoiser, best.gammas, factor * best.x_vars), other, 5)
    assert gain.mean() > 3 * gain.std() / len(other) ** 0.5


def test_isotropic_gaussian_data_have_the_oracle_s_own():
    x = ISOTROPIC.sample(500, Stream(7))
    measured = measure_variance(ISOTROPIC, ISOTROPIC.sample(4000, Stream(8)), Stream(9), batch_size=4000)
    ratio = measured.gammas.exp()
    exact = WithVariance(ISOTROPIC, measured.gammas, SPREAD * ratio / (SPREAD + ratio))
    for num_steps in (3, 20):
        own = nats(ISOTROPIC, x, num_steps)
        torch.testing.assert_close(nats(exact, x, num_steps), own, rtol=0, atol=0.03)
        assert abs((nats(exact, x, num_steps) - own).mean()) < 1e-4
        assert abs((nats(measured, x, num_steps) - own).mean()) < 0.02


def test_between_levels_and_beyond_them():
    gammas = torch.linspace(-8, 6, NUM_GAMMAS, dtype=torch.float64)
    denoiser = WithVariance(ISOTROPIC, gammas, SPREAD * gammas.exp() / (SPREAD + gammas.exp()))
    x_t = ISOTROPIC.sample(9, Stream(0))
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    batch = denoiser(x_t, times)
    torch.testing.assert_close(batch.x_var, ISOTROPIC(x_t, times).x_var, rtol=0.01, atol=0)
    for k in (0, 4, 8):
        torch.testing.assert_close(denoiser(x_t, times[k].item()).x_var[k], batch.x_var[k])
    assert batch.x_var.shape == x_t.shape
    few = WithVariance(ISOTROPIC, double([0.0]), double([0.25]))
    outside = few(x_t, 1.0).x_var
    torch.testing.assert_close(outside, 0.5 * torch.sigmoid(double(6.0)).expand_as(outside))


def test_levels_that_can_be_told_apart_leave_no_variance():
    levels = ((torch.arange(4, dtype=torch.float64) + 0.5) / 2 - 1)[:, None]
    denoiser = Empirical(levels, LinearGamma(-13.3, 5.0))
    measured = measure_variance(denoiser, levels.repeat(100, 1), Stream(0))
    assert measured.x_vars[0] == 0
    assert measured.x_vars[-1] == pytest.approx(levels.square().mean().item(), rel=0.1)
    bound = elbo(measured, LevelPosterior(4), levels, chain(8), noise=Stream(1), reverse="analytic")
    assert bool(bound.nats.isfinite().all())


def test_ancestral_sampling_of_gaussian_data_is_exact_in_any_number_of_steps():
    measured = measure_variance(ISOTROPIC, ISOTROPIC.sample(4000, Stream(0)), Stream(1), batch_size=4000)
    x_1 = start(ISOTROPIC, 20_000, Stream(2), dtype=torch.float64)

    def spread(kind: str) -> float:
        x = sample(measured, Ancestral(kind), x_1, chain(4).flip(0), Stream(3), denoise=False)
        return x.var(0).mean().item()

    # the least noise and the prior's N(0, I) for N(alpha_1 m, ...) leave a thousandth
    assert spread("analytic") == pytest.approx(SPREAD, rel=0.02)
    assert spread("lower") < 0.8 * SPREAD
    assert spread("upper") > 1.05 * SPREAD


def test_everything_else_is_the_wrapped_denoiser_s():
    denoiser = Shrunken(ORACLES["Gaussian"])
    denoiser.no_likelihood = "its mean is wrong"
    table = double([-8.0, 6.0]), double([0.0, 0.3])
    wrapped = WithVariance(denoiser, *table)
    with pytest.raises(InputError, match="its mean is wrong"):
        nats(wrapped, torch.zeros(1, 2, dtype=torch.float64), 3)
    x_t = ORACLES["Gaussian"].sample(3, Stream(0))
    cond, observed = torch.tensor([1, 0, -1]), torch.tensor([[True, False]] * 3)
    prediction = wrapped(x_t, 0.5, cond, observed)
    assert denoiser.told[0] is cond
    assert denoiser.told[1] is observed
    torch.testing.assert_close(prediction.x, denoiser(x_t, 0.5, cond, observed).x)
    assert prediction.variance_mix is not None
    measure_variance(denoiser.given(cond), x_t, Stream(0), 2, batch_size=2)
    assert denoiser.told[0].tolist() == [-1]
    path = list(trajectory(wrapped.given(cond), Ancestral("analytic"), x_t, double([1.0, 0.5]), Stream(0)))
    assert len(path) == 3


def test_what_is_missing_does_not_count():
    x = ORACLES["Gaussian"].sample(4000, Stream(1))
    observed = torch.tensor([True, False]).expand_as(x)
    x = torch.where(observed, x, math.nan)
    found = measure_variance(ORACLES["Gaussian"].given(observed=observed), x, Stream(2), 4, batch_size=4000)
    ratio = found.gammas.exp()
    torch.testing.assert_close(found.x_vars, 0.5 * ratio / (0.5 + ratio), rtol=0.1, atol=0)


def test_what_is_out_of_range_is_refused():
    x = ORACLES["Gaussian"].sample(2, Stream(0))
    with pytest.raises(InputError, match="0 examples"):
        measure_variance(ISOTROPIC, x[:0].repeat(1, 2)[:, :3], Stream(0))
    with pytest.raises(InputError, match="1 noise levels"):
        measure_variance(ORACLES["Gaussian"], x, Stream(0), 1)
    with pytest.raises(InputError, match="increasing"):
        WithVariance(ISOTROPIC, double([1.0, 1.0]), double([0.1, 0.1]))
    with pytest.raises(InputError, match="none negative"):
        WithVariance(ISOTROPIC, double([1.0]), double([-0.1]))


ANCESTRAL = ["--sampler", "ancestral", "--variance"]


@pytest.fixture(autouse=True)
def few_examples(monkeypatch):
    """Runs measure the variance on these alone."""
    monkeypatch.setattr(variance, "MOST_EXAMPLES", 256)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of moons given their labels, of a few steps."""
    out = tmp_path_factory.mktemp("analytic") / "moons"
    tiny = ["--steps", "2", "--batch-size", "8", "--network.width", "8", "--network.depth", "1"]
    tiny += ["--num-evaluations", "1", "--num-pictures", "1", "--denoiser.components", "2"]
    assert run(["train", "moons", "--out", str(out), "--conditional", *tiny]) == 0
    return out


def test_a_run_keeps_what_it_measured_once(trained, capsys):
    model, said = open_run(trained), []
    first = with_analytic_variance(model, say=said.append)
    again = with_analytic_variance(model, say=said.append)
    given = with_analytic_variance(model, conditional=True, say=said.append)
    assert "measured on" in said[0]
    assert "as measured before" in said[1]
    assert "measured on" in said[2]
    assert torch.equal(first.denoiser.x_vars, again.denoiser.x_vars)
    assert given.denoiser.gammas.tolist() == first.denoiser.gammas.tolist()
    kept = json.loads((trained / "variance.json").read_text())
    assert set(kept["tables"]) == {"given none", "given conditions"}

    for spoil in ('{"weights": "', json.dumps({**kept, "weights": "of another model"}), '{"weights": 1, "tables": 2}'):
        (trained / "variance.json").write_text(spoil)
        assert torch.equal(with_analytic_variance(model, say=said.append).denoiser.x_vars, first.denoiser.x_vars)
        assert "measured on" in said[-1]
    kept["tables"]["given none"]["x_var"][0] = -1.0
    (trained / "variance.json").write_text(json.dumps(kept))
    assert torch.equal(with_analytic_variance(model, say=said.append).denoiser.x_vars, first.denoiser.x_vars)
    assert not list(trained.glob(".unfinished*"))


def test_scores_of_a_chain_take_it_and_say_so(trained):
    model = with_analytic_variance(open_run(trained))
    raw = model.open_dataset().examples[:50]
    for reverse in ("upper", "analytic"):
        scores = score(model, raw, Effort(num_steps=5, reverse=reverse))
        assert scores.kind == f"bound (5 steps, {reverse} reverse variance, of the density, given no condition)"
        bound = elbo(
            model.denoiser, model.diffusion.decoder, model.encode(raw), chain(5), noise=Stream(0), reverse=reverse
        )
        difference = scores.diffusion * 2 * math.log(2) - bound.diffusion.double().numpy()
        assert abs(difference.mean()) < 4 * difference.std() / 50**0.5
    with pytest.raises(InputError, match="give a chain"):
        score(model, raw, Effort(reverse="upper"))


def test_the_command_line_takes_it(trained, tmp_path, capsys):
    samples = {}
    for kind in ("lower", "upper", "analytic"):
        out = str(tmp_path / f"{kind}.npy")
        assert run(["sample", str(trained), "-n", "4", "--steps", "3", *ANCESTRAL, kind, "-o", out]) == 0
        samples[kind] = np.load(out)
    assert not np.allclose(samples["analytic"], samples["lower"])
    assert "analytic reverse variance" in capsys.readouterr().out
    chosen = ["--num-steps", "3", "--reverse", "analytic"]
    few = ["--num-samples", "20", "--num-examples", "40", "--num-times", "2", "--ode-examples", "0", "--no-baselines"]
    assert run(["evaluate", str(trained), *chosen, *few]) == 0
    assert "bound (3 steps, analytic reverse variance, of the density, given its condition)" in capsys.readouterr().out
    assert run(["score", str(trained), "moons", *chosen, "--split", "test", "-o", str(tmp_path / "a.csv")]) == 0
    assert "3 steps, analytic reverse variance" in (tmp_path / "a.csv").read_text()


MISTAKES = {
    "a variance in continuous time": (["evaluate", "{run}", "--reverse", "upper"], "has but one reverse variance"),
    "and for scores": (
        ["score", "{run}", "moons", "-o", "{tmp}/a.csv", "--reverse", "analytic"],
        "without --num-steps",
    ),
    "one that was not trained": (
        ["evaluate", "{run}", "--num-steps", "2", "--reverse", "learned"],
        "trained to give it",
    ),
    "samples of it": (["sample", "{run}", *ANCESTRAL, "learned", "-o", "{tmp}/a.npy"], "trained to give it"),
    "with DDIM": (["sample", "{run}", "--variance", "analytic", "--sampler", "ddim"], "no effect on ddim"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(mistake, trained, tmp_path, capsys):
    arguments, message = MISTAKES[mistake]
    assert run([argument.format(run=trained, tmp=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_the_wrapped_run_is_the_same_run(trained):
    model = open_run(trained)
    wrapped = with_analytic_variance(model)
    assert dataclasses.replace(wrapped, model=model.model) == model
    assert wrapped.denoiser.denoiser is model.denoiser
