r"""Noise with a memory: one Brownian path for each sample, which stays when the grid is refined.

In $u = x_t \alpha_t / \sigma_t^2$ and the time $\mathrm{SNR} = e^{-\gamma}$ the reverse stochastic equation is

$$du = \hat x\, d\mathrm{SNR} + dW_{\mathrm{SNR}},$$

in every scaling: ancestral sampling (DDIM with $\eta = 1$) is Euler's step for it, and the noise of a step from t to s is

$$z = \frac{W(\mathrm{SNR}_s) - W(\mathrm{SNR}_t)}{\sqrt{\mathrm{SNR}_s - \mathrm{SNR}_t}} .$$

The path is a tree of Brownian bridges over a dyadic lattice in $\gamma$ (a virtual Brownian tree: Li et al. 2020, "Scalable
gradients for stochastic differential equations"): the middle node m of the interval from p to q is

$$W_m = W_p + \frac{\tau_m - \tau_p}{\tau_q - \tau_p} (W_q - W_p) + \sqrt{\frac{(\tau_m - \tau_p)(\tau_q -
\tau_m)}{\tau_q - \tau_p}}\, n_m, \qquad \tau = \mathrm{SNR},$$

$n_m$ a function of the sample's seed and the node alone. Levels are snapped to the lattice and z is normalised by the
snapped times, so that it is standard normal whatever the lattice.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.elementary import Scalar
from lowerbound.errors import InputError
from lowerbound.rng import PerSample
from lowerbound.shapes import Examples


class BrownianPath(PerSample):
    r"""$z = (W(\mathrm{SNR}_s) - W(\mathrm{SNR}_t)) / \sqrt{\mathrm{SNR}_s - \mathrm{SNR}_t}$ for the steps of a sampler.

    `normal` and `uniform` draw as `PerSample` does, independently of the path.

    Arguments:
        seeds: (B,) integers of up to 64 bits, one for each sample of the batches to come.
        gamma_min, gamma_max: the range of levels, the schedule's.
        depth: the lattice has $2^{depth}$ intervals.

    Raises:
        InputError: for an empty range or a depth outside of 1 to 40; when a step leaves the range or is shorter than the
            lattice can tell.
    """

    def __init__(
        self, seeds: Iterable[int] | Int[Tensor, "batch"], gamma_min: float, gamma_max: float, *, depth: int = 20
    ):
        super().__init__(seeds)
        if not (math.isfinite(gamma_min) and math.isfinite(gamma_max) and gamma_min < gamma_max and 1 <= depth <= 40):
            raise InputError(
                f"a path from gamma_max={gamma_max} down to gamma_min={gamma_min} of depth {depth}: the range must be "
                "finite and increasing, the depth 1 to 40"
            )
        self._first, self._span, self._depth = gamma_max, gamma_max - gamma_min, depth
        self._nodes: dict[int, Tensor] = {}

    def step(self, like: Examples, gamma_t: Scalar, gamma_s: Scalar) -> Examples:
        place_t, place_s = self._place(float(gamma_t)), self._place(float(gamma_s))
        if place_s <= place_t:
            raise InputError(
                f"a step from gamma={float(gamma_t)} to {float(gamma_s)}: gamma must fall, and by more than the "
                f"lattice's {self._span / 2**self._depth:.3g}: take fewer steps or a greater depth"
            )
        exact = like.double()  # the difference of two values of the path would lose digits
        before, after = self._value(exact, place_t), self._value(exact, place_s)
        return (after - before).div_(math.sqrt(self._time(place_s) - self._time(place_t))).to(like.dtype)

    def _place(self, gamma: float) -> int:
        """The nearest node, counted from the noise's end."""
        share = (self._first - gamma) / self._span
        if not -1e-6 <= share <= 1 + 1e-6:
            raise InputError(
                f"the path goes from gamma={self._first} down to {self._first - self._span}, but gamma={gamma} was asked "
                "for: give it the range of the schedule"
            )
        return round(min(max(share, 0), 1) * 2**self._depth)

    def _time(self, node: int) -> float:
        """The SNR at a node, relative to that at the noise's end."""
        return math.exp(self._span * node / 2**self._depth)

    def _value(self, like: Tensor, node: int) -> Tensor:
        """W at a node, by bridges from the root down to it; the nodes on the way are kept for the next call."""
        remembered = self._nodes
        if any(value.shape != like.shape or value.device != like.device for value in remembered.values()):
            remembered = {}
        low, high = 0, 2**self._depth
        if not remembered:
            span = self._time(high) - self._time(low)
            remembered = {low: torch.zeros_like(like), high: self.node(like, 0).mul_(math.sqrt(span))}
        path = {low: remembered[low], high: remembered[high]}
        while node not in path:
            middle = (low + high) // 2
            value = remembered.get(middle)
            if value is None:
                start, now, end = map(self._time, (low, middle, high))
                share = (now - start) / (end - start)
                spread = math.sqrt(share * (end - now))
                value = path[low].lerp(path[high], share).add_(self.node(like, middle), alpha=spread)
            path[middle] = value
            low, high = (low, middle) if node < middle else (middle, high)
        self._nodes = path
        return path[node]
