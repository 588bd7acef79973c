"""The VAE: its terms are the formula, every combination works, and what makes no sense is refused."""

import math

import pytest
import torch
from oracles import draw

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.models import Draw
from lowerbound.models.vae import VAE, Mixture
from lowerbound.rng import PerSample, Stream

KINDS = {
    "vectors": ((5,), None, {}),
    "vectors, linear": ((5,), None, {"network": "linear"}),
    "vectors, learned prior": ((5,), None, {"prior": "learned", "prior_components": 3, "warmup": 0.5}),
    "vectors, mixture of logistics": ((5,), None, {"decoder": "logistic-mixture", "decoder_components": 2}),
    "binary vectors": ((5,), 2, {"free_bits": 0.1}),
    "levels, linear": ((5,), 17, {"network": "linear"}),
    "signals": ((2, 9), None, {"std": 0.5}),
    "binary images": ((1, 7, 9), 2, {}),
    "images": ((3, 8, 8), 256, {"decoder_components": 2}),
    "images, mlp": ((1, 8, 8), 17, {"network": "mlp", "decoder": "categorical"}),
    "volumes": ((1, 9, 3, 4), None, {}),
}


def make(name, seed=0):
    """A VAE of random weights, in double precision, and data for it."""
    shape, num_levels, settings = KINDS[name]
    width = {} if settings.get("network") == "linear" else {"width": 8}
    vae = VAE(shape, num_levels, latent_dims=3, **width, **settings).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in vae.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return vae, data(shape, num_levels)


def data(shape, num_levels, num_examples=4):
    if num_levels is None:
        return draw(num_examples, *shape)
    index = torch.randint(0, num_levels, (num_examples, *shape), generator=torch.Generator().manual_seed(1))
    return level_centres(index, num_levels).double()


@pytest.mark.parametrize("name", KINDS)
def test_the_bound_is_reconstruction_minus_prior_of_the_formula(name):
    vae, x = make(name)
    bound = vae.elbo(x, Stream(3))
    q = vae.encode(x)
    normal = torch.distributions.Normal(q.mean, torch.as_tensor(q.variance).sqrt())
    z = q.mean + normal.stddev * Stream(3).normal(q.mean)
    reconstruction = vae.output.log_prob(vae.decode(z), x).flatten(1).sum(1)
    if isinstance(vae.prior, Mixture):
        prior = normal.log_prob(z).sum(1) - vae.prior.log_prob(z)
    else:
        prior = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(bound.reconstruction, reconstruction)
    torch.testing.assert_close(bound.prior, prior)
    assert (bound.diffusion == 0).all()
    assert (bound.num_dims == x[0].numel()).all()
    # with neither free bits nor warm-up left the loss is the bound at the same draw
    if not vae.free_bits:
        torch.testing.assert_close(vae.loss(x, Draw(Stream(3))).total, -bound.nats)


@pytest.mark.parametrize("name", KINDS)
def test_log_weights_average_to_the_bound(name):
    """E log w is the ELBO, also where the latter takes its prior term in closed form."""
    vae, x = make(name)
    x = x[:1].expand(1000, *x.shape[1:])
    weights, bounds = vae.log_weight(x, Stream(0)), vae.elbo(x, Stream(1)).nats
    error = ((weights.var() + bounds.var()) / len(x)).sqrt()
    assert abs(weights.mean() - bounds.mean()) < 5 * error


@pytest.mark.parametrize("name", KINDS)
def test_gradients_reach_every_parameter(name):
    vae, x = make(name)
    vae.loss(x, Draw(Stream(0))).total.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in vae.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in vae.parameters() if parameter.numel() > 4)


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_depends_on_its_seed_alone(name):
    vae, x = make(name)
    samples = vae.sample(5, PerSample(range(5)))
    assert samples.shape == (5, *vae.shape)
    assert samples.dtype == x.dtype
    assert not samples.requires_grad
    torch.testing.assert_close(vae.sample(1, PerSample([3])), samples[3:4], rtol=1e-9, atol=1e-9)
    if vae.num_levels is not None:
        centres = level_centres(torch.arange(vae.num_levels), vae.num_levels).double()
        assert (samples.flatten()[:, None] - centres).abs().min(1).values.max() < 1e-6


def test_a_mixture_prior_is_torchs_and_draws_what_it_says():
    torch.manual_seed(0)
    prior = Mixture(2, 3).double()
    with torch.no_grad():
        prior.means.mul_(4)
        prior.log_weights.copy_(torch.tensor([0.0, 1.0, -1.0]))
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=prior.log_weights),
        torch.distributions.Independent(torch.distributions.Normal(prior.means, 1.0001), 1),
    )
    z = prior.sample(draw(20_000, 2), Stream(0))
    torch.testing.assert_close(prior.log_prob(z), mixture.log_prob(z))
    theirs = mixture.sample((20_000,))
    for function in (lambda z: z[:, 0], lambda z: z.prod(1), mixture.log_prob):
        drawn, expected = function(z), function(theirs)
        assert abs(drawn.mean() - expected.mean()) < 5 * ((drawn.var() + expected.var()) / 20_000).sqrt()


def test_free_bits_hold_each_latent_and_warm_up_weighs_the_prior_term():
    vae, x = make("binary images")
    q = vae.encode(x)
    kl = 0.5 * (q.mean**2 + q.variance - 1 - torch.log(torch.as_tensor(q.variance)))
    reconstruction = vae.elbo(x, Stream(0)).reconstruction
    free = kl.median().item()
    vae.free_bits = free
    torch.testing.assert_close(vae.loss(x, Draw(Stream(0))).total, kl.clamp(min=free).sum(1) - reconstruction)
    assert (kl < free).any()
    assert (kl > free).any()
    vae.warmup = 0.5
    for progress, weight in ((0.0, 0.0), (0.125, 0.25), (0.5, 1.0), (0.9, 1.0)):
        expected = weight * kl.clamp(min=free).sum(1) - reconstruction
        torch.testing.assert_close(vae.loss(x, Draw(Stream(0), progress)).total, expected)
    bound = vae.elbo(x, Stream(0))
    torch.testing.assert_close(bound.prior, kl.sum(1))


def test_training_raises_the_bound_of_two_kinds_of_strokes():
    """Binary images of one row or one column, whose entropy is log 16."""
    torch.manual_seed(0)
    images = torch.zeros(16, 1, 8, 8)
    for place in range(8):
        images[place, 0, place], images[8 + place, 0, :, place] = 1, 1
    x = images - 0.5
    vae = VAE((1, 8, 8), 2, latent_dims=4, width=16, warmup=0.5)
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    for step in range(80):
        optimizer.zero_grad()
        vae.loss(x, Draw(Stream(step), step / 80)).total.mean().backward()
        optimizer.step()
    bound = vae.elbo(x.repeat(20, 1, 1, 1), Stream(0)).nats.mean().item()
    assert -19 < bound < -math.log(16)  # pixels that know nothing of each other have -24.1, uniform ones -44.4


@pytest.mark.parametrize(
    ("shape", "num_levels", "settings", "said"),
    [
        ((1, 8, 8), 17, {"decoder": "bernoulli"}, "two levels"),
        ((1, 8, 8), 2, {"decoder": "gaussian"}, "density"),
        ((5,), None, {"network": "convolutional"}, "spatial"),
        ((5,), None, {"network": "transformer"}, "convolutional, mlp, linear"),
        ((5,), None, {"prior": "vamp"}, "normal, learned"),
        ((5,), 17, {"network": "linear", "decoder": "categorical"}, "linear decoder"),
        ((5,), None, {"network": "linear", "width": 32}, "no hidden layer"),
        ((5,), None, {"latent_dims": 0}, "latent_dims is 0"),
        ((5,), None, {"free_bits": -1.0}, "free_bits=-1"),
        ((5,), None, {"warmup": 1.5}, "warmup=1.5"),
        ((5,), None, {"free_bits": 0.1, "prior": "learned"}, "learned prior"),
        ((5,), 2, {"std": 0.1}, "no effect"),
        ((5,), None, {"width": 0}, "width is 0"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(shape, num_levels, settings, said):
    with pytest.raises(InputError, match=said):
        VAE(shape, num_levels, **settings)


def test_a_batch_of_another_shape_is_refused():
    with pytest.raises(InputError, match="shape"):
        VAE((5,), None, width=8).loss(draw(4, 6).float(), Draw(Stream(0)))
