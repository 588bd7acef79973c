"""The denoiser of the posterior: exact on Gaussians, stable on what is not, at home in every sampler."""

import pytest
import torch
from oracles import EVERY_SCHEDULE, double, draw, gaussian, make_schedule, mixture

from lowerbound import grid
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.inverse import LinearOperator, Mask, PosteriorDenoiser
from lowerbound.inverse.conjugate import conjugate_gradients
from lowerbound.likelihood import check_likelihood
from lowerbound.rng import Stream
from lowerbound.samplers import DDIM, Ancestral, sample, start
from lowerbound.schedule import LinearGamma

SCHEDULE = LinearGamma(-10.0, 8.0)
MATRIX = draw(2, 3, seed=5)
ROOT = draw(3, 3, seed=6)


def data(schedule=SCHEDULE) -> Gaussian:
    return Gaussian(double([0.5, -1.0, 0.2]), ROOT @ ROOT.T, schedule)


def of_matrix(matrix) -> LinearOperator:
    return LinearOperator(lambda x: x @ matrix.T.to(x), lambda y: y @ matrix.to(y))


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_on_a_gaussian_it_is_the_exact_denoiser_of_the_posterior(name, scaling):
    denoiser, y, x_t = data(make_schedule(name, scaling)), draw(4, 2, seed=1), draw(4, 3, seed=2)
    model = PosteriorDenoiser(denoiser, of_matrix(MATRIX), y, noise_std=0.3)
    levels = torch.tensor([0.0, 0.2, 0.5, 0.9], dtype=torch.float64)
    found = model(x_t, levels).x
    for row in range(4):
        exact = denoiser.posterior(MATRIX, y[row], 0.3)
        for t in (levels[row : row + 1], levels[row].item()):
            expected = exact(x_t[row : row + 1], t).x
            torch.testing.assert_close(found[row : row + 1], expected, rtol=1e-8, atol=1e-8)
        one = PosteriorDenoiser(denoiser, of_matrix(MATRIX), y[row : row + 1], noise_std=0.3)
        torch.testing.assert_close(one(x_t[row : row + 1], levels[row].item()).x, expected, rtol=1e-8, atol=1e-8)


def test_entries_known_without_noise_are_exact():
    denoiser, observed, y = data(), torch.tensor([True, False, True]), draw(4, 3)
    found = PosteriorDenoiser(denoiser, Mask(observed), y, 0.0)(draw(4, 3, seed=2), 0.4).x
    assert torch.equal(found[:, observed], y[:, observed])
    matrix = torch.eye(3, dtype=torch.float64)[observed]
    for row in range(4):
        exact = denoiser.posterior(matrix, y[row, observed], 0.0)
        torch.testing.assert_close(found[row], exact(draw(4, 3, seed=2), 0.4).x[row], rtol=1e-8, atol=1e-8)


def test_the_isotropic_covariance_is_right_for_data_without_correlations():
    denoiser, y = Gaussian(double([0.5, -1.0]), 0.7 * torch.eye(2, dtype=torch.float64), SCHEDULE), draw(4, 2)
    x_t, operator = draw(4, 2, seed=2), of_matrix(MATRIX[:, :2])
    found = PosteriorDenoiser(denoiser, operator, y, 0.3, "isotropic", data_variance=0.7)(x_t, 0.4).x
    for row in range(4):
        exact = denoiser.posterior(MATRIX[:, :2], y[row], 0.3)
        torch.testing.assert_close(found[row], exact(x_t, 0.4).x[row], rtol=1e-8, atol=1e-8)


def test_the_correction_is_the_gradient_of_the_twist_and_goes_no_farther_than_the_measurement():
    """Of data whose variance given x_t is above the assumed one the gradient goes beyond y: it is cut where it meets it."""
    denoiser, operator, y = mixture(SCHEDULE), of_matrix(MATRIX[:, :2]), draw(40, 2)
    model, level = PosteriorDenoiser(denoiser, operator, y, 0.3, "isotropic"), SCHEDULE.level(0.5)
    x_t = draw(40, 2, seed=2).requires_grad_()
    twist = model.twist(x_t, level)
    (gradient,) = torch.autograd.grad(twist.log_prob.sum(), x_t)
    whole = level.sigma**2 / level.alpha * gradient
    residual, moved = y - operator.forward(twist.prediction.x), operator.forward(whole)
    share = ((residual**2).sum(1) / (residual * moved).sum(1)).clamp(max=1)
    share = torch.where((residual * moved).sum(1) > 0, share, 1.0)
    assert (share < 0.9).any()
    assert (share == 1).any()
    torch.testing.assert_close(twist.x - twist.prediction.x, share[:, None] * whole, rtol=1e-8, atol=1e-8)


def test_measurements_one_after_the_other_are_as_good_as_at_once():
    """A posterior's denoiser is a denoiser, of whose Jacobian the next measurement makes use."""
    denoiser, y, x_t = data(), draw(4, 2), draw(4, 3, seed=2)
    one = PosteriorDenoiser(denoiser, of_matrix(MATRIX[:1]), y[:, :1], 0.3)
    two = PosteriorDenoiser(one, of_matrix(MATRIX[1:]), y[:, 1:], 0.3)
    both = PosteriorDenoiser(denoiser, of_matrix(MATRIX), y, 0.3)
    with torch.no_grad():
        torch.testing.assert_close(two(x_t, 0.4).x, both(x_t, 0.4).x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(0.5), Ancestral("upper")])
def test_every_sampler_draws_from_the_posterior_with_it(sampler):
    """To rounding as with the denoiser of the posterior itself."""
    denoiser, y = gaussian(SCHEDULE), double([0.4])
    exact = denoiser.posterior(MATRIX[:1, :2], y, 0.3)
    model = PosteriorDenoiser(denoiser, of_matrix(MATRIX[:1, :2]), y.expand(3, 1), 0.3)
    x_1 = draw(3, 2)
    end, expected = (sample(made, sampler, x_1, grid.uniform(20), Stream(0)) for made in (model, exact))
    torch.testing.assert_close(end, expected, rtol=1e-8, atol=1e-8)


class Broken(Denoiser):
    """As a trained network's, its Jacobian is far from symmetric, and zero where it is cut off."""

    def predict(self, x_t, level, cond, observed):
        mixing = torch.eye(3, dtype=x_t.dtype) + 0.8 * draw(3, 3, seed=3).to(x_t)
        return Prediction(x_t, level, (x_t @ mixing / level.alpha).clamp(-1, 1), self.schedule)


@pytest.mark.parametrize("covariance", ["isotropic", "jacobian"])
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.3])
def test_an_impossible_jacobian_does_not_blow_up(covariance, noise_std):
    denoiser = Broken(SCHEDULE, (3,))
    operator, y = Mask(torch.tensor([True, True, False])), draw(200, 3).clamp(-1, 1)
    model = PosteriorDenoiser(denoiser, operator, y, noise_std, covariance, num_iterations=20)
    for t in (0.0, 0.3, 0.6, 1.0):
        x = model(draw(200, 3, seed=4), t).x
        assert x.isfinite().all()
    x = sample(model, DDIM(), start(model, 200, Stream(0), dtype=torch.float64), grid.uniform(20), Stream(1))
    assert x.isfinite().all()


def test_conjugate_gradients_solve_each_row_alone():
    roots = draw(6, 5, 5)
    matrices, b = roots @ roots.mT + 0.1 * torch.eye(5), draw(6, 5, seed=1)
    matrices[4] = -matrices[4]  # whose curvature is negative: nothing is to be had
    b[5] = 0
    found = conjugate_gradients(lambda v: torch.einsum("bij,bj->bi", matrices, v), b, 30)
    torch.testing.assert_close(found[:4], torch.linalg.solve(matrices, b)[:4], rtol=1e-8, atol=1e-8)
    assert torch.equal(found[4:], torch.zeros(2, 5, dtype=torch.float64))


def test_more_iterations_never_fit_worse_than_one():
    """One is the lowest point along b, even where the residual is larger there than at the start."""
    matrices, b = draw(50, 5, 5), draw(50, 5, seed=1)

    def apply(v):
        return torch.einsum("bij,bj->bi", matrices, v)

    def misfit(num_iterations):
        return (b - apply(conjugate_gradients(apply, b, num_iterations))).norm(dim=1)

    curvature = (b * apply(b)).sum(1, keepdim=True)
    lowest = torch.where(curvature > 0, (b**2).sum(1, keepdim=True) / curvature, 0) * b
    torch.testing.assert_close(conjugate_gradients(apply, b, 1), lowest, rtol=1e-10, atol=1e-10)
    assert (misfit(1) > b.norm(dim=1)).any()
    for num_iterations in (3, 20):
        assert (misfit(num_iterations) <= misfit(1) * (1 + 1e-12)).all()


def test_no_likelihood_belongs_to_it():
    model = PosteriorDenoiser(data(), of_matrix(MATRIX), draw(4, 2), 0.3)
    with pytest.raises(InputError, match="approximates a posterior"):
        check_likelihood(model)


@pytest.mark.parametrize(
    "settings", [{"covariance": "exact"}, {"num_iterations": 0}, {"data_variance": 0.0}, {"noise_std": -0.1}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError):
        PosteriorDenoiser(data(), of_matrix(MATRIX), draw(4, 2), **{"noise_std": 0.3} | settings)


def test_a_batch_needs_a_measurement_for_each_row():
    with pytest.raises(InputError, match="give one each"):
        PosteriorDenoiser(data(), of_matrix(MATRIX), draw(4, 2), 0.3)(draw(3, 3), 0.5)
