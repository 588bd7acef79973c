"""Rows whose values are of several kinds, against data whose every probability is known."""

import math

import pytest
import torch
from oracles import double, draw

from lowerbound import GaussianMixture, LevelPosterior, LinearGamma, NetworkDenoiser, Stream, elbo
from lowerbound.blocks import ONE_HOT, Choice, ChoiceOrReal, Grid, Real, check_values
from lowerbound.discrete import LevelDenoiser, discrete_log_prob
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder, end_terms
from lowerbound.mixed import BlockDecoder, BlockDenoiser, BlockDequantizer
from lowerbound.nn import MLP

NARROW = LinearGamma(gamma_min=-14.0, gamma_max=8.0)
BLOCKS = (Choice(3), Real(), Grid(-1.2, 0.8, 4), Choice(2))
"""Entries 0 1 2, 3, 4 and 5 6."""


def one_hot(k: int, num: int):
    return [ONE_HOT * (j == k) for j in range(num)]


def correlated():
    """A category that everything hangs on: of a component for each row of a joint distribution, the real number normal in
    each."""
    joint = [
        (0.3, 0, -1.0, 0, 0, 0.3),
        (0.2, 0, 0.0, 2, 1, 0.3),
        (0.15, 1, 0.5, 3, 0, 0.2),
        (0.15, 1, 1.0, 1, 1, 0.5),
        (0.2, 2, 2.0, 3, 1, 0.4),
    ]
    weights = double([each[0] for each in joint])
    means = [[*one_hot(k, 3), m, -1.2 + 0.8 * level, *one_hot(flag, 2)] for _, k, m, level, flag, _ in joint]
    covariances = torch.zeros(len(joint), 7, 7, dtype=torch.float64)
    covariances[:, 3, 3] = double([each[-1] ** 2 for each in joint])
    return GaussianMixture(weights, double(means), covariances, NARROW)


def exact(truth: GaussianMixture, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Log probabilities of what is discrete and log density of what is real, of the entries that are there."""
    discrete = [0, 1, 2, 4, 5, 6]
    same = (x[:, None, discrete] - truth.means[None, :, discrete]).abs() < 1e-6
    fits = (same | ~observed[:, None, discrete]).all(2)
    std = truth.covariances[:, 3, 3].sqrt()
    normal = -0.5 * ((x[:, 3:4] - truth.means[:, 3]) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
    normal = torch.where(observed[:, 3:4], normal, 0)
    return (truth.weights.log() + normal).masked_fill(~fits, -math.inf).logsumexp(1)


def rows_of(num_rows: int):
    x = correlated().sample(num_rows, Stream(0))
    x[:, [0, 1, 2, 4, 5, 6]] = x[:, [0, 1, 2, 4, 5, 6]].mul(1e6).round().div(1e6)
    return x


@pytest.mark.parametrize("has_gaps", [False, True])
def test_the_bound_of_the_exact_denoiser_is_the_log_probability(has_gaps):
    truth, x = correlated(), rows_of(1000)
    observed = torch.ones_like(x, dtype=torch.bool)
    if has_gaps:
        of_blocks = torch.rand(len(x), 4, generator=torch.Generator().manual_seed(1)) < 0.6
        of_blocks[:, 1] |= ~of_blocks.any(1)
        observed = of_blocks.repeat_interleave(torch.tensor([3, 1, 1, 2]), 1)
        x = x.masked_fill(~observed, math.nan)
    bound = elbo(truth.given(observed=observed), BlockDecoder(BLOCKS), x, noise=Stream(1), num_times=64)
    gap = exact(truth, x, observed) - bound.nats
    error = gap.std() / len(x) ** 0.5
    assert error < 0.06
    assert abs(gap.mean()) < 3 * error + 0.01
    assert torch.equal(bound.num_dims, observed[:, [0, 3, 4, 5]].sum(1).to(x))


OR_REAL = (ChoiceOrReal((0.7,), (0.4,)), Choice(2))


def one_value_or_a_number():
    """A value with probability 0.3, N(-0.5, 0.4^2) with 0.5 and N(1, 0.2^2) with 0.2, and a flag that tells these two."""
    weights, means, stds = double([0.3, 0.5, 0.2]), double([0.0, -0.5, 1.0]), double([1.0, 0.4, 0.2])
    centres = [[*one_hot(k > 0, 2), m, *one_hot(k > 1, 2)] for k, m in enumerate(means.tolist())]
    covariances = torch.zeros(3, 5, 5, dtype=torch.float64)
    covariances[:, 2, 2] = stds**2
    return GaussianMixture(weights, double(centres), covariances, NARROW), means, stds


def test_the_bound_of_one_value_or_a_number_is_a_log_probability_or_a_log_density():
    truth, means, stds = one_value_or_a_number()
    x = truth.sample(1500, Stream(0))
    x[:, [0, 1, 3, 4]] = x[:, [0, 1, 3, 4]].mul(1e6).round().div(1e6)
    decoder = BlockDecoder(OR_REAL)
    bound = elbo(truth, decoder, x, noise=Stream(1), num_times=64)
    which = (x[:, 1] > 0).long() + (x[:, 4] > 0).long()
    log_normal = -0.5 * ((x[:, 2] - means[which]) / stds[which]) ** 2 - (stds[which] * math.sqrt(2 * math.pi)).log()
    is_value = which == 0
    # of the noise, which is taken out again
    gap = truth.weights[which].log() + log_normal * ~is_value - (bound.nats - log_normal * is_value)
    error = gap.std() / len(x) ** 0.5
    assert error < 0.05
    assert abs(gap.mean()) < 3 * error + 0.01
    assert bound.num_dims.tolist() == [2.0] * len(x)
    assert decoder.measure == "probabilities and densities"
    density = discrete_log_prob(truth, x[:6], BlockDequantizer(decoder), noise=Stream(2), tolerance=1e-3)
    assert density.num_dims.tolist() == [2.0] * 6


class Knowing(torch.nn.Module):
    """What a network has to say so that the denoiser of `one_value_or_a_number` is exact: of the choice what the number and
    the flag say, and of the number what it is where it is one."""

    def __init__(self, truth: GaussianMixture, x_t: torch.Tensor):
        super().__init__()
        self.truth, self.x_t = truth, x_t
        self.of_numbers = GaussianMixture(truth.weights[1:] / 0.7, truth.means[1:], truth.covariances[1:], NARROW)

    def forward(self, x, gamma, cond=None):
        variance, y = gamma.exp()[:, None], self.x_t / gamma.neg().sigmoid().sqrt()[:, None]
        means, variances = self.truth.means, self.truth.covariances[:, 2, 2] + variance
        log_p = self.truth.weights.log() - 0.5 * ((y[:, 2:3] - means[:, 2]) ** 2 / variances + variances.log())
        of_flag, of_choice = (
            log_p - 0.5 * ((y[:, None, part] - means[:, part]) ** 2).sum(2) / variance
            for part in (slice(3, 5), slice(2))
        )
        x_of_number = self.of_numbers(self.x_t, NARROW.inverse(gamma)).x[:, 2]
        eps = (y[:, 2] - x_of_number) / variance[:, 0].sqrt()
        # beside the shares that the denoiser knows of
        of_one = torch.stack([of_flag[:, 0], of_flag[:, 1:].logsumexp(1)], 1) - double([0.4, 0.6]).log()
        columns = [of_one[:, 0], of_one[:, 1], eps, of_choice[:, :2].logsumexp(1), of_choice[:, 2]]
        return torch.stack([*columns, *[torch.zeros_like(eps)] * 5], 1)


@pytest.mark.parametrize("gamma", [-8.0, -3.0, -1.0, 1.0])
def test_a_number_or_one_of_some_values_is_the_mean_of_what_each_leaves_of_it(gamma):
    truth, _, _ = one_value_or_a_number()
    x, level = truth.sample(300, Stream(0)), NARROW.level_at(gamma)
    x_t = level.alpha * x + level.sigma * Stream(1).normal(x)
    t = NARROW.inverse(torch.full((300,), gamma, dtype=torch.float64))
    torch.testing.assert_close(
        BlockDenoiser(Knowing(truth, x_t), NARROW, OR_REAL)(x_t, t).x, truth(x_t, t).x, rtol=1e-6, atol=1e-6
    )


def test_a_worse_denoiser_has_a_worse_bound():
    truth, x = correlated(), rows_of(1000)
    network = MLP(7, 14, width=8, depth=1).double()
    untrained = BlockDenoiser(network, NARROW, BLOCKS).eval()
    bound = elbo(untrained, BlockDecoder(BLOCKS), x, noise=Stream(1), num_times=16).nats.mean()
    assert bound < exact(truth, x, torch.ones_like(x, dtype=torch.bool)).mean() - 0.5


def test_what_is_missing_changes_nothing():
    x = rows_of(6)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:, 4:] = False
    filled = x.clone()
    filled[:, 4:] = math.nan
    network = MLP(7, 14, width=8, depth=1, takes_observed=True).double()
    torch.nn.init.normal_(network.out.weight)
    denoiser = BlockDenoiser(network, NARROW, BLOCKS).eval().given(observed=observed)
    first, second = (elbo(denoiser, BlockDecoder(BLOCKS), row, noise=Stream(1), num_times=4) for row in (x, filled))
    assert torch.equal(first.nats, second.nats)
    assert first.num_dims.tolist() == [2.0] * 6


class EachPosition(torch.nn.Module):
    """A network of rows at each position of fields."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x, gamma, cond=None):
        positions = x[0, 0].numel()
        said = self.network(as_rows(x), gamma.repeat_interleave(positions), cond)
        return as_fields(said, x.shape[2:])


def as_rows(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def as_fields(rows: torch.Tensor, spatial: tuple[int, ...]) -> torch.Tensor:
    return rows.reshape(-1, *spatial, rows.shape[1]).movedim(-1, 1)


@pytest.mark.parametrize("gamma", [-9.0, -3.0, 1.0])
def test_a_position_of_fields_is_a_row(gamma):
    blocks = (ChoiceOrReal((0.2, -1.0), (0.3, 0.1)), Real(), Grid(-1.2, 0.8, 4), Choice(2), Grid(0.3, 0.1))
    num, spatial = 9, (3, 2)
    rows, level = draw(4 * 6, num), NARROW.level_at(gamma)
    values = as_rows(torch.zeros(4, num, *spatial).double())
    values[:, 1], values[:, 3], values[:, 4] = ONE_HOT, rows[:, 3], 0.5
    values[:, 5], values[:, 6], values[:, 8] = -1.2 + 0.8, ONE_HOT, 0.3 - 0.2
    x, x_t = as_fields(values, spatial), as_fields(level.alpha * values + level.sigma * rows, spatial)
    check_values(x, blocks)
    decoder = BlockDecoder(blocks)
    for figure in (decoder.log_prob, decoder.estimate):
        torch.testing.assert_close(as_rows(figure(x, x_t, level)), figure(values, as_rows(x_t), level))
    assert decoder.count_dims(x, None).tolist() == [5.0 * 6] * 4
    network = MLP(num, 2 * num, width=8, depth=1).double()
    torch.nn.init.normal_(network.out.weight)
    of_rows = BlockDenoiser(network, NARROW, blocks).eval()
    of_fields = BlockDenoiser(EachPosition(network), NARROW, blocks, spatial=spatial).eval()
    t = NARROW.inverse(torch.full((4,), gamma, dtype=torch.float64))
    assert of_fields.shape == (num, *spatial)
    torch.testing.assert_close(as_rows(of_fields(x_t, t).x), of_rows(as_rows(x_t), t.repeat_interleave(6)).x)
    x[2, 5, 1, 1] = 0.5
    with pytest.raises(InputError, match="not on its grid"):
        check_values(x, blocks)


@pytest.mark.parametrize("gamma", [-14.0, -3.0, 0.0, 2.0])
def test_the_decoder_gives_probabilities_that_sum_to_one(gamma):
    decoder, level = BlockDecoder((Choice(5), Grid(-1.2, 0.8, 4), Grid(0.3, 0.1))), NARROW.level_at(gamma)
    x_t = 3 * draw(12, 7)
    choices = [[*one_hot(k, 5), -1.2, 0.3] for k in range(5)]
    ends = [[*one_hot(0, 5), -1.2 + 0.8 * k, 0.3] for k in range(4)]
    endless = [[*one_hot(0, 5), -1.2, 0.3 + 0.1 * k] for k in range(-800, 800)]
    for entry, each in ((0, choices), (5, ends), (6, endless)):
        rows = double(each).repeat(len(x_t), 1)
        figures = decoder.log_prob(rows, x_t.repeat_interleave(len(each), 0), level)[:, entry]
        total = figures.reshape(len(x_t), -1).logsumexp(1)
        torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-9)


def test_the_decoder_of_a_grid_and_of_reals_is_that_of_levels_and_of_reals():
    levels, level = 6, NARROW.level_at(-1.0)
    decoder = BlockDecoder((Grid(1 / levels - 1, 2 / levels, levels), Real()))
    x = torch.stack([(2 * torch.arange(6.0) + 1) / levels - 1, draw(6).float()], 1).double()
    x_t = level.alpha * x + level.sigma * draw(6, 2)
    ours = decoder.log_prob(x, x_t, level)
    torch.testing.assert_close(ours[:, 0], LevelPosterior(levels).log_prob(x[:, 0], x_t[:, 0], level))
    torch.testing.assert_close(ours[:, 1], GaussianDecoder().log_prob(x[:, 1], x_t[:, 1], level))


def test_the_denoiser_of_a_grid_and_of_reals_is_that_of_levels_and_of_eps():
    levels = 6
    network = MLP(2, 4, width=8, depth=1).double()
    torch.nn.init.normal_(network.out.weight)
    ours = BlockDenoiser(network, NARROW, (Grid(1 / levels - 1, 2 / levels, levels), Real())).eval()
    of_levels = LevelDenoiser(network, NARROW, (2,), levels).eval()

    class First(torch.nn.Module):
        def forward(self, x, gamma, cond):
            return network(x, gamma, cond)[:, :2]

    of_reals = NetworkDenoiser(First(), NARROW, (2,))
    x_t, t = draw(40, 2), torch.linspace(0, 1, 40, dtype=torch.float64)
    torch.testing.assert_close(ours(x_t, t).x[:, 0], of_levels(x_t, t).x[:, 0])
    torch.testing.assert_close(ours(x_t, t).x[:, 1], of_reals(x_t, t).x[:, 1])


def test_a_choice_is_bayes_rule():
    """A network that says the log probabilities of the categories is the exact denoiser of one column."""
    weights = double([0.5, 0.3, 0.2])
    truth = GaussianMixture(weights, ONE_HOT * torch.eye(3).double(), torch.zeros(3, 3, 3, dtype=torch.float64), NARROW)

    class Prior(torch.nn.Module):
        def forward(self, x, gamma, cond):
            return torch.cat([weights.log(), weights]).expand(len(x), 6)

    x_t, t = 2 * draw(60, 3), torch.linspace(0, 1, 60, dtype=torch.float64)
    torch.testing.assert_close(BlockDenoiser(Prior(), NARROW, (Choice(3),))(x_t, t).x, truth(x_t, t).x)


def test_only_real_numbers_have_a_closed_reconstruction_and_it_is_the_mean_of_draws():
    truth, decoder, x = correlated(), BlockDecoder(BLOCKS), rows_of(1).expand(20_000, 7)
    schedule = LinearGamma(gamma_min=-1.0, gamma_max=8.0)
    estimate, _ = end_terms(truth.along(schedule), decoder, x, noise=Stream(0))
    level = schedule.level(0.0)
    x_t = level.alpha * x + level.sigma * Stream(1).normal(x)
    drawn = decoder.log_prob(x, x_t, level).sum(1)
    assert estimate.std() < drawn.std()
    assert abs(estimate.mean() - drawn.mean()) < 4 * (estimate.var() + drawn.var()).div(len(x)).sqrt()


@pytest.mark.parametrize(
    ("entry", "value", "message"), [(4, 0.1, "not on its grid"), (4, 2.0, "not on its grid"), (1, 0.7, "no category")]
)
def test_what_is_no_row_is_refused(entry, value, message):
    x = rows_of(3)
    check_values(x, BLOCKS)
    x[1, entry] = value
    with pytest.raises(InputError, match=message):
        check_values(x, BLOCKS)


@pytest.mark.parametrize("has_gaps", [False, True])
def test_the_flow_of_the_exact_denoiser_is_a_bound_and_near_the_log_probability(has_gaps):
    truth, x = correlated(), rows_of(12)
    observed = torch.ones_like(x, dtype=torch.bool)
    if has_gaps:
        observed[::2, :3] = observed[1::3, 4] = False
        x = x.masked_fill(~observed, math.nan)
    dequantizer = BlockDequantizer(BlockDecoder(BLOCKS))
    given = truth.given(observed=observed)
    density = discrete_log_prob(given, x, dequantizer, noise=Stream(0), num_importance=2, tolerance=1e-3)
    gap = exact(truth, x, observed) - density.nats
    error = gap.std() / len(x) ** 0.5
    assert -3 * error < gap.mean() < 0.25
    assert torch.equal(density.num_dims, observed[:, [0, 3, 4, 5]].sum(1).to(x))
