"""A mixture of few principal components: the closed form of such data, found from examples, and below a network."""

import pytest
import torch
from oracles import double, draw

from lowerbound.denoiser import FittedSubspace, GaussianMixture, SubspaceDenoiser
from lowerbound.errors import InputError
from lowerbound.rng import Stream
from lowerbound.schedule import EDM, Cosine, LinearGamma

WEIGHTS, REST = double([0.3, 0.7]), 0.05
MEANS = double([[-1.0, 0.5], [0.8, -0.2]])
COVARIANCES = double([[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.4]]])
CENTER = 0.3 * draw(5, seed=2)
AXES = torch.linalg.qr(draw(5, 4, seed=1)).Q
"""Two components in five dimensions that lie along the first two of these, and independent noise along all others."""
VARIANCES = double([0.4, 0.1])
"""Along the others of these."""


def whole(schedule, num_further=0) -> GaussianMixture:
    axes = AXES[:, :2]
    others = REST * (torch.eye(5).double() - axes @ axes.T)
    for axis, variance in zip(AXES[:, 2 : 2 + num_further].T, VARIANCES, strict=False):
        others = others + (variance - REST) * torch.outer(axis, axis)
    return GaussianMixture(WEIGHTS, CENTER + MEANS @ axes.T, axes @ COVARIANCES @ axes.T + others, schedule)


def fitted(num_components=2, num_further=0, room=0) -> FittedSubspace:
    found = CENTER, AXES[:, : 2 + num_further], VARIANCES[:num_further], REST, WEIGHTS, MEANS, COVARIANCES
    return FittedSubspace(5, 2, num_components, num_further + room).fit(*found).eval()


@pytest.mark.parametrize(
    "schedule",
    [LinearGamma(-6.0, 8.0), Cosine(gamma_min=-6.0, gamma_max=8.0), EDM()],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize(("num_components", "num_further", "room"), [(2, 0, 0), (5, 0, 0), (2, 2, 0), (2, 1, 2)])
def test_it_is_the_closed_form_of_such_data(schedule, num_components, num_further, room):
    """Of a batch at levels of its own and at one level, with components and axes that are not used too."""
    exact, subspace = whole(schedule, num_further), fitted(num_components, num_further, room)
    x = draw(6, 5, seed=3)
    for t in (torch.linspace(0.02, 1.0, 6).double(), 0.5):
        level = schedule.level(t)
        alpha, sigma = (torch.as_tensor(each).reshape(-1, 1) for each in (level.alpha, level.sigma))
        x_t = alpha * x + sigma * draw(6, 5, seed=4)
        torch.testing.assert_close(subspace.x(x_t, level), exact(x_t, t).x, rtol=0, atol=1e-6)
        shaped = subspace.x(x_t.reshape(6, 1, 5).float(), level)
        assert shaped.shape == (6, 1, 5)
        assert shaped.dtype == torch.float32


def test_before_it_is_fitted_it_is_of_standard_normal_data():
    schedule, x_t = LinearGamma(-6.0, 8.0), draw(4, 5)
    level = schedule.level(0.6)
    for num_further in (0, 2):
        torch.testing.assert_close(FittedSubspace(5, 2, 3, num_further).eval().x(x_t, level), level.alpha * x_t)


def test_it_has_axes():
    for num_axes, num_further in ((0, 0), (6, 0), (3, 3), (2, -1)):
        message = (
            f"{num_axes} principal axes and {num_further} further ones of 5 entries: give 1 or more, of both together"
        )
        with pytest.raises(InputError, match=message):
            FittedSubspace(5, num_axes, 2, num_further)


class Recording(torch.nn.Module):
    """A network that says the same of everything, and keeps what it was shown."""

    def __init__(self, said: float):
        super().__init__()
        self.said = torch.nn.Parameter(torch.tensor(said))

    def forward(self, x, gamma, cond):
        self.shown = x
        return self.said.expand(len(x), x.shape[1] // 2, *x.shape[2:])


def test_a_network_is_shown_it_and_adds_to_it():
    schedule = LinearGamma(-6.0, 8.0)
    x_t, t = Stream(0).normal(torch.empty(3, 1, 5)), torch.tensor([0.1, 0.5, 1.0])
    level = schedule.level(t)
    expected = fitted().x(x_t, level)
    share = torch.sigmoid(level.gamma)[:, None, None]
    for said in (0.0, 0.25):
        network = Recording(said)
        denoiser = SubspaceDenoiser(network, schedule, (1, 5), fitted())
        torch.testing.assert_close(denoiser(x_t, t).x, share * expected + (1 - share).sqrt() * said)
        torch.testing.assert_close(network.shown[:, 1:], expected)
        torch.testing.assert_close(network.shown[:, :1], x_t)  # variance preserving, of unit variance
