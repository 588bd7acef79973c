"""Data that need no download: small digits and two-dimensional toys."""

import math
from importlib.metadata import distribution

import numpy as np

from lowerbound.data.dataset import Dataset, assemble

NUM_POINTS = 20_000
_SEED = 0


def digits() -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels with 17 levels (scikit-learn; Alpaydin & Kaynak 1998, UCI)."""
    # its file alone, for to import scikit-learn takes a second
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(path), np.int64, delimiter=",")
    images = rows[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8)
    return assemble("digits", images, layout="NHW", num_levels=17, labels=rows[:, -1].copy())


def moons() -> Dataset:
    """Two interleaved half circles (as scikit-learn draws them) with noise of 0.05."""
    rng = np.random.default_rng(_SEED)
    angle, upper = rng.uniform(0, math.pi, NUM_POINTS), rng.integers(0, 2, NUM_POINTS)
    sign = 1 - 2 * upper
    points = np.stack([np.cos(angle) * sign + upper, np.sin(angle) * sign + 0.5 * upper], 1)
    return _points("moons", points + 0.05 * rng.standard_normal(points.shape), upper)


def swiss_roll() -> Dataset:
    """A spiral of one and a half turns with noise of 0.25."""
    rng = np.random.default_rng(_SEED)
    angle = 1.5 * math.pi * (1 + 2 * rng.uniform(size=NUM_POINTS))
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1)
    return _points("swiss-roll", points + 0.25 * rng.standard_normal(points.shape))


def checkerboard() -> Dataset:
    """Uniform on the eight dark fields of a 4 x 4 board on [-2, 2]^2: an entropy of ln 8 nats."""
    rng = np.random.default_rng(_SEED)
    row, half = rng.integers(0, 4, NUM_POINTS), rng.integers(0, 2, NUM_POINTS)
    column = 2 * half + row % 2
    corner = np.stack([column, row], 1) - 2.0
    return _points("checkerboard", corner + rng.uniform(size=(NUM_POINTS, 2)))


def mixture() -> Dataset:
    """Draws from the Gaussian mixture of `mixture_parameters`, whose density is known."""
    rng = np.random.default_rng(_SEED)
    weights, means, covariances = mixture_parameters()
    component = rng.choice(len(weights), NUM_POINTS, p=weights)
    roots = np.linalg.cholesky(covariances)[component]
    eps = rng.standard_normal((NUM_POINTS, 2, 1))
    return _points("mixture", means[component] + (roots @ eps)[..., 0], component)


def mixture_parameters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (3,), means (3, 2) and covariances (3, 2, 2) of `mixture`."""
    weights = np.array([0.5, 0.3, 0.2])
    means = np.array([[-1.0, -0.5], [1.0, -0.5], [0.0, 1.0]])
    covariances = np.array([[[0.10, 0.06], [0.06, 0.10]], [[0.10, -0.06], [-0.06, 0.10]], [[0.20, 0.0], [0.0, 0.02]]])
    return weights, means, covariances


def _points(name: str, points: np.ndarray, labels: np.ndarray | None = None) -> Dataset:
    return assemble(name, points.astype(np.float32), layout="ND", labels=labels)
