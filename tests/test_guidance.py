"""Guidance: on data whose classes are known Gaussians, every score and every conditional mean has a closed form."""

import math

import pytest
import torch
from oracles import SCHEDULES, WithMix, double, draw, make_schedule, mixture
from torch import nn

from lowerbound import grid
from lowerbound.analytic_variance import WithVariance
from lowerbound.denoiser import Conditioned, Denoiser, NetworkDenoiser
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance, ClassifierFree, ClassifierGuidance
from lowerbound.likelihood import GaussianDecoder, check_likelihood, elbo, log_prob
from lowerbound.nn import MLP
from lowerbound.rng import Stream
from lowerbound.samplers import DDIM, Ancestral, sample, start
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.scaling import SCALINGS

TIMES = [0.05, 0.4, 0.8]


class Labelled(Denoiser):
    """The mixture whose components are its classes: given a label a Gaussian, given none the mixture."""

    def __init__(self, schedule):
        super().__init__(schedule, (2,))
        self.all = mixture(schedule)
        self.each = [Gaussian(m, S, schedule) for m, S in zip(self.all.means, self.all.covariances, strict=True)]
        self.num_calls = 0

    def predict(self, x_t, level, cond, observed):
        self.num_calls += 1
        prediction = self.all(x_t, level, None, observed)
        if cond is not None:
            for label, one in enumerate(self.each):
                prediction.x = torch.where((cond == label)[:, None], one(x_t, level, None, observed).x, prediction.x)
        return prediction

    def log_marginal(self, x_t, level, label):
        return self.each[label].log_marginal(x_t, level)

    def classify(self, x_t, level):
        """The logits of p(k | x_t), exactly."""
        logs = [self.log_marginal(x_t, level, label) for label in range(3)]
        return torch.stack(logs, 1) + self.all.weights.log()


@pytest.fixture
def labelled():
    return Labelled(LinearGamma(-8.0, 6.0))


def kinds(denoiser, scale=2.0, interval=None):
    """The three kinds around one denoiser."""
    weak = Gaussian(double([0.0, 0.0]), double([[1.0, 0.0], [0.0, 1.0]]), denoiser.schedule)
    return [
        ClassifierFree(denoiser, scale, interval),
        AutoGuidance(denoiser, weak, scale, interval),
        ClassifierGuidance(denoiser, denoiser.classify, scale, interval),
    ]


def score_of(log_density, x_t):
    x_t = x_t.clone().requires_grad_()
    return torch.autograd.grad(log_density(x_t).sum(), x_t)[0]


def close(ours, theirs, tolerance=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["linear gamma", "rectified flow", "geometric"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_an_exact_classifier_gives_the_model_of_a_class(name, scaling):
    denoiser = Labelled(make_schedule(name, scaling))
    guided, labels, x_t = ClassifierGuidance(denoiser, denoiser.classify, 1.0), torch.tensor([0, 1, 2, 2]), draw(4, 2)
    for t in TIMES:
        with torch.no_grad():
            ours = guided(x_t, t, labels).x
        assert not ours.requires_grad
        close(ours, denoiser(x_t, t, labels).x)
    times = double([0.1, 0.3, 0.6, 0.9])
    close(guided(x_t, times, labels).x, denoiser(x_t, times, labels).x)


@pytest.mark.parametrize("scale", [-0.5, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("t", TIMES)
def test_guided_scores_are_those_of_their_products_of_densities(labelled, scale, t):
    level, x_t, label = labelled.schedule.level(t), draw(5, 2), torch.full((5,), 2)
    free, auto, by_classifier = kinds(labelled, scale)
    p, weak = labelled.all, auto.weak

    def given(y):
        return labelled.log_marginal(y, level, 2)

    ours = free(x_t, t, label).score
    close(ours, score_of(lambda y: scale * given(y) + (1 - scale) * p.log_marginal(y, level), x_t))
    ours = auto(x_t, t, label).score
    close(ours, score_of(lambda y: scale * given(y) + (1 - scale) * weak.log_marginal(y, level), x_t))
    ours = auto(x_t, t).score
    close(ours, score_of(lambda y: scale * p.log_marginal(y, level) + (1 - scale) * weak.log_marginal(y, level), x_t))
    ours = by_classifier(x_t, t, label).score
    # Bayes: log p(c | x_t) is log q(x_t | c) - log q(x_t), so that the two conventions meet
    close(ours, free(x_t, t, label).score)


def test_both_conventions_are_one(labelled):
    x_t, label, weight = draw(5, 2), torch.tensor([0, 1, 2, 0, 1]), 1.7
    ours, other = ClassifierFree.with_weight(labelled, weight), ClassifierFree(labelled, 1 + weight)
    given, without = labelled(x_t, 0.4, label), labelled(x_t, 0.4)
    for view in ("x", "eps", "v", "score", "velocity"):
        close(getattr(ours(x_t, 0.4, label), view), getattr(other(x_t, 0.4, label), view), 0)
        published = (1 + weight) * getattr(given, view) - weight * getattr(without, view)
        close(getattr(ours(x_t, 0.4, label), view), published)


def test_the_neutral_scale_is_the_model_in_one_call(labelled):
    x_t, label = draw(3, 2), torch.tensor([0, 1, 2])
    for guided, expected in zip(kinds(labelled, 1.0)[:2], [label, label], strict=True):
        labelled.num_calls = 0
        close(guided(x_t, 0.4, label).x, labelled.predict(x_t, labelled.schedule.level(0.4), expected, None).x, 0)
        assert labelled.num_calls == 2, "one for each side"
    close(ClassifierGuidance(labelled, labelled.classify, 0.0)(x_t, 0.4, label).x, labelled(x_t, 0.4).x, 0)
    close(ClassifierFree(labelled, 0.0)(x_t, 0.4, label).x, labelled(x_t, 0.4).x)


def test_guidance_acts_inside_its_interval_only(labelled):
    x_t, label = draw(5, 2), torch.tensor([0, 1, 2, 0, 1])
    gammas = double([-7.0, -3.0, 0.0, 2.0, 5.0])
    levels = labelled.schedule.level_at(gammas)
    for always, within, never in zip(
        kinds(labelled), kinds(labelled, 2.0, (-3.0, 2.0)), [label, label, None], strict=True
    ):
        inside = within(x_t, levels, label).x
        close(inside[1:4], always(x_t, levels, label).x[1:4], 0)
        outside = labelled(x_t, levels, never).x
        close(inside[[0, 4]], outside[[0, 4]], 1e-14)
        assert (inside - outside)[1:4].abs().amax(1).min() > 1e-6
        for row, gamma in enumerate(gammas.tolist()):
            close(within(x_t, labelled.schedule.level_at(gamma), label).x[row], inside[row])
    labelled.num_calls = 0
    ClassifierFree(labelled, 2.0, (-3.0, 2.0))(x_t, labelled.schedule.level_at(4.0), label)
    assert labelled.num_calls == 1


def test_an_example_without_condition_stays_unguided(labelled):
    x_t, some = draw(4, 2), torch.tensor([-1, 0, -1, 2])
    for guided in (ClassifierFree(labelled, 3.0), ClassifierGuidance(labelled, labelled.classify, 3.0)):
        difference = (guided(x_t, 0.5, some).x - labelled(x_t, 0.5).x).abs().amax(1)
        assert difference[[0, 2]].max() < 1e-14
        assert difference[[1, 3]].min() > 1e-3


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("cond", [torch.tensor([0, 2, -1]), double([[0.0, 1.0], [2.0, -1.0], [math.nan, math.nan]])])
def test_one_call_of_a_network_makes_both_predictions(cond, learned):
    torch.manual_seed(0)
    declared = {"num_condition_features": 2} if cond.is_floating_point() else {"num_classes": 3}
    network = MLP(2, 4 if learned else 2, width=16, depth=1, **declared).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    denoiser = NetworkDenoiser(network, LinearGamma(), (2,), learned_variance=learned)
    x_t, observed = draw(3, 2), torch.tensor([[True, False], [True, True], [False, True]])
    for t in (0.3, double([0.1, 0.5, 0.9])):
        calls.clear()
        ours = ClassifierFree(denoiser, 2.5)(x_t, t, cond, observed)
        assert len(calls) == 1
        given, without = denoiser(x_t, t, cond, observed), denoiser(x_t, t, None, observed)
        close(ours.x, without.x + 2.5 * (given.x - without.x), 1e-12)
        close(ours.x[2], without.x[2], 1e-12)
        assert (ours.x - without.x)[:2].abs().max() > 1e-3
        close(Conditioned(ClassifierFree(Conditioned(denoiser), 2.5), cond, observed)(x_t, t).x, ours.x, 1e-12)
        assert (ours.variance_mix is None) == (given.variance_mix is None)
        if learned:
            close(ours.variance_mix, given.variance_mix, 1e-12)


def test_variances_stay_those_of_the_model_that_is_guided(labelled):
    gammas, x_vars = double([-8.0, 6.0]), double([0.1, 0.5])
    x_t, label = draw(3, 2), torch.tensor([0, 1, 2])
    for kind in (0, 1, 2):
        wrapped = WithVariance(WithMix(labelled, 0.3), gammas, x_vars)
        wrapped.classify = labelled.classify
        prediction, plain = kinds(wrapped)[kind](x_t, 0.5, label), wrapped(x_t, 0.5, label)
        close(prediction.x_var, plain.x_var, 0)
        close(prediction.variance_mix, plain.variance_mix, 0)


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(0.5), Ancestral("lower"), Ancestral("analytic")])
def test_guided_denoisers_are_denoisers_like_all_others(labelled, sampler):
    """Classifier guidance with scale 1 draws the samples of the class; the others draw, with the condition bound or not."""
    label, times = torch.tensor([0, 1, 2]), grid.uniform(6)
    x_1 = start(labelled.all, 3, Stream(0))
    x_1 = x_1.double()

    def run(denoiser, cond=label):
        return sample(denoiser.given(cond), sampler, x_1, times, Stream(1))

    for guided in kinds(labelled):
        samples = run(guided)
        assert samples.isfinite().all()
        close(run(Conditioned(guided, label), None), samples, 0)
        assert (samples - run(labelled)).abs().max() > 1e-3
    if sampler != Ancestral("analytic"):  # whose variance is the unconditional one's
        close(run(ClassifierGuidance(labelled, labelled.classify, 1.0)), run(labelled), 1e-9)


def test_guidance_of_guidance(labelled):
    x_t, label, other = draw(3, 2), torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0])
    free, auto, by_classifier = kinds(labelled, 1.5)
    for inner in (free, auto, by_classifier):
        both = AutoGuidance(inner, auto.weak, 2.0)
        close(both(x_t, 0.4, label).x, 2 * inner(x_t, 0.4, label).x - auto.weak(x_t, 0.4).x)
        # towards one label by the model itself, towards another by the classifier
        both = ClassifierGuidance(Conditioned(inner, other), labelled.classify, 1.0)
        shift = by_classifier(x_t, 0.4, label).x - labelled(x_t, 0.4).x
        close(both(x_t, 0.4, label).x, inner(x_t, 0.4, other).x + shift / 1.5)
    twice = ClassifierFree(by_classifier, 2.0)(x_t, 0.4, label).x
    close(twice, 2 * by_classifier(x_t, 0.4, label).x - labelled(x_t, 0.4).x)


def test_guidance_by_a_classifier_can_be_differentiated(labelled):
    x_t, label = draw(1, 2), torch.tensor([1])
    guided = ClassifierGuidance(labelled, labelled.classify, 1.0)
    ours, theirs = (
        torch.autograd.functional.jacobian(lambda y, d=each: d(y, 0.4, label).x, x_t) for each in (guided, labelled)
    )
    close(ours, theirs)


def test_hidden_entries_are_not_guided(labelled):
    x_t, observed = draw(2, 2), torch.tensor([[True, False], [False, True]])
    guided = ClassifierGuidance(labelled, labelled.classify, 3.0)
    prediction, plain = guided(x_t, 0.4, torch.tensor([0, 1]), observed), labelled(x_t, 0.4, None, observed)
    close(prediction.x[~observed], plain.x[~observed], 0)


def test_likelihoods_are_refused_with_the_reason(labelled):
    x = draw(3, 2)
    for guided in kinds(labelled):
        for denoiser in (guided, Conditioned(guided), WithVariance(guided, double([0.0]), double([0.1]))):
            for ask in (
                lambda d: elbo(d, GaussianDecoder(), x, noise=Stream(0)),
                lambda d: log_prob(d, x),
                check_likelihood,
            ):
                with pytest.raises(InputError, match=r"no likelihood: .* no one distribution"):
                    ask(denoiser)


def test_what_cannot_guide_is_refused(labelled):
    x_t, schedule = draw(2, 2), labelled.schedule
    free, auto, by_classifier = kinds(labelled)
    for guided in (free, by_classifier):
        with pytest.raises(InputError, match="guidance needs a condition"):
            guided(x_t, 0.5)
    assert auto(x_t, 0.5).x.isfinite().all()
    with pytest.raises(InputError, match="labels from 0 to 3: the classifier knows 0 to 2"):
        by_classifier(x_t, 0.5, torch.tensor([0, 3]))
    with pytest.raises(InputError, match="a classifier guides to labels"):
        by_classifier(x_t, 0.5, draw(2, 2))
    unconditional = NetworkDenoiser(MLP(2, width=8, depth=1).double(), schedule, (2,))
    with pytest.raises(InputError, match="built without conditions"):
        ClassifierFree(unconditional, 2.0)(x_t, 0.5, torch.tensor([0, 1]))
    for scale, interval, message in (
        (math.nan, None, "finite"),
        (math.inf, None, "finite"),
        (2.0, (1.0, 1.0), "lower end first"),
        (2.0, (math.nan, 1.0), "lower end first"),
    ):
        with pytest.raises(InputError, match=message):
            ClassifierFree(labelled, scale, interval)
    other = Gaussian(double([0.0]), double([[1.0]]), schedule)
    exploding = mixture(make_schedule(next(iter(SCHEDULES)), "variance-exploding"))
    for weak in (other, exploding):
        with pytest.raises(InputError, match="the same data"):
            AutoGuidance(labelled, weak, 2.0)
