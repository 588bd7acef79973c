"""One likelihood per example, held against densities that are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from known import mixture_log_prob, mixture_run

from lowerbound import GaussianMixture, LinearGamma, Stream, elbo
from lowerbound.data import Examples, Standardisation, open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.denoiser.exact import Empirical
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import DiscretizedGaussian, LevelPosterior
from lowerbound.models import Diffusion, Effort
from lowerbound.run import Run
from lowerbound.run.examples import check_examples, conditions
from lowerbound.scoring import score
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.folder import RunFolder

DATASET = open_dataset("mixture")


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Run:
    return mixture_run(tmp_path_factory.mktemp("known"))[0]


@pytest.fixture(scope="module")
def discrete(tmp_path_factory) -> Run:
    """A run of pairs of bytes, half of them 3 and 200, half 100 and 7."""
    dataset = assemble("pairs", np.tile(np.array([[3, 200], [100, 7]], np.uint8), (10, 1)), layout="ND")
    denoiser = Empirical(dataset.spec.encoding.encode(dataset.examples[:2]), LinearGamma(-13.3, 9.0))
    folder = RunFolder(tmp_path_factory.mktemp("pairs"))
    return Run(
        folder,
        recipe(dataset, DataConfig("pairs")),
        dataset.spec,
        Diffusion(denoiser, LevelPosterior(256), num_levels=256),
        {},
    )


def test_the_score_is_the_density_of_that_example_in_its_own_units(known):
    raw = DATASET.examples[:6]
    exact = mixture_log_prob(raw).numpy()
    # many draws of each: the same example under other numbers
    nats = score(known, np.repeat(raw, 3000, 0), Effort(16), batch_size=18_000).nats.reshape(6, 3000)
    error = nats.std(1) / 3000**0.5
    assert exact.std() > 8 * error.max()
    # 0.01: what the finite ends of gamma leave
    assert (np.abs(nats.mean(1) - exact) < 4 * error + 0.01).all()


def test_the_score_of_levels_is_their_probability(discrete):
    raw = np.repeat(np.array([[3, 200], [100, 7]], np.uint8), 500, 0)
    scores = score(discrete, raw, Effort(64), batch_size=1000)
    nats = scores.nats.reshape(2, 500)
    error = nats.std(1) / 500**0.5
    assert error.max() < 0.05
    # each is one of two: a bound, whose decoder and prior cost next to nothing
    assert (np.abs(nats.mean(1) + math.log(2)) < 4 * error + 0.02).all()
    assert (scores.normalisation == 0).all()
    assert scores.kind == "bound (continuous time)"


def test_a_decoder_that_uses_the_network_is_given_its_prediction(discrete):
    model = Diffusion(discrete.denoiser, DiscretizedGaussian(256, std=0.01), num_levels=256)
    run = dataclasses.replace(discrete, model=model)
    scores = score(run, np.array([[3, 200]], np.uint8), Effort(1))
    # the denoiser sees at the least noise which example it is, so half a bin on each side of the mean is left
    mass = math.erf(1 / 256 / 0.01 / math.sqrt(2))
    assert scores.reconstruction[0] == pytest.approx(-math.log2(mass), rel=1e-3)


def test_terms_add_up(known):
    scores = score(known, DATASET.examples[:5], Effort(8))
    terms = scores.reconstruction + scores.prior + scores.diffusion + scores.normalisation
    assert np.abs(terms - scores.bits_per_dim).max() < 1e-12
    assert np.abs(scores.bits_per_dim + scores.nats / (2 * math.log(2))).max() < 1e-12
    assert scores.kind == "bound (continuous time, of the density)"
    assert scores.num_calls == 8


@pytest.mark.parametrize("num_steps", [None, 10, 4])
def test_an_example_has_one_score_in_any_company(known, num_steps):
    raw = DATASET.examples[:12]
    settings = {"effort": Effort(6, num_steps), "seed": 3}
    whole = score(known, raw, **settings)
    for batch_size in (1, 5):
        parts = score(known, raw, batch_size=batch_size, **settings)
        assert np.abs(whole.nats - parts.nats).max() < 1e-5
        assert np.abs(whole.diffusion_error - parts.diffusion_error).max() < 1e-5
    chosen = np.array([9, 2])
    few = score(known, raw[chosen], numbers=chosen, **settings)
    assert np.abs(few.nats - whole.nats[chosen]).max() < 1e-5
    assert np.abs(score(known, raw, **{**settings, "seed": 4}).nats - whole.nats).min() > 1e-5


@pytest.mark.parametrize("num_steps", [None, 16, 64])
def test_the_error_of_an_example_is_the_spread_of_its_scores(known, num_steps):
    raw = np.repeat(DATASET.examples[:30], 80, 0)
    scores = score(known, raw, Effort(16, num_steps), batch_size=2400)
    spread = scores.diffusion.reshape(30, 80).var(1, ddof=1).mean() ** 0.5
    predicted = (scores.diffusion_error**2).mean() ** 0.5
    # the trend over time that the differences of neighbours keep makes it too large rather than too small
    assert 0.95 * spread < predicted < 1.3 * spread


def test_one_call_has_no_error(known):
    assert np.isnan(score(known, DATASET.examples[:1], Effort(1)).diffusion_error).all()


@pytest.mark.parametrize("num_times", [3, None])
def test_a_chain_s_scores_are_its_bound(known, num_times):
    raw = DATASET.examples[:3000]
    scores = score(known, raw, Effort(num_times, 10), batch_size=3000)
    chain = torch.linspace(0, 1, 11, dtype=torch.float64)
    x = known.encode(raw)
    bound = elbo(known.denoiser, known.diffusion.decoder, x, chain, noise=Stream(0)).diffusion.numpy() / (
        2 * math.log(2)
    )
    difference = scores.diffusion - bound
    assert abs(difference.mean()) < 4 * difference.std() / len(raw) ** 0.5
    assert scores.num_calls == (num_times or 10)
    assert scores.kind == "bound (10 steps, of the density)"


def test_calls_are_by_default_the_more_the_smaller_an_example(known):
    assert score(known, DATASET.examples[:1]).num_calls == 256
    assert score(known, DATASET.examples[:1], Effort(num_steps=1)).kind.startswith("bound (1 step,")


@pytest.mark.parametrize("name", ["num_draws", "num_steps", "importance"])
def test_counts_start_at_one(known, name):
    with pytest.raises(InputError, match=f"{name} is 0"):
        Effort(**{name: 0})
    with pytest.raises(InputError, match="batch_size is 0"):
        score(known, DATASET.examples[:1], batch_size=0)


def test_a_denoiser_without_likelihood_is_refused_with_the_reason(known):
    guided = GaussianMixture(known.denoiser.weights, known.denoiser.means, known.denoiser.covariances, LinearGamma())
    guided.no_likelihood = "it is guided"
    with pytest.raises(InputError, match="no likelihood: it is guided"):
        score(known.around(guided), DATASET.examples[:1])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((2, 3), np.uint8), r"2 examples of shape \(3,\); .* takes examples of shape \(2,\)"),
        (np.zeros((0, 2), np.uint8), "0 examples"),
        (np.zeros((2, 2), np.float32), "values of type float32; .* of integers from 0 to 255"),
        (np.full((2, 2), 256), "values from 256 to 256; .* of integers from 0 to 255"),
        (np.full((2, 2), -1), "values from -1 to -1"),
    ],
)
def test_what_does_not_fit_levels_is_refused(discrete, raw, message):
    with pytest.raises(InputError, match=f"file: {message}"):
        check_examples(discrete, raw, "file")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((2, 2), np.int64), "values of type int64; .* of finite floats"),
        (np.array([[0.0, 1.0], [math.nan, 0.0]]), r"1 of 2 examples hold NaN or infinity \(example 1\)"),
    ],
)
def test_what_does_not_fit_a_density_is_refused(known, raw, message):
    with pytest.raises(InputError, match=message):
        score(known, raw)


def test_conditions_go_by_name(known):
    spec = dataclasses.replace(known.spec, class_names=("a", "b", "c"))
    data = dataclasses.replace(known.config.data, conditional=True)
    run = dataclasses.replace(known, spec=spec, config=dataclasses.replace(known.config, data=data))
    values = DATASET.examples[:4]
    labelled = Examples("file", values, "ND", labels=np.array([1, 0, 1, 2]), class_names=("a", "c", "x"))
    assert conditions(run, labelled, np.array([0, 1, 2])).tolist() == [2, 0, 2]
    with pytest.raises(InputError, match="no label 'x'"):
        conditions(run, labelled, np.arange(4))
    assert conditions(run, Examples("file", values, "ND"), np.arange(4)) is None
    assert conditions(known, labelled, np.arange(4)) is None
    assert score(run, values, Effort(1)).kind.endswith("given no condition)")
    assert score(run, values, Effort(1), cond=torch.zeros(4).long()).kind.endswith("given its condition)")


def test_condition_vectors_have_one_length(known):
    spec = dataclasses.replace(known.spec, vectors=Standardisation((1.0, 1.0, 0.0), (1.0, 1.0, 0.5)))
    data = dataclasses.replace(known.config.data, conditional=True)
    run = dataclasses.replace(known, spec=spec, config=dataclasses.replace(known.config, data=data))
    examples = Examples("file", DATASET.examples[:4], "ND", conditions=np.ones((4, 3), np.float32))
    assert conditions(run, examples, np.arange(2)).tolist() == [[0.0, 0.0, 2.0]] * 2
    assert conditions(run, dataclasses.replace(examples, conditions=None), np.arange(2)) is None
    with pytest.raises(InputError, match=r"file: .*\(2, 2\).* of 3 features"):
        conditions(run, dataclasses.replace(examples, conditions=np.ones((4, 2), np.float32)), np.arange(2))
