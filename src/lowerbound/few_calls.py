r"""The density of a denoiser's probability flow in few network calls, corrected by examples whose density is known.

The flow of `density`, $d\epsilon / d\gamma = \tfrac12 e^{-\gamma/2} r(\gamma)$ with $r = x - \hat x$, is followed from node
to node. Up to the next node r is the polynomial in $\gamma$ through its last k values, integrated against its factor:

$$\epsilon_n = \sum_{j < n} A_{nj}\, r_j, \qquad A_{nj} = \sum_{m < n} \int_{\gamma_m}^{\gamma_{m+1}} \tfrac12 e^{-\gamma/2}
L_{mj}(\gamma)\, d\gamma,$$

L the Lagrange polynomials: an explicit multistep rule of order k, whose weights are a triangle of numbers. Where the flow
starts r is known without a call: there $\hat x$ is x but for the noise that was put on discrete data, and r is that noise,
or zero. (The polynomial through $\hat\epsilon$, smooth at the other end, is far worse at this one, where it grows.)

The divergence is integrated over the same nodes by the rule of Gauss & Legendre in v, $\gamma = c + w \sinh v$. Of each
dimension it goes from $-\tfrac12$ to 0 where the noise grows beyond the data: around c, within w, the nodes are dense.

What such a rule leaves is mostly the same for all examples, or in proportion to the terms of the result: with l the base
density and d the integral of the divergence, nats per dimension,

$$\frac{\log p(x)}{D} \approx l + d + b_0 + b_1 l + b_2 d .$$

The coefficients are those of least squares on examples that were followed with as many calls as the tolerance asks for, by
the same probes. Of the candidates for (k, c, w) that one is taken that leaves the least. With the residuals' standard
deviation s, $a = (1, l, d)$ and the examples' A the error of one example is $s \sqrt{1 + h}$, $h = a^T (A^T A)^{-1} a$, of
which $s \sqrt h$ is that of the correction, which examples share. The root mean square of the latter over examples is no
less than the error of their mean correction, as h is convex in a.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from lowerbound import ode
from lowerbound.elementary import present
from lowerbound.errors import InputError
from lowerbound.likelihood.density import Density, ProbedFlow, follow
from lowerbound.schedule import Schedule
from lowerbound.shapes import Examples, PerExample
from lowerbound.words.brief import Brief

ORDERS = (1, 2, 3)
CENTRES = (-5.0, -3.0, -2.0, -1.0)
WIDTHS = (2.0, 4.0)
FEWEST = 16
"""Examples, for three coefficients and a spread."""
# Gauss's rule on [-1, 1]: with the factor e^{-gamma/2} over a tenth of any schedule exact to rounding
_PLACES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True, repr=False)
class Rule(Brief):
    r"""Where the network is called, and what becomes of its predictions (formulas in the module's docstring).

    Arguments:
        order: k, the values that a polynomial goes through.
        nodes: $\gamma_1 .. \gamma_n$, of the calls.
        path: the triangle A, a row for each node and the end, a column for the start and each node.
        quadrature: the weights of the divergence at the nodes.
    """

    order: int
    nodes: tuple[float, ...]
    path: Float64[np.ndarray, "num_ends num_places"]
    quadrature: Float64[np.ndarray, " num_nodes"]


def make_rule(schedule: Schedule, num_calls: int, order: int, centre: float, width: float) -> Rule:
    r"""The rule of so many calls between a schedule's ends.

    Arguments:
        schedule: of the denoiser.
        num_calls: n, at least 1.
        order: k, at least 1.
        centre, width: c and w, in $\gamma$: the nodes are dense around c, and equally so for a large w.

    Raises:
        InputError: for numbers out of these ranges.
    """
    if num_calls < 1 or order < 1 or not width > 0:
        raise InputError(
            f"a rule of {num_calls} calls, order {order} and width {width}: calls and order start at 1, and a width is "
            "above 0"
        )
    first, last = schedule.gamma_min, schedule.gamma_max
    low, high = (math.asinh((gamma - centre) / width) for gamma in (first, last))
    places, weights = np.polynomial.legendre.leggauss(num_calls)
    v = low + (high - low) * (places + 1) / 2
    nodes = centre + width * np.sinh(v)
    quadrature = weights * (high - low) / 2 * width * np.cosh(v)
    ends = np.array([first, *nodes, last])
    path = np.zeros((num_calls + 1, num_calls + 1))
    for m in range(num_calls + 1):
        known = slice(max(0, m + 1 - order), m + 1)
        path[m:, known] += _integrals(ends[known], ends[m], ends[m + 1])
    return Rule(order, tuple(nodes.tolist()), path, quadrature)


def _integrals(nodes: np.ndarray, begin: float, end: float) -> np.ndarray:
    r"""$\int \tfrac12 e^{-\gamma/2} L_j(\gamma)\, d\gamma$ of each node's Lagrange polynomial."""
    gamma = (begin + end) / 2 + (end - begin) / 2 * _PLACES
    factor = (end - begin) / 2 * _WEIGHTS * np.exp(-gamma / 2) / 2
    others = [np.delete(nodes, j) for j in range(len(nodes))]
    lagrange = [np.prod([(gamma - k) / (j - k) for k in rest], axis=0) for j, rest in zip(nodes, others, strict=True)]
    return np.array([(factor * each).sum() for each in lagrange])


@dataclass(frozen=True, repr=False)
class Terms(Brief):
    """What a rule makes of a flow.

    Arguments:
        z: where it ends, (B, *).
        base: the base density's term, nats, (B,).
        integrals: of what `ProbedFlow.slopes` gives beside the slope; first the divergence per dimension, by each estimate,
            (B, num_estimates).
    """

    z: Examples
    base: PerExample
    integrals: ode.State


@torch.no_grad()
def follow_rule(followed: ProbedFlow, rule: Rule, start: Examples | None = None) -> Terms:
    r"""Follow a flow by a rule.

    Arguments:
        followed: the flow.
        rule: made for its schedule.
        start: $x - \hat x$ at $\gamma_0$, (B, *): the noise that was put on discrete data; if None, zero.
    """
    x, rows = followed.x, torch.arange(len(followed.x), device=followed.x.device)
    residues = [torch.zeros_like(x) if start is None else present(start.to(x), followed.denoiser.observed)]
    integrals = followed.no_integrals
    for gamma, weights, weight in zip(rule.nodes, rule.path[:-1], rule.quadrature, strict=True):
        eps = _weighted(weights, residues)
        slope, *others = followed.slopes(eps, torch.full_like(followed.num_dims, gamma), rows)
        residues.append(slope * (2 * math.exp(gamma / 2)))
        for integral, other in zip(integrals, others, strict=True):
            integral.add_(other, alpha=float(weight))
    z, base = followed.end(_weighted(rule.path[-1], residues))
    return Terms(z, base, integrals)


def _weighted(weights: np.ndarray, residues: Sequence[Tensor]) -> Tensor:
    """The sum of what there is so far."""
    total = torch.zeros_like(residues[0])
    for weight, residue in zip(weights.tolist(), residues, strict=False):
        total.add_(residue, alpha=weight)
    return total


@dataclass(frozen=True, repr=False)
class FewCalls(Brief):
    """A rule with its correction (formulas in the module's docstring), nats per dimension.

    Arguments:
        rule: how the flow is followed.
        coefficients: $b_0, b_1, b_2$.
        inverse: $(A^T A)^{-1}$ of the examples that it was calibrated on.
        spread: s, the standard deviation of what is left.
        count: of the examples.
    """

    rule: Rule
    coefficients: Float64[Tensor, "3"]
    inverse: Float64[Tensor, "3 3"]
    spread: float
    count: int

    @property
    def how(self) -> str:
        """What is computed by it, in words."""
        return f"ODE in {len(self.rule.nodes)} calls"

    def density(self, followed: ProbedFlow, start: Examples | None = None) -> Density:
        """The density of the examples of a flow; `start` as for `follow_rule`."""
        terms = follow_rule(followed, self.rule, start)
        design, num_dims = _design(followed, terms), followed.num_dims
        leverage = ((design @ self.inverse.to(design)) * design).sum(1)
        num_calls, scale = len(self.rule.nodes), self.spread * num_dims
        arrived = design.isfinite().all(1)
        return followed.density(
            terms.base,
            terms.integrals,
            terms.z,
            scale * (1 + leverage).sqrt(),
            num_calls=torch.full_like(arrived, num_calls, dtype=torch.int64),
            arrived=arrived,
            kind=f"density ({self.how})",
            settings=f"order {self.rule.order}, calibrated on {self.count} examples",
            correction=num_dims * (design @ self.coefficients.to(design)),
            correction_error=scale * leverage.sqrt(),
        )


def calibrate(
    flows: Sequence[tuple[ProbedFlow, Examples | None]],
    num_calls: int,
    *,
    tolerance: float = 1e-3,
    max_calls: int = ode.MAX_CALLS,
    progress: Callable[[int], object] = lambda examples: None,
) -> FewCalls:
    """The best of the candidates for a rule, with its correction.

    Arguments:
        flows: of examples like those that are asked for but unknown to the model, which fits those of its training too
            well, in batches, each with its `start` as for `follow_rule`.
        num_calls: network calls of the rule.
        tolerance, max_calls: of the flow that is followed to its end, as for `density.log_prob`; an example that does not
            arrive is left out.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if fewer than `FEWEST` examples arrive; and where `density.log_prob` does.
    """
    schedule = flows[0][0].denoiser.schedule
    choices = product(ORDERS, CENTRES, WIDTHS)
    rules = [make_rule(schedule, num_calls, order, centre, width) for order, centre, width in choices]
    exact, designs = [], []
    for followed, start in flows:
        exact.append(follow(followed, tolerance=tolerance, max_calls=max_calls).nats.double() / followed.num_dims)
        designs.append(torch.stack([_design(followed, follow_rule(followed, rule, start)) for rule in rules]))
        progress(len(followed.x))
    nats, design = torch.cat(exact), torch.cat(designs, 1)
    known = nats.isfinite() & design.isfinite().all(2).all(0)
    if (count := int(known.sum())) < FEWEST:
        raise InputError(
            f"a likelihood in few calls is calibrated on at least {FEWEST} examples, and {count} of {len(nats)} were "
            "followed to the flow's end: give more of them, or more calls for each (--max-calls)"
        )
    fitted = [_fit(rule, rows[known], nats[known]) for rule, rows in zip(rules, design, strict=True)]
    return min(fitted, key=lambda few_calls: few_calls.spread)


def _fit(rule: Rule, design: Tensor, nats: Tensor) -> FewCalls:
    """The correction by least squares."""
    missing = nats - design[:, 1:].sum(1)
    inverse = torch.linalg.pinv(design.T @ design, hermitian=True)
    coefficients = inverse @ (design.T @ missing)
    degrees_of_freedom = len(nats) - design.shape[1]
    spread = ((missing - design @ coefficients).square().sum() / degrees_of_freedom).sqrt().item()
    return FewCalls(rule, coefficients, inverse, spread, len(nats))


def _design(followed: ProbedFlow, terms: Terms) -> Float64[Tensor, "batch 3"]:
    """a = (1, l, d) of each example."""
    base = terms.base / followed.num_dims.clamp(min=1)
    return torch.stack([torch.ones_like(base), base, terms.integrals[0].mean(1)], 1)
