"""The bound's derivations: one number on one path, one expectation on all; and the one that fails."""

import importlib.util
import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import paper
import pytest
import torch
from oracles import Known, double, draw, gaussian, make_schedule, mixture, sigma_points
from torch import nn

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.denoiser.exact import Gaussian, GaussianMixture
from lowerbound.errors import InputError
from lowerbound.likelihood import elbo, mean_and_error
from lowerbound.likelihood.decoder import DiscretizedGaussian, GaussianDecoder
from lowerbound.reverse import VARIANCES
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LinearGamma, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.theory.derivations import form_a, form_b, form_b_sampled, luo_45, one_sample, t_sample, two_sample
from lowerbound.times import antithetic_times

ROOT = Path(__file__).parents[2]
DECODER = GaussianDecoder()
WHOLE = {"form A, path": form_a, "form B, path, sampled": form_b_sampled, "form B, path": form_b, "T-sample": t_sample}
ONE = {
    "form A, one term": partial(form_a, whole_path=False),
    "form B, one term, sampled": partial(form_b_sampled, whole_path=False),
    "form B, one term": partial(form_b, whole_path=False),
    "two-sample": two_sample,
    "one-sample": one_sample,
}


def uniform_chain(num_steps):
    return torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)


def evidence(bound):
    """Prior and diffusion, without the reconstruction's own noise."""
    return (bound.prior + bound.diffusion).mean().item()


def whole_path_expectation(derivation, denoiser, x, chain, **arguments):
    """Over all of a path's noise, exact where it enters as a quadratic form: Gaussian data."""
    points = sigma_points(len(chain) * 2).split(2, 1)
    return evidence(derivation(denoiser, DECODER, x.expand_as(points[0]), chain, noise=Known(points), **arguments))


def one_term_expectation(derivation, denoiser, x, chain, **arguments):
    """The same over every step and the noise of its three latents."""
    num_steps = max(len(chain) - 1, 1)
    points = sigma_points(3 * 2)
    place = ((torch.arange(num_steps) + 0.5) / num_steps).double().repeat_interleave(len(points))
    draws = points.repeat(num_steps, 1).split(2, 1)
    noise = Known([draws[0], *draws])  # the first latent, for the reconstruction, comes before
    return evidence(derivation(denoiser, DECODER, x.expand_as(draws[0]), chain, noise=noise, place=place, **arguments))


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_both_forms_are_one_number_on_one_path(scaling, variance):
    """Two factorings of one density: whatever the data, the denoiser, the path."""
    denoiser = mixture(make_schedule("cosine", scaling))
    x = (2 * torch.randint(16, (50, 2), generator=torch.Generator().manual_seed(0)).double() + 1) / 16 - 1
    for decoder in (DECODER, DiscretizedGaussian(16, 0.1)):
        for observed in (None, torch.tensor([[True, False]]).expand(50, 2)):
            first, second = (
                form(
                    denoiser.given(observed=observed), decoder, x, uniform_chain(12), noise=Stream(1), reverse=variance
                )
                for form in (WHOLE["form A, path"], WHOLE["form B, path, sampled"])
            )
            torch.testing.assert_close(first.nats, second.nats, rtol=1e-9, atol=1e-9)
            assert (first.diffusion - second.diffusion).abs().max() > 1e-3, "it is their sums that are equal"


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("variance", VARIANCES)
def test_every_derivation_has_the_bounds_expectation(variance, scaling):
    denoiser, x = gaussian(make_schedule("linear gamma", scaling)), double([[0.9, -0.2]])
    for num_steps in (1, 6):
        chain, points = uniform_chain(num_steps), sigma_points(2)
        expected = evidence(
            elbo(denoiser, DECODER, x.expand_as(points), chain, noise=Known([points]), reverse=variance)
        )
        for expectation, derivations in ((whole_path_expectation, WHOLE), (one_term_expectation, ONE)):
            for name, derivation in derivations.items():
                ours = expectation(derivation, denoiser, x, chain, reverse=variance)
                assert ours == pytest.approx(expected, rel=1e-8), name


@pytest.mark.parametrize("name", [*WHOLE, *ONE])
def test_on_a_mixture_the_mean_is_the_bounds(name):
    """Where nothing is quadratic, within errors; places evenly spread over the batch."""
    denoiser, chain = mixture(LinearGamma(-6.0, 5.0)), uniform_chain(8)
    x = denoiser.sample(20_000, Stream(0))
    place = {"place": antithetic_times(double(0.3), len(x))} if name in ONE else {}
    ours = (WHOLE | ONE)[name](denoiser, DECODER, x, chain, noise=Stream(1), reverse="analytic", **place)
    expected = elbo(denoiser, DECODER, x, chain, noise=Stream(2), reverse="analytic")
    mean, error = mean_and_error(ours.prior + ours.diffusion - expected.prior - expected.diffusion)
    assert abs(mean) < 4 * error


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_path_is_the_papers_densities(scaling):
    """log p(x_0, ..., x_T) - log q(x_1, ..., x_T | x_0), in DDPM's letters and numpy, on the same noise."""
    T, num_levels, std = 7, 16, 0.05
    chain = paper.Chain(np.linspace(0.01, 0.4, T))
    denoiser = mixture(from_betas(betas.linear(T, 0.01, 0.4), SCALINGS[scaling]))
    reference = mixture(from_betas(betas.linear(T, 0.01, 0.4)))
    x = (2 * torch.tensor([[0, 3], [15, 8], [7, 7]]).double() + 1) / num_levels - 1
    eps = [draw(3, 2, seed=t) for t in range(1, T + 1)]

    def predict_x_0(x_t, t):
        return reference(torch.from_numpy(x_t), (t - 1) / (T - 1)).x.numpy()

    latents = [x.numpy()]
    for t in range(1, T + 1):
        latents.append(np.sqrt(chain.alpha[t]) * latents[-1] + np.sqrt(chain.beta[t]) * eps[t - 1].numpy())
    log_q = sum(
        paper.log_normal(latents[t], np.sqrt(chain.alpha[t]) * latents[t - 1], chain.beta[t]) for t in range(1, T + 1)
    )
    log_p = paper.log_normal(latents[T], 0.0, 1.0) + sum(
        paper.log_normal(latents[t - 1], chain.posterior_mean(predict_x_0(latents[t], t), latents[t], t), chain.beta[t])
        for t in range(2, T + 1)
    )
    centre = 1 - 1 / num_levels
    mass = paper.discretized_mass(latents[0], predict_x_0(latents[1], 1), std, 1 / num_levels, -centre, centre)
    expected = (np.log(mass) + log_p - log_q).sum(1)
    decoder, times = DiscretizedGaussian(num_levels, std), denoiser.schedule.times
    for name in ("form A, path", "form B, path, sampled"):
        ours = WHOLE[name](denoiser, decoder, x, times, noise=Known(eps), reverse="upper")
        assert ours.steps.shape == (3, T - 1)
        np.testing.assert_allclose(ours.nats.numpy(), expected, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("name", [*WHOLE, *ONE, "Luo 45"])
def test_the_same_in_every_scaling(name):
    derivation = (WHOLE | ONE | {"Luo 45": luo_45})[name]
    x, eps = draw(3, 2), [draw(3, 2, seed=seed) for seed in range(9)]
    for variance in VARIANCES:
        values = []
        for scaling in SCALINGS:
            denoiser, noise = mixture(make_schedule("cosine", scaling)), Known(eps, [double([[0.1], [0.5], [0.9]])])
            values.append(derivation(denoiser, DECODER, x, uniform_chain(5), noise=noise, reverse=variance).nats)
        for other in values[1:]:
            torch.testing.assert_close(other, values[0], rtol=1e-9, atol=1e-9)


# ------------------------------------------------------------------------------------------------ one latent: a VAE


@pytest.mark.parametrize("time", [0.0, 0.4, 0.8])
def test_a_chain_of_one_latent_is_a_vae(time):
    """Luo 19, E log p(x|z) - KL(q(z|x) || p(z)), in numpy with z = x_1; every derivation, and the bound itself."""
    schedule, num_levels, std = LinearGamma(-5.0, 3.0), 8, 0.6
    denoiser, decoder = mixture(schedule), DiscretizedGaussian(num_levels, std)
    x = (2 * torch.tensor([[0, 3], [7, 4]]).double() + 1) / num_levels - 1
    eps, chain = draw(2, 2), double([time])
    alpha, sigma = (c.item() for c in schedule(double(time)))
    z = alpha * x + sigma * eps
    centre = 1 - 1 / num_levels
    mass = paper.discretized_mass(x.numpy(), denoiser(z, time).x.numpy(), std, 1 / num_levels, -centre, centre)
    closed = np.log(mass).sum(1) - paper.gaussian_kl(alpha * x.numpy(), sigma**2, 0.0, 1.0).sum(1)
    log_ratio = paper.log_normal(z.numpy(), alpha * x.numpy(), sigma**2) - paper.log_normal(z.numpy(), 0.0, 1.0)
    sampled = np.log(mass).sum(1) - log_ratio.sum(1)
    for name, derivation in (WHOLE | ONE | {"Luo 45": luo_45, "the bound": elbo}).items():
        ours = derivation(denoiser, decoder, x, chain, noise=Known([eps]))
        expected = sampled if name in ("form A, path", "form B, path, sampled") else closed
        np.testing.assert_allclose(ours.nats.numpy(), expected, rtol=1e-9, err_msg=name)
        assert torch.equal(ours.diffusion, torch.zeros_like(ours.diffusion))


def test_the_bound_and_the_posteriors_kl_are_the_log_probability():
    """Luo 9 to 16 with one latent in one dimension: log p(x) = ELBO + KL(q(z|x) || p(z|x)), all by quadrature."""
    schedule, num_levels, std, time = LinearGamma(-5.0, 3.0), 8, 0.2, 0.6
    data = GaussianMixture(double([0.4, 0.6]), double([[-0.5], [0.5]]), double([[[0.04]], [[0.02]]]), schedule)
    alpha, sigma = (c.item() for c in schedule(double(time)))
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    step, centre, total = (z[1] - z[0]).item(), 1 - 1 / num_levels, 0.0
    x_hat = data(z, time).x.numpy()
    for level in range(num_levels):
        x = double([[(2 * level + 1) / num_levels - 1]])
        log_mass = np.log(
            np.maximum(paper.discretized_mass(x.numpy(), x_hat, std, 1 / num_levels, -centre, centre), 1e-300)
        )
        joint = log_mass + paper.log_normal(z.numpy(), 0.0, 1.0)
        log_prob = np.log(np.exp(joint).sum() * step)
        log_q = paper.log_normal(z.numpy(), alpha * x.numpy(), sigma**2)
        posterior_kl = (np.exp(log_q) * (log_q - joint + log_prob)).sum() * step
        weights = torch.from_numpy(np.exp(log_q)[:, 0] * step)
        eps = (z - alpha * x) / sigma
        inside = weights > 1e-16  # elsewhere the mass's own logarithm has other roundings, and no weight
        bound = form_a(
            data,
            DiscretizedGaussian(num_levels, std),
            x.expand_as(z)[inside],
            double([time]),
            noise=Known([eps[inside]]),
        )
        assert (weights[inside] * bound.nats).sum().item() + posterior_kl == pytest.approx(log_prob, abs=1e-6)
        total += math.exp(log_prob)
    assert total == pytest.approx(1, abs=1e-9)


# ------------------------------------------------------------------------------------------------ what is wrong with Luo 45


def run_page():
    """What docs/luo_45.md's code prints."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "luo_45.md").read_text(), re.DOTALL)
    assert code is not None
    printed = []
    exec(compile(code[1], "luo_45.md", "exec"), {"print": lambda *words: printed.append(" ".join(map(str, words)))})
    return printed


def luo_45_closed_form(beta):
    """Its value on N(0, 1) data with the exact reverse process p(x_s | x_t) = N(sqrt(1 - beta_t) x_t, beta_t)."""
    kept = 1 - beta
    # E (sqrt(kept_s) x_r - sqrt(kept_t) x_t)^2 of standard normal x_r and x_t with covariance sqrt(kept_s kept_t)
    square = kept[:-1] + kept[1:] - 2 * kept[:-1] * kept[1:]
    steps = 0.5 * (beta[:-1] / beta[1:] - 1 - np.log(beta[:-1] / beta[1:]) + square / beta[1:])
    reconstruction = -0.5 * (1 + np.log(2 * np.pi * beta[0]))
    return reconstruction + 0.5 * np.log(beta[-1]) - steps.sum()


def test_the_pages_figures():
    """Closed forms, the page's text, and what its code prints agree."""
    exact = -0.5 * (1 + math.log(2 * math.pi))
    wrong = luo_45_closed_form(np.linspace(0.05, 0.5, 10))
    assert exact == pytest.approx(-1.420, abs=0.002)
    assert wrong == pytest.approx(-6.242, abs=0.005)
    text = (ROOT / "docs" / "luo_45.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .* \| (-\d+\.\d+) \| (-\d+\.\d+) \|$", text, re.MULTILINE)
    schedules = {10: (0.05, 0.5), 1000: (1e-4, 0.02)}
    assert {int(row[0]) for row in rows} == set(schedules)
    for T, right_printed, wrong_printed in rows:
        assert float(right_printed) == pytest.approx(exact, abs=5e-4)
        expected = luo_45_closed_form(np.linspace(*schedules[int(T)], int(T)))
        assert float(wrong_printed) == pytest.approx(expected, abs=5e-4)
    printed = dict(re.match(r"(\w+) (.*)", line).groups() for line in run_page())
    (log_p, error_p), (right, error_a), (value, error_45) = (
        map(float, printed[name].split(" ± ")) for name in ("exact", "form_a", "luo_45")
    )
    assert log_p == pytest.approx(exact, abs=4 * error_p)
    assert (right, error_a) == (log_p, error_p), "with the exact reverse process form A is log p(x) on every path"
    assert value == pytest.approx(wrong, abs=4 * error_45)


@pytest.mark.parametrize("whole_path", [True, False])
def test_luo_45_falls_short_by_nats_on_the_papers_example(whole_path):
    """Exactly, by sigma points, on the chain itself: the steps alone, form A against Luo 45, both averaged over x."""
    beta = np.linspace(0.05, 0.5, 10)
    denoiser = Gaussian(torch.zeros(2).double(), torch.eye(2).double(), from_betas(betas.linear(10, 0.05, 0.5)))
    expectation = whole_path_expectation if whole_path else one_term_expectation
    right, wrong = (
        np.mean(
            [
                expectation(partial(form, whole_path=whole_path), denoiser, x, denoiser.schedule.times, reverse="upper")
                for x in sigma_points(2)[:, None]
            ]
        )
        / 2
        for form in (form_a, luo_45)
    )
    reconstruction = -0.5 * (1 + np.log(2 * np.pi * beta[0]))
    assert reconstruction - right == pytest.approx(-0.5 * (1 + math.log(2 * math.pi)), abs=1e-9)
    assert reconstruction - wrong == pytest.approx(luo_45_closed_form(beta), abs=1e-9)
    assert wrong - right > 4


# ------------------------------------------------------------------------------------------ as estimators and objectives


@pytest.mark.parametrize("data", ["normal", "mixture"])
def test_variances_are_ordered_as_one_term(data):
    """Var(A) > Var(B sampled) > Var(B in closed form), given x."""
    schedule = LinearGamma(-6.0, 5.0)
    denoiser = mixture(schedule) if data == "mixture" else Gaussian(double([0.0]), double([[1.0]]), schedule)
    x = denoiser.sample(20, Stream(0)).repeat_interleave(2000, 0)
    spreads = []
    for name in ("form A, one term", "form B, one term, sampled", "form B, one term"):
        bound = ONE[name](denoiser, DECODER, x, uniform_chain(10), noise=Stream(1))
        spreads.append((bound.prior + bound.diffusion).reshape(20, 2000).var(1).mean().sqrt().item())
    assert spreads[0] > 1.2 * spreads[1]
    assert spreads[1] > 1.2 * spreads[2]


class Line(nn.Module):
    """A network of two parameters."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(double([0.3, -0.2]))

    def forward(self, x, gamma, cond):
        return self.weights[0] * x + self.weights[1]


@pytest.mark.parametrize("target", ["x", "eps", "v"])
def test_gradients_agree_as_the_values_do(target):
    """On one path A and B are one function of the parameters; in expectation all derivations are."""
    denoiser = NetworkDenoiser(Line(), LinearGamma(-4.0, 4.0), (2,), target)
    parameter, x, chain = denoiser.network.weights, double([[0.9, -0.2]]), uniform_chain(5)

    def gradient(bound):
        return torch.autograd.grad((bound.prior + bound.diffusion).mean(), parameter)[0]

    paths = [
        gradient(WHOLE[name](denoiser, DECODER, x, chain, noise=Stream(0)))
        for name in ("form A, path", "form B, path, sampled")
    ]
    torch.testing.assert_close(*paths, rtol=1e-9, atol=1e-9)
    points = sigma_points(2)
    expected = gradient(elbo(denoiser, DECODER, x.expand_as(points), chain, noise=Known([points])))
    draws = sigma_points(2 * 6).split(2, 1)
    for name, derivation in WHOLE.items():
        ours = gradient(derivation(denoiser, DECODER, x.expand_as(draws[0]), chain, noise=Known(draws)))
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize("name", [*WHOLE, *ONE, "Luo 45"])
def test_only_observed_entries_count(name):
    derivation = (WHOLE | ONE | {"Luo 45": luo_45})[name]
    schedule, chain, x = LinearGamma(-6.0, 5.0), uniform_chain(6), draw(3, 2)
    whole = gaussian(schedule)
    part = Gaussian(whole.means[0, :1], whole.covariances[0, :1, :1], schedule)
    eps, place = [draw(3, 2, seed=seed) for seed in range(9)], [double([[0.1], [0.5], [0.9]])]
    observed = torch.tensor([[True, False]]).expand(3, 2)
    expected = derivation(part, DECODER, x[:, :1], chain, noise=Known([e[:, :1] for e in eps], place))
    given = torch.where(observed, x, math.nan)
    ours = derivation(whole.given(observed=observed), DECODER, given, chain, noise=Known(eps, place))
    torch.testing.assert_close(ours.nats, expected.nats, rtol=1e-9, atol=1e-9)
    assert ours.num_dims.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", [*WHOLE, *ONE, "Luo 45"])
def test_an_example_does_not_depend_on_its_batch(name):
    derivation = (WHOLE | ONE | {"Luo 45": luo_45})[name]
    denoiser, x = mixture(LinearGamma()), draw(4, 2)
    batch = derivation(denoiser, DECODER, x, uniform_chain(5), noise=PerSample(range(4))).nats
    alone = derivation(denoiser, DECODER, x[2:3], uniform_chain(5), noise=PerSample([2])).nats
    torch.testing.assert_close(alone, batch[2:3], rtol=1e-11, atol=1e-11)
    single = derivation(
        mixture(LinearGamma()).float(), DECODER, x.float(), uniform_chain(5), noise=PerSample(range(4))
    ).nats
    assert single.dtype == torch.float32
    assert single.isfinite().all()


def test_impossible_arguments_are_refused():
    denoiser, x, chain = mixture(LinearGamma()), draw(2, 2), uniform_chain(3)
    for arguments, message in (
        ({"place": double([0.1, 0.2])}, "whole_path=False"),
        ({"place": double([0.1, 1.0]), "whole_path": False}, "must be in"),
        ({"place": double([-0.1, 0.5]), "whole_path": False}, "must be in"),
        ({"place": double([math.nan, 0.5]), "whole_path": False}, "must be in"),
        ({"reverse": "learned"}, "needs a network that was trained"),
        ({"reverse": "beta"}, "unknown reverse variance"),
        ({"chain": torch.tensor([])}, "at least 1"),
        ({"chain": torch.tensor([math.nan])}, "at least 1"),
        ({"chain": torch.tensor([1.0, 0.0])}, "increasing"),
    ):
        with pytest.raises(InputError, match=message):
            form_a(
                **({"denoiser": denoiser, "decoder": DECODER, "x": x, "chain": chain, "noise": Stream(0)} | arguments)
            )
    denoiser.no_likelihood = "guidance changes the model at every step"
    for derivation in (*WHOLE.values(), *ONE.values(), luo_45):
        with pytest.raises(InputError, match="guidance changes the model"):
            derivation(denoiser, DECODER, x, chain, noise=Stream(0))


# ------------------------------------------------------------------------------------------------ the theory's premise


def benchmark(name):
    """A file of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reverse_steps_become_gaussian_as_they_shrink():
    """The sum of KL(q(x_s | x_t) || best Gaussian) over a chain of T steps falls as 1 / T^2, its largest step as 1 / T^3.

    With DDPM's two fixed variances the sum falls as 1 / T alone. The analytic variance is the exact one in one dimension.
    """
    premise = benchmark("premise")
    rows = {T: premise.measure(premise.one_dimensional(), T, num_steps=50, num_points=60) for T in (250, 500, 1000)}
    for coarse, fine in ((250, 500), (500, 1000)):
        rate = {
            name: math.log2(rows[coarse][name] / rows[fine][name]) for name in ("best", "largest", "upper", "lower")
        }
        assert rate["best"] == pytest.approx(2, abs=0.1), rate
        assert rate["largest"] == pytest.approx(3, abs=0.15), rate
        assert rate["upper"] == pytest.approx(1, abs=0.05), rate
        assert rate["lower"] == pytest.approx(1, abs=0.05), rate
    for row in rows.values():
        assert row["analytic"] == pytest.approx(row["best"], rel=1e-6)
