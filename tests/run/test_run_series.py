"""Forecasts and filled gaps of an autoregressive process, of which every conditional is known."""

import dataclasses

import numpy as np
import pytest
import torch

from lowerbound import Diffusion, GaussianDecoder, LinearGamma, Prediction
from lowerbound.data import Affine, DataSpec, Standardisation
from lowerbound.data.series.clock import Clock
from lowerbound.data.series.examples import Series
from lowerbound.data.series.windows import SeriesSpec
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.inverse import MMPS
from lowerbound.run import Run
from lowerbound.run.series import Drawing, fill, forecast
from lowerbound.training import Config
from lowerbound.training.config import DataConfig, TrainingConfig
from lowerbound.training.folder import RunFolder

PHI, LENGTH, HORIZON, NUM = 0.9, 16, 4, 4000


class Autoregressive(Denoiser):
    r"""Windows of $x_t = \phi x_{t-1} + \sqrt{1 - \phi^2} n$, which takes known entries as its condition; in closed form."""

    def __init__(self):
        super().__init__(LinearGamma(-12.0, 5.0), (1, LENGTH))
        places = torch.arange(LENGTH).double()
        self.covariance = PHI ** (places[:, None] - places).abs()

    def predict(self, x_t, level, cond, observed):
        known = torch.zeros(LENGTH, dtype=torch.bool) if cond is None else ~cond[0, 0].isnan()
        assert cond is None or (cond.isnan() == ~known).all()
        noisy = x_t[:, 0].double()
        mean, covariance = torch.zeros_like(noisy), self.covariance
        if cond is not None:
            gain = covariance[:, known] @ torch.linalg.inv(covariance[known][:, known])
            mean = cond[:, 0, known].double() @ gain.T
            covariance = covariance - gain @ covariance[known]
        marginal = level.alpha**2 * covariance + level.sigma**2 * torch.eye(LENGTH).double()
        x = mean + level.alpha * (noisy - level.alpha * mean) @ torch.linalg.solve(marginal, covariance)
        return Prediction(x_t, level, x[:, None].to(x_t.dtype), self.schedule)


def run_of(denoiser: Denoiser, tmp_path, horizon: int = HORIZON) -> Run:
    spec = DataSpec(
        "ar", (1, LENGTH), Affine((0.0,), (1.0,), has_missing=False), "NCL", series=SeriesSpec(("x",), horizon, "1 row")
    )
    config = Config(DataConfig("ar", window=LENGTH - horizon, horizon=horizon), training=TrainingConfig(steps=1))
    return Run(RunFolder(tmp_path), config, spec, Diffusion(denoiser, GaussianDecoder()), {})


def series_of(*values: list[float]) -> Series:
    rows = np.concatenate(values).astype(np.float32)[:, None]
    ends = np.cumsum([len(each) for each in values])
    steps = np.concatenate([np.arange(len(each)) for each in values])
    ids = tuple(map(str, range(len(values))))
    return Series("ar", rows, np.empty((len(rows), 0), np.float32), steps, ends, ids, ("x",), (), (), Clock())


def check_moments(samples: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """Within four standard errors of what they should be."""
    num = len(samples)
    assert (np.abs(samples.mean(0) - mean) < 4 * np.sqrt(variance / num)).all(), (samples.mean(0), mean)
    np.testing.assert_allclose(samples.var(0), variance, rtol=4 * np.sqrt(2 / num) + 0.02)


def ahead(last: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    powers = PHI ** np.arange(1, num + 1)
    return last * powers, 1 - powers**2


@pytest.mark.parametrize("horizon", [None, 3, 10], ids=["its own", "shorter", "in pieces"])
def test_forecasts_have_the_exact_law(tmp_path, horizon):
    history = [0.3, -0.2, 0.7, 0.1, 1.1, 0.9, 1.4, 1.9, 1.2, 1.5, 0.8, 1.6, 2.0]
    found = forecast(
        run_of(Autoregressive(), tmp_path), series_of(history), horizon, Drawing(NUM, num_steps=40, batch_size=NUM)
    )
    num = horizon or HORIZON
    assert found.samples.shape == (NUM, num, 1)
    assert found.series.steps.tolist() == list(range(len(history), len(history) + num))
    check_moments(found.samples[..., 0], *ahead(2.0, num))
    # a path is one draw: its steps are correlated as those of the process
    first, second = found.samples[:, 0, 0], found.samples[:, 2, 0]
    expected = PHI**2 * np.sqrt((1 - PHI**2) / (1 - PHI**6))
    assert abs(np.corrcoef(first, second)[0, 1] - expected) < 4 * (1 - expected**2) / np.sqrt(NUM)


def test_short_series_and_several(tmp_path):
    found = forecast(
        run_of(Autoregressive(), tmp_path),
        series_of([1.0, np.nan, 2.0], [-1.0, np.nan]),
        drawing=Drawing(NUM, num_steps=40, batch_size=NUM),
    )
    assert found.series.steps.tolist() == [3, 4, 5, 6, 1, 2, 3, 4]
    check_moments(found.samples[:, :4, 0], *ahead(2.0, 4))
    check_moments(found.samples[:, 4:, 0], *ahead(-1.0, 4))


def test_gaps_are_filled_by_the_exact_law(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(40)
    for gap in (slice(0, 1), slice(9, 12), slice(39, 40)):
        values[gap] = np.nan
    found = fill(run_of(Autoregressive(), tmp_path), series_of(values), Drawing(NUM, num_steps=40, batch_size=NUM))
    samples, there = found.samples[..., 0], ~np.isnan(values)
    assert (samples[:, there] == values[there].astype(np.float32)).all()
    check_moments(samples[:, [0]], *ahead(values[1], 1))
    check_moments(samples[:, [39]], *ahead(values[38], 1))
    places = np.arange(8, 13)
    covariance = PHI ** np.abs(places[:, None] - places)
    gain = covariance[1:4][:, [0, 4]] @ np.linalg.inv(covariance[[0, 4]][:, [0, 4]])
    conditional = covariance[1:4, 1:4] - gain @ covariance[[0, 4], 1:4]
    check_moments(samples[:, 9:12], gain @ values[[8, 12]], conditional.diagonal())


def test_a_gap_longer_than_a_window_is_filled_piece_by_piece(tmp_path):
    values = np.concatenate([np.full(8, 1.5), np.full(60, np.nan), np.full(8, -1.5)])
    found = fill(run_of(Autoregressive(), tmp_path), series_of(values), Drawing(400, num_steps=20, batch_size=400))
    samples = found.samples[..., 0]
    assert np.isfinite(samples).all()
    correlation = [np.corrcoef(samples[:, k], samples[:, k + 1])[0, 1] for k in range(20, 56)]
    assert min(correlation) > 0.8  # no seams between the windows
    assert 0.8 < samples[:, 30:46].std() < 1.2


def test_an_inverse_method_forecasts_with_the_same_law(tmp_path):
    """MMPS is exact for Gaussian data, of a denoiser that is given nothing."""
    drawing = Drawing(1000, MMPS(num_iterations=20), 100, batch_size=1000)
    found = forecast(run_of(Autoregressive(), tmp_path), series_of([0.5] * 11 + [2.0]), drawing=drawing)
    check_moments(found.samples[..., 0], *ahead(2.0, HORIZON))


def test_covariates_are_given_beside_what_is_known(tmp_path):
    """To a network that says what it is given."""

    class Echo(Denoiser):
        """Predicts the covariate where nothing is known."""

        def predict(self, x_t, level, cond, observed):
            assert cond.shape[1] == 2
            assert observed is None or (observed == cond[:, :1].isnan()).all()
            return Prediction(x_t, level, torch.where(cond[:, :1].isnan(), cond[:, 1:], 0.0), self.schedule)

    run = run_of(Echo(LinearGamma(-12.0, 5.0), (1, LENGTH)), tmp_path)
    spec = SeriesSpec(("x",), HORIZON, "1 row", ("price",), Standardisation((1.0,), (2.0,)))
    run = dataclasses.replace(run, spec=dataclasses.replace(run.spec, series=spec))
    prices = np.arange(20, dtype=np.float32)[:, None]
    series = series_of([*np.zeros(16), *[np.nan] * 4])
    series = dataclasses.replace(series, covariates=prices, known=("price",))
    found = forecast(run, series, drawing=Drawing(2, num_steps=4))
    np.testing.assert_allclose(found.samples[0, :, 0], (np.arange(16, 20) - 1) / 2, atol=0.02)
    with pytest.raises(InputError, match="the covariates price are known for 4"):
        forecast(run, series, 5)


def test_a_draw_depends_on_its_number_alone(tmp_path):
    run, series = run_of(Autoregressive(), tmp_path), series_of([1.0, 2.0, 0.5], [0.1, np.nan, 0.3])
    few = forecast(run, series, 6, Drawing(3, batch_size=2, num_steps=4)).samples
    many = forecast(run, series, 6, Drawing(5, batch_size=64, num_steps=4)).samples
    np.testing.assert_allclose(many[:3], few, atol=1e-5)


def test_what_cannot_be_drawn_is_said(tmp_path):
    run = run_of(Autoregressive(), tmp_path)
    with pytest.raises(InputError, match="every value of the series 1 is missing"):
        forecast(run, series_of([1.0], [np.nan]))
    with pytest.raises(InputError, match="nothing is missing"):
        fill(run, series_of([1.0, 2.0]))
    with pytest.raises(InputError, match="trained without --horizon"):
        forecast(run_of(Autoregressive(), tmp_path, horizon=0), series_of([1.0]))
