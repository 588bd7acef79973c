"""The number of threads follows what steps cost, on a machine whose costs are invented."""

import pytest
import torch

from lowerbound.training.parallel.threads import TRIAL_SHARE, ThreadChoice


@pytest.fixture
def four_threads(monkeypatch):
    """A torch of four threads, of which none is started."""
    state = {"threads": 4}
    monkeypatch.setattr(torch, "get_num_threads", lambda: state["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: state.update(threads=number))
    return state


def run(choice, cost, seconds):
    """Steps for so many seconds, each of which costs `cost(threads)`; how long each number was in use."""
    used, passed = {}, 0.0
    while passed < seconds:
        threads = torch.get_num_threads()
        choice.took(cost(threads))
        used[threads] = used.get(threads, 0.0) + cost(threads)
        passed += cost(threads)
    return used


@pytest.mark.parametrize(
    ("costs", "best"), [({1: 4.0, 2: 2.0, 4: 1.0}, 4), ({1: 1.0, 2: 2.0, 4: 8.0}, 1), ({1: 3.0, 2: 1.0, 4: 3.0}, 2)]
)
def test_it_finds_the_fastest_and_tries_others_seldom(four_threads, costs, best):
    choice = ThreadChoice()
    run(choice, costs.__getitem__, 200)
    assert choice.chosen == best
    used = run(choice, costs.__getitem__, 2000)
    assert choice.chosen == best
    assert sum(seconds for threads, seconds in used.items() if threads != best) < 2 * TRIAL_SHARE * 2000


def test_it_follows_a_machine_that_becomes_busy_and_idle_again(four_threads):
    idle, busy = {1: 4.0, 2: 2.0, 4: 1.0}, {1: 5.0, 2: 20.0, 4: 80.0}
    choice = ThreadChoice()
    for costs, best in ((idle, 4), (busy, 1), (idle, 4)):
        run(choice, costs.__getitem__, 20_000)
        assert choice.chosen == best


def test_little_noise_changes_nothing(four_threads):
    generator = torch.Generator().manual_seed(0)
    choice = ThreadChoice()
    used = run(choice, lambda threads: 1.0 + 0.05 * torch.rand((), generator=generator).item(), 1000)
    assert choice.chosen == 4
    assert used[4] > 0.85 * sum(used.values())


def test_one_thread_is_never_left(four_threads):
    four_threads["threads"] = 1
    assert run(ThreadChoice(), lambda threads: 1.0, 100) == {1: 100.0}


def test_all_threads_come_back(four_threads):
    choice = ThreadChoice()
    run(choice, {1: 1.0, 2: 2.0, 4: 8.0}.__getitem__, 100)
    assert torch.get_num_threads() == 1
    choice.release()
    assert torch.get_num_threads() == 4
