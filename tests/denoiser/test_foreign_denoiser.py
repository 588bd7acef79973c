"""Models of other libraries, written by hand in their conventions for data in closed form, say what the closed form says."""

import math

import pytest
import torch
from oracles import COVARIANCE, MEAN, double
from torch import nn

from lowerbound import InputError, LinearGamma, PerSample
from lowerbound.denoiser import Gaussian
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.schedule import EDM, Cosine, RectifiedFlow, betas, from_betas, geometric
from lowerbound.schedule.scaling import VARIANCE_EXPLODING

NUM_STEPS = 1000
ALPHA_BAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, NUM_STEPS, dtype=torch.float64), 0)


class Theirs(nn.Module):
    """The best model of N(m, S), in a library's own letters: `noise` gives the scales of signal and noise at its time, and
    `output` what it returns of x_t, E[x | x_t] and these. Its data are scale * x + shift."""

    def __init__(self, noise, output, scale=1.0, shift=0.0):
        super().__init__()
        self.noise, self.output, self.scale, self.shift = noise, output, scale, shift
        self.times = []

    def forward(self, x_t, time):
        self.times.append(time)
        a, s = (torch.as_tensor(each).expand(len(x_t))[:, None] for each in self.noise(time))
        mean, covariance = self.scale * MEAN + self.shift, self.scale**2 * COVARIANCE
        gain = a[..., None] * covariance
        total = a[..., None] * gain + s[..., None] ** 2 * torch.eye(2, dtype=torch.float64)
        x = mean + (gain @ torch.linalg.solve(total, (x_t - a * mean)[..., None]))[..., 0]
        return self.output(x_t, x, a, s)


def eps(x_t, x, a, s):
    return (x_t - a * x) / s


def at_step(time):
    """DDPM's, which counts steps from 0."""
    alpha_bar = ALPHA_BAR[time.round().long()]
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def at_sigma(sigma):
    return torch.ones_like(sigma), sigma


def edm_output(x_t, x, a, s):
    """The network inside of EDM's preconditioning, before c_skip and c_out."""
    return (x - 0.25 / (s**2 + 0.25) * x_t) * torch.sqrt(s**2 + 0.25) / (0.5 * s)


def edm(level):
    """Of which EDM's F is made: F = (x - c_skip y) / c_out with y = x + r eps."""
    variance = level.sigma**2 + 0.25
    c_skip, c_out = 0.25 / variance, level.sigma * 0.5 / variance**0.5
    return (1 - c_skip) / c_out, -c_skip * level.sigma / c_out


def double_of(value):
    return torch.as_tensor(value, dtype=torch.float64)


def ddpm(target, output):
    module = Theirs(at_step, output)
    return ForeignDenoiser(
        module, from_betas(betas.linear()), (2,), target, time=lambda level: (NUM_STEPS - 1) * level.t
    )


def exploding(target, output, **units):
    module = Theirs(at_sigma, output, **units)
    return ForeignDenoiser(module, geometric(0.01, 50.0), (2,), target, time=lambda level: level.sigma, **units)


def flow(target, output, towards_data):
    def noise(time):
        u = 1 - time if towards_data else time / 1000
        return 1 - u, u

    return ForeignDenoiser(
        Theirs(noise, output),
        RectifiedFlow(),
        (2,),
        target,
        time=lambda level: level.alpha if towards_data else 1000 * level.sigma,
    )


FAMILIES = {
    "DDPM, eps": lambda: ddpm("eps", eps),
    "DDPM, x": lambda: ddpm("x", lambda x_t, x, a, s: x),
    "DDPM, v": lambda: ddpm("v", lambda x_t, x, a, s: a * eps(x_t, x, a, s) - s * x),
    "score-SDE, exploding": lambda: exploding("score", lambda x_t, x, a, s: -eps(x_t, x, a, s) / s),
    "score-SDE of data in [0, 1]": lambda: exploding(
        "score", lambda x_t, x, a, s: -eps(x_t, x, a, s) / s, scale=128 / 255, shift=0.5
    ),
    "EDM's D(x; sigma)": lambda: exploding("x", lambda x_t, x, a, s: x),
    "EDM's F": lambda: ForeignDenoiser(
        Theirs(lambda c_noise: at_sigma(torch.exp(4 * c_noise)), edm_output),
        EDM(),
        (2,),
        edm,
        time=lambda level: level.gamma / 8,
    ),
    "a flow towards noise, of times to 1000": lambda: flow(
        "velocity", lambda x_t, x, a, s: eps(x_t, x, a, s) - x, False
    ),
    "a flow towards data": lambda: flow(lambda level: (1, -1), lambda x_t, x, a, s: x - eps(x_t, x, a, s), True),
    "a flow of a cosine": lambda: ForeignDenoiser(
        Theirs(
            lambda t: (torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)),
            lambda x_t, x, a, s: math.pi / 2 * (a * eps(x_t, x, a, s) - s * x),
        ),
        Cosine(offset=0.0),
        (2,),
        lambda level: (-math.pi / 2 * level.sigma, math.pi / 2 * level.alpha),
        time=lambda level: torch.atan2(*map(double_of, (level.sigma, level.alpha))) * 2 / math.pi,
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_it_says_what_the_closed_form_says(name):
    denoiser = FAMILIES[name]()
    exact = Gaussian(MEAN, COVARIANCE, denoiser.schedule)
    noise = PerSample(range(4))
    steps = double([0, 1, 500, NUM_STEPS - 1]) / (NUM_STEPS - 1)  # whole steps of a table
    for t in (steps, *map(float, steps)):
        level = denoiser.schedule.level(t)
        x = MEAN + noise.normal(torch.empty(4, 2, dtype=torch.float64))
        a, s = (torch.as_tensor(each, dtype=torch.float64).reshape(-1, 1) for each in (level.alpha, level.sigma))
        x_t = a * x + s * noise.normal(x)
        ours, theirs = denoiser(x_t, t), exact(x_t, t)
        for view in ("x", "v", "eps"):
            # what was divided by the noise has lost as much of its precision
            precision = 1e-12 if view == "x" else 1e-13 * (1 + (a / s).max().item()) ** 2
            difference = (getattr(ours, view) - getattr(theirs, view)).abs().max().item()
            assert difference < 30 * precision, (view, t)


def test_a_time_between_two_steps_of_a_table_is_between_them():
    denoiser = FAMILIES["DDPM, eps"]()
    denoiser(torch.zeros(2, 2, dtype=torch.float64), double([0.0, 250.25 / 999]))
    denoiser(torch.zeros(2, 2, dtype=torch.float64), 1.0)
    times = torch.stack(denoiser.module.times)
    assert (times - double([[0, 250.25], [999, 999]])).abs().max() < 1e-9


def test_the_data_s_units_move_the_noise_level():
    denoiser = FAMILIES["score-SDE of data in [0, 1]"]()
    assert denoiser.schedule.gamma_min == pytest.approx(2 * math.log(0.01 / (128 / 255)))
    level = denoiser.schedule.level(0.3)
    assert denoiser.their_level(level).sigma == pytest.approx(0.01 * 5000**0.3)
    table = ForeignDenoiser(Channels(), from_betas(betas.linear()), (2,), "eps", _time, scale=2.0)
    assert len(table.schedule.times) == NUM_STEPS  # still a table, of which a grid can take the steps


def _time(level):
    return level.t


class Channels(nn.Module):
    """As many channels as x has, several times."""

    def __init__(self, times=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)
        self.times = times

    def forward(self, x, time):
        return torch.cat([self.dropout(self.weight * x), *[torch.full_like(x, 0.5)] * (self.times - 1)], 1)


def test_a_learned_variance_is_the_second_half():
    module = Channels(2)
    denoiser = ForeignDenoiser(module, LinearGamma(), (3, 2, 2), "eps", _time, learned_variance=True)
    prediction = denoiser(torch.ones(2, 3, 2, 2), 0.5)
    assert prediction.variance_mix is not None
    assert (prediction.variance_mix == 0.75).all()  # of -1 to 1 to 0 to 1
    alone = ForeignDenoiser(Channels(), LinearGamma(), (3, 2, 2), "eps", _time)(torch.ones(2, 3, 2, 2), 0.5)
    assert (prediction.x == alone.x).all()


def test_it_is_in_evaluation_and_in_its_own_precision():
    denoiser = ForeignDenoiser(Channels(), LinearGamma(), (3, 2, 2), "x", _time)
    x_t = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    x = denoiser(x_t, 0.5).x
    assert x.dtype == torch.float64
    assert (x - x_t).abs().max() < 1e-7  # no dropout
    assert (x != x_t).any()  # computed in single precision


class OfThree(nn.Module):
    def forward(self, x, time, cond):
        return x


class Wrapped(nn.Module):
    def forward(self, x, time):
        return (x,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": OfThree()}, r"takes \(x, time, cond\), and is called as module\(x_t, time\)"),
        ({"module": nn.Linear(2, 2)}, "is called as module"),
        ({"target": "noise"}, "choose one of x, eps, v, score, velocity, or give a function"),
        ({"target": "velocity"}, "variance-exploding: give RectifiedFlow"),
        ({"scale": 0.0}, "of a positive scale"),
        ({"shift": math.nan}, "shift nan"),
    ],
)
def test_what_is_no_convention_is_refused(change, message):
    made = {"module": Channels(), "schedule": LinearGamma(scaling=VARIANCE_EXPLODING), "shape": (3, 2, 2)}
    made |= {"target": "x", "time": _time, **change}
    with pytest.raises(InputError, match=message):
        ForeignDenoiser(**made)


def test_what_a_module_may_not_return_or_be_given_is_refused():
    x_t = torch.ones(2, 3, 2, 2)
    with pytest.raises(
        InputError, match=r"returned \(tensor.*should be a tensor of floats of shape \(2, 3, 2, 2\)|object"
    ):
        ForeignDenoiser(Wrapped(), LinearGamma(), (3, 2, 2), "x", _time)(x_t, 0.5)
    with pytest.raises(InputError, match=r"shape \(2, 6, 2, 2\).*should be .* \(2, 3, 2, 2\)"):
        ForeignDenoiser(Channels(2), LinearGamma(), (3, 2, 2), "x", _time)(x_t, 0.5)
    with pytest.raises(InputError, match="the module takes none"):
        ForeignDenoiser(Channels(), LinearGamma(), (3, 2, 2), "x", _time)(x_t, 0.5, torch.zeros(2, dtype=torch.int64))
