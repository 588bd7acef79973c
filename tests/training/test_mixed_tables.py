"""Tables of mixed columns from training to report, as a whole."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from runs import measure_little

from lowerbound import Effort, Stream, generate, impute, open_run, score, score_density
from lowerbound.auditing import audit
from lowerbound.baselines import independent_columns, yardstick
from lowerbound.blocks import Grid, Real
from lowerbound.data import Dataset, Examples
from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig
from lowerbound.errors import InputError
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.settings import Settings
from lowerbound.inverse import Fitted
from lowerbound.mixed import BlockDecoder, BlockDenoiser
from lowerbound.models import Draw
from lowerbound.report.page import read_own, write_page
from lowerbound.run import Run
from lowerbound.run.impute import default_method
from lowerbound.scoring import Flow, FlowSettings
from lowerbound.training import Config, recipe, train
from lowerbound.training.build import build_model
from lowerbound.training.config import ModelConfig
from lowerbound.training.held_out import held_out_bits
from lowerbound.training.mixtures import OUTLIERS
from lowerbound.training.trainer import Trainer

COLUMNS = (
    Column("city", "categorical", "string", ("Rome", "Oslo", "Lima")),
    Column("height", "real", "double"),
    Column("flag", "boolean", "bool", ("False", "True")),
    Column("count", "integer", "int64"),
    Column("price", "real", "double"),
)


def table(share_missing: float = 0.2, num_rows: int = 300) -> Dataset:
    rng = np.random.default_rng(0)
    city = rng.integers(0, 3, num_rows)
    height = city + 0.3 * rng.standard_normal(num_rows)
    columns = (city, height, height > 1, rng.poisson(3, num_rows).clip(0, 8), (3 * height).round(1))
    values = np.stack(columns, 1).astype(np.float64)
    values[rng.random(values.shape) < share_missing] = np.nan
    values[np.isnan(values).all(1), 0] = 0
    return Examples("people", values, "ND", columns=COLUMNS).dataset()


def tiny(dataset: Dataset, steps: int = 30) -> Config:
    config = recipe(dataset, DataConfig("people"))
    training = {"minutes": None, "steps": steps, "batch_size": 32, "warmup_steps": 3, "num_evaluations": 1}
    return dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, width=32, depth=1),
        training=dataclasses.replace(config.training, **training, num_pictures=1),
    )


@pytest.fixture(scope="module", params=[0.2, 0.0], ids=["with gaps", "complete"])
def trained(request, tmp_path_factory) -> tuple[Run, Dataset]:
    dataset = table(request.param)
    with pytest.MonkeyPatch.context() as patch:
        measure_little(patch)
        folder = train(
            tiny(dataset), dataset, tmp_path_factory.mktemp("run"), say=lambda line: None, show_progress=False
        )
    return open_run(folder.path), dataset


def test_the_recipe_builds_blocks(trained):
    run, dataset = trained
    assert isinstance(run.denoiser, BlockDenoiser)
    assert isinstance(run.diffusion.decoder, BlockDecoder)
    assert run.denoiser.blocks == dataset.spec.blocks
    finest = min(block.spacing for block in dataset.spec.blocks if isinstance(block, Grid))
    assert run.denoiser.schedule.gamma_min <= min(-12, 2 * math.log(finest / 6) + 0.05)
    assert any(isinstance(block, Real) for block in dataset.spec.blocks)


def test_scores_are_of_the_columns_that_are_there(trained):
    run, dataset = trained
    raw = dataset.examples[dataset.test]
    scores = score(run, raw)
    assert np.isfinite(scores.nats).all()
    assert "probabilities and densities" in scores.kind
    num_columns = (~np.isnan(raw)).sum(1)
    np.testing.assert_allclose(scores.bits_per_dim, -scores.nats / num_columns / math.log(2))
    parts = scores.reconstruction + scores.prior + scores.diffusion + scores.normalisation
    np.testing.assert_allclose(parts, scores.bits_per_dim)


def test_the_flow_has_a_bound_of_its_own(trained):
    run, dataset = trained
    raw = dataset.examples[dataset.test][:3]
    density = score_density(run, raw, Flow(tolerance=0.05, num_probes=1))
    assert density.kind.startswith("bound (ODE, dequantised")
    assert np.isfinite(density.nats).all()
    num_columns = (~np.isnan(raw)).sum(1)
    np.testing.assert_allclose(density.bits_per_dim, -density.nats / num_columns / math.log(2))
    with pytest.raises(InputError, match="and these have their own"):
        score_density(run, raw, Flow(dequantizer="uniform"))


def test_samples_are_rows(trained):
    run, dataset = trained
    rows = generate(run, 50)
    assert rows.shape == (50, 5)
    assert rows.dtype == np.float64
    assert np.isin(rows[:, 0], (0, 1, 2)).all()
    assert np.isin(rows[:, 2], (0, 1)).all()
    assert np.isin(
        rows[:, 3], np.unique(dataset.examples[dataset.train, 3][~np.isnan(dataset.examples[dataset.train, 3])])
    )[np.isfinite(rows[:, 3])].all()
    np.testing.assert_allclose(rows[:, 4] * 10, np.rint(rows[:, 4] * 10), atol=1e-9)


def test_what_is_known_is_kept_and_the_rest_is_a_row(trained):
    run, dataset = trained
    raw = dataset.examples[dataset.test][:6].copy()
    raw[:, 0] = np.nan
    raw[np.isnan(raw).all(1), 1] = 0.5
    observed = ~np.isnan(raw)
    samples = impute(run, raw, observed, num_samples=3, num_steps=5).samples
    assert samples.shape == (6, 3, 5)
    kept = np.broadcast_to(observed[:, None], samples.shape)
    assert (samples[kept] == np.broadcast_to(raw[:, None], samples.shape)[kept]).all()
    assert np.isin(samples[..., 0], (0, 1, 2)).all()
    assert np.isfinite(samples).all()


def test_what_is_hidden_is_drawn_upon_the_fitted_mixture_given_the_rest(trained):
    run, dataset = trained
    assert isinstance(default_method(run), Fitted)
    raw = dataset.examples[dataset.test]
    raw = raw[~np.isnan(raw[:, :2]).any(1)]
    for hidden in (0, 1):  # a city, and a height that lies about its city's number
        observed = ~np.isnan(raw)
        observed[:, hidden] = False
        found = impute(run, raw, observed, num_samples=20, num_steps=30).samples[..., hidden]
        assert (
            np.abs(found - raw[:, None, hidden]).mean()
            < 0.6 * np.abs(raw[None, :, hidden] - raw[:, None, hidden]).mean()
        )


def test_a_category_that_is_not_known_is_refused_by_name(trained):
    run, dataset = trained
    raw = np.nan_to_num(dataset.examples[dataset.test][:2])
    raw[1, 0] = 3
    with pytest.raises(InputError, match="column city holds category number 3"):
        score(run, raw)


def test_what_is_partly_a_mass_is_no_density_to_audit(trained):
    with pytest.raises(InputError, match="a mass of the ones times a density of the others"):
        audit(trained[0])


def test_a_run_is_evaluated_and_reported(trained):
    run, dataset = trained
    settings = Settings(num_samples=60, num_examples=20, num_times=1, num_flow=1, flow=FlowSettings(tolerance=0.1))
    evaluation = evaluate(run, dataset, settings)
    missing = {name: part.missing for name, part in evaluation.parts.items() if part.missing}
    assert all("samples are complete" in reason for reason in missing.values()), missing
    write_page(run, read_own(run))
    assert "independent columns" in (run.folder.path / "report.html").read_text()


def test_training_comes_nearer_to_the_truth_than_independent_columns(monkeypatch):
    dataset = table(0.0, 1500)
    config = tiny(dataset, 250)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=64, warmup_steps=10))
    trainer = Trainer(config, dataset)
    for _ in trainer.records():
        pass
    trainer.average.swap()
    trainer.model.eval()
    monkeypatch.setattr("lowerbound.models.Diffusion.held_out_draws", lambda model, num_examples: 32)
    bits, error = held_out_bits(trainer.model, dataset)
    assert bits + 2 * error < yardstick(dataset, 10_000).bits_per_dim


def test_independent_columns_know_the_truth_of_independent_columns():
    """Of a category, a normal number, a level and a rounded number that do not know of each other."""
    rng, num_rows = np.random.default_rng(0), 6000
    shares = np.array([0.6, 0.3, 0.1])
    city, flag = rng.choice(3, num_rows, p=shares), rng.integers(0, 2, num_rows)
    height, price = rng.standard_normal(num_rows), rng.standard_normal(num_rows).round(1)
    values = np.stack([city, height, flag, rng.integers(0, 4, num_rows), price], 1).astype(np.float64)
    values[rng.random(num_rows) < 0.3, 1] = np.nan
    dataset = Examples("made", values, "ND", columns=COLUMNS).dataset()
    test = np.arange(num_rows)
    normal = 0.5 * math.log(2 * math.pi * math.e)
    there = ~np.isnan(values[:, 1])
    entropy = -(shares * np.log(shares)).sum() + math.log(2) + math.log(4) + normal + normal * there
    expected = (entropy / (4 + there)).mean() / math.log(2)
    found = independent_columns(dataset, test, test)
    assert abs(found.bits_per_dim - expected) < 4 * found.standard_error
    with pytest.raises(InputError, match="at least 2"):
        independent_columns(dataset, test, test[:1])


def test_independent_columns_know_the_truth_of_a_value_or_a_number():
    rng, num_rows = np.random.default_rng(0), 6000
    is_dry = rng.random(num_rows) < 0.7
    rain = np.where(is_dry, 0.0, rng.normal(3.0, 0.5, num_rows))
    height = rng.standard_normal(num_rows)
    dataset = Examples("made", np.stack([height, rain], 1), "ND", columns=(COLUMNS[1], COLUMNS[4])).dataset()
    share, normal = is_dry.mean(), 0.5 * math.log(2 * math.pi * math.e)
    of_rain = -share * math.log(share) - (1 - share) * (math.log(1 - share) - normal - math.log(0.5))
    test = np.arange(num_rows)
    found = independent_columns(dataset, test, test)
    assert abs(found.bits_per_dim - (normal + of_rain) / 2 / math.log(2)) < 4 * found.standard_error


@pytest.fixture(scope="module")
def rainy(tmp_path_factory) -> tuple[Run, Dataset, float]:
    """Wind, and rain that the more wind the likelier there is; and the mean bits of test rows under the truth."""
    rng, num_rows = np.random.default_rng(0), 2000
    wind = rng.standard_normal(num_rows)
    chance = 1 / (1 + np.exp(-2 * wind))
    rains = rng.random(num_rows) < chance
    rain = np.where(rains, 3 + wind + 0.5 * rng.standard_normal(num_rows), 0.0)
    nats = (wind**2 + math.log(2 * math.pi)) / 2
    density = -((rain - 3 - wind) ** 2) / 0.5 - math.log(0.5 * math.sqrt(2 * math.pi))
    nats -= np.where(rains, np.log(chance) + density, np.log1p(-chance))
    dataset = Examples("weather", np.stack([wind, rain], 1), "ND", columns=(COLUMNS[1], COLUMNS[4])).dataset()
    with pytest.MonkeyPatch.context() as patch:
        measure_little(patch)
        out = tmp_path_factory.mktemp("rainy")
        folder = train(tiny(dataset, 60), dataset, out, say=lambda line: None, show_progress=False)
    return open_run(folder.path), dataset, float(nats[dataset.test].mean() / 2 / math.log(2))


def test_rain_has_the_bits_that_the_truth_needs(rainy, all_sizes):
    run, dataset, truth = rainy
    raw = dataset.examples[dataset.test]
    scores = score(run, raw, Effort(32))
    error = scores.bits_per_dim.std() / len(raw) ** 0.5
    assert truth - 4 * error < scores.bits_per_dim.mean() < truth + 4 * error + 0.1
    flow = score_density(run, raw[:20], Flow(tolerance=0.01))
    assert abs(flow.bits_per_dim.mean() - scores.bits_per_dim[:20].mean()) < 0.5
    assert scores.kind.endswith("of probabilities and densities)")


def test_dry_days_are_drawn_as_often_as_there_are(rainy):
    run, dataset, _ = rainy
    drawn = generate(run, 4000, seed=1, batch_size=1000)[:, 1]
    share = (dataset.examples[:, 1] == 0).mean()
    assert abs((drawn == 0).mean() - share) < 4 * (share * (1 - share) / 4000) ** 0.5 + 0.03
    # far out are no more than come from the tails that the mixture has for outliers
    assert (np.abs(drawn[drawn != 0] - 3) > 6).mean() < OUTLIERS / (len(dataset.train) + OUTLIERS) / 2


def test_days_that_are_filled_in_are_dry_where_there_is_no_wind(rainy):
    run, *_ = rainy
    raw = np.array([[-2.0, np.nan], [2.0, np.nan]])
    samples = impute(run, raw, ~np.isnan(raw), num_samples=60, num_steps=20).samples[..., 1]
    calm, windy = (samples == 0).mean(1)
    assert calm > 0.85
    assert windy < 0.15


def test_training_sees_other_noise_in_the_place_of_a_value_each_time(rainy, monkeypatch):
    _, dataset, _ = rainy
    seen = []
    trainer = Trainer(tiny(dataset, 2), dataset)
    monkeypatch.setattr(type(trainer.model), "loss", lambda model, x, draw: seen.append(x) or 1 / 0)
    of_values = np.flatnonzero(dataset.examples[:, 1] == 0)[:8]
    for seed in (0, 1):
        with pytest.raises(ZeroDivisionError):
            trainer._losses(of_values, torch.zeros(8), torch.ones(8), torch.arange(8) + 100 * seed)
    first, second = seen
    assert torch.equal(first[:, :3], second[:, :3])
    assert (first[:, 3] != second[:, 3]).all()


@pytest.mark.parametrize("model", ["vae", "flow", "autoregressive", "gan"])
def test_other_models_refuse_discrete_columns_and_take_tables_of_numbers(model):
    dataset = table(0.0)
    with pytest.raises(InputError, match=rf"city, flag.*which the model {model} does not take: a diffusion model does"):
        build_model(recipe(dataset, DataConfig("people"), model=model), dataset.spec)
    values = np.random.default_rng(0).standard_normal((60, 2))
    numbers = Examples("numbers", values, "ND", columns=(COLUMNS[1], dataclasses.replace(COLUMNS[4]))).dataset()
    built = build_model(
        Config(DataConfig("numbers"), training=tiny(dataset).training, model=ModelConfig(model)), numbers.spec
    )
    assert built.shape == (2,)


@pytest.mark.parametrize(
    ("section", "setting", "message"),
    [
        ("decoder", {"name": "gaussian"}, "blocks is for tables"),
        ("denoiser", {"target": "levels"}, "is for discrete data"),
        ("denoiser", {"variance": "learned"}, "fixed reverse variance"),
    ],
)
def test_settings_that_do_not_go_with_tables_are_refused(section, setting, message):
    dataset = table()
    config = tiny(dataset)
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **setting)})
    with pytest.raises(InputError, match=message):
        build_model(config, dataset.spec)


def test_other_targets_are_valid_too():
    dataset = table(0.0)
    config = tiny(dataset)
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, target="v", components=0))
    model = build_model(config, dataset.spec)
    x = dataset.encoded(dataset.train[:8])
    assert torch.isfinite(model.loss(x, Draw(Stream(0))).total).all()
