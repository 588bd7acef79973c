"""The ladder: its levels' terms are the formula, its weights average to the density, every geometry works."""

import math

import pytest
import torch
from oracles import draw
from torch.distributions import Normal, kl_divergence

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.models import Draw
from lowerbound.models.ladder import LadderVAE
from lowerbound.models.latent import importance_weighted
from lowerbound.rng import PerSample, Stream

KINDS = {
    "vectors": ((5,), None, {}),
    "binary vectors": ((5,), 2, {"num_latents": 2, "free_bits": 0.1}),
    "signals": ((2, 9), None, {"std": 0.5, "num_latents": 4}),
    "binary images": ((1, 28, 28), 2, {"warmup": 0.5}),
    "small images": ((3, 7, 9), 256, {"decoder_components": 2, "depth": 0}),
    "volumes": ((1, 9, 3, 4), None, {"num_latents": 2}),
}


def make(name, seed=0):
    """A ladder of random weights, in double precision, and data for it."""
    shape, num_levels, settings = KINDS[name]
    ladder = LadderVAE(shape, num_levels, **{"latent_dims": 1, "width": 4, **settings}).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in ladder.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return ladder, data(shape, num_levels)


def data(shape, num_levels, num_examples=3):
    if num_levels is None:
        return draw(num_examples, *shape)
    index = torch.randint(0, num_levels, (num_examples, *shape), generator=torch.Generator().manual_seed(1))
    return level_centres(index, num_levels).double()


@pytest.mark.parametrize("name", KINDS)
def test_the_bound_is_the_formula_level_by_level(name):
    """By the passes written out: features up, then the state down with torch's Gaussians in the prior's own units."""
    ladder, x = make(name)
    bound, weight, noise = ladder.elbo(x, Stream(3)), ladder.log_weight(x, Stream(3)), Stream(3)
    evidence = [ladder.into(x)]
    for rung in ladder.rungs:
        evidence.append(rung.climb(evidence[-1]))
    h = ladder.top.expand(len(x), *ladder.top.shape)
    kl, ratio = [], 0.0
    for rung, seen in zip(reversed(ladder.rungs), reversed(evidence), strict=False):
        mean, raw = rung.p(torch.nn.functional.silu(rung.p_norm(h))).chunk(2, 1)
        p = Normal(mean, 1e-4 + torch.nn.functional.softplus(raw + math.log(math.e - 1)))
        q_u = rung.infer(h, seen)
        q = Normal(p.mean + p.stddev * q_u.mean, p.stddev * q_u.variance**0.5)
        z = q.mean + q.stddev * noise.normal(q.mean)
        kl.insert(0, kl_divergence(q, p).flatten(1).sum(1))
        ratio = ratio + (q.log_prob(z) - p.log_prob(z)).flatten(1).sum(1)
        h = rung.trunk["down"](h + rung.inject(z))
    parameters = ladder.out(torch.nn.functional.silu(ladder.norm(h)))
    reconstruction = ladder.output.log_prob(parameters, x).flatten(1).sum(1)
    torch.testing.assert_close(bound.reconstruction, reconstruction)
    torch.testing.assert_close(bound.prior, kl[-1])
    torch.testing.assert_close(bound.steps, torch.stack(kl[:-1], 1))
    torch.testing.assert_close(bound.diffusion, bound.steps.sum(1))
    torch.testing.assert_close(weight, reconstruction - ratio)
    assert (bound.num_dims == x[0].numel()).all()
    assert all((each > 0).all() for each in kl)


def test_geometry():
    """Half the resolution at each level down to 7 or less, and a vector on top."""
    shapes = [rung.blank(ladder_features).shape[1:] for rung, ladder_features in _rungs((1, 28, 28), 4)]
    assert shapes == [(2, 14, 14), (2, 7, 7), (2, 7, 7), (16,)]
    shapes = [rung.blank(ladder_features).shape[1:] for rung, ladder_features in _rungs((3, 7, 9), 3)]
    assert shapes == [(2, 4, 5), (2, 4, 5), (16,)]


def _rungs(shape, num_latents):
    ladder = LadderVAE(shape, 2, num_latents=num_latents, latent_dims=2, width=4)
    features = ladder.into(torch.zeros(1, *shape))
    for rung in ladder.rungs:
        yield rung, (features := rung.climb(features))


@pytest.mark.parametrize("name", ["vectors", "binary images"])
def test_log_weights_average_to_the_bound(name):
    ladder, x = make(name)
    x = x[:1].expand(300, *x.shape[1:])
    with torch.no_grad():
        weights, bounds = ladder.log_weight(x, Stream(0)), ladder.elbo(x, Stream(1)).nats
    assert abs(weights.mean() - bounds.mean()) < 5 * ((weights.var() + bounds.var()) / len(x)).sqrt()


def test_the_weights_average_to_the_density():
    """Of a binary vector there are few enough to add up: the probabilities of all of them are one."""
    ladder = make("binary vectors")[0]
    every = level_centres(torch.cartesian_prod(*[torch.arange(2)] * 5), 2).double()
    many = every.repeat(1000, 1)
    with torch.no_grad():
        weights = ladder.log_weight(many, Stream(0)).reshape(1000, len(every))
        bound = ladder.elbo(many, Stream(1)).nats.reshape(1000, len(every)).mean(0)
    tighter = importance_weighted(ladder, many, 5, Stream(2)).reshape(1000, len(every)).mean(0)
    nearly = weights.logsumexp(0) - math.log(1000)
    assert nearly.exp().sum() == pytest.approx(1.0, abs=0.02)
    assert (bound < tighter).all()
    assert tighter.mean() < nearly.mean()


@pytest.mark.parametrize("name", KINDS)
def test_before_training_the_terms_are_zero_and_gradients_reach_every_parameter(name):
    shape, num_levels, settings = KINDS[name]
    untrained = LadderVAE(shape, num_levels, **{"latent_dims": 1, "width": 4, **settings}).double()
    bound = untrained.elbo(data(shape, num_levels), Stream(0))
    assert (bound.prior + bound.diffusion).abs().max() < 1e-2  # the smallest spread is added to that of q
    ladder, x = make(name)
    ladder.loss(x, Draw(Stream(0))).total.sum().backward()
    for key, parameter in ladder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_depends_on_its_seed_alone(name):
    ladder, x = make(name)
    samples = ladder.sample(4, PerSample(range(4)))
    assert samples.shape == (4, *ladder.shape)
    assert samples.dtype == x.dtype
    assert not samples.requires_grad
    torch.testing.assert_close(ladder.sample(1, PerSample([3])), samples[3:4], rtol=1e-9, atol=1e-9)


def test_free_bits_hold_each_latent_and_warm_up_weighs_all():
    ladder, x = make("binary images")
    bound = ladder.elbo(x, Stream(0))
    terms = bound.prior + bound.diffusion
    for progress, weight in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        torch.testing.assert_close(
            ladder.loss(x, Draw(Stream(0), progress)).total, weight * terms - bound.reconstruction
        )
    ladder.free_bits = 1e3  # nothing reaches as many: all terms are constants
    num_latents = 14 * 14 + 7 * 7 + 8
    expected = num_latents * 1e3 - bound.reconstruction
    torch.testing.assert_close(ladder.loss(x, Draw(Stream(0))).total, expected)


@pytest.mark.parametrize(
    ("shape", "settings", "reason"),
    [
        ((5,), {"num_latents": 1}, "of one level it is a VAE"),
        ((1, 8, 8), {"latent_dims": 0}, "latent_dims is 0"),
        ((1, 8, 8), {"depth": -1}, "depth is -1"),
        ((1, 8, 8), {"free_bits": -1.0}, "free_bits=-1"),
        ((1, 2, 2, 2, 2), {}, "1 to 3 dimensions"),
        ((1, 8, 8), {"decoder": "bernoulli"}, "bernoulli"),
    ],
)
def test_what_makes_no_sense_is_refused(shape, settings, reason):
    with pytest.raises(InputError, match=reason):
        LadderVAE(shape, None, **settings)


def test_examples_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        make("vectors")[0].loss(draw(4, 6), Draw(Stream(0)))
