"""The Markov hierarchy: diffusion is one of them to rounding, and a linear-Gaussian one has a known density."""

import math

import pytest
import torch
from oracles import EVERY_SCHEDULE, double, draw, make_schedule, mixture
from torch.distributions import MultivariateNormal

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.likelihood import elbo
from lowerbound.likelihood.decoder import DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.models import Draw
from lowerbound.models.hierarchical import HierarchicalVAE, as_hvae, form_a, form_b
from lowerbound.models.latent import MIN_STD, importance_weighted
from lowerbound.models.vae import VAE
from lowerbound.nn import MLP
from lowerbound.nn.autoencoder import Affine
from lowerbound.reverse import VARIANCES
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.theory import derivations

K = 16
DECODERS = {"gaussian": GaussianDecoder(), "levels": LevelPosterior(K), "network": DiscretizedGaussian(K, 0.1)}
KINDS = {
    "vectors": ((5,), None, {}),
    "binary vectors": ((5,), 2, {"num_latents": 4, "latent_dims": 5, "free_bits": 0.1}),
    "a VAE": ((5,), 17, {"num_latents": 1, "warmup": 0.0}),
    "signals": ((2, 9), None, {"std": 0.5}),
    "binary images": ((1, 7, 9), 2, {"num_latents": 2, "warmup": 0.5}),
    "images": ((3, 9, 9), 256, {"decoder": "discretized-logistic", "decoder_components": 2}),
}


def levels_data(num_examples=20, num_dims=2):
    index = torch.randint(0, K, (num_examples, num_dims), generator=torch.Generator().manual_seed(1))
    return level_centres(index, K).double()


def chain_of(num_levels):
    return torch.linspace(0, 1, num_levels + 1, dtype=torch.float64)[1:]


def assert_same(first, second):
    for term in ("reconstruction", "prior", "diffusion", "steps", "num_dims"):
        ours, theirs = getattr(first, term), getattr(second, term)
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8, msg=lambda text, term=term: f"{term}: {text}")


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_form_b_of_a_diffusion_is_the_bound_and_form_a_its_derivation(name, scaling):
    denoiser, x = mixture(make_schedule(name, scaling)), levels_data()
    for decoder, num_levels, reverse in zip(DECODERS.values(), (1, 3, 5), VARIANCES, strict=True):
        check_both_forms(denoiser, decoder, x, chain_of(num_levels), reverse)


@pytest.mark.parametrize("reverse", VARIANCES)
@pytest.mark.parametrize("decoder", DECODERS)
def test_so_with_every_decoder_and_reverse_variance(decoder, reverse):
    denoiser, x = mixture(LinearGamma(-4.0, 4.0)), levels_data()
    for num_levels in (1, 2, 6):
        check_both_forms(denoiser, DECODERS[decoder], x, chain_of(num_levels), reverse)


def check_both_forms(denoiser, decoder, x, chain, reverse):
    hvae = as_hvae(denoiser, decoder, chain, reverse=reverse)
    assert hvae.num_latents == len(chain)
    bound = elbo(denoiser, decoder, x, chain, noise=Stream(2), reverse=reverse)
    assert_same(form_b(hvae, x, Stream(2)), bound)
    derived = derivations.form_a(denoiser, decoder, x, chain, noise=Stream(2), reverse=reverse)
    assert_same(form_a(hvae, x, Stream(2), closed_form=False), derived)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_both_forms_have_one_expectation(scaling):
    denoiser = mixture(LinearGamma(-4.0, 4.0, scaling=SCALINGS[scaling]))
    x = denoiser.sample(4000, Stream(0))
    hvae = as_hvae(denoiser, DECODERS["gaussian"], chain_of(6), reverse="analytic")
    for closed_form in (True, False):
        first, second = form_a(hvae, x, Stream(1), closed_form=closed_form), form_b(hvae, x, Stream(2))
        difference = first.nats - second.nats
        assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(x))
        assert abs(first.prior.mean() - second.prior.mean()) > 0.1, "it is their sums that are equal"


def test_a_hierarchy_of_one_level_is_a_vae():
    hvae = make("a VAE")[0]
    vae = VAE((5,), 17, width=8, latent_dims=3).double()
    vae.encoder[1].load_state_dict(hvae.from_data.state_dict())
    vae.decoder[0].load_state_dict(hvae.to_data.state_dict())
    x = data((5,), 17)
    for bound in (hvae.elbo(x, Stream(0)), form_b(hvae, x, Stream(0))):
        theirs = vae.elbo(x, Stream(0))
        torch.testing.assert_close(bound.reconstruction, theirs.reconstruction)
        torch.testing.assert_close(bound.prior, theirs.prior)
        assert bound.steps.shape == (4, 0)
    torch.testing.assert_close(hvae.log_weight(x, Stream(0)), vae.log_weight(x, Stream(0)))


def test_form_b_is_closed_to_a_learned_encoder_with_the_reason():
    hvae, x = make("vectors")
    assert form_a(hvae, x, Stream(0)).nats.isfinite().all()
    with pytest.raises(InputError, match=r"q\(z_3 \| x\).*linear"):
        form_b(hvae, x, Stream(0))
    with pytest.raises(InputError, match=r"q\(z_2 \| x\).*form_a"):
        hvae.encode_back(draw(4, 2), x, 1)


def test_a_diffusion_without_likelihood_is_no_hierarchy():
    denoiser = NetworkDenoiser(MLP(2, width=4, depth=1), LinearGamma(-4.0, 4.0), (2,))
    denoiser.no_likelihood = "it is guided"
    with pytest.raises(InputError, match="it is guided"):
        as_hvae(denoiser, DECODERS["gaussian"], chain_of(3))
    with pytest.raises(InputError, match="increasing"):
        as_hvae(mixture(LinearGamma(-4.0, 4.0)), DECODERS["gaussian"], double([0.5, 0.2]))


def affine(weight, std=None):
    """A network of one affine layer, with standard deviations that do not depend on its input."""
    weight = double(weight)
    layer = Affine(*reversed(weight.shape), num_constants=0 if std is None else len(weight)).double()
    with torch.no_grad():
        layer.map.weight.copy_(weight)
        layer.map.bias.zero_()
        if std is not None:
            layer.constants.copy_(torch.log(torch.expm1(double(std) - MIN_STD)) - math.log(math.e - 1))
    return layer


def linear_hvae(encoder_error):
    r"""$z_2 \sim N(0, 1)$, $z_1 = (2 z_2, 0) + (0.5, 1) \epsilon$, $x = (z_{1,1}, -z_{1,2}) + 0.5 \epsilon$; p(x).

    The encoder is the posterior, but for its means, which are wrong by a factor.
    """
    hvae = HierarchicalVAE((2,), None, num_latents=2, latent_dims=2, width=2, decoder="gaussian", std=0.5).double()
    above = 2**2 + 0.5**2, 1.0
    hvae.down[0], hvae.to_data = affine([[2.0], [0.0]], [0.5, 1.0]), affine([[1.0, 0.0], [0.0, -1.0]])
    kept = [variance / (variance + 0.5**2) for variance in above]
    error = 1 + encoder_error
    hvae.from_data = affine([[kept[0] * error, 0.0], [0.0, -kept[1] * error]], [0.5 * share**0.5 for share in kept])
    hvae.up[0] = affine([[error * 2 / above[0], 0.0]], [0.5 / above[0] ** 0.5])
    return hvae, MultivariateNormal(double([0.0, 0.0]), torch.diag(double(above) + 0.5**2))


def test_with_the_exact_encoder_every_path_weighs_the_density():
    hvae, exact = linear_hvae(0.0)
    torch.manual_seed(100)
    x = exact.sample((50,))
    torch.testing.assert_close(hvae.log_weight(x, Stream(0)), exact.log_prob(x), rtol=1e-9, atol=1e-9)


def test_the_bound_is_below_the_importance_weighted_one_and_that_below_the_density():
    hvae, exact = linear_hvae(0.15)
    torch.manual_seed(100)  # no stream's seed: draws of x and of latents would be the same numbers
    x = exact.sample((2000,))
    with torch.no_grad():
        bounds = [hvae.elbo(x, Stream(0)).nats]
    bounds += [importance_weighted(hvae, x, num_samples, Stream(num_samples)) for num_samples in (1, 5, 100)]
    gaps = [exact.log_prob(x) - bound for bound in bounds]
    means = [gap.mean().item() for gap in gaps]
    error = math.sqrt((gaps[0].var() + gaps[1].var()) / len(x))
    assert abs(means[0] - means[1]) < 4 * error, "of one draw it is the bound"
    assert min(means[:2]) - 4 * error > means[2] > means[3] > -0.01
    assert means[3] < 0.05


def make(name, seed=0):
    """A hierarchical VAE of random weights, in double precision, and data for it."""
    shape, num_levels, settings = KINDS[name]
    hvae = HierarchicalVAE(shape, num_levels, **{"latent_dims": 3, "width": 8, **settings}).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in hvae.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return hvae, data(shape, num_levels)


def data(shape, num_levels, num_examples=4):
    if num_levels is None:
        return draw(num_examples, *shape)
    index = torch.randint(0, num_levels, (num_examples, *shape), generator=torch.Generator().manual_seed(1))
    return level_centres(index, num_levels).double()


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_its_terms_trains_and_samples_by_seed(name):
    hvae, x = make(name)
    bound = hvae.elbo(x, Stream(3))
    assert bound.steps.shape == (4, hvae.num_latents - 1)
    torch.testing.assert_close(bound.diffusion, bound.steps.sum(1))
    loss = hvae.loss(x, Draw(Stream(3))).total
    if not hvae.free_bits:
        torch.testing.assert_close(loss, -bound.nats)
    loss.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in hvae.parameters())
    samples = hvae.sample(5, PerSample(range(5)))
    assert samples.shape == (5, *hvae.shape)
    assert not samples.requires_grad
    torch.testing.assert_close(hvae.sample(1, PerSample([3])), samples[3:4], rtol=1e-9, atol=1e-9)
    if hvae.num_levels is not None:
        assert samples.abs().max() <= 1 - 1 / hvae.num_levels


def test_free_bits_hold_each_level_and_warm_up_weighs_all():
    hvae, x = make("binary images")
    bound = hvae.elbo(x, Stream(0))
    terms = bound.prior + bound.diffusion
    for progress, weight in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        torch.testing.assert_close(hvae.loss(x, Draw(Stream(0), progress)).total, weight * terms - bound.reconstruction)
    hvae, x = make("binary vectors")
    bound = hvae.elbo(x, Stream(0))
    every = torch.cat([bound.steps, bound.prior[:, None]], 1)
    expected = torch.maximum(every, 0.1 * double([5, 2, 1, 1])).sum(1) - bound.reconstruction
    torch.testing.assert_close(hvae.loss(x, Draw(Stream(0))).total, expected)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"num_latents": 0}, "num_latents is 0"), ({"warmup": 2.0}, "warmup=2"), ({"decoder": "bernoulli"}, "bernoulli")],
)
def test_what_makes_no_sense_is_refused(settings, reason):
    with pytest.raises(InputError, match=reason):
        HierarchicalVAE((5,), None, **settings)


def test_examples_of_another_shape_are_refused():
    hvae, _ = make("vectors")
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        hvae.elbo(draw(4, 6), Stream(0))
