r"""A Gaussian of the windows of series that a network stands upon, conditioned on whatever entries it is given.

Of a window x, N(m, S), some entries K are known, others U are seen under noise, $y = x + r \epsilon$ with $r = e^{\gamma /
2}$, and the rest are missing. With P the precision $S^{-1}$ of K and U together, and u what is seen of them, $u_K = x_K$ and
$u_U = y_U$,

$$\hat\epsilon^G = \frac{y_U - E[x_U | x_K, y_U]}{r} = r \, (I + r^2 P_{UU})^{-1} [P (u - m)]_U .$$

With F what the network says, $\hat\epsilon = \hat\epsilon^G + F$. As long as it is silent its bound on $\log p(x_U | x_K)$
is the Gaussian's own conditional density: its forecasts are those of a linear model with the covariance of its errors, and
its imputations those of the best linear interpolation.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from lowerbound.elementary import exp, expand
from lowerbound.errors import InputError
from lowerbound.fitted.mixture import constant, unit_matrix
from lowerbound.schedule import Level
from lowerbound.shapes import Conditions, Examples, Observed

FACTORS = 8
"""Factorisations that cost about as much as all eigenvectors."""


class FittedWindows(nn.Module):
    r"""A Gaussian of windows; N(0, I) before `fit`.

    Arguments:
        shape: (C, L), channels and rows of a window.
        horizon: of forecasts, whose known entries are so common that what they take is computed once; 0: none are.

    Attributes:
        mean, precision: m, (C L,), and $S^{-1}$, (C L, C L), of the channels one after another, in double precision.

    Raises:
        InputError: for a horizon that leaves nothing before it.
    """

    def __init__(self, shape: tuple[int, ...], horizon: int = 0):
        super().__init__()
        channels, length = shape
        if not 0 <= horizon < length:
            raise InputError(f"a horizon of {horizon} in windows of {length} rows: leave some row before it")
        self.shape = shape
        num = channels * length
        self.mean = constant(torch.zeros(num, dtype=torch.float64))
        self.precision = constant(unit_matrix(num, num))
        # on the CPU, that they have numbers also where a network is made without
        ahead = (torch.arange(length, device="cpu") >= length - horizon).repeat(channels)
        noisy = [torch.ones_like(ahead)] + [ahead] * (horizon > 0)
        self.common = nn.ModuleList(_Axes(each) for each in noisy)

    @torch.no_grad()
    def fit(
        self, mean: Float[Tensor, "num_entries"], covariance: Float[Tensor, "num_entries num_entries"]
    ) -> "FittedWindows":
        """Become a Gaussian of windows, their channels one after another."""
        self.mean.copy_(mean)
        self.precision.copy_(torch.cholesky_inverse(torch.linalg.cholesky(covariance.double())))
        for axes in self._prepared():
            axes.fit(self.precision)
        return self

    def eps(
        self, x_t: Examples, level: Level, cond: Conditions | None = None, observed: Observed | None = None
    ) -> Examples:
        r"""$\hat\epsilon^G(x_t)$, (B, C, L), 0 where an entry is known or missing.

        Arguments:
            x_t: noisy windows, (B, C, L).
            level: of their noise.
            cond: known entries and covariates, as `SeriesSpec.condition_of` makes them: (B, C + K, L), NaN where
                nothing is known.
            observed: which entries of x_t are there, known ones aside; None: all.
        """
        # in double precision: where channels are smooth a precision is large, and its product with a window small
        y = (x_t.double() / expand(level.alpha, x_t)).flatten(1)
        entries = torch.full_like(y, torch.nan) if cond is None else cond[:, : self.shape[0]].flatten(1).double()
        known = ~entries.isnan()
        noisy = ~known if observed is None else observed.flatten(1) & ~known
        offset = torch.where(known, entries, y) - self.mean.detach()
        noise = torch.as_tensor(exp(level.gamma), dtype=y.dtype, device=y.device).expand(len(y))
        kinds, kind = torch.unique(torch.stack([known, noisy], 1), dim=0, return_inverse=True)
        eps = torch.zeros_like(y)
        for number, (is_known, is_noisy) in enumerate(kinds):
            rows = (kind == number).nonzero()[:, 0]
            eps = eps.index_copy(0, rows, self._eps(offset[rows], noise[rows], is_known, is_noisy))
        return eps.reshape(x_t.shape).to(x_t.dtype)

    def _eps(self, offset: Tensor, noise: Tensor, known: Tensor, noisy: Tensor) -> Tensor:
        """Of rows (n, C L) less the mean, of which the same entries are known and noisy; $r^2$ is of each."""
        at, missing = noisy.nonzero()[:, 0], (~(known | noisy)).nonzero()[:, 0]
        precision = self.precision.detach()
        if len(missing):  # what is left of it when they are summed out, a Schur complement
            across = torch.linalg.solve(precision[missing][:, missing], precision[missing])
            precision = precision - precision[:, missing] @ across
            offset = offset.index_fill(1, missing, 0.0)
        pull = offset @ precision[:, at]
        common = next((axes for axes in self._prepared() if torch.equal(axes.noisy, noisy) and not len(missing)), None)
        solved = _solved(precision[at][:, at], noise, pull) if common is None else common(noise, pull)
        return torch.zeros_like(offset).index_copy(1, at, noise.sqrt()[:, None] * solved)

    def _prepared(self) -> list["_Axes"]:
        """Of what is noisy most often: everything, and the horizon."""
        return [axes for axes in self.common if isinstance(axes, _Axes)]


class _Axes(nn.Module):
    r"""$(I + r^2 P_{UU})^{-1}$ for every r at once, by the eigenvectors of $P_{UU}$.

    Arguments:
        noisy: U, (D,).
    """

    noisy: Tensor

    def __init__(self, noisy: Bool[Tensor, "num_entries"]):
        super().__init__()
        self.register_buffer("noisy", noisy, persistent=False)
        num = int(noisy.sum())
        self.precisions = constant(torch.ones(num, dtype=torch.float64))
        self.axes = constant(unit_matrix(num, num))

    def fit(self, precision: Float64[Tensor, "num_entries num_entries"]) -> None:
        """Of P."""
        for own, fitted in zip(
            (self.precisions, self.axes), torch.linalg.eigh(precision[self.noisy][:, self.noisy]), strict=True
        ):
            own.copy_(fitted)

    def forward(self, noise: Float64[Tensor, "batch"], pull: Float64[Tensor, "batch num_noisy"]) -> Tensor:
        """Applied to each row, whose $r^2$ is `noise`."""
        return _along(self.precisions.detach(), self.axes.detach(), noise, pull)


def _along(precisions: Tensor, axes: Tensor, noise: Tensor, pull: Tensor) -> Tensor:
    r"""$(I + r^2 P)^{-1}$ applied to each row, by P's eigenvalues and eigenvectors."""
    return ((pull @ axes) / (1 + noise[:, None] * precisions)) @ axes.T


def _solved(precision: Tensor, noise: Tensor, pull: Tensor) -> Tensor:
    r"""$(I + r^2 P)^{-1}$ applied to each row, factorised once for those of the same r, or for all if these are many."""
    variances, which = torch.unique(noise, return_inverse=True)
    if len(variances) > FACTORS:
        precisions, axes = torch.linalg.eigh(precision)
        return _along(precisions, axes, noise, pull)
    identity = torch.eye(len(precision), dtype=precision.dtype, device=precision.device)
    solved = torch.zeros_like(pull)
    for number, variance in enumerate(variances):
        rows = (which == number).nonzero()[:, 0]
        factor = torch.linalg.cholesky(identity + variance * precision)
        solved = solved.index_copy(0, rows, torch.cholesky_solve(pull[rows].T, factor).T)
    return solved
