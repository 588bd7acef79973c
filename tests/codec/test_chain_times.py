"""The times of a chain: as good as the best that dynamic programming finds, from a few bytes."""

import numpy as np
import pytest
import torch
from codec.runs import Independent, run_of
from scipy.stats import binom

import lowerbound as lb
from lowerbound import grid
from lowerbound.analytic_variance import measure_variance
from lowerbound.codec.times import PARTS, chain_times, shares_of_steps
from lowerbound.errors import InputError
from lowerbound.scoring import score


def test_steps_are_shared_as_the_bytes_say():
    assert chain_times(12, bytes([7] * PARTS)) == pytest.approx(np.linspace(0, 1, 13))
    times = np.array(chain_times(90, bytes([2, 4, 2, 1, 0, 0, 0, 0])))
    assert times[0] == 0
    assert times[-1] == 1
    inner = times[:-2]
    assert [((inner >= k / PARTS) & (inner < (k + 1) / PARTS)).sum() for k in range(3)] == [20, 40, 20]


@pytest.mark.parametrize("num_steps", [20, 80])
def test_a_chain_of_them_costs_little_more_than_the_best_one(num_steps, tmp_path):
    masses = binom(16, 0.4).pmf(np.arange(17))
    raw = np.random.default_rng(0).choice(17, p=masses, size=(100, 1, 8, 8)).astype(np.uint8)
    denoiser = Independent(torch.from_numpy(masses), lb.LinearGamma(-8.0, 8.0), (1, 8, 8))
    run = run_of(lb.Diffusion(denoiser, lb.LevelPosterior(17), num_levels=17), raw, "NHW", 17, tmp_path / "run")
    measured = measure_variance(denoiser, run.encode(raw), lb.Stream(1))
    chains = {
        "equal": chain_times(num_steps, bytes([1] * PARTS)),
        "ours": chain_times(num_steps, shares_of_steps(run, raw)),
        "best": tuple(grid.minimal_bound(measured, num_steps + 1).flip(0).tolist()),
        "many": chain_times(400, bytes([1] * PARTS)),
    }
    efforts = {name: lb.Effort(len(times) - 1, len(times) - 1, times=times) for name, times in chains.items()}
    bits = {name: score(run, raw, effort).bits_per_dim.mean() for name, effort in efforts.items()}
    above = {name: found - bits["many"] for name, found in bits.items()}
    assert above["best"] > 0
    assert above["ours"] < 1.15 * above["best"]
    assert above["ours"] < 0.75 * above["equal"]


def test_times_belong_to_their_steps():
    with pytest.raises(InputError, match="3 times of a chain of 4 steps: give one more than steps"):
        lb.Effort(num_steps=4, times=(0.0, 0.5, 1.0))
