"""Mistakes in what a run is asked for end in errors of ours."""

import numpy as np
import pytest
from training.runs import tiny_run

import lowerbound as lb


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return lb.open_run(tiny_run(tmp_path_factory.mktemp("run") / "run", "moons", steps=2).path)


X = np.zeros((3, 2), np.float32)
SEEN = np.array([[True, False]] * 3)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda run: lb.generate(run, 0), "num_samples is 0: it is a whole number and starts at 1"),
        (lambda run: lb.generate(run, 2, batch_size=0), "batch_size is 0"),
        (lambda run: lb.generate(run, 2, seed=-1), "seed is -1"),
        (lambda run: lb.impute(run, X, SEEN, num_samples=0), "num_samples is 0"),
        (lambda run: lb.impute(run, X, SEEN, num_steps=0), "num_steps is 0"),
        (lambda run: lb.impute(run, X, SEEN, seed=-1), "seed is -1"),
    ],
)
def test_a_mistake_is_told(run, asked, told):
    with pytest.raises(lb.InputError) as refused:
        asked(run)
    assert told in str(refused.value)
