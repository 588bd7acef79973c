"""A network of series stands upon a Gaussian of its windows that is fitted first."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from lowerbound import Effort, score
from lowerbound.blocks import ONE_HOT, ChoiceOrReal, Grid, Real
from lowerbound.data import DataConfig, DataSpec, describe, open_dataset
from lowerbound.errors import InputError
from lowerbound.fitted import FittedWindows
from lowerbound.rng import PerSample
from lowerbound.run import open_run
from lowerbound.run.impute import Drawing
from lowerbound.run.series import forecast, read_series_for
from lowerbound.training import recipe, train
from lowerbound.training.build import build_model
from lowerbound.training.config import NetworkConfig
from lowerbound.training.gaussians import fit_windows
from lowerbound.training.masks import known_entries

DATA = {"window": 6, "horizon": 2}


def opened(folder, shift: float = 0.0, gap: bool = False):
    """Two channels of an autoregressive process, whose levels shift after the training rows."""
    rng, rows = np.random.default_rng(0), np.zeros((1200, 2))
    for t in range(1, len(rows)):
        rows[t] = 0.8 * rows[t - 1] + 0.6 * rng.normal(size=2)
    rows[:, 1] += 0.5 * rows[:, 0]
    rows[960:] += shift
    lines = [f"{a:.6f},{b:.6f}" for a, b in rows]
    if gap:
        lines[1100] = f"{rows[1100, 0]:.6f},"
    source = folder / "rows.csv"
    source.write_text("\n".join(["a,b", *lines]))
    config = DataConfig(str(source), **DATA)
    return open_dataset(config), config


def nats(dataset, mean: torch.Tensor, covariance: torch.Tensor) -> float:
    x = dataset.encoded(dataset.test).flatten(1).double()
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).mean().item()


@pytest.mark.parametrize("gap", [False, True])
def test_the_fit_is_near_the_process(tmp_path, gap):
    dataset, _ = opened(tmp_path, gap=gap)
    mean, covariance = fit_windows(dataset)
    scale = dataset.encoded(dataset.train).flatten(1)[:, 0].nan_to_num().std().item()
    assert abs(mean).max() < 0.3
    assert abs(covariance[0, 1] / covariance[0, 0] - 0.8) < 0.1  # an hour later
    assert 0.5 < covariance[0, 0] / scale**2 < 2


def test_levels_wander_where_validation_says_so(tmp_path):
    (tmp_path / "still").mkdir()
    still, _ = opened(tmp_path / "still")
    dataset, _ = opened(tmp_path, shift=6.0)
    far = torch.zeros(16).double()
    far[:8] = 3.0  # one channel's level, far from that of training

    def cost(found: tuple[torch.Tensor, torch.Tensor]) -> float:
        return float(far @ torch.linalg.solve(found[1], far))

    assert cost(fit_windows(dataset)) < cost(fit_windows(still)) / 3
    assert nats(still, *fit_windows(still)) > -16 * 0.5 * math.log(2 * math.pi * math.e)  # of N(0, I)


def test_a_run_begins_with_the_gaussian_and_is_no_worse(tmp_path):
    dataset, data = opened(tmp_path)
    config = recipe(dataset, data)
    assert config.denoiser.components == 1
    training = dataclasses.replace(
        config.training, minutes=None, steps=4, num_evaluations=2, num_pictures=0, learning_rate=0.3, warmup_steps=1
    )
    config = dataclasses.replace(config, network=NetworkConfig(width=4, multipliers=(1,)), training=training)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    first, *_, last = [record for record in run.folder.read_log() if "held_out_bits_per_dim" in record]
    assert (first["step"], last["step"]) == (0, 4)
    mean, covariance = fit_windows(dataset)
    assert torch.equal(run.denoiser.mixture.mean, mean)
    assert torch.linalg.inv(run.denoiser.mixture.precision).sub(covariance).abs().max() < 1e-8
    # its own bits are near those of the Gaussian, of which a network alone is far after so little
    x = dataset.encoded(dataset.validation).flatten(1).double()
    exact = -torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).mean().item() / 16
    exact -= dataset.spec.encoding.log_det(dataset.encoded(dataset.validation)).mean().item() / 16
    assert abs(first["held_out_bits_per_dim"] - exact / math.log(2)) < 0.1


def test_other_targets_are_refused(tmp_path):
    dataset, data = opened(tmp_path)
    config = recipe(dataset, data)
    wrong = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, target="v"))
    with pytest.raises(InputError, match="components is for"):
        train(wrong, dataset, tmp_path / "run")


def test_series_that_are_their_own_rule_have_one_too(tmp_path):
    """Of a sine all windows lie in a plane: as narrow as the least noise, and no narrower."""
    lines = [f"{math.sin(k / 4):.6f}" for k in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(["a", *lines]))
    data = DataConfig(str(tmp_path / "rows.csv"), window=8, horizon=4)
    dataset = open_dataset(data)
    _, covariance = fit_windows(dataset)
    assert 5e-6 < torch.linalg.eigvalsh(covariance)[0] < 1e-3
    config = recipe(dataset, data)
    training = dataclasses.replace(config.training, minutes=None, steps=2, num_evaluations=1, num_pictures=0)
    config = dataclasses.replace(config, network=NetworkConfig(width=4, multipliers=(1,)), training=training)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert torch.isfinite(open_run(tmp_path / "run").denoiser.mixture.precision).all()


def weather(folder, num=900) -> DataConfig:
    """Pressure, rain, which there is none of in half of the hours, and temperature in tenths."""
    rng, pressure = np.random.default_rng(0), np.zeros(num)
    for t in range(1, num):
        pressure[t] = 0.9 * pressure[t - 1] + 0.4 * rng.normal()
    rain = np.where(rng.random(num) < 0.5, np.exp(pressure + 0.3 * rng.normal(size=num)), 0.0)
    tenths = np.round(10 - 3 * pressure + rng.normal(size=num), 1)
    lines = [f"{a:.6f},{b:.6f},{c:.1f}" for a, b, c in zip(pressure, rain, tenths, strict=True)]
    (folder / "weather.csv").write_text("\n".join(["pressure,rain,temperature", *lines]))
    return DataConfig(str(folder / "weather.csv"), **DATA)


def test_values_with_probabilities_have_a_place_in_windows(tmp_path):
    data = weather(tmp_path)
    dataset = open_dataset(data)
    spec, series = dataset.spec, dataset.spec.series
    assert [type(block) for block in spec.blocks] == [Real, ChoiceOrReal, Grid]
    assert dataset.shape == (5, 8)
    assert spec.raw_shape == (3, 8)
    assert series.num_own == series.num_given == 5
    assert DataSpec.from_dict(spec.to_dict()) == spec
    text = describe(dataset)
    assert "rain" in text
    assert "probability of 0 (" in text
    assert "told as a density over 0.1" in text
    x = dataset.encoded(dataset.test)
    np.testing.assert_allclose(spec.encoding.decode(x), dataset.examples[dataset.test], rtol=1e-4, atol=1e-4)
    with pytest.warns(UserWarning, match="channel rain"):
        assert open_dataset(dataclasses.replace(data, densities=True)).spec.blocks is None


def test_a_value_of_a_series_is_frequent_from_a_tenth_on(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(900, 2))
    rows[rng.random(900) < 0.2, 0] = 0
    rows[rng.random(900) < 0.05, 1] = 0
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{a:.9f},{b:.9f}" for a, b in rows))
    with pytest.warns(UserWarning, match=r"values are repeated in channel b \(\d% are 0\): "):
        blocks = open_dataset(DataConfig(str(tmp_path / "rows.csv"), **DATA)).spec.blocks
    assert [type(block) for block in blocks] == [ChoiceOrReal, Real]


def test_the_gaussian_of_windows_is_of_their_numbers(tmp_path):
    """A silent network says the Gaussian's eps of numbers given what is known of them, and what a choice's noise says."""
    data = weather(tmp_path)
    dataset = open_dataset(data)
    config = dataclasses.replace(recipe(dataset, data), network=NetworkConfig(width=4, multipliers=(1,)))
    assert config.denoiser.target == "blocks"
    denoiser = build_model(config, dataset.spec).denoiser
    mean, covariance = fit_windows(dataset)
    assert len(mean) == 3 * 8
    denoiser.mixture.fit(mean, covariance)
    x = dataset.encoded(dataset.test[:20])
    known = known_entries(x, 2, PerSample(range(20)), dataset.spec.blocks)
    cond = dataset.spec.series.condition_of(x, known)
    level = denoiser.schedule.level_at(-1.0)
    x_t = level.alpha * x + level.sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = denoiser.given(cond, ~known)(x_t, denoiser.schedule.inverse(torch.full((20,), -1.0).double()))
    numbers, block, ratio = [0, 3, 4], dataset.spec.blocks[1], math.exp(-0.5)  # of pressure, rain and temperature
    none, some = (said.x[:, 1:3] / ONE_HOT).unbind(1)
    torch.testing.assert_close(none + some, torch.ones(20, 8))
    # the Gaussian sees no rain at its place, under noise as everything else
    y, place = x_t / level.alpha, block.places[0]
    shrunk = place + y[:, 3] * ratio / math.hypot(1, ratio)
    seen, given = y[:, numbers], cond[:, numbers].clone()
    seen[:, 1] = none * shrunk + some * y[:, 3]
    given[:, 1] = torch.where(cond[:, 1] > 0, place, given[:, 1])
    alone = FittedWindows((3, 8), 2).fit(mean, covariance)
    expected = alone.eps(level.alpha * seen, level, given, ~known[:, numbers])
    free = ~known[:, 0]
    torch.testing.assert_close(said.eps[:, 0][free], expected[:, 0][free], atol=1e-4, rtol=1e-4)
    # noise is so much wider than a tenth of a degree that the grid hardly matters
    free = ~known[:, 4]
    torch.testing.assert_close(said.eps[:, 4][free], expected[:, 2][free], atol=0.02, rtol=0.02)
    # the rain's number is what the Gaussian says, or noise about the place of none
    of_none = y[:, 3] / (1 + ratio**2)
    rain = none * of_none + some * (y[:, 3] - ratio * expected[:, 1])
    free = ~known[:, 3]
    torch.testing.assert_close(said.x[:, 3][free], rain[free], atol=1e-4, rtol=1e-4)


def test_draws_of_rain_are_none_or_some(tmp_path):
    data = weather(tmp_path)
    dataset = open_dataset(data)
    config = recipe(dataset, data)
    training = dataclasses.replace(config.training, minutes=None, steps=20, num_evaluations=1, num_pictures=0)
    config = dataclasses.replace(config, network=NetworkConfig(width=4, multipliers=(1,)), training=training)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    ahead = forecast(run, read_series_for(run, data.source), 5, Drawing(8)).samples
    assert ahead.shape == (8, 5, 3)
    assert (ahead[..., 1] == 0).any()
    assert (ahead[..., 1] != 0).any()
    np.testing.assert_allclose(ahead[..., 2], ahead[..., 2].round(1), atol=1e-6)
    assert score(run, dataset.examples[dataset.test[:4]], Effort(4)).kind.endswith("of probabilities and densities)")
