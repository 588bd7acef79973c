"""The solver: its tableau, its order, and every sample solved as if it were alone."""

import math

import numpy as np
import pytest
import torch
from oracles import double, draw
from scipy.integrate import RK45, solve_ivp

from lowerbound import ode
from lowerbound.errors import InputError

RATES = double([-1.0, -200.0, 0.5])


def decay(state, t, rows):
    """Samples of very different stiffness towards a moving target: y' = rate (y - cos t) - sin t."""
    return (RATES[rows, None] * (state[0] - torch.cos(t)[:, None]) - torch.sin(t)[:, None],)


def decayed(y, span):
    """The solution of `decay` from y at time 0."""
    return math.cos(span) + (y - 1) * torch.exp(RATES[:, None] * span)


def swing(state, t, rows):
    """y' = y cos t"""
    return (state[0] * torch.cos(t)[:, None],)


def test_the_tableau_is_that_of_dormand_and_prince():
    weights = [list(row) for _, row in ode.STAGES]
    for row, expected in zip(weights[:-1], RK45.A[1:], strict=True):
        np.testing.assert_allclose(row, expected[: len(row)], rtol=1e-15)
    np.testing.assert_allclose(weights[-1], RK45.B, rtol=1e-15)
    np.testing.assert_allclose([place for place, _ in ode.STAGES[:-1]], RK45.C[1:], rtol=1e-15)
    np.testing.assert_allclose(np.abs(ode.ERROR), np.abs(RK45.E), rtol=1e-13)


def test_the_order_is_five():
    """The error at the end falls with the fifth power of the number of steps."""
    errors, steps = [], []
    for tolerance in (1e-5, 1e-7, 1e-9, 1e-11):
        solution = ode.solve(swing, (double([[1.0], [2.0]]),), 0.0, 10.0, tolerance=tolerance)
        expected = double([[1.0], [2.0]]) * math.exp(math.sin(10.0))
        errors.append((solution.state[0] - expected).abs().mean().item())
        steps.append(solution.num_steps.double().mean().item())
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-5, abs=0.4)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_tolerance_is_kept_by_each_sample_at_its_own_cost(tolerance):
    y = draw(3, 4)
    together = ode.solve(decay, (y,), 0.0, 1.0, tolerance=tolerance)
    scale = 1 + decayed(y, 1.0).abs()
    assert ((together.state[0] - decayed(y, 1.0)).abs() / scale).max() < 20 * tolerance
    assert together.num_calls[1] > 1.5 * together.num_calls[0]
    for index in range(3):

        def alone(state, t, rows, index=index):
            return decay(state, t, rows + index)

        single = ode.solve(alone, (y[index : index + 1],), 0.0, 1.0, tolerance=tolerance)
        torch.testing.assert_close(single.state[0], together.state[0][index : index + 1], rtol=1e-13, atol=1e-13)
        assert single.num_calls.item() == together.num_calls[index].item()
        assert single.num_steps.item() == together.num_steps[index].item()


def test_the_cost_is_near_that_of_an_independent_solver():
    """scipy's solver of the same pair at the same tolerance: the same answer for about as many calls."""
    ours = ode.solve(swing, (double([[1.0]]),), 0.0, 10.0, tolerance=1e-8)
    theirs = solve_ivp(lambda t, y: y * math.cos(t), (0.0, 10.0), [1.0], rtol=1e-8, atol=1e-8)
    assert ours.state[0].item() == pytest.approx(theirs.y[0, -1], rel=1e-6)
    assert 0.7 < ours.num_calls.item() / theirs.nfev < 1.4


def test_calls_are_counted_and_samples_that_have_arrived_cost_none():
    asked = torch.zeros(3)

    def counting(state, t, rows):
        assert len(state[0]) == len(t) == len(rows)
        asked[rows] += 1
        return decay(state, t, rows)

    solution = ode.solve(counting, (draw(3, 4),), 0.0, 3.0, tolerance=1e-6)
    assert asked.tolist() == solution.num_calls.tolist()
    assert (solution.num_calls >= 2 + 6 * solution.num_steps).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_backwards_undoes_forwards(dtype, tolerance):
    y = draw(3, 2, 2).to(dtype)
    there = ode.solve(swing_2d, (y,), -1.0, 4.0, tolerance=tolerance)
    assert there.state[0].dtype == dtype
    torch.testing.assert_close(
        there.state[0], y * math.exp(math.sin(4.0) - math.sin(-1.0)), rtol=0, atol=30 * tolerance
    )
    back = ode.solve(swing_2d, there.state, 4.0, -1.0, tolerance=tolerance)
    torch.testing.assert_close(back.state[0], y, rtol=0, atol=30 * tolerance)


def swing_2d(state, t, rows):
    return (state[0] * torch.cos(t).to(state[0].dtype)[:, None, None],)


def test_a_span_of_nothing_changes_nothing():
    y = draw(2, 3)
    assert torch.equal(ode.solve(swing, (y,), 1.0, 1.0, tolerance=1e-6).state[0], y)


def test_each_part_of_the_state_is_controlled():
    """A lone stiff part, of another shape, beside many easy entries."""

    def both(state, t, rows):
        easy, stiff = state
        return -easy, -100 * (stiff - torch.cos(t))

    easy, stiff = draw(2, 50, 20), draw(2)
    solution = ode.solve(both, (easy, stiff), 0.0, 2.0, tolerance=1e-8)
    torch.testing.assert_close(solution.state[0], easy * math.exp(-2.0), rtol=0, atol=1e-7)
    expected = (1e4 * math.cos(2.0) + 100 * math.sin(2.0)) / (1e4 + 1)
    torch.testing.assert_close(solution.state[1], torch.full_like(stiff, expected), rtol=0, atol=1e-7)


def test_gradients_flow_through_the_steps():
    """Of the logistic equation y' = rate y (1 - y), in its start and in its rate."""
    start, rate = double([[0.1], [0.7]]).requires_grad_(), double(1.5).requires_grad_()

    def logistic(state, t, rows):
        return (rate * state[0] * (1 - state[0]),)

    def exact(y, rate):
        return y / (y + (1 - y) * torch.exp(-2 * rate))

    solution = ode.solve(logistic, (start,), 0.0, 2.0, tolerance=1e-9)
    ours = torch.autograd.grad(solution.state[0].sum(), (start, rate))
    expected = torch.autograd.grad(exact(start, rate).sum(), (start, rate))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_what_cannot_be_solved_is_named():
    explode = double([[0.1], [2.0], [0.2]])  # y' = y^2 is infinite at 1 / y
    with pytest.raises(InputError, match=r"sample 1 at t = 0\.5.*not finite"):
        ode.solve(lambda state, t, rows: (state[0] ** 2,), (explode,), 0.0, 1.0, tolerance=1e-6)
    with pytest.raises(InputError, match=r"sample 2 at t = 0: the field is not finite"):
        ode.solve(swing, (double([[0.1], [2.0], [math.nan]]),), 0.0, 1.0, tolerance=1e-6)
    stopped = ode.solve(decay, (draw(2, 1),), 0.0, 3.0, tolerance=1e-6, max_calls=200)
    with pytest.raises(InputError, match=r"sample 1 at t = .*200 calls are spent"):
        stopped.complete()


def test_a_spent_budget_stops_one_sample_where_it_is():
    y = draw(3, 4)
    whole = ode.solve(decay, (y,), 0.0, 3.0, tolerance=1e-6)
    budget = int(whole.num_calls[0])
    assert whole.arrived.all()
    assert budget < whole.num_calls[1] / 2
    found = ode.solve(decay, (y,), 0.0, 3.0, tolerance=1e-6, max_calls=budget)
    assert found.arrived.tolist() == [True, False, bool(whole.num_calls[2] <= budget)]
    assert torch.equal(found.state[0][0], whole.state[0][0])
    assert 0 < found.t[1] < 3
    assert budget - len(ode.STAGES) < found.num_calls[1] <= budget, "no more is spent, and no less"
    reached = decayed(y, found.t[1].item())[1]
    torch.testing.assert_close(found.state[0][1], reached, rtol=0, atol=1e-4)
    assert torch.equal(whole.complete()[0], whole.state[0])


def test_the_integral_s_rule_is_exact_for_parabolas_and_sees_every_jump():
    places, weights = np.array([0.0, *(place for place, _ in ode.STAGES)]), np.array(ode.INTEGRAL_ERROR)
    for power in range(3):
        assert abs(weights @ places**power) < 1e-15
    behind, blind = (
        [np.array(row)[places > jump].sum() for jump in (0.1, 0.25, 0.5, 0.85, 0.95)] for row in (weights, ode.ERROR)
    )
    assert np.abs(behind).min() > 0.13
    assert np.abs(blind).min() < 0.0015, "the pair's own estimate does not"


def test_an_integrand_is_asked_for_only_where_it_has_weight(monkeypatch):
    """Not in one stage of six; the solution is to the bit the one that asks for it everywhere."""
    asked = []

    def field(state, t, rows):
        asked.append(len(rows) * (len(state) - 1))
        return (-state[0], torch.cos(7 * t)[:, None] * state[0].square().sum(1, keepdim=True))[: len(state)]

    state = (draw(9, 2), torch.zeros(9, 1).double())
    found = ode.solve(field, state, 0.0, 3.0, tolerance=1e-5, num_integrals=1)
    num_calls = int(found.num_calls.sum())
    assert 6 * sum(asked) == 5 * num_calls + 2 * len(state[0]), "the start takes two calls, each step six"
    asked.clear()
    tiny = [weight or 1e-300 for weight in ode.INTEGRAL_ERROR]
    monkeypatch.setattr(ode, "INTEGRAL_ERROR", tiny)
    everywhere = ode.solve(field, state, 0.0, 3.0, tolerance=1e-5, num_integrals=1)
    assert sum(asked) == num_calls
    for ours, theirs in zip((*found.state, *found.error), (*everywhere.state, *everywhere.error), strict=True):
        assert torch.equal(ours, theirs)


def test_each_sample_may_have_a_tolerance_and_a_budget_of_its_own():
    y, tolerances, budgets = draw(3, 4), double([1e-3, 1e-4, 1e-9]), torch.tensor([1000, 200, 2000])
    together = ode.solve(decay, (y,), 0.0, 1.0, tolerance=tolerances, max_calls=budgets)
    assert together.arrived.tolist() == [True, False, True]
    for index, (tolerance, budget) in enumerate(zip(tolerances.tolist(), budgets.tolist(), strict=True)):
        alike = ode.solve(decay, (y,), 0.0, 1.0, tolerance=tolerance, max_calls=budget)
        torch.testing.assert_close(together.state[0][index], alike.state[0][index], rtol=0, atol=1e-8)
        assert together.num_calls[index] == alike.num_calls[index]


def test_an_integrand_may_jump():
    """The integral of a step at a place of each sample's own: no step's error goes unseen."""
    jumps = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)

    def field(state, t, rows):
        return (-state[0], (t > jumps[rows]).double()[:, None])[: len(state)]

    state = (draw(50, 2), torch.zeros(50, 1).double())
    errors = []
    for num_integrals in (0, 1):
        found = ode.solve(field, state, 0.0, 1.0, tolerance=1e-3, num_integrals=num_integrals)
        error = (found.state[1][:, 0] - (1 - jumps)).abs()
        errors.append(error.max().item())
        if num_integrals:
            assert (error <= 1.5 * found.error[1]).all(), "it is stated"
    assert errors[0] > 1e-2, "what is not said to be an integral is smooth to the solver"
    assert errors[1] < 2e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {"tolerance": 0.0},
        {"tolerance": -1e-3},
        {"tolerance": 1.0},
        {"tolerance": math.nan},
        {"tolerance": 1e-17},
        {"tolerance": double([1e-3, 1.0])},
        {"max_calls": torch.tensor([7, 100])},
        {"max_calls": 7},
        {"end": math.inf},
        {"state": (torch.zeros(2, 1),), "tolerance": 1e-8},
        {"state": (torch.zeros(0, 1),)},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    given = {"state": (draw(2, 1),), "start": 0.0, "end": 1.0, "tolerance": 1e-6} | arguments
    with pytest.raises(InputError):
        ode.solve(swing, **given)
