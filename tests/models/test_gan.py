"""A GAN's two networks learn from one loss, each from its own part of it, and its discriminator is a density ratio."""

import math

import pytest
import torch
from oracles import draw

from lowerbound.errors import InputError
from lowerbound.levels import level_centres, nearest_level
from lowerbound.models import Draw
from lowerbound.models.gan import GAN, discriminator_loss
from lowerbound.rng import PerSample, Stream

SHAPES = [(3,), (2, 5), (1, 7, 9)]
CASES = [(shape, num_levels) for shape in SHAPES for num_levels in (None, 17)]


def made(shape=(3,), num_levels=None, **settings):
    torch.manual_seed(0)
    model = GAN(shape, num_levels, **{"latent_dims": 4, "width": 8, **settings}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model


def data(shape, num_levels, batch=5):
    x = draw(batch, *shape, seed=3)
    return x if num_levels is None else level_centres(nearest_level(x, num_levels).long(), num_levels).double()


def gradients(model, value):
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    return {name: grad for (name, _), grad in zip(model.named_parameters(), found, strict=True)}


@pytest.mark.parametrize(("shape", "num_levels"), CASES, ids=str)
def test_each_network_gets_the_gradient_of_its_own_objective(shape, num_levels):
    """One backward pass through the sum is that of two losses, each with the other network held."""
    model, x = made(shape, num_levels, r1=0.3), data(shape, num_levels)
    together = gradients(model, model.loss(x, Draw(Stream(1))).total.sum())

    samples = model.sample(len(x), Stream(1))
    x = x.requires_grad_()
    logits = model.discriminator(x)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    told = torch.log(1 + torch.exp(-logits)) + torch.log(1 + torch.exp(model.discriminator(samples)))
    told = told + 0.15 * slope.flatten(1).pow(2).sum(1)
    fooled = torch.log(1 + torch.exp(-model.discriminator(samples)))
    apart = {"discriminator": gradients(model, told.sum()), "generator": gradients(model, fooled.sum())}
    for name, found in together.items():
        torch.testing.assert_close(found, apart[name.partition(".")[0]][name], msg=name)
    torch.testing.assert_close(model.loss(data(shape, num_levels), Draw(Stream(1))).total, told + fooled)


def test_the_penalty_is_the_gradient_of_a_finite_difference():
    """On a discriminator whose slope is measured by differences."""
    without, penalised = (made((2,), r1=r1) for r1 in (0.0, 2.0))
    x = data((2,), None)
    penalty = (penalised.loss(x, Draw(Stream(1))).total - without.loss(x, Draw(Stream(1))).total).detach()
    step = 1e-5 * torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        slopes = torch.stack(
            [(without.discriminator(x + e) - without.discriminator(x - e)) / 2e-5 for e in step], dim=1
        )
    torch.testing.assert_close(penalty, slopes.pow(2).sum(1), rtol=1e-6, atol=1e-9)


def test_the_loss_without_gradients_is_the_same():
    model, x = made(), data((3,), None)
    with torch.no_grad():
        silent = model.loss(x, Draw(Stream(1))).total
    assert not silent.requires_grad
    torch.testing.assert_close(silent, model.loss(x, Draw(Stream(1))).total.detach())


def test_a_discriminator_at_the_log_density_ratio_is_at_its_optimum():
    """Its loss there is 2 ln 2 - 2 JS(p, g), and any other logit's is larger by a positive definite Hessian."""
    p, g = draw(2, 9, seed=5).softmax(1)
    ratio = (p.log() - g.log()).requires_grad_()

    def expected(logit):
        return (p * discriminator_loss(logit, torch.full_like(logit, -math.inf))).sum() + (
            g * discriminator_loss(torch.full_like(logit, math.inf), logit)
        ).sum()

    loss = expected(ratio)
    (slope,) = torch.autograd.grad(loss, ratio)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    middle = (p + g) / 2
    divergence = ((p * (p / middle).log()).sum() + (g * (g / middle).log()).sum()) / 2
    torch.testing.assert_close(loss, 2 * math.log(2) - 2 * divergence)
    for seed in range(5):
        assert expected(ratio + 0.3 * draw(9, seed=seed)) > loss


@pytest.mark.parametrize(("shape", "num_levels"), CASES, ids=str)
def test_samples_belong_to_their_seeds(shape, num_levels):
    model = made(shape, num_levels)
    together = model.sample(4, PerSample([3, 1, 4, 5]))
    assert together.shape == (4, *shape)
    torch.testing.assert_close(model.sample(2, PerSample([4, 1])), together[[2, 1]])
    if num_levels is not None:
        assert together.abs().max() < 1


def test_it_has_no_likelihood_and_says_why():
    for dims, why in ((8, "a surface of 4 dimensions"), (3, "an integral over all of its 4 latents")):
        model = made((dims,))
        assert model.likelihood == "none"
        with pytest.raises(InputError, match=why) as refused:
            model.elbo(data((dims,), None), Stream(0))
        assert model.no_likelihood in str(refused.value)


def test_impossible_settings_are_refused():
    for wrong, said in (
        ({"r1": -1.0}, "r1=-1"),
        ({"r1": math.nan}, "r1=nan"),
        ({"latent_dims": 0}, "latent_dims is 0"),
    ):
        with pytest.raises(InputError, match=said):
            made(**wrong)
    with pytest.raises(InputError, match="1 levels"):
        made(num_levels=1)
    with pytest.raises(InputError, match="examples of shape"):
        made().loss(torch.zeros(2, 4).double(), Draw(Stream(0)))


def test_it_learns_a_gaussian():
    """From the origin to a mean and a spread, by plain simultaneous steps."""
    model = made((1,), r1=0.1, width=16, latent_dims=2).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.0, 0.99))
    noise = Stream(0)
    for _ in range(100):
        x = 1.5 + 0.5 * noise.normal(torch.empty(64, 1))
        optimizer.zero_grad()
        model.loss(x, Draw(noise)).total.mean().backward()
        optimizer.step()
    x = model.sample(2000, Stream(1))
    assert abs(x.mean().item() - 1.5) < 0.3
    assert 0.25 < x.std().item() < 1.0
