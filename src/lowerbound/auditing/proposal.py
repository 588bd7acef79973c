r"""A proposal q to integrate a density with: a mixture with heavier tails than Gaussian ones, fitted to points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from lowerbound.auditing.subject import Figures, Points
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

DEGREES_OF_FREEDOM = 5
INFLATION = 1.5
"""Of the covariances fitted."""
WIDE_SHARE = 0.1
WIDE = 4.0
"""The share of draws from one component as wide as all points, and its covariance as a multiple of theirs."""
COMPONENTS = (1, 3, 10, 30)


def fewest_points(num_dims: int) -> int:
    """That a proposal can be fitted to."""
    return 10 * num_dims + 10


@dataclass(frozen=True, eq=False, repr=False)
class Proposal(Brief):
    """A mixture of multivariate t distributions.

    Arguments:
        weights: of the components, (K,).
        means: (K, D).
        scales: their scale matrices, (K, D, D).
    """

    weights: Float[np.ndarray, " num_components"]
    means: Float[np.ndarray, "num_components num_dims"]
    scales: Float[np.ndarray, "num_components num_dims num_dims"]

    @classmethod
    def wide(cls, points: Points) -> "Proposal":
        """One component, wider than all points together.

        Raises:
            InputError: for fewer than ten points a dimension, or points without spread.
        """
        num_points, num_dims = points.shape
        if num_points < fewest_points(num_dims):
            raise InputError(f"{num_points} points of {num_dims} dimensions are too few to fit a proposal to")
        covariance = np.atleast_2d(np.cov(points.T))
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise InputError("the points have no spread in some direction, so that no density of them is finite")
        return cls(np.ones(1), points.mean(0)[None], WIDE * covariance[None])

    @classmethod
    def fitted(cls, points: Points) -> "Proposal":
        """To points, by Gaussian mixtures of which one is chosen by the points left out, and the wide component beside it.

        Raises:
            InputError: as `wide` does.
        """
        from sklearn.mixture import GaussianMixture

        wide = cls.wide(points)
        num_points, num_dims = points.shape
        mean, scale = points.mean(0), points.std(0, ddof=1)
        unit = (points - mean) / scale
        half = num_points // 2
        most = num_points // (5 * num_dims + 5)
        fits = [
            GaussianMixture(num, reg_covar=1e-5, random_state=0).fit(unit[:half])
            for num in COMPONENTS
            if num == 1 or num <= most
        ]
        best = max(fits, key=lambda fit: fit.score(unit[half:]))
        weights = np.append((1 - WIDE_SHARE) * np.asarray(best.weights_), WIDE_SHARE)
        means = np.concatenate([np.asarray(best.means_) * scale + mean, wide.means])
        stretch = scale[:, None] * scale
        scales = np.concatenate([INFLATION * np.asarray(best.covariances_) * stretch, wide.scales])
        return cls(weights / weights.sum(), means, scales)

    def sample(self, num: int, seed: int) -> Points:
        """Draws, (num, D)."""
        rng = np.random.default_rng(seed)
        component = rng.choice(len(self.weights), num, p=self.weights)
        roots = np.linalg.cholesky(self.scales)[component]
        normal = rng.standard_normal((num, self.means.shape[1]))
        widths = np.sqrt(DEGREES_OF_FREEDOM / rng.chisquare(DEGREES_OF_FREEDOM, num))
        return self.means[component] + widths[:, None] * np.einsum("nij,nj->ni", roots, normal)

    def log_prob(self, x: Points) -> Figures:
        """Nats of each point, (N,)."""
        from scipy.stats import multivariate_t  # takes long to import, and few who audit come here

        parts = [
            np.log(weight) + np.atleast_1d(multivariate_t.logpdf(x, mean, scale, df=DEGREES_OF_FREEDOM))
            for weight, mean, scale in zip(self.weights, self.means, self.scales, strict=True)
        ]
        return np.asarray(logsumexp(parts, axis=0))
