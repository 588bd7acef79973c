"""The cheap audits: each planted fault is found, and what is right passes."""

import math

import numpy as np
import pytest

from lowerbound.evaluate.audited import Audited, apart_as_expected, batches_again, examples_tail
from lowerbound.report.audited import tell_audited
from lowerbound.report.description import Severity
from lowerbound.tails import mean_of_draws

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("bits", "verdict"),
    [
        (RNG.normal(2, 0.3, 1000), "pass"),
        (2 + 0.01 * RNG.pareto(0.9, 1000), "fail"),
        (2 - 0.01 * RNG.pareto(0.9, 1000), "fail"),
        (np.full(1000, 2.0), "pass"),
        (np.where(np.arange(1000) < 3, 5.0, 2.0), "fail"),
        (RNG.normal(2, 0.3, 40), "can't tell"),
    ],
)
def test_the_mean_has_an_error_where_the_tail_of_examples_allows_it(bits, verdict):
    assert examples_tail(bits).verdict == verdict
    assert math.isfinite(mean_of_draws(bits).error) == (verdict != "fail")


def test_false_alarms_about_tails_are_rare():
    alarms = sum(examples_tail(np.random.default_rng(seed).normal(size=200)).verdict == "fail" for seed in range(300))
    assert alarms == 0


def test_bits_that_another_batch_changes_are_found():
    bits = RNG.normal(2, 0.3, 20)
    assert batches_again(bits, bits + 1e-6).verdict == "pass"
    assert batches_again(bits, bits + 0.01 * (np.arange(20) == 7)).verdict == "fail"


def test_test_examples_in_training_are_found_unless_examples_repeat_by_nature():
    train = list(range(1000))
    assert apart_as_expected(train, list(range(1000, 1100))).verdict == "pass"
    assert apart_as_expected(train, list(range(990, 1090))).verdict == "fail"
    coins = RNG.integers(8, size=1000).tolist()
    assert apart_as_expected(coins, RNG.integers(8, size=100).tolist()).verdict == "pass"


@pytest.mark.parametrize("num_values", [300, 1600, 10_000, 100_000])
@pytest.mark.parametrize("num_test", [200, 1600])
def test_rounded_numbers_are_no_leak(num_values, num_test):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train, test = (rng.integers(num_values, size=num).tolist() for num in (1600, num_test))
        assert apart_as_expected(train, test).verdict == "pass"


def test_what_failed_is_told_first():
    checks = (examples_tail(2 + 0.01 * RNG.pareto(0.9, 1000)), apart_as_expected([1, 2], [3, 4]))
    fine, wrong = tell_audited(Audited(checks)).findings
    assert (fine.severity, wrong.severity) == (Severity.FINE, Severity.SERIOUS)
    assert "found it wrong that" not in fine.text
    assert wrong.text.startswith("The audit found it wrong that the bits of examples have a variance")
