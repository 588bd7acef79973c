r"""Ordinary differential equations, $dy/dt = f(y, t)$: one adaptive solver with error control for each sample.

The explicit Runge-Kutta pair of orders 5 and 4 of Dormand & Prince 1980 (table 2, RK5(4)7M):

$$k_i = f\big(y + h \textstyle\sum_{j<i} a_{ij} k_j,\; t + c_i h\big), \qquad y' = y + h \textstyle\sum_i a_{7i} k_i,
\qquad e = h \textstyle\sum_i d_i k_i .$$

The solution y' of order 5 is what goes on (local extrapolation), e is its difference from the one of order 4, and the last
stage is the next step's first. With the tolerance $\tau$ a step is accepted if the root mean square of
$e / (\tau (1 + \max(|y|, |y'|)))$ is at most one in each part of the state; the next step is $0.9\, error^{-1/5}$ times as
long, between a fifth and five times. In a batch every sample has its own time and step, so it is solved as if it were
alone, and one that has arrived costs no more calls. One whose budget of calls is spent stops where it is.

A part of the state that is only integrated, $dy/dt = f(t)$ along the path of the others, may have an integrand that jumps
where their slope merely bends: a divergence is one. Between the third stage and the fourth, half of the step, e does not
see it: a jump J there leaves $e = 0.003\, h J$, and errors of up to $0.26\, h J$. Such a part's error is measured by the
difference r of y' from the quadrature of $k_1$, $k_3$ and $k_7$, which is exact for parabolas: wherever in the step the
jump lies, r is at least 0.7 of the error. As $k_2$ has no weight in y', nor in either error, and f depends on no integral,
the field is not asked for an integrand there. An integral that is carried along has no say in the steps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

State = tuple[Tensor, ...]
"""The parts of a state, each (B, *), such as a flow and its log-determinant: the error of each is controlled apart."""

Field = Callable[[State, Tensor, Tensor], State]
"""f(state, t, rows): the slopes of some samples at times t, (n,) in double precision; rows, (n,), says which they are.

The slopes of the parts that it is given: the integrals, which come last, may be left out.
"""

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
# y' less the quadrature with the weights -1/18, 50/63 and 11/42 at 0, 3/10 and 1
INTEGRAL_ERROR = (35 / 384 + 1 / 18, 0, 500 / 1113 - 50 / 63, 125 / 192, -2187 / 6784, 11 / 84, -11 / 42)
MAX_CALLS = 10_000


@dataclass(frozen=True, repr=False)
class Solution(Brief):
    """Where the samples arrived, how well that is known, and what it cost.

    Arguments:
        state: the state at the end, its parts (B, *); of a sample that has not arrived, the state at its `t`.
        t: where each sample is, (B,).
        arrived: whether that is the end, (B,); if not, its budget of calls is spent.
        error: for each part the sum over the accepted steps of the estimated error, its root mean square over the part's
            entries, (B,): no bound, for a field may enlarge an early error or damp it.
        num_calls: evaluations of the field for each sample, (B,), those of rejected steps included.
        num_steps: accepted steps of each sample, (B,).
    """

    state: State
    t: Float64[Tensor, "batch"]
    arrived: Bool[Tensor, "batch"]
    error: State
    num_calls: Int[Tensor, "batch"]
    num_steps: Int[Tensor, "batch"]

    def complete(self) -> State:
        """The state at the end.

        Raises:
            InputError: if a sample has not arrived.
        """
        rows = torch.arange(len(self.t), device=self.t.device)
        calls = f"{int(self.num_calls.max())} calls are spent: allow more, or a larger tolerance"
        _refuse(~self.arrived, rows, self.t, calls)
        return self.state


def solve(
    field: Field,
    state: State,
    start: float,
    end: float,
    *,
    tolerance: float | Float64[Tensor, "batch"],
    num_integrals: int = 0,
    num_carried: int = 0,
    max_calls: int | Int[Tensor, "batch"] = MAX_CALLS,
) -> Solution:
    r"""Solve $dy/dt = f(y, t)$ from `start` to `end`, forwards or backwards, each sample with its own steps.

    Gradients flow through the accepted steps; the lengths of steps are constants to them.

    Arguments:
        field: $f(state, t, rows)$, which treats samples independently of one another.
        state: y at `start`: a tuple of parts (B, *).
        start, end: the times, in either order.
        tolerance: $\tau$, the error allowed in a step, of all samples or of each: absolute for values below one, relative
            above.
        num_integrals: how many of the state's last parts are integrals, on which f does not depend, and which it is not
            always given.
        num_carried: how many of these, the last, are not controlled: an estimate of what is known to few digits anyway.
        max_calls: the most evaluations of the field that a sample may take, all or each; one that needs more has not
            `arrived`.

    Raises:
        InputError: for a tolerance outside (0, 1) or below the precision of the state, a budget that does not suffice for
            one step, and where a slope is not finite.
    """
    rows = torch.arange(len(state[0]), device=state[0].device)
    t = torch.full(rows.shape, start, dtype=torch.float64, device=rows.device)
    tolerance = torch.as_tensor(tolerance).to(t).expand(rows.shape)
    max_calls = torch.as_tensor(max_calls).to(rows).expand(rows.shape)
    _check(state, start, end, tolerance, max_calls)
    reached, arrived = t.clone(), torch.zeros_like(rows, dtype=torch.bool)
    errors = tuple(torch.zeros_like(t) for _ in state)
    num_calls, num_steps = torch.full_like(rows, 2), torch.zeros_like(rows)
    direction, num_controlled = math.copysign(1.0, end - start), len(state) - num_carried
    slope = field(state, t, rows)
    finite = torch.stack([part.detach().isfinite().reshape(len(rows), -1).all(1) for part in slope]).all(0)
    _refuse(~finite, rows, t, "the field is not finite there: look at the sample and at what the field makes of it")
    step = _first_step(field, state, slope, t, end, tolerance, rows, num_controlled)
    shortest = 16 * torch.finfo(torch.float64).eps * max(abs(start), abs(end))
    ended: list[tuple[Tensor, State]] = []
    while len(rows):
        last = step >= (end - t).abs()
        change = torch.where(last, end - t, direction * step)
        trial, trial_slope, error = _step(field, state, slope, t, change, rows, num_integrals)
        size = torch.stack(_norms(error[:num_controlled], state, trial, tolerance[rows])).amax(0)
        accepted = size <= 1
        num_calls[rows] += len(STAGES)
        num_steps[rows] += accepted
        for total, part in zip(errors, error, strict=True):
            total[rows] += torch.where(accepted, _rms(part), 0)
        state, slope = _where(accepted, trial, state), _where(accepted, trial_slope, slope)
        t = torch.where(accepted, torch.where(last, end, t + change), t)
        # not a number where the trial left the finite numbers: a shorter step may not
        step = change.abs() * (0.9 * size**-0.2).clamp(0.2, 5).nan_to_num(0.2)
        _refuse(
            ~accepted & (step < shortest), rows, t, "no step is short enough: the field is not finite or jumps there"
        )

        reached[rows], arrived[rows] = t, accepted & last
        done = arrived[rows] | (num_calls[rows] + len(STAGES) > max_calls[rows])
        if done.any():
            ended.append((rows[done], tuple(part[done] for part in state)))
            rows, t, step = rows[~done], t[~done], step[~done]
            state, slope = (tuple(part[~done] for part in parts) for parts in (state, slope))
    order = torch.cat([which for which, _ in ended]).argsort()
    ends = tuple(torch.cat(parts)[order] for parts in zip(*(parts for _, parts in ended), strict=True))
    return Solution(ends, reached, arrived, errors, num_calls, num_steps)


def _step(
    field: Field, state: State, slope: State, t: Tensor, change: Tensor, rows: Tensor, num_integrals: int
) -> tuple[State, State, State]:
    """The state and slope after one step, and the estimated error of each part."""
    slopes, trial, num_path = [slope], state, len(state) - num_integrals
    for node, weights in STAGES:
        trial = _advance(state, change, slopes, weights)
        if INTEGRAL_ERROR[len(slopes)]:
            slopes.append(field(trial, t + node * change, rows))
        else:  # nothing that counts depends on the integrands of this stage: any will do
            slopes.append((*field(trial[:num_path], t + node * change, rows), *slope[num_path:]))
    with torch.no_grad():
        zero = tuple(torch.zeros_like(part) for part in state)
        path, integral = (_advance(zero, change, slopes, weights) for weights in (ERROR, INTEGRAL_ERROR))
        return trial, slopes[-1], (*path[:num_path], *integral[num_path:])


@torch.no_grad()
def _first_step(
    field: Field,
    state: State,
    slope: State,
    t: Tensor,
    end: float,
    tolerance: Tensor,
    rows: Tensor,
    num_controlled: int,
) -> Tensor:
    r"""A first step whose error should be well below what is allowed (after Hairer, Norsett & Wanner 1993, II.4).

    In the time h of an Euler step that changes the state by a hundredth of its scale, the slope's change tells the second
    derivative; the step is $(0.01 / \max(|y'|, |y''|))^{1/5}$, lengths in units of what is allowed.
    """
    longest = (end - t).abs()
    first = torch.stack(_norms(slope[:num_controlled], state, state, tolerance)).amax(0)
    euler = torch.minimum(0.01 / (tolerance * first), longest)
    change = torch.where(end > t, euler, -euler)
    later = field(_advance(state, change, [slope], (1.0,)), t + change, rows)
    bend = tuple(after - before for after, before in zip(later, slope, strict=True))[:num_controlled]
    second = torch.stack(_norms(bend, state, state, tolerance)).amax(0) / euler
    step = (0.01 / torch.maximum(first, second)) ** 0.2
    return torch.minimum(torch.minimum(step.nan_to_num(math.inf), 100 * euler), longest)


def _advance(state: State, change: Tensor, slopes: Sequence[State], weights: Sequence[float]) -> State:
    """y + h sum_j w_j k_j"""
    return tuple(
        part + expand(change, part) * sum(weight * k for weight, k in zip(weights, ks, strict=True) if weight)
        for part, *ks in zip(state, *slopes, strict=True)
    )


@torch.no_grad()
def _norms(values: State, before: State, after: State, tolerance: Tensor) -> list[Tensor]:
    """The root mean square, (n,), of each part of values, which may be the first of a state, in units of what is allowed."""
    return [
        _rms(value / (expand(tolerance, value) * (1 + torch.maximum(old.abs(), new.abs()))))
        for value, old, new in zip(values, before, after, strict=False)
    ]


def _rms(part: Tensor) -> Tensor:
    return part.double().reshape(len(part), -1).square().mean(1).sqrt()


def _where(chosen: Tensor, new: State, old: State) -> State:
    return tuple(
        torch.where(chosen.reshape(-1, *[1] * (part.ndim - 1)), part, kept) for part, kept in zip(new, old, strict=True)
    )


def _check(state: State, start: float, end: float, tolerance: Tensor, max_calls: Tensor) -> None:
    if len(state[0]) == 0:
        raise InputError("the batch is empty: give at least one sample")
    least = 4 * max(torch.finfo(part.dtype).eps for part in state)
    refused = tolerance[~((tolerance >= least) & (tolerance < 1))]
    if len(refused):
        raise InputError(
            f"tolerance is {refused[0].item()}: it must be below 1 and, for {state[0].dtype}, at least {least:.1g}"
        )
    if not (math.isfinite(start) and math.isfinite(end)):
        raise InputError(f"the solver was sent from t = {start} to t = {end}: both must be finite")
    if (least_calls := int(max_calls.min())) < 2 + len(STAGES):
        raise InputError(f"max_calls is {least_calls}: a single step takes {2 + len(STAGES)}")


def _refuse(failed: Tensor, rows: Tensor, t: Tensor, reason: str) -> None:
    """An InputError that names the samples that failed, if any did."""
    if failed.any():
        which = rows[failed].tolist()
        more = f" and {len(which) - 1} more" if len(which) > 1 else ""
        raise InputError(f"the solver gave up on sample {which[0]}{more} at t = {t[failed][0].item():.6g}: {reason}")
