"""One Brownian path: its law, that no query changes it, and that samplers converge along it."""

import math

import numpy as np
import pytest
import torch
from oracles import gaussian

from lowerbound import grid
from lowerbound.brownian import BrownianPath
from lowerbound.errors import InputError
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, DPMSolverSDE, UniPCSDE, sample
from lowerbound.schedule import LinearGamma

ENDS = (-6.0, 5.0)


def path(seeds=range(3), **arguments):
    return BrownianPath(seeds, *ENDS, **arguments)


def test_steps_are_standard_normal_and_independent():
    num, gammas = 20_000, [5.0, 4.9, 1.0, 0.99, -3.0, -6.0]
    noise, like = path(range(num)), torch.empty(num, 3, dtype=torch.float64)
    z = torch.cat([noise.step(like, t, s) for t, s in zip(gammas[:-1], gammas[1:], strict=True)], 1)
    error = 5 / math.sqrt(num)
    assert z.mean(0).abs().max() < error
    assert (z.mT @ z / num - torch.eye(15, dtype=torch.float64)).abs().max() < error * math.sqrt(2)
    assert ((z**4).mean(0) - 3).abs().max() < error * math.sqrt(96)


def test_a_coarse_step_is_the_sum_of_fine_ones():
    like, gammas = torch.empty(3, 4, dtype=torch.float64), torch.linspace(3.0, -4.0, 15).tolist()

    def change(noise, t, s):
        return noise.step(like, t, s) * math.sqrt(math.exp(-s) - math.exp(-t))

    noise, total = path(depth=30), torch.zeros_like(like)
    for t, s in zip(gammas[:-1], gammas[1:], strict=True):
        total += change(noise, t, s)
    torch.testing.assert_close(total, change(path(depth=30), gammas[0], gammas[-1]), rtol=1e-6, atol=1e-6)


def test_the_path_does_not_depend_on_queries_draws_or_the_batch():
    like = torch.empty(3, 4, dtype=torch.float64)
    asked, pairs = path(), [(2.0, 1.0), (5.0, -6.0), (0.3, 0.2), (2.0, 1.0), (-5.0, -5.5), (4.0, 1.0)]
    for t, s in pairs:
        fresh, alone = path().step(like, t, s), path([2]).step(like[:1], t, s)
        assert torch.equal(asked.step(like, t, s), fresh)
        assert torch.equal(alone[0], fresh[2])
        asked.normal(like)
    torch.testing.assert_close(
        path().step(like.float(), 2.0, 1.0).double(), path().step(like, 2.0, 1.0), rtol=0, atol=1e-6
    )


def test_draws_are_those_of_each_sample_and_apart_from_the_path():
    like, noise = torch.empty(3, 4000, dtype=torch.float64), path()
    z = noise.step(like, 5.0, -6.0)
    first = noise.normal(like)
    assert torch.equal(first, PerSample(range(3)).normal(like))
    assert abs((z * first).mean()) < 5 / math.sqrt(z.numel())


def strong_slopes(sampler, make, counts=(16, 32), finest=256):
    """By how much the ends move towards that of a fine grid, per doubling of the steps."""
    denoiser, num = gaussian(LinearGamma(*ENDS)), 100
    x_1 = PerSample(range(num)).normal(torch.empty(num, 2, dtype=torch.float64))
    ends = [sample(denoiser, sampler, x_1, grid.uniform(n + 1), make(num), denoise=False) for n in (*counts, finest)]
    return -np.diff(np.log2([(each - ends[-1]).square().mean().sqrt().item() for each in ends[:-1]]))


@pytest.mark.parametrize("sampler", [DDIM(1.0), Ancestral("upper"), DPMSolverSDE(2), UniPCSDE()])
def test_finer_grids_converge_along_the_path_with_strong_order_one(sampler):
    slopes = strong_slopes(sampler, lambda num: path(range(num), depth=16))
    assert slopes[-1] == pytest.approx(1, abs=0.25), slopes
    assert np.abs(strong_slopes(sampler, lambda num: Stream(0))).max() < 0.4


def test_impossible_paths_and_steps_are_refused():
    like = torch.empty(3, 2)
    for ends in ((5.0, -6.0), (0.0, math.inf), (1.0, 1.0)):
        with pytest.raises(InputError, match="range"):
            BrownianPath([0], *ends)
    with pytest.raises(InputError, match="depth"):
        path(depth=0)
    for t, s in ((1.0, 1.0), (1.0, 1.0 - 1e-9), (0.0, 1.0)):
        with pytest.raises(InputError, match="gamma must fall"):
            path().step(like, t, s)
    for t, s in ((6.0, 1.0), (1.0, -math.inf)):
        with pytest.raises(InputError, match="range of the schedule"):
            path().step(like, t, s)
