"""A network of series stands upon a Gaussian of its windows that is fitted first."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from lowerbound.data import DataConfig, open_dataset
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.training import recipe, train
from lowerbound.training.config import NetworkConfig
from lowerbound.training.gaussians import fit_windows

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
