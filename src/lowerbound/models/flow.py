r"""A normalizing flow: an invertible map f from the data to noise whose Jacobian is triangular.

$$\log p(x) = \log p_z(f(x)) + \log \left| \det \frac{\partial f}{\partial x} \right|$$

f is a chain of maps. Each transforms an entry by a monotone function of its own, a rational-quadratic spline (Durkan et al.
2019) or a line, whose parameters come from a network of other entries. Of short vectors these are all the entries before it,
in ascending and descending order by turns (Papamakarios et al. 2017), so that sampling takes a network call for each entry;
otherwise one half of the entries transforms the other (Dinh et al. 2017), and sampling is as fast as the density. The halves
are checkerboards, of fields of one entry and of two by turns.

The bins of discrete data are all of where the flow has its mass, so that the masses of the levels sum to one and what is
scored is what samples follow. Splines map the box $[-1, 1]$ to itself, with uniform noise, and a level that most entries
have can be as wide as the box; every bin is $2 / K$ wide. Lines map $\mathrm{logit}(\alpha + (1 - 2 \alpha) \tfrac{x +
1}{2})$, $\alpha = 0.05$ (Dinh et al. 2017, section 4.1), to normal noise. That is all of $|x| < 1 + m$ with
$m = \tfrac{2 \alpha}{1 - 2 \alpha}$, and the bins of the first and the last level reach to its ends.

The data are spread evenly over their bins, $\log P(x) \ge E_u \log p(u) + \log w$ per entry for u uniform in an interval of
width w within the bin of x (Theis et al. 2016, section 3.1): in the whole bin, or of the first and the last level of lines
up to $|u| = 1 + \tfrac m 2$, since the networks should not see the logit run to infinity.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid, silu

from lowerbound.arguments import check_axes
from lowerbound.data.extras import extra
from lowerbound.elementary import sum_dims
from lowerbound.levels import level_centres, nearest_level
from lowerbound.likelihood import Elbo
from lowerbound.models.base import Draw, Losses, Model
from lowerbound.nn.blocks import convolution, normalisation, zeroed
from lowerbound.nn.gan import Residual
from lowerbound.nn.patched import from_patches
from lowerbound.rng import Noise
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples, PerExample

NUM_BINS = 8
"""Of a spline."""
MARGIN = 0.05
r"""$\alpha$, how far from 0 and 1 the argument of the logit stays within the box."""
FEW_ENTRIES, FEW_PIXELS = 64, 16
"""Up to so many entries of vectors, and of signals, images and volumes, each depends on all before it."""
MOST_SLOPE = math.log(1e3)
"""The largest log slope of a spline at a knot; the smallest is its negative."""
EDGE = 2.0**-22
"""How near to their ends splines and the logit are taken: beyond them a spline is the identity and a logit is none."""


class NormalizingFlow(Model):
    r"""A density by a change of variables: $\log p(x) = \log p_z(f(x)) + \log |\det \partial f / \partial x|$.

    Arguments:
        shape: of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data; None: continuous data of about unit variance.
        kind: "spline" or "affine", the function of each entry.
        transforms: how many maps follow one another.
        width: of their networks' hidden layers, 64 if None; if there are many entries in space, channels at half
            resolution, 32 if None.
        depth: number of their networks' hidden layers, or of residual blocks if there are many entries.

    Attributes:
        likelihood: "exact" of continuous data; "bound" of discrete data.

    Raises:
        InputError: an unknown kind, an impossible size, or zuko is missing.
    """

    name = "flow"

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        *,
        kind: str = "spline",
        transforms: int = 6,
        width: int | None = None,
        depth: int = 2,
    ):
        super().__init__(shape, num_levels)
        is_small = self.num_dims <= (FEW_ENTRIES if len(shape) == 1 else FEW_PIXELS)
        width = (64 if is_small else 32) if width is None else width
        check_choice("kind", kind, ("spline", "affine"))
        check_axes(shape)
        check_least(1, transforms=transforms, width=width, depth=depth)
        _import_zuko()
        self.likelihood = "exact" if num_levels is None else "bound"
        self.in_box = kind == "spline" and num_levels is not None
        univariate, shapes = _univariate(kind, self.in_box)
        self.maps = nn.ModuleList(
            _autoregressive(self.num_dims, univariate, shapes, number, [width] * depth)
            if is_small
            else _Coupling(shape, univariate, shapes, number, width, depth)
            for number in range(transforms)
        )

    def loss(self, x: Examples, draw: Draw) -> Losses:
        return Losses.whole(-self.bound(x, draw.noise).nats)

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        if self.num_levels is None:
            log_prob = self.log_prob(x)
        else:
            low, high = self.limits(x)
            spread = x.double() + low + (high - low) * noise.uniform(x.double())
            log_prob = self.log_prob(spread.to(x.dtype)) + sum_dims((high - low).log())
        return self.undivided(log_prob)

    def limits(self, x: Examples) -> tuple[Examples, Examples]:
        """Between what, relative to their centres, levels are spread."""
        assert self.num_levels is not None
        half = torch.full_like(x, 1 / self.num_levels)
        beyond = 0.0 if self.in_box else MARGIN / (1 - 2 * MARGIN)
        return -half - beyond * (x < 2 * half - 1), half + beyond * (x > 1 - 2 * half)

    def log_prob(self, x: Examples) -> PerExample:
        r"""The log density, nats, of continuous data or of discrete data that are spread over their bins.

        Arguments:
            x: (B, *shape), within its bins if the data are discrete.
        """
        z, log_det = self.forward(x)
        if self.in_box:
            return log_det - z.shape[1] * math.log(2)
        return log_det - (z**2 + math.log(2 * math.pi)).sum(1) / 2

    def forward(self, x: Examples) -> tuple[Float[Tensor, "batch dims"], PerExample]:
        r"""$z = f(x)$, (B, D), and $\log |\det \partial f / \partial x|$, (B,)."""
        self.check(x)
        z = x.flatten(1)
        log_det = torch.zeros_like(z[:, 0])
        # what is spread over an outermost bin may round to its end
        if self.in_box:
            z = z.clamp(-1 + EDGE, 1 - EDGE)
        elif self.num_levels is not None:
            share = MARGIN + (1 - 2 * MARGIN) * (z + 1) / 2
            z = share.clamp(EDGE, 1 - EDGE).logit()
            log_det = (math.log((1 - 2 * MARGIN) / 2) - logsigmoid(z) - logsigmoid(-z)).sum(1)
        for transform in self.maps:
            z, map_log_det = transform().call_and_ladj(z)
            log_det = log_det + map_log_det
        return z, log_det

    def inverse(self, z: Float[Tensor, "batch dims"]) -> Examples:
        r"""$x = f^{-1}(z)$ of noise, (B, D)."""
        for transform in reversed(self.maps):
            z = transform().inv(z)
        if self.num_levels is not None and not self.in_box:
            z = 2 * (z.sigmoid() - MARGIN) / (1 - 2 * MARGIN) - 1
        return z.reshape(-1, *self.shape)

    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        like = next(self.parameters()).new_empty(num_samples, self.num_dims)
        x = self.inverse(2 * noise.uniform(like) - 1 if self.in_box else noise.normal(like))
        if self.num_levels is None:
            return x
        return level_centres(nearest_level(x, self.num_levels).long(), self.num_levels).to(x.dtype)


def _import_zuko() -> None:
    """Import zuko, which switches off the checks of torch's distributions for all, and leave them as they were."""
    checks = Distribution._validate_args
    extra("zuko", "flow", "a normalizing flow")
    Distribution.set_default_validate_args(checks)


class _Coupling(nn.Module):
    """Half of the entries transformed given the other half.

    Arguments:
        shape: of one example.
        univariate, shapes: the function of an entry, and the shapes of its parameters.
        number: which map of the chain it is.
        width, depth: of its network.
    """

    mask: Tensor

    def __init__(
        self, shape: Sequence[int], univariate: Callable, shapes: list[torch.Size], number: int, width: int, depth: int
    ) -> None:
        super().__init__()
        self.univariate, self.shapes = univariate, shapes
        # fields of one entry in two maps, of two entries in the next two
        fields = (torch.arange(size) // (1 + number // 2 % 2) for size in shape)
        field = torch.stack(torch.meshgrid(*fields, indexing="ij")).sum(0)
        self.register_buffer("mask", (field + number) % 2 == 0, persistent=False)
        self.network = _Conditioner(shape, sum(map(math.prod, shapes)), width, depth)

    def forward(self):
        """The map, as zuko's transform of (B, D)."""
        from zuko.transforms import CouplingTransform

        return CouplingTransform(self._function, self.mask.flatten())  # pyrefly: ignore[bad-argument-type] - a tensor's kind

    def _function(self, others: Tensor):
        """The function of the other half's entries."""
        from zuko.transforms import DependentTransform
        from zuko.utils import unpack

        flat = self.mask.flatten()
        x = others.new_zeros(len(others), len(flat))
        x[:, flat] = others
        mask = self.mask.to(x).expand(len(x), *self.mask.shape)
        parameters = self.network(torch.cat([x.reshape(mask.shape), mask], 1))
        return DependentTransform(self.univariate(*unpack(parameters.flatten(1, -2)[:, ~flat], self.shapes)), 1)


class _Conditioner(nn.Module):
    """(B, 2 C, *spatial) -> (B, C, *spatial, P): residual blocks at half resolution; or residual layers over vectors.

    It returns zero before training.
    """

    def __init__(self, shape: Sequence[int], num_parameters: int, width: int, depth: int) -> None:
        super().__init__()
        self.channels, *self.spatial = shape
        num_dims = len(self.spatial)
        num_out = self.channels * num_parameters * 2**num_dims
        self.trunk = nn.Sequential(*(Residual(num_dims, width, normalised=True) for _ in range(depth)))
        self.into = convolution(num_dims, 2 * self.channels, width, stride=2)
        self.norm = normalisation(num_dims, width)
        self.out = zeroed(convolution(num_dims, width, num_out, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        halves = self.out(silu(self.norm(self.trunk(self.into(x)))))
        # each position of half resolution holds the parameters of two positions along each axis
        whole = from_patches(halves, 2, torch.Size(self.spatial))
        return whole.unflatten(1, (self.channels, -1)).movedim(2, -1)


def _autoregressive(
    num_dims: int, univariate: Callable, shapes: list[torch.Size], number: int, hidden: list[int]
) -> nn.Module:
    """Each entry transformed given those before it, or behind it in every second map."""
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform

    order = torch.arange(num_dims)
    return MaskedAutoregressiveTransform(
        num_dims,
        order=order.flip(0) if number % 2 else order,  # pyrefly: ignore[bad-argument-type] - a tensor's kind
        univariate=univariate,
        shapes=shapes,
        hidden_features=hidden,
        activation=nn.SiLU,
    )


def _univariate(kind: str, in_box: bool) -> tuple[Callable, list[torch.Size]]:
    """The function of an entry, and the shapes of its parameters."""
    from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

    if kind == "affine":
        return MonotonicAffineTransform, [torch.Size(()), torch.Size(())]
    if in_box:
        return _box_spline, [torch.Size((n,)) for n in (NUM_BINS, NUM_BINS, NUM_BINS + 1)]
    return MonotonicRQSTransform, [torch.Size((n,)) for n in (NUM_BINS, NUM_BINS, NUM_BINS - 1)]


def _box_spline(widths: Tensor, heights: Tensor, slopes: Tensor):
    """A spline of [-1, 1] onto itself; with no line to join beyond, its slopes at the ends are free."""
    from zuko.transforms import MonotonicRQSTransform

    spline = MonotonicRQSTransform(widths, heights, slopes[..., 1:-1], bound=1.0)
    spline.derivatives = torch.exp(slopes / (1 + slopes.abs() / MOST_SLOPE))
    return spline
