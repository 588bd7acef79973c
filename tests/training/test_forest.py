"""A forest: what is planted is what has grown, its bound is below the exact density and near it, and the verbs take it."""

import dataclasses
import math
import sys

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.cli.main import run as command
from lowerbound.data import DataConfig, open_dataset
from lowerbound.denoiser import Gaussian
from lowerbound.errors import InputError
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.settings import Settings
from lowerbound.forest import Forest
from lowerbound.inverse import TwistedParticles
from lowerbound.run import open_run
from lowerbound.training import recipe, train
from lowerbound.training.config import Config, ModelConfig, NetworkConfig, TrainingConfig
from lowerbound.training.forest import plant

SCHEDULE = lb.LinearGamma(-12.0, 5.0)
ROWS = 2000


def mixture() -> lb.GaussianMixture:
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]]).double()
    covariances = torch.tensor(
        [[[0.09, 0.03], [0.03, 0.04]], [[0.06, -0.01], [-0.01, 0.09]], [[0.25, 0.0], [0.0, 0.04]]]
    )
    return lb.GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, covariances.double(), SCHEDULE)


def gaussian() -> lb.Gaussian:
    covariance = torch.tensor([[1.0, 0.8, 0.3], [0.8, 2.0, 0.1], [0.3, 0.1, 0.5]]).double()
    return lb.Gaussian(torch.tensor([1.0, -2.0, 0.5]).double(), covariance, SCHEDULE)


def grown(folder, rows: np.ndarray, steps: int = 20, **settings):
    """A run of a small forest on rows."""
    pytest.importorskip("lightgbm")
    source = str(folder / "rows.npy")
    np.save(source, rows)
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source), model="forest")
    training = dataclasses.replace(config.training, minutes=None, steps=steps)
    model = ModelConfig("forest", bands=5, trees=steps, **settings)
    config = dataclasses.replace(config, training=training, model=model)
    train(config, dataset, folder / "run", say=lambda line: None, show_progress=False)
    return open_run(folder / "run"), dataset


@pytest.fixture(scope="module")
def run_of_mixture(tmp_path_factory):
    rows = mixture().sample(2 * ROWS, lb.Stream(0)).numpy().astype(np.float32)
    return grown(tmp_path_factory.mktemp("mixture"), rows, 30)


def excess(run, truth: lb.GaussianMixture, num: int = 300) -> tuple[float, float, float]:
    """The bound's mean shortfall of the exact log density of fresh rows, its error, and how much of it the denoiser has
    beside the exact one on the same noise: nats per row."""
    x = truth.sample(num, lb.Stream(7))
    scores = lb.score(run, x.numpy().astype(np.float32), lb.Effort(32))
    nats = torch.from_numpy(scores.bits_per_dim) * x.shape[1] * math.log(2)
    short, error = lb.mean_and_error(nats + truth.log_prob(x))
    encoding = run.spec.encoding
    shift, scale = (torch.tensor(values).double() for values in (encoding.shift, encoding.scale))
    components = truth.covariances / (scale[:, None] * scale)
    best = lb.GaussianMixture(truth.weights, (truth.means - shift) / scale, components, run.denoiser.schedule)
    exact = lb.score(run.around(best), x.numpy().astype(np.float32), lb.Effort(32))
    costs = torch.from_numpy(scores.bits_per_dim - exact.bits_per_dim) * x.shape[1] * math.log(2)
    return short, error, costs.mean().item()


def test_what_is_planted_predicts_what_has_grown():
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(3000, 4)).astype(np.float32)
    seen[rng.random(seen.shape) < 0.3] = np.nan
    target = np.where(np.isnan(seen[:, 0]), 2.0, np.nan_to_num(seen[:, 0]) ** 2) + np.nan_to_num(seen[:, 1])
    settings = {"objective": "l2", "max_depth": 4, "num_leaves": 16, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train({**settings, "boost_from_average": False}, lightgbm.Dataset(seen, target), 12)
    forest = Forest(SCHEDULE, (3,), num_bands=2, num_trees=15, depth=4)
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    plant(forest, 1, 2, trees)
    assert (forest.splits < 0).any(), "no entry that is missing goes right, so that nothing is tested of it"
    # on the thresholds themselves as well
    at_thresholds = torch.from_numpy(seen[:500]).clone()
    at_thresholds[:, 1] = forest.thresholds[1, 2].reshape(-1)[: len(at_thresholds)].repeat(9)[: len(at_thresholds)]
    for rows in (torch.from_numpy(seen), at_thresholds):
        found = forest._grown(1, rows)[:, 2]
        expected = torch.from_numpy(booster.predict(rows.numpy()))
        assert (found.double() - expected).abs().max() < 1e-5
        assert forest._grown(0, rows).abs().max() == 0


@pytest.mark.parametrize("observed", [None, torch.tensor([[True, False, True]]).expand(50, 3)])
def test_without_trees_it_is_the_gaussian(observed):
    truth = gaussian()
    forest = Forest(SCHEDULE, (3,), num_bands=4, num_trees=3)
    forest.mean.copy_(truth.moments()[0])
    forest.covariance.copy_(truth.moments()[1])
    x_t, t = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(0, 1, 50).double()
    difference = forest(x_t, t, observed=observed).x - truth(x_t, t, observed=observed).x
    assert difference.abs().max() < 1e-12


def test_each_level_belongs_to_one_band_and_bands_are_equal_in_gamma():
    forest = Forest(SCHEDULE, (2,), num_bands=4, num_trees=1)
    t = torch.linspace(0, 1, 4001).double()
    bands = forest.bands(SCHEDULE.level(t), len(t))
    assert bands.diff().min() == 0
    assert bands.bincount().tolist() == pytest.approx([1000] * 4, abs=1)
    assert forest.bands(SCHEDULE.level(1.0), 3).tolist() == [3, 3, 3]


def test_of_a_gaussian_the_bound_is_the_exact_density(tmp_path):
    run, _ = grown(tmp_path, gaussian().sample(ROWS, lb.Stream(0)).numpy().astype(np.float32))
    short, error, cost = excess(run, gaussian())
    assert short > -3 * error, "the bound is above the density"
    assert -1e-3 < cost < 0.03


def test_of_a_mixture_the_bound_is_below_the_exact_density_and_near_it(run_of_mixture):
    run, dataset = run_of_mixture
    short, error, cost = excess(run, mixture())
    assert short > -3 * error, "the bound is above the density"
    assert 0 < cost < 0.15
    # a Gaussian, the forest without its trees, is far from it
    bare = dataclasses.replace(run, model=lb.Diffusion(run.denoiser.gaussian, run.diffusion.decoder))
    x = dataset.examples[dataset.test]
    gained = lb.score(bare, x, lb.Effort(32)).bits_per_dim - lb.score(run, x, lb.Effort(32)).bits_per_dim
    assert gained.mean() > 0.3


def test_samples_have_the_mixture_s_moments_and_modes(run_of_mixture):
    run, _ = run_of_mixture
    drawn, truth = lb.generate(run, 800, seed=1), mixture()
    mean, covariance = truth.moments()
    assert np.abs(drawn.mean(0) - mean.numpy()).max() < 0.1
    assert np.abs(np.cov(drawn.T) - covariance.numpy()).max() < 0.1
    typical = truth.log_prob(truth.sample(1500, lb.Stream(3))).quantile(0.01)
    assert (truth.log_prob(torch.from_numpy(drawn).double()) < typical).double().mean() < 0.08


@pytest.mark.slow
def test_imputation_draws_from_the_conditional(run_of_mixture):
    run, _ = run_of_mixture
    known = np.tile([True, False], (40, 1))
    raw = np.tile(np.array([[-1.0, 0.0]], np.float32), (40, 1))
    for method in (None, TwistedParticles(8)):
        drawn = lb.impute(run, raw, known, method=method, num_samples=8, num_steps=20).samples[..., 1]
        # at x = -1 the first component alone is near: N(0, 0.04 - 0.03^2 / 0.09)
        low, middle, high = np.quantile(drawn, [0.25, 0.5, 0.75])
        assert abs(middle) < 0.1
        assert (high - low) / 1.349 == pytest.approx(math.sqrt(0.03), abs=0.05)


def test_entries_that_are_missing_are_learned_around(tmp_path):
    rows = gaussian().sample(ROWS, lb.Stream(0)).numpy().astype(np.float32)
    rng = np.random.default_rng(0)
    rows[:, 1:][rng.random((ROWS, 2)) < 0.3] = np.nan
    run, dataset = grown(tmp_path, rows)
    test = dataset.examples[dataset.test]
    scores = lb.score(run, test, lb.Effort(32))
    observed = ~np.isnan(test)
    nats = scores.bits_per_dim * observed.sum(1) * math.log(2)
    exact = gaussian().log_marginal(torch.from_numpy(test).double(), lb.schedule.CLEAN, torch.from_numpy(observed))
    mean, error = lb.mean_and_error(torch.from_numpy(nats) + exact)
    assert -3 * error < mean < 0.1 + 3 * error


def test_labels_are_a_condition(tmp_path):
    pytest.importorskip("lightgbm")
    lower, upper = np.random.default_rng(0).normal(size=(2, 500, 2)).astype(np.float32)
    source, labels = str(tmp_path / "labelled.npz"), np.repeat([0, 1], 500)
    np.savez(source, x=np.concatenate([lower, upper + np.float32([0, 3])]), labels=labels)
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source, conditional=True), model="forest")
    training = dataclasses.replace(config.training, minutes=None, steps=8)
    config = dataclasses.replace(config, training=training, model=ModelConfig("forest", bands=3, trees=8, depth=4))
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    drawn = [lb.generate(run, 100, cond=run.labels([name] * 100)) for name in ("0", "1")]
    assert drawn[1][:, 1].mean() - drawn[0][:, 1].mean() == pytest.approx(3, abs=0.7)


def test_it_has_no_density_along_its_flow(run_of_mixture):
    run, dataset = run_of_mixture
    with pytest.raises(InputError, match="no density along its flow: its trees are constant"):
        lb.score_density(run, dataset.examples[:3])
    with pytest.raises(InputError, match="no density along its flow"):
        lb.log_prob(run.denoiser.given(observed=torch.ones(3, 2, dtype=torch.bool)), torch.zeros(3, 2))


@pytest.mark.slow
def test_the_verbs_take_it(run_of_mixture, tmp_path, capsys, monkeypatch):
    for name, number in (("MOST_EXAMPLES", 12), ("NUM_DRAWS", 4), ("NUM_STEPS", 6)):
        monkeypatch.setattr(f"lowerbound.evaluate.imputation.{name}", number)
    monkeypatch.setattr("lowerbound.evaluate.subject.QUICK_SECONDS", 0.5)
    run, dataset = run_of_mixture
    folder, source = str(run.folder.path), run.config.data.source
    evaluation = evaluate(run, dataset, Settings(quick=True))
    assert {"likelihood", "samples"} <= evaluation.figures.keys()
    evaluation = evaluate(run, dataset, Settings(num_samples=24, num_examples=24, num_times=2, imputation=0.3))
    assert {"likelihood", "quality", "columns", "imputation", "diagnosis"} <= evaluation.figures.keys()
    assert all(evaluation.parts[name].missing is None for name in ("columns", "imputation"))
    assert "no derivative" in str(evaluation.parts["density"].missing)
    assert command(["score", folder, source, "--split", "test", "-o", str(tmp_path / "scores.csv")]) == 0
    assert (
        command(["train", source, "--model", "forest", "--minutes", "1", "--dry-run", "-o", str(tmp_path / "dry")]) == 0
    )
    assert "numbers at most" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_seed_grows_the_same_forest_and_a_complete_run_is_left_alone(run_of_mixture, tmp_path):
    run, dataset = run_of_mixture
    told = []
    train(run.config, dataset, run.folder.path, say=told.append, show_progress=False)
    assert "is complete" in told[0]
    train(run.config, dataset, tmp_path / "again", say=told.append, show_progress=False)
    again = open_run(tmp_path / "again")
    for name, parameter in run.denoiser.named_parameters():
        assert torch.equal(parameter, again.denoiser.get_parameter(name)), name


def test_a_damaged_forest_is_refused(run_of_mixture, tmp_path):
    run, _ = run_of_mixture
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run.folder.path / name).read_bytes())
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-7] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is damaged: it does not hold what was written"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"network": NetworkConfig(width=7)}, "--network.width has no effect on the model forest, which is no network"),
        (
            {"model": ModelConfig("forest", width=3)},
            "--model.width has no effect on the model forest, whose settings are",
        ),
        ({"model": ModelConfig("forest", trees=10**6)}, "--model.trees is 1000000: at most 10,000"),
        ({"training": TrainingConfig(steps=3, times="importance")}, "have no effect on the model forest"),
    ],
)
def test_settings_without_effect_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        Config(
            **{
                "data": DataConfig("moons"),
                "training": TrainingConfig(steps=3),
                "model": ModelConfig("forest"),
                **settings,
            }
        )


def test_images_more_steps_than_trees_and_a_missing_lightgbm_are_refused(run_of_mixture, tmp_path, monkeypatch):
    run, dataset = run_of_mixture
    with pytest.raises(InputError, match="a forest is for vectors"):
        Forest(SCHEDULE, (1, 8, 8))
    many = dataclasses.replace(run.config, training=dataclasses.replace(run.config.training, steps=31))
    with pytest.raises(InputError, match=r"--steps is 31.*at most --model\.trees, 30"):
        train(many, dataset, tmp_path / "many")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(InputError, match=r"pip install 'lowerbound\[forest\]'"):
        train(run.config, dataset, tmp_path / "none")


def test_the_gaussian_under_it_is_shrunk_where_columns_are_nearly_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(200, 1)), 8, 1) + 1e-3 * rng.normal(size=(200, 8))
    run, dataset = grown(tmp_path, rows.astype(np.float64), steps=2)
    assert isinstance(run.denoiser.gaussian, Gaussian)
    assert torch.linalg.eigvalsh(run.denoiser.covariance)[0] > 0
    assert np.isfinite(lb.score(run, dataset.examples[dataset.test]).bits_per_dim).all()
