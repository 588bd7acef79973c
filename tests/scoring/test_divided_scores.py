"""Scores that are divided by column and by noise: sums, and what they name."""

import numpy as np
import pytest
import torch
from known import mixture_run

from lowerbound import Gaussian, GaussianDecoder, InputError, LinearGamma
from lowerbound.data.dataset import assemble
from lowerbound.models import Diffusion, Effort
from lowerbound.run import Run
from lowerbound.scoring import part_names, score
from lowerbound.training import recipe
from lowerbound.training.folder import RunFolder

CORRELATION = 0.9
NUM_COLUMNS = 4


@pytest.fixture(scope="module")
def correlated(tmp_path_factory) -> tuple[Run, np.ndarray]:
    """A run of four correlated columns, some of whose values are missing, with the best possible denoiser; and its rows."""
    covariance = np.full((NUM_COLUMNS, NUM_COLUMNS), CORRELATION) + (1 - CORRELATION) * np.eye(NUM_COLUMNS)
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal(np.zeros(NUM_COLUMNS), covariance, 400) * [1.0, 10.0, 0.1, 5.0] + 3
    rows[0, 1] = np.nan
    dataset = assemble("correlated", rows, layout="ND")
    shift, scale = np.array(dataset.spec.encoding.shift), np.array(dataset.spec.encoding.scale)
    units = np.array([1.0, 10.0, 0.1, 5.0])
    denoiser = Gaussian(
        torch.tensor((3 - shift) / scale),
        torch.tensor(covariance * np.outer(units / scale, units / scale)),
        LinearGamma(-12, 6),
    )
    run = Run(RunFolder(tmp_path_factory.mktemp("correlated")), recipe(dataset), dataset.spec, _model(denoiser), {})
    return run, rows


def _model(denoiser) -> Diffusion:
    return Diffusion(denoiser.float(), GaussianDecoder())


@pytest.mark.parametrize("effort", [Effort(32), Effort(5), Effort(num_steps=6), Effort(4, num_steps=12)])
@pytest.mark.parametrize("by", ["column", "noise"])
def test_the_parts_add_up_to_the_total_of_the_same_draws(correlated, by, effort):
    run, rows = correlated
    whole, divided = score(run, rows[:50], effort), score(run, rows[:50], effort, by=by)
    assert np.abs(whole.nats - divided.nats).max() == 0
    parts = divided.entries if by == "column" else divided.bands
    assert parts is not None
    assert (divided.entries is None) != (divided.bands is None)
    assert np.abs(np.nansum(parts.reshape(50, -1), 1) - whole.nats).max() < 1e-4 * np.abs(whole.nats).max()
    assert len(part_names(run, divided)) == parts[0].size
    if by == "column":
        assert np.isnan(parts[0, 1])  # which is missing
        assert np.isfinite(parts[1:]).all()
        assert (parts[1:] != 0).all()


def test_bands_are_named_by_their_gammas(tmp_path):
    run, dataset = mixture_run(tmp_path)
    scores = score(run, dataset.examples[:3], Effort(6), by="noise")
    names = part_names(run, scores)
    assert names[:2] == ["reconstruction", "gamma -9.00 to -6.00"]
    assert names[-2:] == ["gamma 6.00 to 9.00", "prior"]
    with pytest.raises(InputError, match="were not divided"):
        part_names(run, score(run, dataset.examples[:3], Effort(6)))
    with pytest.raises(InputError, match="by is 'row'"):
        score(run, dataset.examples[:3], by="row")


def test_a_planted_outlier_is_named_by_its_column(correlated):
    """Each row has one value moved by three standard deviations against the others, which bear no mark of it alone."""
    run, rows = correlated
    rows = rows[1:].copy()
    usual = score(run, rows, Effort(64), by="column").entries
    assert usual is not None
    planted = np.arange(len(rows)) % NUM_COLUMNS
    centred = (rows - 3) / [1.0, 10.0, 0.1, 5.0]
    move = np.where(centred.mean(1) > 0, -3.0, 3.0)
    rows[np.arange(len(rows)), planted] += move * np.array([1.0, 10.0, 0.1, 5.0])[planted]
    entries = score(run, rows, Effort(64), by="column").entries
    assert entries is not None
    named = (entries - usual.mean(0)).argmin(1)
    assert (named == planted).mean() > 0.95
