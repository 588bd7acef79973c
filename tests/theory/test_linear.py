"""The linear-Gaussian model: log p(x) = ELBO + KL to rounding, EM never falls, and probabilistic PCA is the top."""

import pytest
import torch
from oracles import double, draw
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from lowerbound.errors import InputError
from lowerbound.models.vae import VAE
from lowerbound.rng import Stream
from lowerbound.theory.linear import FullNormal, LinearGaussian, linear_gaussian, ppca

D, L = 6, 2


def model(seed=0):
    weight, mean = draw(D, L, seed=seed), draw(D, seed=seed + 100)
    return LinearGaussian(weight, mean, double(0.3))


def covariance_of(seed=0):
    root = draw(D, D, seed=seed)
    return root @ root.mT / D + 0.1 * torch.eye(D, dtype=torch.float64)


def some_q(num_examples, seed=0):
    """A Gaussian that is nobody's posterior."""
    root = draw(L, L, seed=seed)
    return FullNormal(draw(num_examples, L, seed=seed + 1), root @ root.mT + 0.1 * torch.eye(L, dtype=torch.float64))


def test_the_density_is_torchs():
    ours, x = model(), draw(20, D, seed=1)
    theirs = LowRankMultivariateNormal(ours.mean, ours.weight, ours.variance.expand(D))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x), rtol=1e-12, atol=1e-12)
    centred = x - x.mean(0)
    at_mean = LinearGaussian(ours.weight, x.mean(0), ours.variance)
    expected = at_mean.log_prob(x).mean()
    torch.testing.assert_close(at_mean.mean_log_prob(centred.mT @ centred / len(x)), expected, rtol=1e-12, atol=1e-12)


def test_kl_is_torchs():
    first, second = some_q(5, seed=3), some_q(5, seed=7)
    theirs = [MultivariateNormal(each.mean, each.covariance) for each in (first, second)]
    torch.testing.assert_close(first.kl(second), kl_divergence(*theirs), rtol=1e-12, atol=1e-12)


def test_the_posterior_is_bayes_rule():
    """log p(z | x) = log p(x | z) + log p(z) - log p(x) at any z."""
    ours, x, z = model(), draw(20, D, seed=1), draw(20, L, seed=2)
    eye = torch.eye(D, dtype=torch.float64)
    likelihood = MultivariateNormal(z @ ours.weight.mT + ours.mean, ours.variance * eye).log_prob(x)
    prior = MultivariateNormal(torch.zeros(L, dtype=torch.float64), eye[:L, :L]).log_prob(z)
    posterior = ours.posterior(x)
    expected = MultivariateNormal(posterior.mean, posterior.covariance).log_prob(z)
    torch.testing.assert_close(likelihood + prior - ours.log_prob(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_log_p_is_the_bound_plus_the_kl_to_the_posterior(seed):
    ours, x = model(seed), 3 * draw(20, D, seed=seed + 1)
    q, posterior = some_q(20, seed), ours.posterior(x)
    gap = ours.log_prob(x) - ours.elbo(x, q) - q.kl(posterior)
    assert gap.abs().max() < 1e-10
    assert (q.kl(posterior) > 0).all()
    assert (ours.log_prob(x) - ours.elbo(x, posterior)).abs().max() < 1e-10, "with the posterior the bound is tight"


@pytest.mark.parametrize("seed", range(2))
def test_em_never_falls_and_ends_at_probabilistic_pca(seed):
    ours, covariance = model(seed), covariance_of(seed)
    path = [ours.mean_log_prob(covariance)]
    for _ in range(500):
        ours = ours.em_step(covariance)
        path.append(ours.mean_log_prob(covariance))
    path = torch.stack(path)
    assert (path.diff() > -1e-12).all()
    best = ppca(ours.mean, covariance, L)
    assert best.mean_log_prob(covariance).item() == pytest.approx(path[-1].item(), abs=1e-8)
    torch.testing.assert_close(best.covariance(), ours.covariance(), rtol=1e-4, atol=1e-4)


def test_an_em_step_maximises_the_bound_at_the_old_posterior():
    """Its gradient at the new parameters with the old posterior is zero, and the bound is larger than before."""
    old = model()
    x = draw(50, D, seed=5) + old.mean
    mean = x.mean(0)
    old = LinearGaussian(old.weight, mean, old.variance)
    q = old.posterior(x)
    new = old.em_step((x - mean).mT @ (x - mean) / len(x))
    weight, variance = new.weight.requires_grad_(), new.variance.requires_grad_()
    bound = LinearGaussian(weight, mean, variance).elbo(x, q).mean()
    for gradient in torch.autograd.grad(bound, (weight, variance)):
        assert gradient.abs().max() < 1e-10
    assert bound > old.elbo(x, q).mean()


def test_no_neighbour_of_probabilistic_pca_is_better():
    covariance = covariance_of()
    best = ppca(torch.zeros(D, dtype=torch.float64), covariance, L)
    top = best.mean_log_prob(covariance)
    for seed in range(10):
        for size in (1e-3, 0.1):
            near = LinearGaussian(best.weight + size * draw(D, L, seed=seed), best.mean, best.variance)
            assert near.mean_log_prob(covariance) < top
    for factor in (0.99, 1.01):
        assert LinearGaussian(best.weight, best.mean, factor * best.variance).mean_log_prob(covariance) < top


def linear_vae(std=None):
    vae = VAE((D,), None, network="linear", latent_dims=L, std=std).double()
    for seed, parameter in enumerate(vae.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
    return vae


@pytest.mark.parametrize("std", [None, 0.7])
def test_the_bound_of_a_linear_vae_is_the_closed_form(std):
    """Its mean over draws is `elbo` of its own q, and log p(x) exceeds it by KL(q || p(z | x))."""
    vae = linear_vae(std)
    ours, x, num_draws = linear_gaussian(vae), draw(4, D, seed=1), 20_000
    q = vae.encode(x)
    full = FullNormal(q.mean, torch.diag(q.variance[0]))
    drawn = vae.elbo(x.repeat_interleave(num_draws, 0), Stream(0)).nats.reshape(4, num_draws)
    error = 5 * drawn.std(1) / num_draws**0.5
    expected = ours.elbo(x, full)
    assert ((drawn.mean(1) - expected).abs() < error).all()
    torch.testing.assert_close(expected + full.kl(ours.posterior(x)), ours.log_prob(x), rtol=1e-10, atol=1e-10)
    if std is not None:
        assert ours.variance.item() == pytest.approx(std**2)


def test_a_linear_vae_at_the_optimum_of_probabilistic_pca_has_its_likelihood():
    """With W's columns orthogonal the posterior has no correlations, so that q can be it (Lucas et al. 2019)."""
    x = draw(200, D) @ draw(D, D, seed=1)
    mean = x.mean(0)
    covariance = (x - mean).mT @ (x - mean) / len(x)
    best = ppca(mean, covariance, L)
    posterior = best.posterior(x)
    diagonal = FullNormal(posterior.mean, posterior.covariance.diagonal().diag())
    torch.testing.assert_close(best.elbo(x, diagonal).mean(), best.mean_log_prob(covariance), rtol=1e-10, atol=1e-10)


def test_other_models_have_no_closed_form():
    for vae in (
        VAE((D,), None, network="mlp", width=8),
        VAE((D,), 2, network="linear"),
        VAE((D,), None, network="linear", prior="learned"),
    ):
        with pytest.raises(InputError, match="linear-Gaussian"):
            linear_gaussian(vae)


def test_impossible_numbers_of_latents_are_refused():
    mean, covariance = torch.zeros(D, dtype=torch.float64), covariance_of()
    for latent_dims in (0, D):
        with pytest.raises(InputError, match="between 1 and 5"):
            ppca(mean, covariance, latent_dims)
    with pytest.raises(InputError, match="maximum"):
        ppca(mean, torch.diag(double([0, 0, 0, 0, 1, 1])), 3)
