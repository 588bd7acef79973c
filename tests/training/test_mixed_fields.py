"""Fields with rain and clouds from training to report, as a whole: some values have probabilities, others densities."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from runs import measure_little

from lowerbound import Effort, generate, impute, open_dataset, open_run, score, score_density
from lowerbound.blocks import ONE_HOT, ChoiceOrReal, Grid, Real
from lowerbound.cli.main import run as lowerbound
from lowerbound.data.dataset import assemble
from lowerbound.errors import InputError
from lowerbound.mixed import BlockDenoiser
from lowerbound.run import Run
from lowerbound.scoring import Flow
from lowerbound.training import recipe, train
from lowerbound.training.config import DataConfig
from lowerbound.training.trainer import Trainer


def weather(num: int = 200, gaps: float = 0.0) -> np.ndarray:
    """Temperature, rain, which there is none of in half of the places, and cloud in eighths."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(3, num, 6, 6))
    rain = np.where(normal[1] > 0, np.exp(normal[0] + 0.3 * normal[2]), 0.0)
    cloud = np.clip(np.round(4 + 2 * normal[1]), 0, 8) / 8
    values = np.stack([normal[0], rain, cloud], 1)
    values[rng.random(values.shape) < gaps] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module", params=[0.0, 0.1], ids=["complete", "with gaps"])
def trained(request, tmp_path_factory) -> tuple[Run, np.ndarray]:
    values = weather(gaps=request.param)
    folder = tmp_path_factory.mktemp("fields")
    np.save(folder / "weather.npy", values)
    arguments = [
        "--steps",
        "20",
        "--num-pictures",
        "1",
        "--num-evaluations",
        "1",
        "--network.width",
        "8",
        "--hidden",
        "0.3",
    ]
    with pytest.MonkeyPatch.context() as patch:
        measure_little(patch)
        assert lowerbound(["train", str(folder / "weather.npy"), "-o", str(folder / "run"), *arguments]) == 0
    return open_run(folder / "run"), values


def test_the_recipe_builds_blocks_at_each_place(trained):
    run, _ = trained
    assert isinstance(run.denoiser, BlockDenoiser)
    assert run.denoiser.shape == (5, 6, 6)
    assert [type(block) for block in run.spec.blocks] == [Real, ChoiceOrReal, Grid]


def test_scores_count_values_and_not_entries(trained):
    run, values = trained
    raw = values[:6]
    scores = score(run, raw, Effort(8), by="column")
    assert scores.kind.endswith("of probabilities and densities)")
    num_values = (~np.isnan(raw)).sum((1, 2, 3))
    np.testing.assert_allclose(scores.bits_per_dim, -scores.nats / num_values / math.log(2))
    assert scores.entries.shape == raw.shape
    np.testing.assert_allclose(np.nansum(scores.entries, (1, 2, 3)), scores.nats, rtol=1e-4)
    again = score(run, raw[3:], Effort(8), numbers=np.arange(3, 6))
    np.testing.assert_allclose(again.nats, scores.nats[3:], rtol=1e-5)


def test_the_flow_is_a_bound_too(trained):
    run, values = trained
    density = score_density(run, values[:2], Flow(tolerance=0.1, num_probes=1))
    assert np.isfinite(density.nats).all()
    assert density.kind.startswith("bound (ODE, dequantised")


def test_draws_are_values_as_they_came(trained):
    run, _ = trained
    drawn = generate(run, 20, run.diffusion.plan(num_steps=4))
    assert drawn.shape == (20, 3, 6, 6)
    assert 0 < (drawn[:, 1] == 0).mean() < 1
    np.testing.assert_array_equal(drawn[:, 2] * 8, np.round(drawn[:, 2] * 8))


def test_imputations_keep_what_is_known(trained):
    run, values = trained
    raw = values[:3].copy()
    observed = ~np.isnan(raw)
    observed[:, :, 2:4] = False
    filled = impute(run, np.where(observed, raw, 0).astype(np.float32), observed, num_samples=4, num_steps=4)
    for k in range(4):
        np.testing.assert_array_equal(filled.samples[:, k][observed], raw[observed])
    assert (filled.samples[:, :, 1, 2:4] == 0).any()


def test_an_evaluation_and_a_report_are_made_of_it(trained, capsys):
    run, _ = trained
    folder = str(run.folder.path)
    few = ["--quick", "--num-samples", "20", "--num-examples", "20", "--num-times", "1"]
    assert lowerbound(["evaluate", folder, *few, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert "independent channels" in json.dumps(figures)
    assert lowerbound(["report", folder]) == 0


def test_values_off_a_grid_are_said_to_be_rounded(trained):
    run, values = trained
    raw = values[:2].copy()
    raw[0, 2, 0, :2] = 0.3
    with pytest.warns(UserWarning, match=r"channel 2: 2 values lie between the multiples of 0.125 of training"):
        score(run, raw, Effort(1))


class AskedError(Exception):
    """Of the loss of examples."""


def test_changed_examples_have_noise_of_their_own(monkeypatch):
    """Noise in the place of a number is drawn after an example was moved, which repeats its outermost places."""
    dataset = assemble("weather", weather(), layout="NCHW")
    config = recipe(dataset, DataConfig("weather"))
    training = dataclasses.replace(config.training, augment=1.0, steps=1, minutes=None)
    trainer = Trainer(dataclasses.replace(config, training=training), dataset, "cpu")

    def loss(x, draw):
        raise AskedError(x)

    monkeypatch.setattr(trainer.model, "given", lambda cond, observed: SimpleNamespace(loss=loss))
    with pytest.raises(AskedError) as asked:
        trainer.gradient()
    (x,) = asked.value.args
    noise = x[:, 3][x[:, 2] < ONE_HOT / 2]
    assert len(noise.unique()) == len(noise)


def test_other_models_refuse_them(tmp_path):
    dataset = assemble("weather", weather(), layout="NCHW")
    config = recipe(dataset, DataConfig("weather"), model="vae")
    with pytest.raises(InputError, match="--densities"):
        train(config, dataset, tmp_path / "run", show_progress=False)


def test_a_run_sees_its_data_as_it_was_trained_on_them(tmp_path):
    """One of before such values had a probability, whose densities are of all numbers."""
    np.save(tmp_path / "weather.npy", weather())
    data = DataConfig(str(tmp_path / "weather.npy"))
    with pytest.warns(UserWarning, match="values are repeated"):
        dataset = open_dataset(data.source, densities=True)
    config = recipe(dataset, data)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=2, minutes=None))
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(folder.path)
    assert run.spec.blocks is None
    assert run.open_dataset().spec.encoding == run.spec.encoding
    assert run.open_dataset().encoded(np.arange(2)).shape == (2, 3, 6, 6)
