r"""A mixture that a network stands upon, so that it has to learn only what the mixture gets wrong.

Its components are Gaussians of all numbers of a row, and of each choice a table of probabilities beside them. With
$y = x_t / \alpha_t$ and $r = e^{\gamma / 2}$ a component k has of the numbers, and of a choice c with $s = \sqrt 2$,

$$q(x_t | k) \propto N(y; m_k, S_k + r^2 I) \prod_c \sum_i \theta_{kci}\, e^{s y_{ci} / r^2}, \qquad
\hat\epsilon_k = r\, (S_k + r^2 I)^{-1} (y - m_k), \qquad
P_k(i | x_t) \propto \theta_{kci}\, e^{s y_{ci} / r^2},$$

and the mixture their averages, each component in proportion to its weight and $q(x_t | k)$. With F what the network says,
$\hat\epsilon = \hat\epsilon^M(x_t) + F$.

Rows too wide for their covariances have components whose numbers few factors move (`fitted.factors`), or none.

As long as the network is silent the bound is the mixture's own log density: on a table of a few hundred rows, of which a
network alone learns little but the rows themselves, it begins where the mixture ends.

Given some entries exactly, the others have such a mixture too, with the same choices and each row's own weights, means and
covariances ($S_{hh} - S_{ho} S_{oo}^{-1} S_{oh}$): `GivenMixture`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.blocks import ONE_HOT, Blocks, Layout, layout
from lowerbound.elementary import Scalar, count_dims, exp, expand, sqrt
from lowerbound.errors import InputError
from lowerbound.fitted.factors import explain, unexplained
from lowerbound.schedule import Level
from lowerbound.shapes import Conditions, Examples, Observed
from lowerbound.words.brief import Brief


@dataclass(eq=False, repr=False)
class Guess(Brief):
    r"""What a mixture says of x, given $x_t$.

    Arguments:
        eps: $\hat\epsilon^M$ of numbers, (B, D); zero at the entries of choices.
        spread: $Var[x | x_t] / r^2$ of the numbers on grids, (B, num_grids).
        log_chances: $\log P(i | x_t)$ up to what all i of a choice share, less $s y_i / r^2$: (B, num_choices,
            most_categories).
    """

    eps: Examples
    spread: Float[Tensor, "batch num_grids"]
    log_chances: Float[Tensor, "batch num_choices most_categories"]


class ByComponent(NamedTuple):
    r"""What each component says of the numbers of a row.

    Arguments:
        log_joint: $\log w_k N(y; m_k, S_k + r^2 I)$ less what all share, (B, K).
        residual: $(S_k + r^2 I)^{-1} (y - m_k)$, (B, K, N).
        kept: the diagonal of $S_k (S_k + r^2 I)^{-1}$ for the numbers on grids, (B, K, num_grids).
    """

    log_joint: Float[Tensor, "batch num_used"]
    residual: Float[Tensor, "batch num_used num_numbers"]
    kept: Float[Tensor, "batch num_used num_grids"]


class FittedMixture(nn.Module):
    r"""A mixture of at most K components; of one N(0, I) with even chances before `fit`.

    Arguments:
        num_components: K, at least 1.
        blocks: of the entries of x.
        num_factors: how many factors move the numbers of a component together, which are independent but for these; None:
            these have any covariance.

    Attributes:
        weights, means, variances, axes: of the components, (K,), (K, N) of the N numbers, and the eigenvalues, (K, N), and
            eigenvectors, (K, N, N), of their covariances, in double precision. A component that is not used has the weight
            0.
        loadings: of factors, (K, N, num_factors), or None if there are none; where factors are asked for, there are no axes,
            None, and the variances are what factors leave.
        chances: $\theta$, (K, num_choices, most_categories), 1 beyond a choice's categories; None if there are no choices.

    Raises:
        InputError: for no components, or fewer factors than none.
    """

    axes: nn.Parameter | None
    loadings: nn.Parameter | None

    def __init__(self, num_components: int, blocks: Blocks, *, num_factors: int | None = None):
        super().__init__()
        if num_components < 1:
            raise InputError(f"a mixture of {num_components} components: give at least 1")
        if num_factors is not None and num_factors < 0:
            raise InputError(f"a mixture of {num_factors} factors: give at least 0")
        self.blocks = blocks
        at = layout(blocks, torch.device("cpu"))
        num = len(at.reals) + len(at.grids)
        self.weights = constant(unit_matrix(1, num_components)[0])
        self.means = constant(torch.zeros(num_components, num, dtype=torch.float64))
        self.variances = constant(torch.ones(num_components, num, dtype=torch.float64))
        whole = unit_matrix(num, num).expand(num_components, -1, -1).contiguous() if num_factors is None else None
        self.axes = None if whole is None else constant(whole)
        self.loadings = constant(torch.zeros(num_components, num, num_factors).double()) if num_factors else None
        has_choices = len(at.choices) > 0
        self.chances = constant(torch.ones(num_components, *at.choices.shape).double()) if has_choices else None

    @property
    def size(self) -> int:
        """How many numbers describe its components, those of a row given others likewise."""
        return (self.means if self.axes is None else self.axes).numel()

    @torch.no_grad()
    def fit(
        self,
        weights: Float[Tensor, "num_used"],
        means: Float[Tensor, "num_used num_numbers"],
        covariances: Float[Tensor, "num_used num_numbers *num_numbers"],
        chances: Float[Tensor, "num_used num_choices most_categories"] | None = None,
        loadings: Float[Tensor, "num_used num_numbers num_factors"] | None = None,
    ) -> "FittedMixture":
        """Become a mixture of K components or fewer; of numbers that factors move the variances left are the covariances."""
        self.weights.zero_()
        pairs = [(self.weights, weights), (self.means, means)]
        if self.loadings is not None and loadings is not None:
            pairs.append((self.loadings, loadings))
        if self.axes is None:
            pairs.append((self.variances, covariances))
        else:
            pairs += zip((self.variances, self.axes), torch.linalg.eigh(covariances), strict=True)
        for own, fitted in pairs:
            own[: len(fitted)] = fitted.to(own)
        if self.chances is not None and chances is not None:
            self.chances[: len(chances)] = chances.to(self.chances)
        return self

    def eps(
        self, x_t: Examples, level: Level, cond: Conditions | None = None, observed: Observed | None = None
    ) -> Examples:
        r"""$\hat\epsilon^M(x_t)$, (B, D), whatever the condition; where entries are missing, that of the mixture of what is
        observed."""
        return self(x_t, level, observed).eps

    def forward(self, x_t: Examples, level: Level, observed: Observed | None = None) -> Guess:
        """What it says of noisy data; where entries are missing, by what is observed."""
        # once trained in double precision: in single a row's figure would depend, in its sixth digit, on those beside it
        y, noise = (x_t if self.training else x_t.double()) / expand(level.alpha, x_t), exp(level.gamma)
        _, numbers = self._places(x_t)
        seen = None if observed is None else observed[:, numbers]
        return self.guess(x_t, y, noise, self._numbers(y[:, numbers], noise, seen), observed)

    def guess(
        self, x_t: Examples, y: Examples, noise: Scalar, by_component: "ByComponent", observed: Observed | None
    ) -> Guess:
        r"""The guess, from what each component says of the numbers, and from the choices that are observed.

        Arguments:
            x_t, y, noise: noisy data, $x_t / \alpha_t$ and $r^2$.
            by_component: of the numbers.
            observed: which entries of choices are there.
        """
        at, numbers = self._places(x_t)
        log_joint, residual, kept = by_component
        evidence = (
            (ONE_HOT * y / expand(noise, y))[:, at.choices].masked_fill(at.beyond, -torch.inf).to(log_joint.dtype)
        )
        log_chances = torch.zeros_like(evidence)
        if self.chances is not None:
            chances = self._used(self.chances).to(log_joint.dtype)
            likelihood = torch.einsum("bcm,kcm->bkc", evidence.softmax(2), chances)
            if observed is not None:
                likelihood = likelihood.masked_fill(~observed[:, None, at.choices[:, 0]], 1.0)
            log_joint = log_joint + likelihood.log().sum(2)
            share = log_joint.softmax(1)[..., None]
            log_chances = torch.einsum("bkc,kcm->bcm", share / likelihood, chances).log()
        share = log_joint.softmax(1)[..., None]
        mean = (share * residual).sum(1)
        # of the components' own, and of their means about the mixture's
        first = len(at.reals)
        apart = (residual - mean[:, None])[..., first:].square()
        spread = (share * (kept + expand(noise, apart) * apart)).sum(1)
        eps = torch.zeros_like(x_t).index_copy(1, numbers, (expand(sqrt(noise), mean) * mean).to(x_t.dtype))
        return Guess(eps, spread.to(x_t.dtype), log_chances.to(x_t.dtype))

    def given(self, x: Examples, known: Observed) -> "Given":
        """The mixture of the other entries, given those that are known, of each row, (B, D)."""
        return (GivenFactors if self.axes is None else GivenMixture)(self, x, known)

    def log_joint(self, x: Examples, observed: Observed | None = None) -> Float[Tensor, "batch num_used"]:
        """Log weight and density of each component at data, nats: of the x of numbers, and probabilities of choices."""
        at, numbers = self._places(x)
        seen = None if observed is None else observed[:, numbers]
        y = x[:, numbers]
        is_quick = self.axes is not None and seen is None
        log_joint = self._along(y, 0.0)[0] if is_quick else self._numbers(y, 0.0, seen).log_joint
        num_seen = count_dims(y, seen)[:, None]
        log_joint = log_joint - num_seen.to(log_joint.dtype) * math.log(2 * math.pi) / 2
        if self.chances is None:
            return log_joint
        chosen = x[:, at.choices].masked_fill(at.beyond, 0).to(log_joint.dtype) / ONE_HOT
        if observed is not None:
            chosen = torch.where(observed[:, at.choices], chosen, 0)
        return log_joint + torch.einsum("bcm,kcm->bk", chosen, self._used(self.chances).log())

    def _numbers(self, y: Tensor, noise: Scalar, observed: Tensor | None) -> ByComponent:
        """In double precision where numbers are missing or have factors; noise: $r^2$, (B,) or a number."""
        if self.axes is None:
            return self._of_factors(y, expand(noise, y[:, None]), observed)
        if observed is not None:
            return self._of_observed(y.double(), noise, observed)
        log_joint, along, spread = self._along(y, noise)
        axes, first = self._used(self.axes).to(y.dtype), self._num_reals
        residual = torch.einsum("bke,kne->bkn", along / spread, axes)
        shares = self._used(self.variances).to(y.dtype) / spread
        return ByComponent(log_joint, residual, torch.einsum("bke,kne->bkn", shares, axes[:, first:].square()))

    def _along(self, y: Tensor, noise: Scalar) -> tuple[Tensor, Tensor, Tensor]:
        """`_numbers`' first, and y's offset along each axis and the variance there, (B, K, N), or (1, K, N) of one noise."""
        assert self.axes is not None
        weights, means, variances, axes = (
            self._used(each).to(y.dtype) for each in (self.weights, self.means, self.variances, self.axes)
        )
        along = torch.einsum("bn,kne->bke", y, axes) - torch.einsum("kn,kne->ke", means, axes)
        spread = variances[None] + expand(noise, along)
        return weights.log() - 0.5 * ((along.square() / spread).sum(2) + spread.log().sum(2)), along, spread

    def _of_factors(self, y: Tensor, noise: Tensor | float, observed: Tensor | None) -> ByComponent:
        """`_numbers` of those that factors move, or none; of a missing one nothing is said, and each may have a noise of its
        own, (B, 1, N)."""
        y = y if observed is None and self.loadings is None else y.double()
        weights, means, variances = (
            self._used(each).to(y.dtype) for each in (self.weights, self.means, self.variances)
        )
        offset, first = y[:, None] - means, self._num_reals
        spread = (variances + noise).expand_as(offset)
        if observed is not None:
            offset = torch.where(observed[:, None], offset, 0)
            spread = torch.where(observed[:, None], spread, torch.inf)
        precision = 1 / spread
        log_joint = weights.log() - 0.5 * torch.where(precision > 0, spread, 1).log().sum(2)
        loadings = self._used_factors()
        if loadings is None:
            residual = precision * offset
            kept = (variances / spread)[..., first:]
            return ByComponent(log_joint - 0.5 * (residual * offset).sum(2), residual, kept)
        explained = explain(offset, precision, loadings)
        left = unexplained(explained, precision[..., first:], loadings[:, first:])
        kept = 1 - torch.as_tensor(noise).expand_as(spread)[..., first:] * left
        return ByComponent(log_joint - 0.5 * (explained.square + explained.log_det), explained.residual, kept)

    def _of_observed(self, y: Tensor, noise: Scalar, observed: Tensor) -> ByComponent:
        """`_numbers` of what is observed: a missing number is cut off from the others, and has unit variance and no
        residual."""
        assert self.axes is not None
        components = (self._used(each) for each in (self.weights, self.means, self.variances, self.axes))
        seen, identity = observed.to(y.dtype), torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        both, alone = seen[:, :, None] * seen[:, None], (1 - seen)[..., None] * identity
        noise = torch.as_tensor(noise, dtype=y.dtype, device=y.device).reshape(-1, 1)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for weight, mean, variance, axis in zip(*components, strict=True):  # all at once they are large
            marginal = (axis * variance) @ axis.T + noise[..., None] * identity
            factor = torch.linalg.cholesky(both * marginal + alone)
            precision = torch.cholesky_inverse(factor)
            offset = torch.where(observed, y - mean, 0)
            residual = (precision @ offset[..., None])[..., 0]
            log_det = factor.diagonal(dim1=1, dim2=2).log().sum(1)
            log_joint = weight.log() - 0.5 * (offset * residual).sum(1) - log_det
            parts.append((log_joint, residual, 1 - noise * precision.diagonal(dim1=1, dim2=2)))
        log_joint, residual, kept = (torch.stack(each, 1) for each in zip(*parts, strict=True))
        return ByComponent(log_joint, residual, kept[..., self._num_reals :])

    def _used_factors(self) -> Tensor | None:
        """The loadings of those factors that move anything; None if there are none."""
        if self.loadings is None:
            return None
        loadings = self._used(self.loadings)
        num_used = int((loadings != 0).any(1).any(0).sum())
        return loadings[..., :num_used] if num_used else None

    @property
    def _num_reals(self) -> int:
        """Where the numbers on grids begin."""
        return len(layout(self.blocks, self.means.device).reals)

    def _used(self, values: Tensor) -> Tensor:
        # how many there are is no part of a graph: there the others have no share
        num_used = len(values) if torch.compiler.is_exporting() else int(self.weights.count_nonzero())
        # a constant even in a copy of which everything was asked to learn
        return values[:num_used].detach()

    def _places(self, x: Tensor) -> tuple[Layout, Tensor]:
        """The layout, and where the numbers are, real ones first."""
        at = layout(self.blocks, x.device)
        return at, at.numbers


def unit_matrix(num_rows: int, num_columns: int) -> Tensor:
    """Ones on the diagonal, in double precision; `torch.eye` of sizes alone loads the compiler of torch."""
    return torch.zeros(num_rows, num_columns, dtype=torch.float64).fill_diagonal_(1.0)


class Given(nn.Module):
    """A fitted mixture given some entries of each row, in its place: of those it says no noise."""

    def eps(
        self, x_t: Examples, level: Level, cond: Conditions | None = None, observed: Observed | None = None
    ) -> Examples:
        return self(x_t, level, observed).eps


class GivenMixture(Given):
    r"""Of any covariances, by those that are left to the others.

    Arguments:
        mixture: the fitted one.
        x: rows, (B, D), for the batches to come; entries that are not known are never looked at.
        known: which entries are, (B, D).

    Attributes:
        log_weights, means, variances, axes: of each row's components, as those of `FittedMixture`, (B, K), (B, K, N) and
            (B, K, N, N); known numbers have their values for means, and no variance.
    """

    def __init__(self, mixture: FittedMixture, x: Examples, known: Observed):
        super().__init__()
        self.mixture, self.known = mixture, known
        # draws of one row have the same mixture
        rows, self.row = torch.unique(
            torch.cat([known, torch.where(known, x, 0)], 1).double(), dim=0, return_inverse=True
        )
        known, x = rows[:, : x.shape[1]].bool(), rows[:, x.shape[1] :]
        _, numbers = mixture._places(x)
        seen = known[:, numbers]
        assert mixture.axes is not None
        components = zip(*map(mixture._used, (mixture.means, mixture.variances, mixture.axes)), strict=True)
        conditionals = [_conditional(x[:, numbers], seen, *component) for component in components]
        self.means, self.variances, self.axes = (torch.stack(each, 1) for each in zip(*conditionals, strict=True))
        self.log_weights = mixture.log_joint(x, known)

    def forward(self, x_t: Examples, level: Level, observed: Observed | None = None) -> Guess:
        """As that of `FittedMixture`; all entries are there."""
        y, noise = x_t.double() / expand(level.alpha, x_t), exp(level.gamma)
        _, numbers = self.mixture._places(x_t)
        means, variances, axes = self.means[self.row], self.variances[self.row], self.axes[self.row]
        offset = torch.where(self.known[:, None, numbers], 0, y[:, None, numbers] - means)
        along = torch.einsum("bkn,bkne->bke", offset, axes)
        spread = variances + expand(noise, variances)
        log_joint = self.log_weights[self.row] - 0.5 * (along.square() / spread + spread.log()).sum(2)
        residual = torch.einsum("bke,bkne->bkn", along / spread, axes)
        of_grids = axes[..., self.mixture._num_reals :, :].square()
        kept = torch.einsum("bke,bkne->bkn", variances / spread, of_grids)
        return self.mixture.guess(x_t, y, noise, ByComponent(log_joint, residual, kept), ~self.known)


class GivenFactors(Given):
    """Of numbers that factors move, or none: known ones are seen without noise, beside the others under theirs.

    Arguments:
        mixture: the fitted one.
        x: rows, (B, D), for the batches to come; entries that are not known are never looked at.
        known: which entries are, (B, D).
    """

    def __init__(self, mixture: FittedMixture, x: Examples, known: Observed):
        super().__init__()
        self.mixture, self.known, self.x = mixture, known, torch.where(known, x, 0).double()
        _, numbers = mixture._places(x)
        self.log_weights = mixture.log_joint(self.x, known.index_fill(1, numbers, False))

    def forward(self, x_t: Examples, level: Level, observed: Observed | None = None) -> Guess:
        """As that of `FittedMixture`; all entries are there."""
        y, noise = x_t.double() / expand(level.alpha, x_t), exp(level.gamma)
        _, numbers = self.mixture._places(x_t)
        seen, first = self.known[:, numbers], self.mixture._num_reals
        noises = torch.where(seen, 0, torch.as_tensor(expand(noise, y), dtype=y.dtype, device=y.device))
        both = torch.where(seen, self.x[:, numbers], y[:, numbers])
        log_joint, residual, kept = self.mixture._of_factors(both, noises[:, None], None)
        by_component = ByComponent(
            log_joint - self.mixture._used(self.mixture.weights).log() + self.log_weights,
            torch.where(seen[:, None], 0, residual),
            torch.where(seen[:, None, first:], 0, kept),
        )
        return self.mixture.guess(x_t, y, noise, by_component, ~self.known)


def _conditional(
    x: Tensor, known: Tensor, mean: Tensor, variance: Tensor, axes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one component the means, (B, N), and eigenvalues and eigenvectors of the covariances, given what is known of each
    row."""
    seen = known.to(x.dtype)
    covariance = (axes * variance) @ axes.T
    both, alone = seen[:, :, None] * seen[:, None], torch.diag_embed(1 - seen)
    factor = torch.linalg.cholesky(both * covariance + alone)
    gain = torch.cholesky_solve(seen[:, :, None] * covariance, factor)  # S_oo^{-1} S_o., (B, N, N)
    means = mean + (gain.mT @ torch.where(known, x - mean, 0)[..., None])[..., 0]
    left = (covariance - covariance @ gain) * (1 - seen)[:, :, None] * (1 - seen)[:, None]
    variances, axes = torch.linalg.eigh((left + left.mT) / 2)
    return torch.where(known, x, means), variances.clamp(min=0), axes


def constant(values: Tensor) -> nn.Parameter:
    """Saved with the weights, and moved by no gradient."""
    return nn.Parameter(values, requires_grad=False)
