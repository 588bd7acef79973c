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
MOST_ENTRIES = 1 << 21
"""Of the systems of equations that are solved at once."""


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
        mean, precision = self.mean.detach(), self.precision.detach()
        offset = torch.where(noisy, y, torch.where(known, entries, mean)) - mean
        noise = torch.as_tensor(exp(level.gamma), dtype=y.dtype, device=y.device).expand(len(y))
        eps, is_left = torch.zeros_like(y), torch.ones_like(noise, dtype=torch.bool)
        for axes in self._prepared():
            rows = ((noisy == axes.noisy) & (noisy | known)).all(1).nonzero()[:, 0]
            if len(rows):
                is_left[rows] = False
                eps = eps.index_copy(0, rows, axes(noise[rows], offset[rows] @ precision))
        rows = is_left.nonzero()[:, 0]
        if len(rows):
            eps = eps.index_copy(0, rows, self._of_any(offset[rows], noise[rows], known[rows], noisy[rows]))
        return eps.reshape(x_t.shape).to(x_t.dtype)

    def _of_any(self, offset: Tensor, noise: Tensor, known: Tensor, noisy: Tensor) -> Tensor:
        """Of rows (n, C L) less the mean, 0 where an entry is missing; $r^2$ is of each. What is factorised serves all rows
        that it fits."""
        kinds, kind = torch.unique(torch.stack([known, noisy], 1), dim=0, return_inverse=True)
        pairs = torch.stack([kind.to(noise.dtype), noise], 1)
        systems, system, counts = torch.unique(pairs, dim=0, return_inverse=True, return_counts=True)
        num_levels = torch.bincount(systems[:, 0].long())
        eps = torch.zeros_like(offset)
        for number in (num_levels > FACTORS).nonzero()[:, 0].tolist():
            rows = (kind == number).nonzero()[:, 0]
            precision = self._left_of(*kinds[number])
            axes = _Axes(kinds[number, 1]).to(offset.device).fit(precision)
            eps = eps.index_copy(0, rows, axes(noise[rows], offset[rows] @ precision))
        is_left = num_levels[kind] <= FACTORS
        alone = (is_left & (counts[system] == 1)).nonzero()[:, 0]
        shared = system[is_left & (counts[system] > 1)].unique().tolist()
        groups = [(system == number).nonzero()[:, 0][None] for number in shared]
        if len(alone):
            groups += alone[:, None].split(max(1, MOST_ENTRIES // self.precision.numel()))
        for rows in groups:  # (k, n)
            first = rows[:, 0]
            solved = self._by_factors(offset[rows], noise[first], known[first], noisy[first])
            eps = eps.index_copy(0, rows.flatten(), solved.flatten(0, 1))
        return eps

    def _left_of(self, known: Tensor, noisy: Tensor) -> Tensor:
        """P with the missing entries summed out, a Schur complement."""
        precision, missing = self.precision.detach(), (~(known | noisy)).nonzero()[:, 0]
        if not len(missing):
            return precision
        across = torch.linalg.solve(precision[missing][:, missing], precision[missing])
        return precision - precision[:, missing] @ across

    def _by_factors(self, offset: Tensor, noise: Tensor, known: Tensor, noisy: Tensor) -> Tensor:
        r"""Of groups (k, n, C L) of rows of which the same entries are known and noisy, under the same $r^2$.

        With $s$ r where an entry is noisy, and 1 where it is missing, like a noisy one without a measurement,
        $\hat\epsilon^G$ is in U what solves $(s P s + 1_U) z = s P (u - m)$. Groups with fewer such entries than others have
        known ones beside them, of which s is 0.
        """
        precision, active = self.precision.detach(), ~known
        order = active.long().sort(descending=True, stable=True).indices[:, : int(active.sum(1).max())]
        scale = torch.where(noisy, noise.sqrt()[:, None], (active & ~noisy).to(noise.dtype)).gather(1, order)
        measured = (noisy | known).gather(1, order).to(noise.dtype)
        among = precision[order[:, :, None], order[:, None]]
        system = among * (scale[:, :, None] * scale[:, None]) + torch.diag_embed(measured)
        places = order[:, None].expand(-1, offset.shape[1], -1)
        right = scale[:, None] * (offset @ precision).gather(2, places)
        solved = torch.cholesky_solve(right.mT, torch.linalg.cholesky(system)).mT
        found = torch.zeros_like(offset).scatter(2, places, solved)
        return torch.where(noisy[:, None], found, torch.zeros_like(found))

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

    def fit(self, precision: Float64[Tensor, "num_entries num_entries"]) -> "_Axes":
        """Of P."""
        for own, fitted in zip(
            (self.precisions, self.axes), torch.linalg.eigh(precision[self.noisy][:, self.noisy]), strict=True
        ):
            own.copy_(fitted)
        return self

    def forward(
        self, noise: Float64[Tensor, "batch"], pull: Float64[Tensor, "batch num_entries"]
    ) -> Float64[Tensor, "batch num_entries"]:
        r"""$\hat\epsilon^G$ of each row, whose $r^2$ is `noise` and whose P (u - m) is `pull`; 0 where nothing is noisy."""
        at, axes = self.noisy.nonzero()[:, 0], self.axes.detach()
        along = ((pull[:, at] @ axes) / (1 + noise[:, None] * self.precisions.detach())) @ axes.T
        return torch.zeros_like(pull).index_copy(1, at, noise.sqrt()[:, None] * along)
