"""The importance-weighted bound: the ELBO at K = 1, log p(x) in the limit, increasing between, and exact if q is."""

import pytest
import torch
from oracles import draw

from lowerbound.errors import InputError
from lowerbound.models.latent import importance_weighted
from lowerbound.models.vae import VAE
from lowerbound.rng import PerSample, Stream
from lowerbound.theory.linear import linear_gaussian


def linear_vae():
    """A model whose log p(x) is known, with an encoder that is off."""
    torch.manual_seed(0)
    return VAE((4,), None, network="linear", latent_dims=2).double()


def test_it_is_the_log_of_the_mean_weight():
    vae, x = linear_vae(), draw(5, 4)
    noise = Stream(0)
    weights = torch.stack([vae.log_weight(x, noise) for _ in range(7)])
    expected = weights.exp().mean(0).log()
    torch.testing.assert_close(importance_weighted(vae, x, 7, Stream(0)), expected, rtol=1e-10, atol=1e-10)


def test_it_increases_with_the_number_of_samples_to_the_exact_likelihood():
    vae = linear_vae()
    x = 0.7 * draw(20, 4)
    exact = linear_gaussian(vae).log_prob(x)
    repeated = x.repeat(50, 1)
    gaps = [(exact.mean() - vae.elbo(repeated, Stream(9)).nats.mean()).item()]
    for num_samples in (1, 3, 10, 200):
        bound = importance_weighted(vae, repeated, num_samples, Stream(num_samples))
        gaps.append((exact.mean() - bound.mean()).item())
    assert abs(gaps[0] - gaps[1]) < 0.05, "one sample is the ELBO"
    assert gaps[1] > gaps[2] + 0.05 > gaps[3] + 0.1
    assert gaps[3] > gaps[4] > -0.005
    assert gaps[4] < 0.05


def test_with_the_exact_posterior_one_sample_is_enough():
    vae, x = linear_vae(), draw(5, 4)
    encoder, decoder = vae.encoder[1], vae.decoder[0]
    with torch.no_grad():
        decoder.map.weight.copy_(torch.linalg.qr(decoder.map.weight).Q)  # orthogonal columns: no correlations
        model = linear_gaussian(vae)
        covariance = model.posterior(x).covariance
        encoder.map.weight.copy_(covariance @ model.weight.mT / model.variance)
        encoder.map.bias.copy_(-encoder.map.weight @ model.mean)
        # the inverse of s = 1e-4 + softplus(raw + log(e - 1))
        std = covariance.diagonal().sqrt() - 1e-4
        encoder.constants.copy_(torch.log(torch.expm1(std) / torch.expm1(torch.ones_like(std))))
    for num_samples in (1, 5):
        bound = importance_weighted(vae, x, num_samples, PerSample(range(5)))
        torch.testing.assert_close(bound, model.log_prob(x), rtol=1e-6, atol=1e-6)


def test_it_is_finite_where_weights_underflow():
    vae = VAE((1, 8, 8), 2, width=8)
    x = torch.full((2, 1, 8, 8), 0.5)
    with torch.no_grad():
        vae.decoder.out.layer.bias.fill_(-300)  # 19,200 nats against these images
    bound = importance_weighted(vae, x, 5, Stream(0))
    torch.testing.assert_close(bound, torch.full((2,), -19_200.0), rtol=0.01, atol=0)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="num_samples is 0"):
        importance_weighted(linear_vae(), draw(5, 4), 0, Stream(0))
    with pytest.raises(InputError, match="shape"):
        importance_weighted(linear_vae(), draw(5, 3), 1, Stream(0))
