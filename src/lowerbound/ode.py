r"""Ordinary differential equations, $dy/dt = f(y, t)$: one adaptive solver with error control for each sample.

The explicit Runge-Kutta pair of orders 5 and 4 of Dormand & Prince 1980 (table 2, RK5(4)7M):

$$k_i = f\big(y + h \textstyle\sum_{j<i} a_{ij} k_j,\; t + c_i h\big), \qquad y' = y + h \textstyle\sum_i a_{7i} k_i,
\qquad e = h \textstyle\sum_i d_i k_i .$$

The solution y' of order 5 is what goes on (local extrapolation), e is its difference from the one of order 4, and the last
stage is the next step's first. With the tolerance $\tau$ a step is accepted if the root mean square of
$e / (\tau (1 + \max(|y|, |y'|)))$ is at most one in each part of the state; the next step is $0.9\, error^{-1/5}$ times as
long, between a fifth and five times. In a batch every sample has its own time and step, so it is solved as if it were
alone, and one that has arrived costs no more calls.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.elementary import expand
from lowerbound.errors import InputError

State = tuple[Tensor, ...]
"""The parts of a state, each (B, *), such as a flow and its log-determinant: the error of each is controlled apart."""

Field = Callable[[State, Tensor, Tensor], State]
"""f(state, t, rows): the slopes of some samples at times t, (n,) in double precision; rows, (n,), says which they are."""

# c_i and a_ij of the stages 2 to 7, then d_i
STAGES = (
    (1 / 5, (1 / 5,)),
    (3 / 10, (3 / 40, 9 / 40)),
    (4 / 5, (44 / 45, -56 / 15, 32 / 9)),
    (8 / 9, (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729)),
    (1.0, (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656)),
    (1.0, (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@dataclass(frozen=True)
class Solution:
    """Where the samples arrived, and what it cost.

    Arguments:
        state: the state at the end, its parts (B, *).
        num_calls: evaluations of the field for each sample, (B,), those of rejected steps included.
        num_steps: accepted steps of each sample, (B,).
    """

    state: State
    num_calls: Int[Tensor, "batch"]
    num_steps: Int[Tensor, "batch"]


def solve(
    field: Field, state: State, start: float, end: float, *, tolerance: float, max_steps: int = 10_000
) -> Solution:
    r"""Solve $dy/dt = f(y, t)$ from `start` to `end`, forwards or backwards, each sample with its own steps.

    Gradients flow through the accepted steps; the lengths of steps are constants to them.

    Arguments:
        field: $f(state, t, rows)$, which treats samples independently of one another.
        state: y at `start`: a tuple of parts (B, *).
        start, end: the times, in either order.
        tolerance: $\tau$, the error allowed in a step: absolute for values below one, relative above.
        max_steps: the most steps that a sample may take, rejected ones included.

    Raises:
        InputError: for a tolerance outside (0, 1) or below the precision of the state, and where a sample needs more than
            `max_steps` or its slope is not finite.
    """
    _check(state, start, end, tolerance, max_steps)
    rows = torch.arange(len(state[0]), device=state[0].device)
    num_calls, num_steps = torch.full_like(rows, 2), torch.zeros_like(rows)
    t = torch.full(rows.shape, start, dtype=torch.float64, device=rows.device)
    direction = math.copysign(1.0, end - start)
    slope = field(state, t, rows)
    finite = torch.stack([part.detach().isfinite().reshape(len(rows), -1).all(1) for part in slope]).all(0)
    _refuse(~finite, rows, t, "the field is not finite there: look at the sample and at what the field makes of it")
    step = _first_step(field, state, slope, t, end, tolerance, rows)
    shortest = 16 * torch.finfo(torch.float64).eps * max(abs(start), abs(end))
    arrived: list[tuple[Tensor, State]] = []
    for _ in range(max_steps):
        last = step >= (end - t).abs()
        change = torch.where(last, end - t, direction * step)
        trial, trial_slope, error = _step(field, state, slope, t, change, tolerance, rows)
        accepted = error <= 1
        num_calls[rows] += len(STAGES)
        num_steps[rows] += accepted
        state, slope = _where(accepted, trial, state), _where(accepted, trial_slope, slope)
        t = torch.where(accepted, torch.where(last, end, t + change), t)
        # not a number where the trial left the finite numbers: a shorter step may not
        step = change.abs() * (0.9 * error**-0.2).clamp(0.2, 5).nan_to_num(0.2)
        _refuse(
            ~accepted & (step < shortest), rows, t, "no step is short enough: the field is not finite or jumps there"
        )

        there = accepted & last
        if there.any():
            arrived.append((rows[there], tuple(part[there] for part in state)))
            rows, t, step = rows[~there], t[~there], step[~there]
            state, slope = (tuple(part[~there] for part in parts) for parts in (state, slope))
        if len(rows) == 0:
            break
    else:
        needed = f"more than max_steps={max_steps} steps are needed at tolerance={tolerance}: raise one of the two"
        _refuse(torch.ones_like(rows, dtype=torch.bool), rows, t, needed)
    order = torch.cat([which for which, _ in arrived]).argsort()
    ends = tuple(torch.cat(parts)[order] for parts in zip(*(parts for _, parts in arrived), strict=True))
    return Solution(ends, num_calls, num_steps)


def _step(
    field: Field, state: State, slope: State, t: Tensor, change: Tensor, tolerance: float, rows: Tensor
) -> tuple[State, State, Tensor]:
    """The state and slope after one step, and the error (n,) in units of what is allowed."""
    slopes, trial = [slope], state
    for place, weights in STAGES:
        trial = _advance(state, change, slopes, weights)
        slopes.append(field(trial, t + place * change, rows))
    with torch.no_grad():
        error = _advance(tuple(torch.zeros_like(part) for part in state), change, slopes, ERROR)
        return trial, slopes[-1], _norm(error, state, trial, tolerance)


@torch.no_grad()
def _first_step(
    field: Field, state: State, slope: State, t: Tensor, end: float, tolerance: float, rows: Tensor
) -> Tensor:
    r"""A first step whose error should be well below what is allowed (after Hairer, Norsett & Wanner 1993, II.4).

    In the time h of an Euler step that changes the state by a hundredth of its scale, the slope's change tells the second
    derivative; the step is $(0.01 / \max(|y'|, |y''|))^{1/5}$, lengths in units of what is allowed.
    """
    longest = (end - t).abs()
    first = _norm(slope, state, state, tolerance)
    euler = torch.minimum(0.01 / (tolerance * first), longest)
    change = torch.where(end > t, euler, -euler)
    later = field(_advance(state, change, [slope], (1.0,)), t + change, rows)
    bend = tuple(after - before for after, before in zip(later, slope, strict=True))
    second = _norm(bend, state, state, tolerance) / euler
    step = (0.01 / torch.maximum(first, second)) ** 0.2
    return torch.minimum(torch.minimum(step.nan_to_num(math.inf), 100 * euler), longest)


def _advance(state: State, change: Tensor, slopes: Sequence[State], weights: Sequence[float]) -> State:
    """y + h sum_j w_j k_j"""
    return tuple(
        part + expand(change, part) * sum(weight * k for weight, k in zip(weights, ks, strict=True) if weight)
        for part, *ks in zip(state, *slopes, strict=True)
    )


def _norm(values: State, before: State, after: State, tolerance: float) -> Tensor:
    """The largest root mean square, (n,), among the parts of values in units of what is allowed."""
    sizes = []
    for value, old, new in zip(values, before, after, strict=True):
        allowed = tolerance * (1 + torch.maximum(old.abs(), new.abs()))
        sizes.append((value / allowed).double().reshape(len(value), -1).square().mean(1).sqrt())
    return torch.stack(sizes).amax(0)


def _where(chosen: Tensor, new: State, old: State) -> State:
    return tuple(
        torch.where(chosen.reshape(-1, *[1] * (part.ndim - 1)), part, kept) for part, kept in zip(new, old, strict=True)
    )


def _check(state: State, start: float, end: float, tolerance: float, max_steps: int) -> None:
    precision = max(torch.finfo(part.dtype).eps for part in state)
    if not 4 * precision <= tolerance < 1:
        raise InputError(
            f"tolerance is {tolerance}: it must be below 1 and, for {state[0].dtype}, at least {4 * precision:.1g}"
        )
    if not (math.isfinite(start) and math.isfinite(end)):
        raise InputError(f"the solver was sent from t = {start} to t = {end}: both must be finite")
    if max_steps < 1:
        raise InputError(f"max_steps is {max_steps}: at least one step is needed")
    if len(state[0]) == 0:
        raise InputError("the batch is empty: give at least one sample")


def _refuse(failed: Tensor, rows: Tensor, t: Tensor, reason: str) -> None:
    """An InputError that names the samples that failed, if any did."""
    if failed.any():
        which = rows[failed].tolist()
        more = f" and {len(which) - 1} more" if len(which) > 1 else ""
        raise InputError(f"the solver gave up on sample {which[0]}{more} at t = {t[failed][0].item():.6g}: {reason}")
