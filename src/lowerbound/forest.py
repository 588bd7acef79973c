r"""A denoiser made of regression trees, one ensemble for each column and band of noise, upon that of a Gaussian.

The bound needs $\hat x$ and nothing else, so whatever predicts the noise has a likelihood:

$$\hat\epsilon_d(x_t) = \hat\epsilon_d^{N}(x_t) + \sum_i f_{bdi}(c_{in} x_t, \gamma, c), \qquad
\hat x = \frac{x_t - \sigma_t \hat\epsilon}{\alpha_t},$$

with $\hat\epsilon^N$ that of the Gaussian with the data's mean and covariance, and $f_{bdi}$ the i-th tree of the column d
in the band b of $\gamma$ that the level lies in, the bands being of equal width. The trees are boosted on what the Gaussian
leaves of the noise, whose mean square the bound integrates over $\gamma$ with the same weight everywhere
(`training.forest`). A Gaussian is what trees are worst at, steep and oblique; without trees the bound is the Gaussian's own.

A tree is a complete binary one of fixed depth, node i above nodes 2 i + 1 and 2 i + 2, its leaves in a row. So the forest is
a few tensors, saved and checked like all weights, and followed without the program that grew it. An entry that is missing
goes, at every node, to the side that growing has found for it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.denoiser.base import Denoiser, Prediction
from lowerbound.denoiser.exact import Gaussian
from lowerbound.elementary import exp, expand, sqrt
from lowerbound.errors import InputError
from lowerbound.fitted import constant
from lowerbound.schedule import Level, Schedule
from lowerbound.shapes import Examples

AT_ONCE = 1 << 22
"""Places in trees that are followed at a time."""
MOST_NUMBERS = 1 << 30
"""In the trees of a forest."""


class Forest(Denoiser):
    r"""Boosted trees upon a Gaussian (formula in the module's docstring), to be fitted and planted: until then $\hat x = 0$.

    Arguments:
        schedule: the noise schedule; the bands divide its range of $\gamma$.
        shape: (D,).
        num_bands: of noise, each with its own trees.
        num_trees: at most, for each column in each band.
        depth: splits from a tree's root to a leaf.
        num_conditions: columns of the condition: 1 of labels, F of vectors; 0 of none.

    Attributes:
        mean, covariance: of the Gaussian, (D,) and (D, D), in double precision.
        splits: at each node the number of the column that is looked at, from 1 on, negative where an entry that is missing
            goes right; (num_bands, D, num_trees, nodes).
        thresholds: a value above it goes right; likewise.
        leaves: what is added to $\hat\epsilon$, (num_bands, D, num_trees, leaves).

    Raises:
        InputError: for examples that are no vectors, or an impossible size.
    """

    no_flow = (
        "its trees are constant between their splits, so that its probability flow has jumps and no derivative tells its "
        "density; the bound has no need of one"
    )

    def __init__(
        self,
        schedule: Schedule,
        shape: tuple[int, ...],
        *,
        num_bands: int = 16,
        num_trees: int = 100,
        depth: int = 5,
        num_conditions: int = 0,
    ):
        super().__init__(schedule, shape)
        if len(shape) != 1:
            raise InputError(
                f"a forest is for vectors, and the examples have the shape {tuple(shape)}: train another model"
            )
        if min(num_bands, num_trees, depth) < 1 or depth > 10:
            raise InputError(
                f"a forest of {num_bands} bands, {num_trees} trees and a depth of {depth}: each is at least 1, and the "
                "depth at most 10"
            )
        sizes = (num_bands, shape[0], num_trees)
        if num_bands * shape[0] * num_trees * 3 << depth > MOST_NUMBERS:
            raise InputError(
                f"a forest of {num_bands} bands, {shape[0]} columns and {num_trees} trees of a depth of {depth} is too "
                "large: give fewer or smaller trees"
            )
        self.depth, self.num_conditions = depth, num_conditions
        self.mean = constant(torch.zeros(shape, dtype=torch.float64))
        self.covariance = constant(torch.zeros(*shape, *shape, dtype=torch.float64))
        self.splits = constant(torch.ones(*sizes, (1 << depth) - 1))
        self.thresholds = constant(torch.zeros(*sizes, (1 << depth) - 1))
        self.leaves = constant(torch.zeros(*sizes, 1 << depth))

    @property
    def edges(self) -> Float[Tensor, "edge"]:
        r"""The values of $\gamma$ between which the bands lie, from one end of the schedule to the other."""
        first, last = self.schedule.gamma(torch.tensor([0.0, 1.0], dtype=torch.float64, device=self.device))
        return first + (last - first) * torch.linspace(0, 1, len(self.splits) + 1, dtype=torch.float64).to(first)

    @property
    def gaussian(self) -> Gaussian:
        """The one that the trees stand upon."""
        return Gaussian(self.mean, self.covariance, self.schedule)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        linear = self.linear(x_t.double(), level, observed).to(x_t.dtype)
        with torch.no_grad():
            bands, seen = self.bands(level, len(x_t)), self.seen(x_t, level, cond, observed)
            added = torch.empty_like(x_t)
            for band in bands.unique():
                rows = torch.nonzero(bands == band)[:, 0]
                added[rows] = self._grown(int(band), seen[rows]).to(x_t.dtype)
        return Prediction(x_t, level, linear - expand(exp(level.gamma / 2), x_t) * added, self.schedule)

    def linear(self, x_t: Examples, level: Level, observed: Tensor | None) -> Examples:
        r"""The Gaussian's $\hat x$, (B, D); where nothing is missing along the axes of its covariance, which are the same at
        every level."""
        if observed is not None:
            return self.gaussian.predict(x_t, level, None, observed).x
        variances, axes = torch.linalg.eigh(self.covariance)
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        return self.mean + ((x_t - alpha * self.mean) @ axes * gain) @ axes.mT

    def bands(self, level: Level, num_rows: int) -> Tensor:
        """The number of the band that each row of a batch lies in, (num_rows,)."""
        gamma = torch.as_tensor(level.gamma, dtype=torch.float64, device=self.device).expand(num_rows).contiguous()
        return torch.bucketize(gamma, self.edges[1:-1].contiguous(), right=True)

    def seen(
        self, x_t: Examples, level: Level, cond: Tensor | None, observed: Tensor | None
    ) -> Float[Tensor, "batch column"]:
        r"""What the trees see, in single precision: $x_t$ at unit variance, $\gamma$ and the condition, NaN where something
        is missing.

        Arguments:
            (as of `predict`)

        Raises:
            InputError: for a condition that the forest does not have.
        """
        scaled = expand(1 / (level.alpha * sqrt(1 + exp(level.gamma))), x_t) * x_t
        if observed is not None:
            scaled = scaled.masked_fill(~observed, torch.nan)
        gamma = torch.as_tensor(level.gamma, dtype=x_t.dtype, device=x_t.device).expand(len(x_t))
        columns = [scaled, gamma[:, None]]
        if cond is not None:
            columns.append(cond.double().masked_fill(cond < 0, torch.nan)[:, None] if cond.ndim == 1 else cond)
            if columns[-1].shape[1] != self.num_conditions:
                raise InputError(
                    f"a condition of {columns[-1].shape[1]} columns was given to a forest that has {self.num_conditions}"
                )
        elif self.num_conditions:
            columns.append(x_t.new_full((len(x_t), self.num_conditions), torch.nan))
        return torch.cat([column.float() for column in columns], 1)

    def _grown(self, band: int, seen: Tensor) -> Tensor:
        """The sums of a band's trees, (B, D)."""
        columns, trees, nodes = self.splits.shape[1:]
        splits, thresholds = (each[band].reshape(-1) for each in (self.splits, self.thresholds))
        looked_at, missing_right = splits.abs().long() - 1, splits < 0
        first = torch.arange(columns * trees, device=seen.device)
        sums = []
        for part in seen.split(max(1, AT_ONCE // len(first))):
            node = torch.zeros(len(part), len(first), dtype=torch.long, device=seen.device)
            for _ in range(self.depth):
                index = first * nodes + node
                value = part.gather(1, looked_at[index])
                # NaN is above no threshold
                goes_right = (value > thresholds[index]) | (value.isnan() & missing_right[index])
                node = 2 * node + 1 + goes_right
            reached = self.leaves[band].reshape(-1)[first * (nodes + 1) + node - nodes]
            sums.append(reached.reshape(len(part), columns, trees).sum(2))
        return torch.cat(sums)
