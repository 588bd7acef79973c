"""The hybrid loss: which of its two parts teaches what, and that it is the sum that it claims to be."""

import math

import pytest
import torch
from oracles import Known, WithMix, double, draw, gaussian, mixture, sigma_points
from torch import nn

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.encoder import Latent, encode
from lowerbound.errors import InputError
from lowerbound.likelihood import elbo, step_kl
from lowerbound.likelihood.decoder import GaussianDecoder
from lowerbound.rng import Stream
from lowerbound.schedule import Cosine, LinearGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.theory.hybrid import hybrid

CHAIN = torch.linspace(0, 1, 6, dtype=torch.float64)
NUM_STEPS = 5
PLACES = (torch.arange(NUM_STEPS, dtype=torch.float64) + 0.5) / NUM_STEPS


class TwoHeads(nn.Module):
    """One layer for the mean, another for the mix of variances."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mean, self.mix = (nn.Linear(2, 2).double() for _ in range(2))

    def forward(self, x, gamma, cond):
        return torch.cat([self.mean(x), self.mix(x)], 1)


def gradients(value, denoiser):
    """Of the mean's parameters and of the mix's."""
    heads = denoiser.network.mean, denoiser.network.mix
    return [
        torch.autograd.grad(value, list(head.parameters()), retain_graph=True, materialize_grads=True) for head in heads
    ]


def parts(denoiser, x, noise):
    """L_simple and K - 1 times the step's KL of each example at PLACES, the latents drawn as the encoder draws them."""
    first, second = noise
    s, t = (denoiser.schedule.level(CHAIN[k : k + NUM_STEPS]) for k in (0, 1))
    x_s = s.alpha[:, None] * x + s.sigma[:, None] * first
    x_t = encode(Latent(x_s, s), t).sample(Known([second]))
    prediction = denoiser(x_t, t)
    eps = (x_t - t.alpha[:, None] * x) / t.sigma[:, None]
    return ((eps - prediction.eps) ** 2).sum(1), NUM_STEPS * step_kl(prediction, x, s, "learned").sum(1)


@pytest.mark.parametrize("target", ["eps", "x", "v"])
@pytest.mark.parametrize("vlb_weight", [0.001, 2.0])
def test_the_mean_learns_from_l_simple_and_the_mix_from_the_bound(target, vlb_weight):
    denoiser = NetworkDenoiser(TwoHeads(), LinearGamma(-5.0, 5.0), (2,), target, learned_variance=True)
    x, noise = draw(NUM_STEPS, 2), list(draw(2, NUM_STEPS, 2, seed=1))
    ours = hybrid(denoiser, x, CHAIN, noise=Known(noise), place=PLACES, vlb_weight=vlb_weight)
    simple, vlb = parts(denoiser, x, noise)
    torch.testing.assert_close(ours, simple + vlb_weight * vlb, rtol=1e-9, atol=1e-9)
    mean, mix = gradients(ours.sum(), denoiser)
    for gradient, expected in zip(mean, gradients(simple.sum(), denoiser)[0], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)
    for gradient, expected in zip(mix, gradients(vlb_weight * vlb.sum(), denoiser)[1], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
        assert gradient.abs().max() > 0
    for gradient in gradients(vlb.sum(), denoiser)[0]:
        assert gradient.abs().max() > 0, "the bound itself would pull at the mean"


@pytest.mark.parametrize("scaling", SCALINGS)
def test_its_expectation_is_l_simple_and_the_weighted_sum_of_the_bounds_steps(scaling):
    """All terms are quadratic in the noise, so that sigma points give their expectations without error."""
    schedule, weight = LinearGamma(-5.0, 5.0, SCALINGS[scaling]), 0.3
    denoiser, x = WithMix(gaussian(schedule), 0.4), double([0.9, -0.2])
    points = sigma_points(4).repeat_interleave(NUM_STEPS, 0)
    noise = Known([points[:, :2], points[:, 2:]])
    ours = hybrid(
        denoiser, x.expand(len(points), 2), CHAIN, noise=noise, place=PLACES.repeat(8), vlb_weight=weight
    ).mean()

    eps = sigma_points(2)

    def steps(reverse):
        bound = elbo(denoiser, GaussianDecoder(), x.expand(4, 2), CHAIN, noise=Known([eps]), reverse=reverse)
        return bound.steps.mean(0)

    # with the posterior's own variance a step's KL is a multiple of the error of eps
    simple = (steps("lower") / (0.5 * torch.expm1(schedule.gamma(CHAIN).diff()))).mean()
    expected = simple + weight * steps("learned").sum()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-9)


def test_places_are_drawn_for_each_example_if_not_given():
    denoiser, x = WithMix(mixture(Cosine()), 0.5), draw(6, 2)
    first, second = (hybrid(denoiser, x, CHAIN, noise=Stream(seed)) for seed in (0, 0))
    assert torch.equal(first, second)
    uniform, normals = double([[0.05], [0.25], [0.45], [0.65], [0.85], [0.99]]), list(draw(2, 6, 2, seed=1))
    drawn = hybrid(denoiser, x, CHAIN, noise=Known(normals, [uniform]))
    assert torch.equal(drawn, hybrid(denoiser, x, CHAIN, noise=Known(normals), place=uniform[:, 0]))


def test_only_observed_entries_count():
    denoiser = WithMix(gaussian(LinearGamma(-5.0, 5.0)), 0.4)
    observed = torch.tensor([[True, False]]).expand(NUM_STEPS, 2)
    x, noise = draw(NUM_STEPS, 2), list(draw(2, NUM_STEPS, 2, seed=1))
    results = [
        hybrid(
            denoiser.given(observed=observed),
            torch.where(observed, x, missing),
            CHAIN,
            noise=Known(noise),
            place=PLACES,
        )
        for missing in (0.0, 9.0, math.nan)
    ]
    assert results[0].isfinite().all()
    for other in results[1:]:
        assert torch.equal(other, results[0])


def test_impossible_arguments_are_refused():
    denoiser, x = WithMix(gaussian(LinearGamma()), 0.4), draw(2, 2)
    with pytest.raises(InputError, match="trained to give it"):
        hybrid(gaussian(LinearGamma()), x, CHAIN, noise=Stream(0))
    for arguments in (
        {"chain": double([0.5])},
        {"chain": double([0.5, 0.1])},
        {"chain": CHAIN, "place": double([0.0, 1.0])},
        {"chain": CHAIN, "place": double([-0.1, 0.5])},
    ):
        with pytest.raises(InputError):
            hybrid(denoiser, x, noise=Stream(0), **arguments)
