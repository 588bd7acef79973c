"""Figures of quality: closed forms, constructed sets, and standard errors against fresh draws."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate import quality as module
from lowerbound.evaluate.quality import Estimate, Split, frechet_distance, kernel_distance, neighbour_figures, quality


def normal(num: int, num_features: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, num_features))


def splits(samples: np.ndarray, references: np.ndarray, seed: int = 0) -> tuple[Split, Split]:
    return Split(samples, 0, seed), Split(references, 1, seed)


def with_moments(mean: np.ndarray, root: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features whose mean and covariance are exactly those given, the latter by a root."""
    values = normal(100, len(mean), seed)
    values -= values.mean(0)
    covariance = values.T @ values / (len(values) - 1)
    return mean + values @ np.linalg.inv(np.linalg.cholesky(covariance)).T @ root.T


def test_commuting_covariances_have_a_distance_of_their_spreads():
    mean = np.array([1.0, -2.0, 0.5])
    first, second = np.array([1.0, 2.0, 0.5]), np.array([1.5, 0.1, 3.0])
    found = frechet_distance(
        *splits(with_moments(mean, np.diag(first)), with_moments(0 * mean, np.diag(second), seed=1))
    )
    assert found.value == pytest.approx((mean**2).sum() + ((first - second) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize("rank", [6, 3])
def test_the_distance_is_that_of_the_product_s_eigenvalues(rank):
    rng = np.random.default_rng(2)
    roots = rng.standard_normal((2, 6, 6))
    roots[0, :, rank:] = 0
    a, b = (root @ root.T for root in roots)
    overlap = np.sqrt(np.linalg.eigvals(a @ b).real.clip(min=0)).sum()
    found = frechet_distance(*splits(*(with_moments(np.zeros(6), root, seed) for seed, root in enumerate(roots))))
    assert found.value == pytest.approx(np.trace(a + b) - 2 * overlap, rel=1e-6)


@pytest.mark.parametrize(("num_x", "num_y"), [(20, 90), (90, 20), (70, 90)], ids=str)
def test_with_many_features_the_distance_is_that_of_the_examples_products(num_x, num_y, monkeypatch):
    x, y = normal(num_x, 40) * np.arange(1, 41) ** -0.7, 0.3 + normal(num_y, 40, seed=1) * np.arange(1, 41) ** -0.8
    rows, columns = x - x.mean(0), y - y.mean(0)
    if num_x > num_y:  # the smaller product, which is not singular once its centre is left out
        rows, columns = columns, rows
    basis = np.linalg.svd(rows, full_matrices=False)[2][: min(len(rows) - 1, 40)]
    rows = rows @ basis.T
    squares = np.linalg.eigvals(rows.T @ rows @ (basis @ columns.T) @ (columns @ basis.T)).real
    overlap = np.sqrt(squares / ((num_x - 1) * (num_y - 1))).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum() - 2 * overlap
    kept = frechet_distance(*splits(x, y))
    assert kept.value == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(module, "KEPT_FEATURES", 10)
    assert frechet_distance(*splits(x, y)).error == kept.error


def test_the_distance_is_symmetric_and_vanishes_on_the_same_set():
    x, y = normal(60, 5), 1 + 2 * normal(80, 5, seed=1)
    x[:, 4] = x[:, 3]
    assert frechet_distance(*splits(x, y)).value == pytest.approx(frechet_distance(*splits(y, x)).value, rel=1e-9)
    assert frechet_distance(*splits(x, x[::-1])).value < 1e-6


def test_the_kernel_distance_is_the_mean_over_pairs(monkeypatch):
    x, y = normal(20, 3), normal(25, 3, seed=1) + 0.3
    kernel = {name: (p @ q.T / 3 + 1) ** 3 for name, p, q in (("xx", x, x), ("yy", y, y), ("xy", x, y))}
    off = [(kernel[name].sum() - np.trace(kernel[name])) / (n * (n - 1)) for name, n in (("xx", 20), ("yy", 25))]
    expected = sum(off) - 2 * kernel["xy"].mean()
    whole = kernel_distance(*splits(x, y))
    assert whole.value == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(module, "BLOCK_VALUES", 70)
    parts = kernel_distance(*splits(x, y))
    assert parts.value == pytest.approx(expected, rel=1e-10)
    assert np.abs(parts.halves - whole.halves).max() < 1e-10


def test_the_kernel_distance_is_unbiased():
    found = np.array(
        [kernel_distance(*splits(normal(30, 4, 2 * i), normal(40, 4, 2 * i + 1))).value for i in range(300)]
    )
    assert abs(found.mean()) < 4 * found.std() / len(found) ** 0.5


def brute_force(x: np.ndarray, y: np.ndarray, k: int) -> list[float]:
    def distances(p, q):
        return ((p[:, None] - q[None]) ** 2).sum(2)

    of_x, of_y = (np.sort(distances(values, values), axis=1)[:, k] for values in (x, y))
    within_y, within_x = distances(x, y) <= of_y, distances(x, y) <= of_x[:, None]
    return [within_y.any(1).mean(), within_x.any(0).mean(), within_y.sum() / (k * len(x)), within_y.any(0).mean()]


@pytest.mark.parametrize("block", [10**6, 100])
def test_neighbours_agree_with_all_pairs(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_VALUES", block)
    x, y = normal(40, 3), 0.8 * normal(40, 3, seed=1) + 0.5
    for k in (1, 3, 5):
        found = [figure.value for figure in neighbour_figures(*splits(x, y), k)]
        assert found == pytest.approx(brute_force(x, y, k), rel=1e-12)


def test_identical_sets_are_perfect_and_disjoint_ones_are_nothing():
    x = normal(60, 3)
    assert [figure.value for figure in neighbour_figures(*splits(x, x))] == pytest.approx([1, 1, 6 / 5, 1])
    apart = neighbour_figures(*splits(x, x + 100))
    assert [figure.figure for figure in apart] == [(0, 0)] * 4


def test_a_lost_mode_lowers_recall_and_coverage_alone():
    modes = np.where(np.arange(200) % 2, 20.0, 0.0)[:, None]
    data, samples = normal(200, 2) + modes, normal(200, 2, seed=1)
    precision, recall, density, coverage = (figure.value for figure in neighbour_figures(*splits(samples, data)))
    assert precision > 0.9
    assert 0.4 < recall < 0.55
    assert 0.4 < coverage < 0.55
    assert density > 0.8
    invented = neighbour_figures(*splits(data, samples))
    assert 0.4 < invented[0].value < 0.55
    assert invented[1].value > 0.9


FIGURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (0.5, 0.8)], ids=["equal", "different"])
def test_standard_errors_are_the_spread_of_fresh_draws(shift, spread, monkeypatch):
    monkeypatch.setattr(module, "NUM_SPLITS", 25)
    found = [
        quality(*splits(shift + spread * normal(100, 4, 2 * i), normal(100, 4, 2 * i + 1), seed=i), num_neighbours=3)
        for i in range(80)
    ]
    for name in FIGURES:
        values, errors = np.array([getattr(each, name) for each in found]).T
        ratio = (errors**2).mean() ** 0.5 / values.std(ddof=1)
        assert 0.75 < ratio < 1.4, f"{name}: error over spread {ratio:.2f}"


def test_the_difference_of_pairs_is_known_better():
    references, x = normal(300, 4), normal(200, 4, seed=1) + 0.5
    y = x + 0.02 * normal(200, 4, seed=2)
    for distance in (frechet_distance, kernel_distance):
        first, second = distance(*splits(x, references)), distance(*splits(y, references))
        difference = first - second
        assert difference.value == first.value - second.value
        assert difference.error < 0.1 * first.error


def test_a_figure_depends_on_its_seed_only_through_its_error():
    x, y = normal(100, 3), normal(100, 3, seed=1)
    first, second, again = (quality(*splits(x, y, seed)) for seed in (0, 1, 0))
    assert first == again
    assert first.frechet[0] == second.frechet[0]
    assert first.frechet[1] != second.frechet[1]
    assert (first.num_samples, first.num_references, first.num_neighbours) == (100, 100, 5)


def test_without_spread_there_is_no_error():
    assert Estimate(1.0, np.ones((10, 2)), distance=True).figure == (1.0, 0.0)


MISTAKES = {
    "too few": (lambda: frechet_distance(*splits(normal(3, 2), normal(30, 2))), "3 samples"),
    "too few for the neighbours": (lambda: neighbour_figures(*splits(normal(11, 2), normal(11, 2))), "at least 12"),
    "no neighbour": (lambda: neighbour_figures(*splits(normal(30, 2), normal(30, 2)), 0), "first neighbour"),
    "unequal numbers": (lambda: neighbour_figures(*splits(normal(30, 2), normal(31, 2))), "give equal ones"),
    "not finite": (lambda: kernel_distance(*splits(normal(30, 2), normal(30, 2) / 0.0)), "not all finite"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_has_no_figure_is_refused(mistake):
    call, message = MISTAKES[mistake]
    with np.errstate(divide="ignore"), pytest.raises(InputError, match=message):
        call()


def test_what_figures_take_of_references_alone_is_made_once(monkeypatch):
    samples, references, sizes = (normal(40, 3, 1), normal(40, 3, 2)), normal(60, 3, 3), []
    expected = [quality(*splits(each, references, 1)) for each in samples]

    def moments(values: np.ndarray, made=module._moments) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(values))
        return made(values)

    monkeypatch.setattr(module, "_moments", moments)
    split = Split(references, 1, 1)
    assert [quality(Split(each, 0, 1), split) for each in samples] == expected
    assert (sizes.count(40), sizes.count(60)) == (2, 1)  # of each whole set
