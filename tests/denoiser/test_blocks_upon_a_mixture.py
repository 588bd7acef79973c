"""A network of mixed columns upon a mixture: silent, its denoiser is the exact one of the discretised mixture."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import lowerbound as lb
from lowerbound.blocks import ONE_HOT, Choice, Grid, Real
from lowerbound.denoiser import Empirical, FittedMixture
from lowerbound.mixed import BlockDecoder, BlockDenoiser
from lowerbound.nn import MLP

SCHEDULE = lb.LinearGamma(-12.0, 7.0)
NUM = 121
GRID = Grid(-6.0, 0.1, NUM)
FINE = (Real(), Grid(-4.0, 0.01), Choice(3), Choice(2))
NUM_ROWS = 256
WEIGHTS = torch.tensor([0.4, 0.6]).double()
CHANCES = torch.tensor([[[0.7, 0.2, 0.1], [0.9, 0.1, 1.0]], [[0.1, 0.3, 0.6], [0.25, 0.75, 1.0]]]).double()


def silent(blocks, means: Tensor, covariances: Tensor, chances: Tensor | None = CHANCES) -> BlockDenoiser:
    """A silent network upon a mixture, one place for a component being left over."""
    mixture = FittedMixture(3, blocks).fit(WEIGHTS, means, covariances, chances)
    num = sum(block.width for block in blocks)
    return BlockDenoiser(MLP(num, 2 * num, width=8, depth=1, takes_observed=True), SCHEDULE, blocks, mixture=mixture)


def one_hot(number: Tensor, num_categories: int) -> Tensor:
    return ONE_HOT * torch.nn.functional.one_hot(number, num_categories).double()


def noisy(x: Tensor, t: float, noise: lb.Stream) -> Tensor:
    level = SCHEDULE.level(t)
    return level.alpha * x + level.sigma * noise.normal(x)


def table(means: Tensor) -> tuple[BlockDenoiser, Empirical]:
    """A grid and two choices; and the exact denoiser of all its rows."""
    denoiser = silent((GRID, Choice(3), Choice(2)), means, torch.tensor([[[0.09]], [[0.5]]]).double())
    rows = torch.tensor(list(itertools.product(range(NUM), range(3), range(2))))
    place = GRID.origin + GRID.spacing * rows[:, :1].double()
    x = torch.cat([place, one_hot(rows[:, 1], 3), one_hot(rows[:, 2], 2)], 1)
    return denoiser, Empirical(x, SCHEDULE, denoiser.mixture.log_joint(x).logsumexp(1).exp())


def drawn(exact: Empirical) -> Tensor:
    return exact.examples[
        torch.multinomial(exact.log_weights.exp(), 200, True, generator=torch.Generator().manual_seed(0))
    ]


@pytest.mark.parametrize("t", [0.1, 0.4, 0.6, 0.8, 0.98])
def test_it_knows_what_a_choice_says_of_a_number_and_the_other_way_round(t):
    denoiser, exact = table(torch.tensor([[-1.0], [1.5]]).double())
    x_t = noisy(drawn(exact), t, lb.Stream(0))
    with torch.no_grad():
        assert (denoiser(x_t, t).x - exact(x_t, t).x).abs().max() < 1e-4


def test_what_is_missing_says_nothing():
    denoiser, exact = table(torch.tensor([[-1.0], [1.5]]).double())
    x_t = noisy(drawn(exact), 0.5, lb.Stream(1))
    for hidden in (slice(0, 1), slice(1, 4), slice(4, 6), slice(1, 6)):
        observed = torch.ones_like(x_t, dtype=torch.bool)
        observed[:, hidden] = False
        garbage = torch.where(observed, x_t, 100.0)
        with torch.no_grad():
            ours, theirs = (
                denoiser(garbage, 0.5, None, observed).x,
                exact(torch.where(observed, x_t, 0), 0.5, None, observed).x,
            )
        assert (ours - theirs)[observed].abs().max() < 1e-4, hidden


def test_all_may_be_choices():
    mixture = FittedMixture(2, (Choice(3), Choice(2)))
    mixture.fit(WEIGHTS, torch.zeros(2, 0), torch.zeros(2, 0, 0), CHANCES)
    blocks = (Choice(3), Choice(2))
    denoiser = BlockDenoiser(MLP(5, 10, width=8, depth=1), SCHEDULE, blocks, mixture=mixture)
    rows = torch.tensor(list(itertools.product(range(3), range(2))))
    x = torch.cat([one_hot(rows[:, 0], 3), one_hot(rows[:, 1], 2)], 1)
    shares = torch.einsum("k,ka,kb->ab", WEIGHTS, CHANCES[:, 0], CHANCES[:, 1, :2]).flatten()
    assert (mixture.log_joint(x).logsumexp(1).exp() - shares).abs().max() < 1e-12
    x_t = noisy(x.repeat(20, 1), 0.6, lb.Stream(2))
    with torch.no_grad():
        assert (denoiser(x_t, 0.6).x - Empirical(x, SCHEDULE, shares)(x_t, 0.6).x).abs().max() < 1e-9


@pytest.mark.parametrize("with_gaps", [False, True], ids=["whole", "gaps"])
def test_its_bound_is_the_log_probability_of_the_row(with_gaps):
    means = torch.tensor([[-1.0, 0.5], [1.0, -1.0]]).double()
    roots = torch.tensor([[[0.3, 0], [0.4, 0.2]], [[0.8, 0], [-0.5, 0.3]]]).double()
    denoiser = silent(FINE, means, roots @ roots.mT)
    noise, generator = lb.Stream(3), torch.Generator().manual_seed(3)
    component = (noise.uniform(torch.zeros(NUM_ROWS, 1))[:, 0] < WEIGHTS[1]).long()
    numbers = means[component] + (roots[component] @ noise.normal(torch.zeros(NUM_ROWS, 2, 1).double()))[..., 0]
    numbers[:, 1] = FINE[1].origin + FINE[1].spacing * ((numbers[:, 1] - FINE[1].origin) / FINE[1].spacing).round()
    picked = torch.stack(
        [torch.multinomial(CHANCES[component, c, : 3 - c], 1, generator=generator)[:, 0] for c in range(2)], 1
    )
    x = torch.cat([numbers, one_hot(picked[:, 0], 3), one_hot(picked[:, 1], 2)], 1)
    observed = (noise.uniform(torch.zeros(NUM_ROWS, 4)) < 0.6)[:, [0, 1, 2, 2, 2, 3, 3]] if with_gaps else None
    with torch.no_grad():
        bound = lb.elbo(
            denoiser.given(observed=observed), BlockDecoder(FINE), x, noise=lb.PerSample(range(NUM_ROWS)), num_times=256
        ).nats
    there = torch.ones(NUM_ROWS, dtype=torch.bool) if observed is None else observed[:, 1]
    apart = bound - denoiser.mixture.log_joint(x, observed).logsumexp(1) - there * math.log(FINE[1].spacing)
    error = apart.std() / NUM_ROWS**0.5
    assert error < 0.08
    assert abs(apart.mean()) < 4 * error


def test_no_gradient_reaches_the_mixture():
    denoiser, exact = table(torch.tensor([[-1.0], [1.5]]).double())
    denoiser.requires_grad_(True).train()(exact.examples[:4], 0.5).x.square().sum().backward()
    assert all(parameter.grad is None for parameter in denoiser.mixture.parameters())
    assert denoiser.network.out.weight.grad is not None
