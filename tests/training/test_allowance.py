"""What is measured along the way stays within its share of a timed run, one measurement kept for the end."""

import re

import numpy as np
import pytest
from training.runs import ENOUGH_DRAWS, tiny_config, train_until

from lowerbound.models import Diffusion
from lowerbound.sampling.plan import DEFAULT_STEPS
from lowerbound.training import allowance, train
from lowerbound.training.allowance import Allowance
from lowerbound.training.session import Session


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


def measured_at(folder) -> list[int]:
    return [record["step"] for record in folder.read_log() if "held_out_bits_per_dim" in record]


@pytest.mark.parametrize(
    ("steps", "settings", "expected"),
    [
        (20, {}, [20]),  # a step of 8 examples takes 24 network calls, a measurement of 4 in 64 dimensions 4 * 64
        (20, {"num_evaluations": 4}, [5, 10, 15, 20]),
        (20, {"patience": 3, "learning_rate": 1e-12}, [1, 2, 3, 4]),  # as often as can be: it stops by them
        (30, {"batch_size": 64}, [15, 30]),
    ],
    ids=str,
)
def test_what_is_not_asked_for_takes_a_tenth_of_the_calls_of_given_steps(
    tmp_path, monkeypatch, steps, settings, expected
):
    monkeypatch.setattr(Diffusion, "most_held_out", 4)
    monkeypatch.setattr(Diffusion, "held_out_draws", ENOUGH_DRAWS)
    free = {"num_evaluations": None, "num_pictures": None, "patience": None}
    config, dataset = tiny_config(steps=steps, **{**free, **settings})
    with pytest.raises(KeyboardInterrupt):  # the same wherever it is interrupted: no clock decides
        train_until(2, config, dataset, tmp_path / "run", monkeypatch)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert measured_at(folder) == expected
    assert folder.model.exists()
    assert list(folder.samples.glob(f"*{steps}.png")) or steps not in expected


@pytest.mark.parametrize(("seconds_per_call", "expected"), [(1e-6, 4), (0.0288 / DEFAULT_STEPS, 3), (10.0, 1)])
def test_the_last_picture_shows_as_many_samples_as_a_timed_run_affords(
    tmp_path, monkeypatch, seconds_per_call, expected
):
    """At the end it is drawn whatever it costs: of large images 36 took minutes after a training of seconds."""
    drawn, sample = [], Diffusion.sample

    def counted(self, num, *args, **kwargs):
        drawn.append(num)
        return sample(self, num, *args, **kwargs)

    monkeypatch.setattr(Diffusion, "sample", counted)
    monkeypatch.setattr(Session, "_forward_seconds", lambda session, num_calls: num_calls * seconds_per_call)
    # a tenth of a second for measurements
    config, dataset = tiny_config(steps=None, minutes=0.016, num_evaluations=1, num_pictures=1)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert drawn == [expected]


def test_a_run_that_ends_after_few_steps_says_so_and_of_how_many_examples_its_figure_is(tmp_path):
    """Two validation examples, and a training that is over before what a step costs is known well."""
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8))
    config, dataset = tiny_config(str(tmp_path / "few.npy"), steps=None, minutes=0.002)
    said = []
    folder = train(config, dataset, tmp_path / "run", say=said.append, show_progress=False)
    records = folder.read_log()
    advice = [line for line in said if "too few to learn much" in line]
    assert len(advice) == 1
    assert re.match(
        rf"only {records[-1]['step']} steps? fitted into 0.002 minutes .* give --minutes [\d.e+]+ or", advice[0]
    )
    assert {record.get("num_examples") for record in records} == {None, len(dataset.validation)} == {None, 2}
