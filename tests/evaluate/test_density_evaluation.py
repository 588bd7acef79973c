"""The probability flow beside the bound: closed-form denoisers, whose densities are known, and the command line."""

import csv
import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from known import mixture_log_prob, mixture_run

from lowerbound import GaussianMixture, LinearGamma, mean_and_error
from lowerbound.cli.main import run
from lowerbound.data import open_dataset
from lowerbound.data.dataset import Dataset, assemble
from lowerbound.denoiser.exact import Empirical
from lowerbound.errors import InputError
from lowerbound.evaluate.density import HeldOutDensity, flow_bounds, held_out_density, num_flow_examples
from lowerbound.evaluate.settings import PROBED_TOLERANCE, Settings
from lowerbound.files.records import Measured
from lowerbound.likelihood.decoder import LevelPosterior
from lowerbound.likelihood.density import EXACT_DIMS
from lowerbound.models import Diffusion, Effort
from lowerbound.report.likelihood import tell_density
from lowerbound.report.page import read_own
from lowerbound.run import Run, open_run
from lowerbound.scoring import Flow, FlowSettings, score_density
from lowerbound.tails import mean_of_draws
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.folder import RunFolder


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> tuple[Run, Dataset]:
    return mixture_run(tmp_path_factory.mktemp("known"))


def pairs(folder, num_dims: int = 2) -> tuple[Run, Dataset]:
    """A run of bytes that are one of two examples, and its data."""
    two = np.random.default_rng(0).integers(0, 256, (2, num_dims), np.uint8)
    dataset = assemble("pairs", np.tile(two, (40, 1)), layout="ND")
    denoiser = Empirical(dataset.spec.encoding.encode(two), LinearGamma(-13.3, 9.0))
    config = recipe(dataset, DataConfig("pairs"))
    return Run(
        RunFolder(folder), config, dataset.spec, Diffusion(denoiser, LevelPosterior(256), num_levels=256), {}
    ), dataset


def exact_nats(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    return mixture_log_prob(dataset.examples[indices]).numpy()


def test_the_flow_s_figure_is_the_exact_density_and_the_bound_lies_below(known):
    model, dataset = known
    found = held_out_density(model, dataset, Flow(), flow_bounds(model, dataset, 200, Effort()))
    exact = -exact_nats(dataset, dataset.some("test", 200)) / (2 * math.log(2))
    # 0.01: what the finite ends of gamma leave
    assert abs(found.total[0] - exact.mean()) < 0.01
    assert found.difference[0] == pytest.approx(found.total[0] - found.bound[0], abs=1e-6)
    assert found.difference[0] < 4 * found.difference[1], "the bound is never better than the exact density"
    assert (found.kind, found.settings) == ("density (ODE)", "tolerance 0.001, exact trace")
    assert found.bound_kind == "bound (continuous time, of the density)"
    assert (found.num_examples, found.num_times) == (200, 32)
    assert found.num_refined == 4
    assert abs(found.refinement[0]) < 0.01, "the solver's error is small beside the figure's"
    bounds = flow_bounds(model, dataset, 100, Effort(num_steps=10))
    coarse = held_out_density(model, dataset, Flow(tolerance=1e-2), bounds)
    assert np.hypot(*coarse.refinement) > np.hypot(*found.refinement)
    assert coarse.difference[0] < -4 * coarse.difference[1]
    assert "fewer bits" in str(tell_density(coarse).findings[0])
    assert "10 steps" in coarse.bound_kind


def test_few_examples_of_sorted_data_stand_for_all(known):
    model, dataset = known
    by_bits = dataclasses.replace(dataset, test=dataset.test[np.argsort(exact_nats(dataset, dataset.test))])
    exact, bounds = -exact_nats(dataset, dataset.test) / (2 * math.log(2)), flow_bounds(model, by_bits, 200, Effort())
    mean, error = mean_of_draws(bounds.bits)
    assert abs(mean - exact.mean()) < 4 * error
    assert error == pytest.approx(exact.std() / 200**0.5, rel=0.3)


def test_each_density_is_that_of_its_example(known):
    model, dataset = known
    indices = dataset.some("test", 20)
    found = score_density(model, dataset.examples[indices], numbers=indices)
    assert np.abs(found.nats - exact_nats(dataset, indices)).max() < 0.05
    assert np.abs(found.bits_per_dim + found.nats / (2 * math.log(2))).max() < 1e-9
    assert (found.standard_error == 0).all()
    assert (found.num_calls > 20).all()


@pytest.mark.parametrize("dequantizer", ["truncated-normal", "uniform"])
def test_the_figure_of_levels_is_a_bound_that_more_draws_tighten(dequantizer, tmp_path):
    model, dataset = pairs(tmp_path)
    raw, exact = dataset.examples[:40], -math.log(2)
    one, four = (score_density(model, raw, Flow(dequantizer=dequantizer, num_importance=K)) for K in (1, 4))
    for found in (one, four):
        mean, error = mean_and_error(torch.from_numpy(found.nats))
        assert mean < exact + 4 * error + 1e-3
    if dequantizer == "truncated-normal":
        # what is left is the solver's error, where the flow of two points bends sharply
        assert abs(one.nats.mean() - exact) < 0.01
        assert np.abs(one.nats - exact).max() < 0.1
    else:
        assert one.nats.mean() + 0.3 < four.nats.mean() < exact - 0.1
    assert one.kind == "bound (ODE, dequantised, K=1)"
    assert four.kind == "bound (ODE, dequantised, K=4)"
    assert one.settings == f"tolerance 0.001, exact trace, {dequantizer} dequantiser"


def test_an_example_has_one_figure_in_any_company(tmp_path):
    model, dataset = pairs(tmp_path, num_dims=20)
    raw = dataset.examples[:6]
    flow = Flow(num_probes=2, tolerance=1e-3)
    whole = score_density(model, raw, flow, seed=3)
    assert whole.settings == "tolerance 0.001, 2 probes, truncated-normal dequantiser"
    alone = score_density(model, raw, flow, seed=3, batch_size=1)
    chosen = np.array([4, 1])
    few = score_density(model, raw[chosen], flow, numbers=chosen, seed=3)
    for found, same in ((alone, whole.nats), (few, whole.nats[chosen])):
        assert np.abs(found.nats - same).max() < 1e-3
    assert np.abs(score_density(model, raw, flow, seed=4).nats - whole.nats).min() > 1e-3
    assert np.isfinite(whole.standard_error).all()
    assert np.isnan(score_density(model, raw, Flow(tolerance=1e-2)).standard_error).all()
    assert "2 probes" in score_density(model, raw[:1], Flow(num_importance=2, tolerance=1e-2)).settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": 1e-9}, "tolerance is 1e-09"),
        ({"tolerance": 1.0}, "must be below 1"),
        ({"num_probes": 0}, "num_probes is 0"),
        ({"num_importance": 0}, "num_importance is 0"),
        ({"dequantizer": "normal"}, "choose one of truncated-normal, uniform"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Flow(**settings)


def test_what_has_nothing_to_dequantise_or_no_likelihood_is_refused(known):
    model, dataset = known
    raw = dataset.examples[:2]
    for flow in (Flow(dequantizer="uniform"), Flow(num_importance=2)):
        with pytest.raises(InputError, match="are continuous"):
            score_density(model, raw, flow)
    with pytest.raises(InputError, match="batch_size is 0"):
        score_density(model, raw, batch_size=0)
    with pytest.raises(InputError, match="takes examples of shape"):
        score_density(model, raw[:, :1])
    guided = GaussianMixture(model.denoiser.weights, model.denoiser.means, model.denoiser.covariances, LinearGamma())
    guided.no_likelihood = "it is guided"
    with pytest.raises(InputError, match="no likelihood: it is guided"):
        score_density(model.around(guided), raw)


@pytest.mark.parametrize(("difference", "said"), [(-0.05, "fewer bits"), (0.05, "more bits"), (0.01, "do not differ")])
def test_a_crossing_is_said_in_words(difference, said):
    found = HeldOutDensity(
        total=Measured(1.2, 0.1),
        bound=Measured(1.2 - difference, 0.1),
        difference=Measured(difference, 0.01),
        refinement=Measured(0.001, 0.001),
        num_refined=4,
        kind="density (ODE)",
        settings="",
        bound_kind="bound",
        num_examples=90,
        num_calls=120.0,
        num_times=64,
        mismatch=Measured(0.0, 0.001),
        solver_error=0.001,
        num_unfinished=0,
    )
    (finding,) = tell_density(found).findings
    assert said in finding.text
    assert "90 test examples" in finding.text


def test_the_larger_an_example_the_fewer_follow_the_flow(known):
    _, dataset = known

    def of_shape(*shape):
        return dataclasses.replace(dataset.spec, shape=shape)

    assert num_flow_examples(dataset) == 1000
    images = dataclasses.replace(dataset, spec=of_shape(1, 28, 28), test=np.arange(300))
    assert 20 < num_flow_examples(images) < 30
    assert num_flow_examples(dataclasses.replace(images, test=np.arange(3))) == 3
    assert num_flow_examples(dataclasses.replace(images, spec=of_shape(3, 256, 256))) == 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("flow")
    # networks that have learned next to nothing: their flows are smooth, which that of a fitted mixture is not
    smaller = {
        "digits": ["--network.blocks-per-level", "1"],
        "moons": ["--network.depth", "1", "--denoiser.components", "0"],
    }
    for name, settings in smaller.items():
        arguments = ["--steps", "2", "--batch-size", "8", "--network.width", "8", *settings]
        assert run(["train", name, "--out", str(out / name), *arguments]) == 0
    return out


@pytest.mark.parametrize(
    ("num_dims", "flow", "tolerance"),
    [
        (16, FlowSettings(), Flow.tolerance),
        (17, FlowSettings(), PROBED_TOLERANCE),
        (16, FlowSettings(0.1), 0.1),
        (17, FlowSettings(1e-4, num_probes=3), 1e-4),
    ],
)
def test_the_tolerance_suits_the_trace_unless_it_is_given(num_dims, flow, tolerance):
    assert (Flow.tolerance, PROBED_TOLERANCE, EXACT_DIMS) == (1e-3, 1e-2, 16)
    assert Settings(flow=flow).flow_of(num_dims) == Flow(tolerance, num_probes=flow.num_probes)


@pytest.mark.parametrize(
    ("name", "settings"), [("digits", "tolerance 0.01, 1 probe"), ("moons", "tolerance 0.001, exact trace")]
)
def test_an_evaluation_takes_the_tolerance_that_suits_its_data(trained, name, settings, tmp_path, monkeypatch):
    shutil.copytree(trained / name, tmp_path / name)
    monkeypatch.setattr("lowerbound.evaluate.evaluation.sample_parts", lambda subject: ())
    few = ["--num-times", "2", "--num-examples", "4", "--no-baselines", "--ode-examples", "2"]
    assert run(["evaluate", str(tmp_path / name), *few]) == 0
    found = read_own(open_run(tmp_path / name)).figures["density"]
    assert isinstance(found, HeldOutDensity)
    assert found.settings.startswith(settings)


def test_evaluate_prints_the_flow_beside_the_bound(trained, capsys):
    few = ["--num-samples", "20", "--num-times", "2", "--num-examples", "20", "--no-baselines"]
    ode = ["--ode-examples", "6", "--tolerance", "1e-2", "--dequantizer", "uniform"]
    assert run(["evaluate", str(trained / "digits"), *few, *ode]) == 0
    printed = capsys.readouterr().out
    kind = "bound (ODE, dequantised, K=1), tolerance 0.01, 1 probe, uniform dequantiser, 6 examples"
    for words in (kind, "flow minus chain", "on the same 6 test examples"):
        assert words in printed
    found = read_own(open_run(trained / "digits")).figures["density"]
    assert isinstance(found, HeldOutDensity)
    assert found.difference[0] == pytest.approx(found.total[0] - found.bound[0], rel=1e-6)
    assert run(["report", str(trained / "digits")]) == 0
    assert kind in (trained / "digits" / "report.html").read_text()
    assert run(["evaluate", str(trained / "moons"), *few, "--ode-examples", "0"]) == 0
    assert "ODE" not in capsys.readouterr().out
    assert "density" not in read_own(open_run(trained / "moons")).figures


def test_score_writes_the_flow_s_figure_of_each_example(trained, tmp_path, capsys):
    np.save(tmp_path / "x.npy", open_dataset("moons").examples[:3])
    out = tmp_path / "a.csv"
    assert run(["score", str(trained / "moons"), str(tmp_path / "x.npy"), "--ode", "-o", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    errors = ["standard_error", "interval_95", "solver_error", "base_mismatch"]
    assert list(rows[0]) == ["example", "nats", "bits_per_dim", *errors, "calls", "flag", "kind"]
    for row in rows:
        assert float(row["nats"]) == pytest.approx(-2 * math.log(2) * float(row["bits_per_dim"]), rel=1e-6)
        assert row["kind"] == "density (ODE), tolerance 0.001, exact trace"
        assert int(row["calls"]) > 0
        assert row["flag"] == ""
        assert 0 < float(row["solver_error"]) < 0.01
    printed = capsys.readouterr().out
    assert "bits/dim, density (ODE)" in printed
    assert "the base density's part" in printed
    assert "flagged" not in printed


def test_a_figure_that_moves_or_does_not_arrive_is_flagged(trained, known, tmp_path, capsys, monkeypatch):
    def with_doubts(*arguments, **settings):
        found = score_density(*arguments, **settings)
        found.nats[4], found.bits_per_dim[4], found.solver_error[1] = math.nan, math.nan, 0.0
        return found

    monkeypatch.setattr("lowerbound.cli.score.score_density", with_doubts)
    np.save(tmp_path / "x.npy", open_dataset("moons").examples[:6])
    out = tmp_path / "a.csv"
    assert run(["score", str(trained / "moons"), str(tmp_path / "x.npy"), "--ode", "--refine", "-o", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["flag"] for row in rows] == ["", "moved", "", "", "unfinished", ""]
    for row in rows:
        assert row["flag"] or abs(float(row["refinement"])) <= float(row["solver_error"])
    printed = capsys.readouterr().out
    assert not printed.startswith("nan")
    assert "flagged moved: example 1, changed at a tenth of the tolerance" in printed
    assert "flagged unfinished: example 4, not followed to the end within 2000 calls" in printed
    model, dataset = known
    found = score_density(model, dataset.examples[:3], Flow(tolerance=1e-3), num_refined=2)
    again = score_density(model, dataset.examples[:3], Flow(tolerance=1e-4))
    assert found.refinement == pytest.approx((again.bits_per_dim - found.bits_per_dim)[:2], abs=1e-9)
    alone = score_density(model, dataset.examples[:3], Flow(tolerance=1e-3))
    assert found.num_calls.tolist() == alone.num_calls.tolist()
    assert found.nats == pytest.approx(alone.nats, rel=1e-9)
    too_far = dataclasses.replace(found, solver_error=np.abs([*found.refinement, 1.0]) * [2.0, 0.5, 2.0])
    assert too_far.flags == ["", "moved", ""]


def test_unfinished_examples_are_left_out_of_the_mean(known):
    model, dataset = known
    indices = dataset.some("test", 20)
    calls = score_density(model, dataset.examples[indices], numbers=indices).num_calls
    bounds = flow_bounds(model, dataset, 20, Effort())
    found = held_out_density(model, dataset, Flow(max_calls=int(np.median(calls))), bounds)
    assert found.num_unfinished == (calls > np.median(calls)).sum() > 0
    assert found.num_examples + found.num_unfinished == 20
    assert np.isfinite([*found.total, *found.bound, *found.difference, found.refinement[0]]).all()
    assert f"{found.num_unfinished} more not followed" in tell_density(found).tables[0].rows[0][2]
    with pytest.raises(InputError, match=r"none of 2 examples .*--max-calls"):
        score_density(model, dataset.examples[:2], Flow(max_calls=10))


MISTAKES = {
    "refinement of no flow": (["--refine"], "no effect without --ode"),
    "no calls": (["--ode", "--max-calls", "3"], "--max-calls is 3"),
    "a chain": (["--ode", "--num-steps", "3"], "no effect with --ode"),
    "no flow": (["--tolerance", "1e-2"], "no effect without --ode"),
    "a tolerance out of range": (["--ode", "--tolerance", "2"], "tolerance is 2"),
    "nothing to dequantise": (["--ode", "--importance", "2"], "are continuous"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(mistake, trained, tmp_path, capsys):
    arguments, message = MISTAKES[mistake]
    assert run(["score", str(trained / "moons"), "moons", "-o", str(tmp_path / "a.csv"), *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
