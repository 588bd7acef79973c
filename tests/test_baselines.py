"""Yardsticks against data whose entropy is known in closed form."""

import math

import numpy as np
import pytest
import scipy.stats

from lowerbound.baselines import (
    Baseline,
    Splits,
    baselines,
    gaussian,
    gaussian_copula,
    gaussian_mixture,
    histogram,
    independent,
    of_dataset,
    weakness,
    yardstick,
)
from lowerbound.baselines.splits import DEQUANTISED, EXACT
from lowerbound.baselines.yardsticks import YARDSTICK_EXAMPLES
from lowerbound.data import Examples, open_dataset
from lowerbound.errors import InputError

pytestmark = pytest.mark.usefixtures("all_sizes")


def split(values: np.ndarray, num_levels: int | None = None) -> Splits:
    fifth = len(values) // 5
    return Splits(values[: 3 * fifth], values[3 * fifth : 4 * fifth], values[4 * fifth :], num_levels)


def assert_near(found: Baseline, expected: float, slack: float) -> None:
    assert abs(found.bits_per_dim - expected) < 3 * found.standard_error + slack, (found, expected)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_gaussian_reaches_the_entropy_of_gaussian_data(rng):
    factor = rng.normal(size=(6, 6)) * np.array([0.01, 0.1, 1, 10, 100, 1000.0])[:, None]
    found = gaussian(split(rng.normal(size=(20_000, 6)) @ factor.T + 5))
    entropy = 0.5 * math.log(2 * math.pi * math.e) + np.linalg.slogdet(factor)[1] / 6
    assert found.kind == EXACT
    assert found.num_examples == 4_000
    assert_near(found, entropy / math.log(2), 0.005)


def test_copula_reaches_the_entropy_of_skewed_columns_that_correlate(rng):
    """Exponential marginals with a Gaussian copula: its entropy is theirs, one nat each, and half the log det of R."""
    correlation = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.0], [0.2, 0.0, 1.0]])
    z = rng.multivariate_normal(np.zeros(3), correlation, 3000)
    x = -scipy.stats.norm.logsf(z) * [1.0, 10.0, 0.1]
    found, plain = gaussian_copula(split(x)), gaussian(split(x))
    entropy = (3 + 0.5 * np.linalg.slogdet(correlation)[1]) / 3
    assert found.kind == EXACT
    assert_near(found, entropy / math.log(2), 0.06)
    assert found.bits_per_dim < plain.bits_per_dim - 0.2


def test_the_copula_of_one_column_is_its_kernel_density_and_integrates_to_one():
    rng = np.random.default_rng(1)
    column, grid = rng.normal(size=(80, 1)), np.linspace(-6, 6, 61)[:, None]
    densities = [2 ** -gaussian_copula(Splits(column, column, np.repeat(x[None], 2, 0))).bits_per_dim for x in grid]
    assert np.trapezoid(densities, grid[:, 0]) == pytest.approx(1, abs=2e-3)


def test_copula_is_for_complete_continuous_data(rng):
    with pytest.raises(InputError, match="have 4 levels"):
        gaussian_copula(split(rng.integers(4, size=(50, 2)), 4))
    with pytest.raises(InputError, match="missing"):
        gaussian_copula(split(np.where(rng.random((50, 2)) < 0.2, np.nan, rng.normal(size=(50, 2)))))


def test_gaussian_bound_integrates_the_dequantisation_noise(rng):
    """The closed form is the mean over u of the density at k + u, here of a Gaussian fitted to dequantised draws."""
    levels = np.clip(np.round(rng.normal([8, 12, 20], [2, 0.3, 4], size=(20_000, 3))), 0, 31).astype(np.int64)
    found = gaussian(split(levels, 32))
    drawn = gaussian(split(levels + rng.random(levels.shape)))
    assert found.kind == DEQUANTISED
    assert abs(found.bits_per_dim - drawn.bits_per_dim) < 0.01


def test_coarse_levels_cost_the_gaussian_more_than_fine_ones(rng):
    """Levels much finer than the spread make the bound tight: the entropy of the density, in units of a level."""
    values = np.clip(np.round(rng.normal(500, 40, size=(20_000, 2))), 0, 999).astype(np.int64)
    assert_near(gaussian(split(values, 1000)), 0.5 * math.log2(2 * math.pi * math.e * 40**2), 0.005)


def test_histogram_reaches_the_entropy_of_independent_levels(rng):
    probabilities = np.array([[0.5, 0.25, 0.125, 0.125], [0.97, 0.01, 0.01, 0.01]])
    levels = np.stack([rng.choice(4, size=20_000, p=p) for p in probabilities], axis=1)
    found = histogram(split(levels, 4))
    assert found.kind == EXACT
    assert_near(found, -(probabilities * np.log2(probabilities)).sum() / 2, 0.002)


@pytest.mark.parametrize("table", [1, 8, 12])
def test_histogram_is_the_same_however_many_dimensions_are_counted_at_a_time(rng, monkeypatch, table):
    splits = split(rng.choice(4, size=(500, 5), p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8), 4)
    whole = histogram(splits)
    monkeypatch.setattr(independent, "TABLE", table)
    assert histogram(splits) == whole


def test_histogram_masses_sum_to_one_on_a_level_that_training_never_saw_as_well(rng):
    train, validation = rng.choice([0, 1, 3], size=(40, 1)), np.array([[0], [2]])
    bits = [histogram(Splits(train, validation, np.full((2, 1), level), 4)).bits_per_dim for level in range(4)]
    assert sum(2.0**-value for value in bits) == pytest.approx(1)


def test_mixture_beats_the_gaussian_on_clusters_and_reaches_their_entropy(rng):
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    splits = split(centres[rng.integers(4, size=10_000)] + rng.normal(size=(10_000, 2)))
    found = gaussian_mixture(splits)
    entropy = (math.log(4) + math.log(2 * math.pi * math.e)) / 2 / math.log(2)
    assert_near(found, entropy, 0.02)
    assert found.bits_per_dim < gaussian(splits).bits_per_dim - 1


def test_mixture_bound_does_not_undercut_the_entropy_of_discrete_data(rng):
    levels = rng.integers(0, 8, size=(3_000, 2))
    found = gaussian_mixture(split(levels, 8))
    assert found.kind == DEQUANTISED
    assert 3 - 3 * found.standard_error < found.bits_per_dim < 3.3


def test_mixture_of_many_dimensions_is_diagonal(rng):
    found = gaussian_mixture(split(rng.normal(size=(600, 150)), None))
    assert "diagonal" in found.name
    assert_near(found, 0.5 * math.log2(2 * math.pi * math.e), 0.1)


def test_mixture_says_how_many_examples_it_was_fitted_on(rng, monkeypatch):
    monkeypatch.setattr("lowerbound.baselines.mixture.MIXTURE_VALUES", 300)
    assert "fitted on 150 examples" in gaussian_mixture(split(rng.normal(size=(1_000, 2)))).name


def test_all_yardsticks_are_given_in_order_and_do_not_change_with_the_call(rng):
    levels = rng.binomial(4, 0.4, size=(500, 3))
    splits = levels[:300], levels[300:400], levels[400:]
    found = baselines(*splits, num_levels=5)
    assert [one.name.split()[0] for one in found] == ["per-dimension", "full-covariance", "Gaussian"]
    assert found == baselines(*splits, num_levels=5)
    assert len(baselines(*(values.astype(float) + rng.random(values.shape) for values in splits))) == 3


@pytest.mark.parametrize(
    ("values", "num_levels", "says"),
    [
        (np.full((10, 2), 7), 4, "allows 0 to 3"),
        (np.zeros((10, 2)), 4, "integer level indices"),
        (np.full((10, 2), np.inf), None, "not finite"),
        (np.full((10, 2), np.nan), None, "no entry is there"),
        (np.tile([1.0, np.nan], (10, 1)), None, "of dimension 1 no entry"),
        (np.zeros((10, 2)), None, "constant"),
        (np.zeros((1, 2)), None, "at least 2"),
    ],
)
def test_mistakes_are_named(values, num_levels, says):
    with pytest.raises(InputError, match=says):
        baselines(values, values, values, num_levels)


def test_the_yardstick_is_the_simplest_baseline_on_validation_examples():
    digits, moons = open_dataset("digits"), open_dataset("moons")
    parts = digits.some("train", YARDSTICK_EXAMPLES), digits.some("validation", 100)
    flat = [digits.examples[part].reshape(len(part), -1) for part in parts]
    expected = histogram(Splits(flat[0], flat[1], flat[1], 17))
    assert yardstick(digits, 100) == expected
    found = yardstick(moons, 512)
    x, y = moons.examples[moons.some("train", YARDSTICK_EXAMPLES)], moons.examples[moons.some("validation", 512)]
    nats = -scipy.stats.norm(x.mean(0), x.std(0)).logpdf(y).sum(1)
    assert found.bits_per_dim == pytest.approx(nats.mean() / (2 * math.log(2)), rel=1e-5)


@pytest.mark.filterwarnings("ignore:values are repeated")
def test_no_yardstick_of_constant_dimensions():
    values = np.random.default_rng(0).normal(size=(100, 4, 4))
    values[:, 0, 0] = 2.0
    assert yardstick(Examples("a dead pixel", values[:, None], "NHW").dataset(densities=True), 50) is None


def test_no_yardstick_of_a_single_row(tmp_path):
    (tmp_path / "few.csv").write_text("a,b\n" + "".join(f"{row % 5}.5,{row}.25\n" for row in range(12)))
    dataset = open_dataset(str(tmp_path / "few.csv"))
    assert len(dataset.validation) == 1
    assert yardstick(dataset, 64) is None


def test_weakness_is_said_of_models_that_stay_behind():
    told = {"held_out_bits_per_dim": "3.0", "baseline_bits_per_dim": "2.5", "baseline": "independent Gaussians"}
    assert "3.000 bits/dim" in weakness(told)
    assert "independent Gaussians" in weakness(told)
    assert "not learned much" in weakness({**told, "held_out_bits_per_dim": "nan"})
    assert "not learned much" in weakness({**told, "standard_error": "0.4"})
    assert "not learned more than" in weakness({**told, "standard_error": "0.6"}), "as good, as far as can be told"
    assert "3.000 ± 0.600 bits/dim" in weakness({**told, "standard_error": "0.6"})
    assert weakness({**told, "held_out_bits_per_dim": "2.4"}) is None
    for missing in told:
        if missing != "baseline":
            assert weakness({name: value for name, value in told.items() if name != missing}) is None
    assert weakness({**told, "baseline_bits_per_dim": "damaged"}) is None


def test_of_a_table_of_real_numbers_all_are_in_the_same_units(tmp_path, rng):
    """Two columns of correlation 0.9 and of other units: Gaussians need the entropy, and columns alone more by log det R."""
    rows = rng.normal(size=(4000, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T * [100, 0.01] + [5, -3]
    np.savetxt(tmp_path / "real.csv", rows, delimiter=",", header="size,weight", comments="")
    found = {each.name.split(" (")[0]: each.bits_per_dim for each in of_dataset(open_dataset(tmp_path / "real.csv"))}
    together = -0.5 * np.log2(1 - 0.9**2) / 2
    entropy = 0.5 * np.log2(2 * np.pi * np.e) - together  # the units cancel
    assert list(found) == ["independent columns", "full-covariance Gaussian", "Gaussian copula", "Gaussian mixture"]
    assert abs(found["independent columns"] - entropy - together) < 0.1
    assert all(abs(bits - entropy) < 0.1 for name, bits in found.items() if name != "independent columns")
    rows[:, 1] = rng.integers(0, 3, len(rows))
    np.savetxt(tmp_path / "mixed.csv", rows, delimiter=",", header="size,weight", comments="", fmt=["%.9f", "%d"])
    assert [each.name for each in of_dataset(open_dataset(tmp_path / "mixed.csv"))] == ["independent columns"]
