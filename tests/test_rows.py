"""Every sampler with denoisers that guide, that measure and that hold something for each sample of a batch.

The adaptive flow goes on with some samples of a batch: whatever a denoiser holds for each of them goes along.
"""

import pytest
import torch
from oracles import double, draw, mixture

from lowerbound import ClassifierFree
from lowerbound.analytic_variance import WithVariance
from lowerbound.denoiser import Conditioned
from lowerbound.guidance import AutoGuidance, ClassifierGuidance
from lowerbound.inverse import Mask, PosteriorDenoiser
from lowerbound.langevin import AnnealedLangevin
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import ProbabilityFlow, sample
from lowerbound.sampling import SAMPLERS
from lowerbound.schedule import LinearGamma

NUM = 3
DATA = mixture(LinearGamma(-8.0, 6.0))
LABELS = torch.tensor([0, 1, -1])
MEASURED = 0.5 * draw(NUM, 2, seed=1)
OBSERVED = torch.tensor([[True, False], [False, True], [True, False]])


def posterior(rows=slice(None)):
    return PosteriorDenoiser(DATA, Mask(OBSERVED[rows]), MEASURED[rows], 0.3)


def logits(x_t, level):
    return DATA._components(x_t, level, None)[0]


KINDS = {
    "a posterior, a mask for each": posterior,
    "a posterior, one mask": lambda rows=slice(None): PosteriorDenoiser(DATA, Mask(OBSERVED[0]), MEASURED[rows], 0.3),
    "guided by a weaker posterior": lambda rows=slice(None): AutoGuidance(DATA, posterior(rows), 0.5),
    "a guided posterior": lambda rows=slice(None): ClassifierFree(posterior(rows), 2.0),
    "a posterior guided by a classifier": lambda rows=slice(None): ClassifierGuidance(posterior(rows), logits, 1.0),
    "a posterior with a variance": lambda rows=slice(None): WithVariance(posterior(rows), double([0.0]), double([1.0])),
    "a bound condition": lambda rows=slice(None): Conditioned(ClassifierGuidance(DATA, logits, 1.0), LABELS[rows]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_ends_where_it_does_alone(kind):
    x_1, times = 2 * draw(NUM, 2), double([1.0, 0.0])
    cond = None if kind == "a bound condition" else LABELS
    sampler = ProbabilityFlow(1e-2)
    together = sample(KINDS[kind]().given(cond), sampler, x_1, times, Stream(0))
    for i in range(NUM):
        row = slice(i, i + 1)
        denoiser = KINDS[kind](row).given(None if cond is None else cond[row])
        alone = sample(denoiser, sampler, x_1[row], times, Stream(0))
        torch.testing.assert_close(together[row], alone, rtol=1e-9, atol=1e-9, msg=f"{kind}, sample {i}")


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"flow"}))
@pytest.mark.parametrize("kind", ["a guided posterior", "a posterior guided by a classifier", "a bound condition"])
def test_every_sampler_takes_every_combination(kind, name):
    x_1, times = 2 * draw(NUM, 2), double([1.0, 0.6, 0.3, 0.0])
    cond = None if kind == "a bound condition" else LABELS

    # a hundred corrections at each level show no more than ten
    sampler = AnnealedLangevin(num_corrections=10, step_size=1.0) if name == "annealed-langevin" else SAMPLERS[name]

    def drawn(row):
        given = None if cond is None else cond[row]
        return sample(KINDS[kind](row).given(given), sampler, x_1[row], times, PerSample(range(NUM)[row]))

    together = drawn(slice(0, NUM))
    assert together.isfinite().all()
    assert together.abs().max() < 10
    torch.testing.assert_close(together[1:2], drawn(slice(1, 2)), rtol=1e-9, atol=1e-9)


WRAPPERS = {
    "classifier-free": lambda inner: ClassifierFree(inner, 2.0),
    "autoguidance": lambda inner: AutoGuidance(inner, inner, 0.5),
    "a classifier": lambda inner: ClassifierGuidance(inner, logits, 1.0),
    "a posterior": lambda inner: PosteriorDenoiser(inner, Mask(OBSERVED), MEASURED, 0.3),
    "a variance": lambda inner: WithVariance(inner, double([0.0]), double([1.0])),
    "a condition": lambda inner: inner.given(LABELS),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_entries_that_are_there_stay_with_their_examples(name):
    wrapped = WRAPPERS[name](DATA.given(observed=OBSERVED))
    assert torch.equal(wrapped.observed, OBSERVED)
    assert torch.equal(wrapped.rows(torch.tensor([1])).observed, OBSERVED[1:2])
