"""What is measured along the way stays within its share of a timed run, one measurement kept for the end."""

import pytest

from lowerbound.training import allowance
from lowerbound.training.allowance import Allowance


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(allowance.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("cost", [0.1, 1.0, 4.0, 30.0])
def test_a_run_never_spends_more_than_its_share_before_the_end(clock, cost):
    spending, count = Allowance(18.0), 0
    for progress in range(1, 101):
        if spending.affords("bits", cost / 3, progress / 100):  # the first guess is three times too low
            with spending.spending("bits"):
                clock[0] += cost
            count += 1
    assert spending.affords("bits", cost, 1.0), "the last one is always taken"
    assert count >= 1
    if cost < 18 / 3:
        assert spending.spent <= 18.0
        assert spending.spent > 18.0 / 2 - cost or count == 100


def test_what_costs_too_much_waits_for_the_end():
    spending = Allowance(18.0)
    assert not spending.affords("bits", 20.0, 0.99)
    assert spending.affords("bits", 20.0, 1.0)


def test_a_run_of_given_steps_has_no_limit():
    assert Allowance(None).affords("bits", 1e9, 0.01)
