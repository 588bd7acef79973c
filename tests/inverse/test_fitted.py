"""What is hidden given the rest, by the mixture that a network stands upon: against conditionals in closed form."""

import pytest
import torch
from oracles import double, draw, mixture
from torch import nn

from lowerbound import grid
from lowerbound.blocks import ONE_HOT, Choice, Grid, Real
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.fitted import FittedMixture
from lowerbound.inverse import Fitted, Mask, PiGDM, posterior_sample
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LinearGamma

SCHEDULE = LinearGamma(-9.0, 8.0)
DATA = mixture(SCHEDULE)
BLOCKS = (Real(), Choice(3), Grid(0.5, 1.0), Choice(2))


class Silent(nn.Module):
    """A network that adds nothing, or some of its condition."""

    def forward(self, x, gamma, cond):
        return torch.zeros_like(x) if cond is None else 0 * x + cond[:, None]


def fitted() -> FittedMixture:
    return FittedMixture(4, (Real(), Real())).double().fit(DATA.weights, DATA.means, DATA.covariances)


def upon_a_mixture() -> NetworkDenoiser:
    return NetworkDenoiser(Silent(), SCHEDULE, (2,), mixture=fitted())


def of_blocks() -> FittedMixture:
    roots = draw(3, 2, 2)
    chances = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0)).double() + 0.1
    chances[:, 1, 2] = 1
    chances[:, 1, :2] /= chances[:, 1, :2].sum(1, keepdim=True)
    chances[:, 0] /= chances[:, 0].sum(1, keepdim=True)
    covariances = roots @ roots.mT + 0.3 * torch.eye(2).double()
    return FittedMixture(4, BLOCKS).double().fit(double([0.5, 0.3, 0.2]), 2 * draw(3, 2, seed=1), covariances, chances)


def test_the_guess_is_that_of_the_exact_posterior():
    y, x_t, level = draw(3, 2, seed=3), draw(3, 2, seed=4), SCHEDULE.level(0.4)
    known = torch.tensor([[True, False], [False, True], [False, False]])
    eps = fitted().given(y, known).eps(x_t, level)
    for row in range(3):
        matrix = torch.eye(2).double()[known[row]]
        left = DATA.posterior(matrix, y[row, known[row]], 0.0) if known[row].any() else DATA
        expected = left(x_t[row : row + 1], level).eps[0]
        torch.testing.assert_close(eps[row, ~known[row]], expected[~known[row]], rtol=1e-9, atol=1e-9)


def test_entries_that_tell_nothing_change_nothing():
    x_t, level, nothing = draw(5, 7), SCHEDULE.level(0.4), torch.zeros(5, 7).bool()
    plain, given = of_blocks()(x_t, level), of_blocks().given(draw(5, 7, seed=1), nothing)(x_t, level)
    for name in ("eps", "spread"):
        torch.testing.assert_close(getattr(given, name), getattr(plain, name), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(given.log_chances.softmax(2), plain.log_chances.softmax(2), rtol=1e-9, atol=1e-9)


def test_a_known_choice_weighs_the_components():
    """Given a category the others have the mixture whose weights are those times its chances."""
    model, x_t, level = of_blocks(), draw(3, 7), SCHEDULE.level(0.4)
    x, known = torch.zeros(3, 7).double(), torch.zeros(3, 7).bool()
    x[torch.arange(3), 1 + torch.arange(3)] = ONE_HOT
    known[:, 1:4] = True
    given = model.given(x, known)(x_t, level)
    for category in range(3):
        weighed = of_blocks()
        weighed.weights.data[:3] *= weighed.chances[:3, 0, category]
        weighed.weights.data /= weighed.weights.data.sum()
        expected = weighed(x_t[category][None], level, ~known[category][None])
        torch.testing.assert_close(given.eps[category], expected.eps[0], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(given.spread[category], expected.spread[0], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(
            given.log_chances[category, 1].softmax(0), expected.log_chances[0, 1].softmax(0), rtol=1e-8, atol=1e-8
        )


def test_a_known_number_on_a_grid_tells_of_categories():
    """By Bayes' rule over the components, without noise on what is known."""
    model, x = of_blocks(), torch.zeros(1, 7).double()
    x[0, 4] = 1.5
    known = torch.zeros(1, 7).bool()
    known[0, 4] = True
    level = SCHEDULE.level(1.0)
    chances = model.given(x, known)(torch.zeros(1, 7).double(), level).log_chances.softmax(2)[0, 0]
    variance = ((model.axes * model.variances[:, None]) @ model.axes.mT)[:3, 1, 1]
    share = (model.weights[:3].log() - 0.5 * (1.5 - model.means[:3, 1]) ** 2 / variance - 0.5 * variance.log()).softmax(
        0
    )
    torch.testing.assert_close(chances, share @ model.chances[:3, 0], rtol=1e-2, atol=1e-3)  # x_t = 0 tells a little


def test_draws_are_of_the_posterior():
    y, num_rows = double([0.3]), 4000
    rows = torch.cat([y, double([torch.nan])]).expand(num_rows, -1)
    mask = Mask(torch.tensor([True, False]))
    x = posterior_sample(Fitted(), upon_a_mixture(), mask, rows, 0.0, grid.uniform(60), Stream(0))
    posterior = DATA.posterior(double([[1.0, 0.0]]), y, 0.0)
    mean, covariance = posterior.moments()
    assert (x[:, 0] == 0.3).all()
    spread = covariance[1, 1].sqrt()
    assert abs(x[:, 1].mean() - mean[1]) < 5 * spread / num_rows**0.5
    assert abs(x[:, 1].std() / spread - 1) < 0.06
    exact = posterior.sample(num_rows, Stream(1))[:, 1]
    below = (x[:, 1, None] < exact.quantile(torch.linspace(0.1, 0.9, 9).double())).double().mean(0)
    torch.testing.assert_close(below, torch.linspace(0.1, 0.9, 9).double(), rtol=0, atol=0.04)


def test_a_row_does_not_depend_on_its_batch_and_keeps_its_condition():
    y, observed, cond = draw(4, 2), draw(4, 2, seed=2) > 0, double([0.0, 0.1, 0.2, 0.3])
    times, model = grid.uniform(5), upon_a_mixture()
    settings = (Fitted(), model.given(cond), Mask(observed), y, 0.0, times, PerSample(range(4)))
    together = posterior_sample(*settings)
    assert torch.equal(together[observed], y[observed])
    unconditional = posterior_sample(Fitted(), model, *settings[2:])
    assert (together != unconditional)[1:][~observed[1:]].all()
    for row in range(4):
        part = slice(row, row + 1)
        alone = posterior_sample(
            Fitted(), model.given(cond[part]), Mask(observed[part]), y[part], 0.0, times, PerSample([row])
        )
        torch.testing.assert_close(alone, together[part], rtol=1e-9, atol=1e-9)


def test_it_refuses_what_has_no_mixture_and_noise():
    mask, y, times = Mask(torch.tensor([True, False])), draw(2, 2), grid.uniform(3)
    with pytest.raises(InputError, match="stands upon no fitted mixture"):
        posterior_sample(Fitted(), DATA, mask, y, 0.0, times, Stream(0))
    with pytest.raises(InputError, match="no noise"):
        posterior_sample(Fitted(), upon_a_mixture(), mask, y, 0.1, times, Stream(0))
    assert posterior_sample(PiGDM(), upon_a_mixture(), mask, y, 0.1, times, Stream(0)).isfinite().all()


@pytest.mark.parametrize("num_factors", [0, 1, 2, 5])
def test_numbers_that_few_factors_move_are_those_of_the_whole_covariance(num_factors):
    """Or that none does. Of whole rows, of rows with gaps, and given some entries, at every noise."""
    full = of_blocks()
    variances = torch.stack([full.variances[k] for k in range(3)])
    loadings = draw(3, variances.shape[1], num_factors, seed=4)
    loadings[..., 2:4] = 0  # of a factor that moves nothing, and of a place left over
    loadings = loadings[..., [*range(min(num_factors, 2)), *range(4, num_factors), *range(2, min(num_factors, 4))]]
    facts, chances = (double([0.5, 0.3, 0.2]), full.means[:3]), full.chances[:3]
    covariances = torch.diag_embed(variances) + loadings @ loadings.mT
    whole = FittedMixture(4, BLOCKS).double().fit(*facts, covariances, chances)
    moved = FittedMixture(4, BLOCKS, num_factors=num_factors).double().fit(*facts, variances, chances, loadings)
    assert "axes" not in moved.state_dict()
    assert ("loadings" in moved.state_dict()) == (num_factors > 0)
    x_t, x = draw(6, 7), draw(6, 7, seed=1)
    observed = torch.rand(6, 7, generator=torch.Generator().manual_seed(1)) < 0.6
    observed[:, 1:4], observed[:, 5:] = observed[:, 1:2], observed[:, 5:6]  # a choice is there or not
    for t in (0.0, 0.4, 1.0, torch.linspace(0, 1, 6).double()):
        level = SCHEDULE.level(t)
        for seen in (None, observed):
            guesses = [vars(each(x_t, level, seen)) for each in (moved, whole)]
            if seen is not None:
                for guess in guesses:
                    guess["spread"] = guess["spread"][seen[:, 4]]  # of a grid's value that is there
            torch.testing.assert_close(*guesses)
        known = torch.where(observed, x, torch.nan)
        given = [each.given(known, observed)(x_t, level) for each in (moved, whole)]
        torch.testing.assert_close(vars(given[0]), vars(given[1]))
    for seen in (None, observed):
        torch.testing.assert_close(moved.log_joint(x, seen), whole.log_joint(x, seen))
