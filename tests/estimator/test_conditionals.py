"""Log densities of some columns given others, held against closed forms; and training on parts of rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from known import mixture_run
from sklearn.datasets import load_digits
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from lowerbound import DiffusionDensity, Gaussian, GaussianDecoder, InputError, LinearGamma, PerSample, open_dataset
from lowerbound.data import mixture_parameters
from lowerbound.data.dataset import assemble
from lowerbound.models import Diffusion
from lowerbound.run import Run
from lowerbound.training import recipe, train
from lowerbound.training.folder import RunFolder
from lowerbound.training.hiding import hide, seen_share

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[4.0, 2.7, 0.3], [2.7, 2.25, 0.0], [0.3, 0.0, 0.25]])


def knowing(run: Run) -> DiffusionDensity:
    """A fitted estimator of a run whose denoiser is exact for every part of the columns."""
    config = replace(run.config, training=replace(run.config.training, hidden=0.5))
    estimator = DiffusionDensity(conditionals=True)
    estimator.run_ = replace(run, config=config, spec=run.spec.with_gaps())
    estimator._backend = None
    estimator.n_features_in_ = run.spec.num_dims
    return estimator


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory) -> tuple[DiffusionDensity, np.ndarray]:
    # noise follows a row's content to the last bit, so that without rounding each processor would have noise of its own
    rows = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 2000, method="cholesky").round(6)
    dataset = assemble("gaussian", rows, layout="ND")
    shift, scale = np.array(dataset.spec.encoding.shift), np.array(dataset.spec.encoding.scale)
    mean, covariance = torch.tensor((MEAN - shift) / scale), torch.tensor(COVARIANCE / np.outer(scale, scale))
    denoiser = Gaussian(mean.float(), covariance.float(), LinearGamma(-12.0, 8.0))
    folder = RunFolder(tmp_path_factory.mktemp("gaussian"))
    return knowing(Run(folder, recipe(dataset), dataset.spec, Diffusion(denoiser, GaussianDecoder()), {})), rows


def agrees(found: np.ndarray, error: np.ndarray, exact: np.ndarray) -> None:
    """The mean is within two standard errors, and of the rows' figures about as many as there should be.

    0.01: what the finite ends of gamma leave.
    """
    differences = found - exact
    assert abs(differences.mean()) < 2 * np.sqrt((error**2).sum()) / len(error) + 0.01
    assert (np.abs(differences) < 2 * error + 0.02).mean() > 0.9
    assert np.sqrt((differences**2).mean()) < np.sqrt((error**2).mean())


@pytest.mark.parametrize("given", [[0], [1, 2], [True, False, True]])
def test_of_a_correlated_gaussian(gaussian, given):
    estimator, rows = gaussian
    known = np.zeros(3, bool)
    known[given] = True
    gain = COVARIANCE[~known][:, known] @ np.linalg.inv(COVARIANCE[known][:, known])
    spread = COVARIANCE[~known][:, ~known] - gain @ COVARIANCE[known][:, ~known]
    mean = MEAN[~known] + (rows[:, known] - MEAN[known]) @ gain.T
    exact = MultivariateNormal(torch.tensor(mean), torch.tensor(spread)).log_prob(torch.tensor(rows[:, ~known]))
    agrees(*estimator.conditional_log_prob(rows, given, return_std=True), exact.numpy())


def test_of_a_mixture(tmp_path):
    run, dataset = mixture_run(tmp_path)
    estimator, rows = knowing(run), dataset.examples[:300]
    weights, means, covariances = map(torch.tensor, mixture_parameters())
    joint = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
    first = MixtureSameFamily(Categorical(weights), Normal(means[:, 0], covariances[:, 0, 0].sqrt()))
    x = torch.tensor(rows).double()
    exact = (joint.log_prob(x) - first.log_prob(x[:, 0])).numpy()
    agrees(*estimator.conditional_log_prob(rows, [0], return_std=True), exact)


def test_given_all_there_is_nothing_left_and_given_none_everything(gaussian):
    estimator, rows = gaussian
    assert (estimator.conditional_log_prob(rows[:5], [0, 1, 2]) == 0).all()
    everything = estimator.conditional_log_prob(rows[:5], [])
    assert np.abs(everything - estimator.score_samples(rows[:5])).max() < 1e-4
    gaps = rows[:5].copy()
    gaps[:, 0] = np.nan  # nothing of what is given is there
    assert np.abs(estimator.conditional_log_prob(gaps, [0]) - estimator.score_samples(gaps)).max() < 1e-4


def test_draws_of_the_rest_are_its_distribution(gaussian):
    estimator, rows = gaussian
    drawn = estimator.sample_conditional(rows[:1], [0], n_samples=400, random_state=0)[0]
    assert (drawn[:, 0] == rows[0, 0]).all()
    mean = MEAN[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (rows[0, 0] - MEAN[0])
    std = np.sqrt(COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0])
    assert abs(drawn[:, 1].mean() - mean) < 4 * std / 20
    assert abs(drawn[:, 1].std() - std) < 0.15 * std
    gaps = rows[:2].copy()
    gaps[0, 1] = np.nan
    filled = estimator.impute(gaps, n_samples=200)
    assert (filled[1] == gaps[1]).all()
    assert filled[0, 1] != rows[0, 1]
    assert np.isfinite(filled).all()


def test_the_hidden_part_is_of_every_size():
    x = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0))
    x[:, 4] = torch.nan
    seen = ~hide(x, 0.5, PerSample(range(len(x)))).isnan()
    sizes = torch.bincount(seen.sum(1), minlength=5) / len(x)
    # kept: 1 to 4 of five, what is missing last of all, each as often in a half of the examples; all four in the other half
    assert sizes[0] == 0
    assert (sizes[1:4] - 0.125).abs().max() < 0.01
    assert (seen[:, :4].float().mean(0) - 0.5 - 0.5 * 2.5 / 4).abs().max() < 0.01
    assert seen_share(0.5) == 0.75
    same = hide(x, 0.0, PerSample(range(len(x))))
    assert (same.isnan() == x.isnan()).all()


def test_hidden_levels_are_refused(tmp_path):
    dataset = open_dataset("digits")
    config = recipe(dataset)
    config = replace(config, training=replace(config.training, hidden=0.5))
    with pytest.raises(InputError, match="leave out --hidden"):
        train(config, dataset, tmp_path / "run")


def test_a_network_learns_parts(tmp_path):
    """After little training, log p of one column is better known than by the network that saw whole rows alone."""
    rows = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 1000)
    settings = {"steps": 100, "width": 32, "depth": 1, "learning_rate": 3e-3, "num_draws": 32}
    estimator = DiffusionDensity(**settings, conditionals=True).fit(rows)
    found = estimator.conditional_log_prob(rows[:200], [0, 2])
    spread = np.sqrt(COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0])
    marginal = Normal(MEAN[1], COVARIANCE[1, 1] ** 0.5).log_prob(torch.tensor(rows[:200, 1])).mean()
    assert found.mean() > marginal  # of log p(x_1), which knows nothing of the others
    assert found.mean() < -np.log(spread * np.sqrt(2 * np.pi * np.e)) + 0.5


def test_images_are_rows_of_their_pixels(tmp_path):
    dataset = open_dataset("digits")
    config = recipe(dataset)
    training = replace(config.training, steps=2, minutes=None, num_pictures=0)
    config = replace(config, training=training, network=replace(config.network, width=8))
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    estimator, digits = DiffusionDensity.from_run(tmp_path / "run"), load_digits().data[:3]
    assert estimator.set_params(num_draws=2).score_samples(digits, by="column").shape == (3, 64)
    with pytest.raises(InputError, match="whole numbers"):
        estimator.score_samples(digits + 0.5)
