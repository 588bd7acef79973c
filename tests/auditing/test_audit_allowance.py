"""An audit takes about as long as it may: of a dear density it is made with fewer draws, and says with how many."""

import numpy as np
import pytest
import torch

from lowerbound.auditing import allowance, audit
from lowerbound.auditing.subject import Subject
from lowerbound.errors import InputError

NORMAL = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(3).double(), 1.0), 1)
BY_PROPOSAL = ("normalisation by importance sampling", "never above the proposal")
BY_SAMPLES = ("samples against density", "coverage of highest-density regions", "entropy")


class Clock:
    """A clock that stands still but where a density is taken or sampled from."""

    def __init__(self, monkeypatch):
        self.time = 0.0
        monkeypatch.setattr(allowance, "now", lambda: self.time)

    def dear(self, each: float, call: float = 0.0) -> Subject:
        """A normal density that takes so many seconds for each point, and more for a call."""

        def log_prob(x):
            self.time += call + each * len(x)
            return NORMAL.log_prob(torch.from_numpy(x)).numpy(), None

        def sample(num, seed):
            self.time += call + each * num
            return np.random.default_rng(seed).standard_normal((num, 3))

        return Subject("dear", log_prob, sample)


@pytest.mark.parametrize(("each", "call"), [(0.0, 0.0), (0.005, 0.2)])
def test_a_density_that_is_cheap_enough_is_audited_with_all_draws(monkeypatch, each, call):
    clock = Clock(monkeypatch)
    found = audit(clock.dear(each, call), num_draws=1000, num_samples=500)
    assert {check.verdict for check in found.checks} == {"pass"}, str(found)
    assert found.note == ""
    assert clock.time <= 120


@pytest.mark.parametrize(("each", "call", "short"), [(0.07, 0.0, "of 1,000 draws"), (0.05, 1.0, "of 500 samples")])
def test_of_a_dear_one_fewer_are_made_and_it_is_said(monkeypatch, each, call, short):
    clock = Clock(monkeypatch)
    found = audit(clock.dear(each, call), num_draws=1000, num_samples=500)
    assert 30 < clock.time <= 120
    assert found.verdict == "pass", str(found)
    assert short in found.note
    assert "2 minutes allowed" in str(found)
    needed = int(found.note.split("all take ")[1].split()[0])
    assert audit(clock.dear(each, call), num_draws=1000, num_samples=500, minutes=needed).note == ""


def test_what_the_time_is_too_short_for_cannot_be_told(monkeypatch):
    """A log density takes four seconds: of two minutes not enough are left to weigh anything by."""
    clock = Clock(monkeypatch)
    found = audit(clock.dear(4.0), num_draws=1000, num_samples=500)
    assert clock.time <= 120
    assert found["repeats"].verdict == "pass"
    assert {found[name].verdict for name in (*BY_PROPOSAL, *BY_SAMPLES)} == {"can't tell"}, str(found)


def test_a_density_that_is_far_too_dear_is_refused_once_that_is_known(monkeypatch):
    """With what would do, which is then enough."""
    clock = Clock(monkeypatch)
    with pytest.raises(InputError, match=r"one log density takes 50 s of a core.*--minutes 9\)"):
        audit(clock.dear(50.0), num_draws=1000, num_samples=500, minutes=0.3)
    assert clock.time <= 50 * 4, "a sample or two, and one density"
    began = clock.time
    assert audit(clock.dear(50.0), num_draws=1000, num_samples=500, minutes=9)["repeats"].verdict == "pass"
    assert clock.time - began <= 9 * 60
    assert audit(clock.dear(20.0), num_draws=1000, num_samples=500, minutes=0.3)["repeats"].verdict == "pass"


def test_too_few_samples_for_a_proposal_cannot_be_told():
    """In 40 dimensions a mixture takes 410 points, and the checks that need none are made all the same."""
    wide = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(40).double(), 1.0), 1)
    found = audit(wide, num_draws=500, num_samples=100)
    assert found["gradient"].verdict == "pass"
    assert found[BY_PROPOSAL[0]].verdict == "can't tell"
    assert "410 samples" in found[BY_PROPOSAL[0]].remedy


@pytest.mark.parametrize("setting", [{"minutes": 0.0}, {"num_draws": 0}, {"num_samples": -3}])
def test_settings_that_are_no_amount_are_refused(setting):
    with pytest.raises(InputError, match=f"{next(iter(setting))} is .*positive"):
        audit(NORMAL, **setting)


def test_log_densities_that_are_no_numbers_fail():
    def broken(x):
        values = NORMAL.log_prob(torch.as_tensor(x)).clone()
        values[torch.as_tensor(x)[:, 0] > 1] = float("nan")
        return values

    found = audit(broken, sample=lambda num: NORMAL.sample((num,)), num_draws=1000, num_samples=500)
    assert found[BY_PROPOSAL[0]].verdict == "fail"
    assert found["repeats"].verdict == found["batches"].verdict == "pass", str(found)
    assert found.verdict == "fail"
