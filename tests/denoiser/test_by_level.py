"""A denoiser in two pieces: each is asked for its levels alone, and the bound of the whole is one bound."""

import pytest
import torch
from oracles import WithMix, double

from lowerbound.denoiser import ByLevel, Conditioned, Gaussian, GaussianMixture, NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder, elbo, log_prob
from lowerbound.nn import MLP
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DPMSolver, sample, start
from lowerbound.schedule import LearnedGamma, LinearGamma

SPLIT = -2.0


def mixture(schedule):
    return GaussianMixture(
        double([0.4, 0.6]), double([[-1.0, 0.3], [0.8, -0.2]]), 0.1 * torch.eye(2).double().expand(2, 2, 2), schedule
    )


def wrong(schedule):
    """A denoiser of other data."""
    return Gaussian(double([3.0, -3.0]), 0.5 * torch.eye(2).double(), schedule)


@pytest.fixture
def schedule():
    return LinearGamma(-9.0, 6.0)


def x_of(num):
    return Stream(0).normal(torch.empty(num, 2, dtype=torch.float64))


def test_each_level_is_its_own_pieces(schedule):
    """Levels of a batch that lie on both sides, and numbers for a whole batch."""
    fine, coarse = mixture(schedule), wrong(schedule)
    pieces, x_t = ByLevel(fine, coarse, SPLIT), x_of(6)
    t = schedule.inverse(double([-5.0, 3.0, SPLIT - 1e-9, SPLIT + 1e-9, 0.0, -8.0]))
    expected = torch.where(double([0, 1, 0, 1, 1, 0])[:, None] > 0, coarse(x_t, t).x, fine(x_t, t).x)
    torch.testing.assert_close(pieces(x_t, t).x, expected)
    for level, piece in ((-5.0, fine), (3.0, coarse)):
        t = schedule.inverse(double(level)).item()
        torch.testing.assert_close(pieces(x_t, t).eps, piece(x_t, t).eps)


def test_variances_are_the_pieces_too(schedule):
    """Var[x | x_t] and the mix of a learned reverse variance, of levels on both sides; neither, where a piece lacks it."""
    fine, coarse = WithMix(mixture(schedule), 0.25), WithMix(wrong(schedule), 0.75)
    pieces, x_t = ByLevel(fine, coarse, SPLIT), x_of(3)
    t = schedule.inverse(double([-5.0, 3.0, -8.0]))
    prediction, each = pieces(x_t, t), (fine(x_t, t), coarse(x_t, t), fine(x_t, t))
    assert prediction.x_var is not None
    torch.testing.assert_close(prediction.x_var, torch.stack([one.x_var[row] for row, one in enumerate(each)]))
    assert prediction.variance_mix is not None
    assert prediction.variance_mix[:, 0].tolist() == [0.25, 0.75, 0.25]
    levels = [schedule.level(times) for times in (t, 0.9 * t)]
    for kind in ("analytic", "learned"):
        variance = prediction.reverse_variance(kind, levels[1])
        expected = torch.stack([one.reverse_variance(kind, levels[1])[row] for row, one in enumerate(each)])
        torch.testing.assert_close(variance, expected)
    assert ByLevel(fine, wrong(schedule), SPLIT)(x_t, t).variance_mix is None


def test_two_of_the_same_are_the_same(schedule):
    """Bound and samples of one denoiser on either side are that denoiser's, to the bit."""
    whole = mixture(schedule)
    pieces, x = ByLevel(whole, mixture(schedule), SPLIT), x_of(8)
    bounds = [elbo(each, GaussianDecoder(), x, noise=PerSample(range(8)), num_times=16) for each in (whole, pieces)]
    torch.testing.assert_close(bounds[0].nats, bounds[1].nats)
    times = torch.linspace(1, 0, 9, dtype=torch.float64)[:-1]
    x_1 = start(whole, 8, PerSample(range(8)), dtype=torch.float64)
    drawn = [sample(each, DPMSolver(), x_1, times, PerSample(range(8))) for each in (whole, pieces)]
    torch.testing.assert_close(*drawn)


def test_a_wrong_piece_costs_bits_and_no_more_than_its_levels_hold(schedule):
    """bound(wrong above) <= bound(right): the integral of each side adds up to that of the whole."""
    right, x = mixture(schedule), x_of(64)
    totals = {
        name: elbo(ByLevel(*pair, SPLIT), GaussianDecoder(), x, noise=PerSample(range(64)), num_times=64)
        .nats.mean()
        .item()
        for name, pair in {
            "right": (right, right),
            "fine wrong": (wrong(schedule), right),
            "coarse wrong": (right, wrong(schedule)),
            "wrong": (wrong(schedule), wrong(schedule)),
        }.items()
    }
    losses = {name: totals["right"] - total for name, total in totals.items()}
    assert min(losses["fine wrong"], losses["coarse wrong"]) > 0.1
    assert losses["fine wrong"] + losses["coarse wrong"] == pytest.approx(losses["wrong"])


def test_density_passes_the_seam(schedule):
    """Where the field jumps from one piece to the other the flow is one all the same: its density integrates to one."""
    near, far = (Gaussian(double([mean]), double([[0.3]]), schedule) for mean in (0.2, -0.4))
    x = torch.linspace(-4, 4, 161, dtype=torch.float64)[:, None]
    density = log_prob(ByLevel(near, far, SPLIT), x, tolerance=1e-6)
    assert bool(density.arrived.all())
    assert density.nats.exp().sum().item() * 0.05 == pytest.approx(1, abs=1e-4)
    assert (density.nats - near.log_prob(x)).abs().max() > 0.05


def test_conditions_and_gaps_go_to_the_row_they_are_of(schedule):
    class Telling(Gaussian):
        def predict(self, x_t, level, cond, observed):
            prediction = super().predict(x_t, level, None, None)
            prediction.x = cond[:, None].double() + 10 * observed.double()
            return prediction

    telling = Telling(double([0.0, 0.0]), torch.eye(2).double(), schedule)
    pieces = ByLevel(telling, telling, SPLIT)
    cond, observed = torch.arange(4), torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]).bool()
    t = schedule.inverse(double([3.0, -5.0, 3.0, -5.0]))
    bound = pieces.given(cond, observed)
    assert isinstance(bound, Conditioned)
    torch.testing.assert_close(bound(x_of(4), t).x, cond[:, None] + 10 * observed.double())


def test_what_pieces_were_given_belongs_to_their_rows(schedule):
    class Telling(Gaussian):
        def predict(self, x_t, level, cond, observed):
            prediction = super().predict(x_t, level, None, None)
            prediction.x = cond[:, None].double().expand(-1, 2)
            return prediction

    telling, cond = Telling(double([0.0, 0.0]), torch.eye(2).double(), schedule), torch.arange(4)
    pieces = ByLevel(telling.given(cond), telling.given(cond + 10), SPLIT)
    t = schedule.inverse(double([3.0, -5.0, 3.0, -5.0]))
    assert pieces(x_of(4), t).x[:, 0].tolist() == [10, 1, 12, 3]
    rows = torch.tensor([3, 0])
    assert pieces.rows(rows)(x_of(2), t[rows]).x[:, 0].tolist() == [3, 10]
    whole = ByLevel(telling, telling, SPLIT)
    assert whole.rows(rows) is whole


def test_another_schedule_keeps_what_is_known_of_the_whole(schedule):
    """Why it has no likelihood, say, and that it is trained."""
    pieces = ByLevel(mixture(schedule), mixture(schedule), SPLIT).eval()
    pieces.no_likelihood = "it is distilled"
    moved = pieces.along(LinearGamma(-8.0, 5.0))
    assert (moved.no_likelihood, moved.training) == ("it is distilled", False)
    assert pieces.schedule is schedule


def test_gradients_reach_the_piece_of_each_level_and_a_learned_schedule():
    schedule = LearnedGamma(-9.0, 6.0)
    fine, coarse = (NetworkDenoiser(MLP(2, width=8, depth=1), schedule, (2,)) for _ in range(2))
    pieces = ByLevel(fine, coarse, SPLIT)
    names = {name.split(".")[0] for name, _ in pieces.named_parameters()}
    assert names == {"schedule", "fine", "coarse"}
    assert not any("schedule" in name for name, _ in pieces.named_parameters() if not name.startswith("schedule"))
    t = torch.full((3,), 0.1)
    assert schedule.gamma(t).max() < SPLIT
    (pieces(x_of(3).float(), t).x ** 2).sum().backward()
    assert all(p.grad is None for p in coarse.network.parameters())
    assert any(p.grad is not None and p.grad.any() for p in fine.network.parameters())
    assert schedule.start.grad is not None
    other = LinearGamma(-9.0, 6.0)
    moved = pieces.along(other)
    assert moved.schedule is moved.fine.schedule is moved.coarse.schedule is other


def test_pieces_that_do_not_fit_are_refused(schedule):
    with pytest.raises(InputError, match="with two schedules: give two denoisers of one shape"):
        ByLevel(mixture(schedule), mixture(LinearGamma(-9.0, 6.0)), SPLIT)
    with pytest.raises(InputError, match="give them to the whole"):
        ByLevel(mixture(schedule).given(observed=torch.ones(1, 2).bool()), mixture(schedule), SPLIT)
    one = Gaussian(double([0.0]), torch.eye(1).double(), schedule)
    with pytest.raises(InputError, match=r"shape \(2,\) and \(1,\), with one schedule"):
        ByLevel(mixture(schedule), one, SPLIT)
