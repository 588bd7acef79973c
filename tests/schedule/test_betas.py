"""Published tables of betas: their constants, and the second implementation's numbers at every t."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import double

from lowerbound.errors import InputError
from lowerbound.likelihood import prior_kl
from lowerbound.reverse import posterior
from lowerbound.schedule import LinearGamma, betas

TABLES = {
    "DDPM": (betas.linear, paper.ddpm_betas),
    "latent diffusion": (betas.scaled_linear, paper.latent_diffusion_betas),
    "iDDPM": (betas.cosine, paper.cosine_betas),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("num_steps", [2, 50, 1000])
def test_tables_equal_the_second_implementation(name, num_steps):
    ours, theirs = (make(num_steps) for make in TABLES[name])
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)
    schedule = betas.from_betas(ours)
    alpha_bar = paper.Chain(theirs).alpha_bar[1:]
    assert len(schedule.times) == num_steps
    alpha, sigma = schedule(schedule.times)
    np.testing.assert_allclose(alpha.square().numpy(), alpha_bar, rtol=1e-10)
    np.testing.assert_allclose(sigma.square().numpy(), 1 - alpha_bar, rtol=1e-9)


@pytest.mark.parametrize(("name", "snr"), [("DDPM", 4.036e-5), ("latent diffusion", 4.68e-3), ("iDDPM", 2.43e-9)])
def test_published_terminal_signal_to_noise_ratios(name, snr):
    assert math.exp(-betas.from_betas(TABLES[name][0]()).gamma_max) == pytest.approx(snr, rel=2e-3)


# t, alpha_bar, posterior variance, KL weight on |x - x_hat|^2, KL weight on |eps - eps_hat|^2
GOLDEN = [
    (2, 0.9997800921, 5.4531877e-5, 2726.3212, 0.59967151),
    (10, 0.9981052048, 2.3818203e-4, 45.531453, 0.08643656),
    (500, 0.07858724288, 0.010031355, 4.6979377e-4, 0.0055081965),
    (1000, 4.035829765e-5, 0.019999984, 4.1185295e-7, 0.010204502),
]


@pytest.mark.parametrize(("step", "alpha_bar", "variance", "weight_x", "weight_eps"), GOLDEN)
def test_golden_values(step, alpha_bar, variance, weight_x, weight_eps):
    schedule = betas.from_betas(betas.linear())
    s, t = schedule.levels(schedule.times[step - 2 : step])
    assert t.alpha**2 == pytest.approx(alpha_bar, rel=1e-6)
    assert posterior(t, s).variance == pytest.approx(variance, rel=1e-6)
    assert 0.5 * (math.exp(-s.gamma) - math.exp(-t.gamma)) == pytest.approx(weight_x, rel=1e-6)
    assert 0.5 * math.expm1(t.gamma - s.gamma) == pytest.approx(weight_eps, rel=1e-6)


@pytest.mark.parametrize(("step", "alpha_bar", "variance", "weight_x", "weight_eps"), GOLDEN)
def test_golden_values_of_the_second_implementation(step, alpha_bar, variance, weight_x, weight_eps):
    chain = paper.Chain(paper.ddpm_betas())
    assert chain.alpha_bar[step] == pytest.approx(alpha_bar, rel=1e-6)
    assert chain.beta_tilde(step) == pytest.approx(variance, rel=1e-6)
    assert chain.kl_weight_x(step) == pytest.approx(weight_x, rel=1e-6)
    assert chain.kl_weight_eps(step) == pytest.approx(weight_eps, rel=1e-6)


def test_published_prior_terms():
    """In bits per dimension of data with a mean square of a quarter."""
    x = double([[0.5, -0.5]])
    ddpm, vdm = betas.from_betas(betas.linear()), LinearGamma()
    bits = [prior_kl(x, schedule.level(1.0)).mean().item() / math.log(2) for schedule in (ddpm, vdm)]
    assert bits == pytest.approx([7e-6, 1.2e-3], rel=0.05)


def test_betas_out_of_range_are_refused():
    for bad in ([0.1, 0.0], [0.1, 1.0], [0.1, math.nan], [-0.1, 0.1], [0.1]):
        with pytest.raises(InputError):
            betas.from_betas(torch.tensor(bad))
    for make, _ in TABLES.values():
        with pytest.raises(InputError):
            make(1)
