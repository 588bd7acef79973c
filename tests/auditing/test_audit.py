"""Right densities pass, and each planted fault is caught by the check that is named with it."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import distributions

from lowerbound.auditing import audit
from lowerbound.auditing.subject import Subject, as_subject
from lowerbound.errors import InputError

COVARIANCE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.09]]).double()
MEAN = torch.tensor([3.0, 0.0, -1.0]).double()
TRUTH = distributions.MultivariateNormal(MEAN, COVARIANCE)
LOG_SCALE = float(COVARIANCE.diag().log().sum() / 2)
NUM = {"num_draws": 4000, "num_samples": 2000}
IMPORTANCE = "normalisation by importance sampling"
EDGE = 1.5 * COVARIANCE.diag().sqrt()
LAW, COVERAGE = "samples against density", "coverage of highest-density regions"


def sample(num):
    return TRUTH.sample((num,))


def log_prob(x):
    return TRUTH.log_prob(torch.as_tensor(x))


def right(name):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]])
    match name:
        case "a Gaussian":
            return TRUTH
        case "one dimension":
            return distributions.StudentT(torch.tensor(5.0).double())
        case "matrices":
            return distributions.Independent(distributions.Normal(torch.zeros(2, 2).double(), 1.0), 2)
        case "a kernel density":
            return KernelDensity(bandwidth=0.3).fit(points)
        case "a mixture of scikit-learn":
            return GaussianMixture(3, random_state=0).fit(points)
        case "a spline flow":
            import zuko

            torch.manual_seed(0)
            return zuko.flows.NSF(2, transforms=2)
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    ["a Gaussian", "one dimension", "matrices", "a kernel density", "a mixture of scikit-learn", "a spline flow"],
)
def test_right_densities_pass(name):
    found = audit(right(name), **NUM)
    assert found.verdict == "pass", str(found)
    assert all(check.verdict == "pass" for check in found.checks), str(found)


def probes_summed(x):
    """A flow whose divergence is estimated by eight random probes that are added and never divided by eight."""
    x = torch.as_tensor(x)
    root = torch.linalg.cholesky(COVARIANCE)
    unit = torch.linalg.solve_triangular(root, (x - MEAN).T, upper=False).T
    log_root = torch.diag(root.diag().log())  # of one unit of time, the trace of the flow's matrix
    signs = torch.randint(0, 2, (8, len(x), 3), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    traces = torch.einsum("kni,ij,knj->kn", signs.double(), log_root, signs.double())
    return distributions.Normal(0.0, 1.0).log_prob(unit).sum(1) - traces.sum(0)


def trace_missing(x):
    root = torch.linalg.cholesky(COVARIANCE)
    unit = torch.linalg.solve_triangular(root, (torch.as_tensor(x) - MEAN).T, upper=False).T
    return distributions.Normal(0.0, 1.0).log_prob(unit).sum(1)


def jacobian_forgotten(x):
    """A density of values normalised to unit variance, taken for one of the values themselves."""
    return log_prob(x) + LOG_SCALE


FAULTS = {
    "probes summed": (probes_summed, {}, IMPORTANCE, "trace"),
    "trace missing": (trace_missing, {}, IMPORTANCE, "trace"),
    "Jacobian forgotten": (jacobian_forgotten, {}, IMPORTANCE, "Jacobian of a normalisation to unit variance is missing"),
    "wrong sign": (lambda x: -log_prob(x), {}, "never above the proposal", "wrong sign"),
    "mean over dimensions": (lambda x: log_prob(x) / 3, {}, IMPORTANCE, "mean over dimensions"),
    "bits": (lambda x: log_prob(x) / math.log(2), {}, IMPORTANCE, "in bits"),
    "unnormalised energy": (lambda x: log_prob(x) + 0.7, {}, IMPORTANCE, "constant"),
    "clipped tails": (
        log_prob,
        {"sample": lambda num: MEAN + (sample(num) - MEAN).clamp(-EDGE, EDGE)},
        LAW,
        "another distribution",
    ),
    "samples of another temperature": (
        log_prob,
        {"sample": lambda num: MEAN + 0.8 * (sample(num) - MEAN)},
        COVERAGE,
        "narrower",
    ),
    "samples from another distribution": (
        log_prob,
        {"sample": lambda num: MEAN + torch.randn(num, 3, dtype=torch.float64) * COVARIANCE.diag().sqrt()},
        "entropy",
        "another model",
    ),
    "a batch's own statistics": (
        lambda x: log_prob(x) + torch.as_tensor(x).mean() - torch.as_tensor(x).median(),
        {},
        "batches",
        "another density in another batch",
    ),
    "a random figure without error": (lambda x: log_prob(x) + 0.1 * torch.randn(len(x)), {}, "repeats", "states no error"),
    "a score of the other sign": (log_prob, {"score": lambda x: (x - MEAN) @ COVARIANCE.inverse()}, "score", "sign"),
    "above the truth": (
        lambda x: log_prob(x) + 0.3 * torch.exp(-((torch.as_tensor(x) - MEAN) ** 2).sum(1)),
        {"truth": TRUTH},
        "never above the truth",
        "no normalised density",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    function, given, name, words = FAULTS[fault]
    torch.manual_seed(0)
    found = audit(function, **{"sample": sample, **given}, **NUM)
    assert found.verdict == "fail"
    assert found[name].verdict == "fail", str(found)
    assert words in found[name].remedy, str(found)


def test_test_data_in_training_and_data_of_levels_are_caught():
    x = sample(300).numpy()
    found = audit(TRUTH, data=x[:100], train=x[50:], **NUM)
    assert found["test data apart from training data"].verdict == "fail"
    assert "50 of 100" in found["test data apart from training data"].finding
    assert found["data of levels"].verdict == "pass"
    assert audit(TRUTH, data=x[:100], train=x[100:], **NUM).verdict == "pass"
    rounded = audit(TRUTH, data=x.round(1), **NUM)
    assert rounded["data of levels"].verdict == "fail"
    assert "0.1" in rounded["data of levels"].remedy


@pytest.mark.parametrize(("uniform", "verdict"), [(True, "fail"), (False, "pass")])
def test_uniform_draws_of_a_heavy_tailed_integral_are_caught(uniform, verdict):
    """Draws of u^-1.2 at uniform u, whose mean is infinite, against normal ones."""

    def draws(x):
        rng = np.random.default_rng(0)
        t = rng.uniform(size=(len(x), 400))
        if uniform:
            return t**-1.2
        return np.ones_like(t) * 5 + rng.standard_normal(t.shape)

    found = audit(TRUTH, draws=draws, **NUM)
    assert found["tails of the draws"].verdict == verdict, str(found)


def test_a_stated_error_is_held_against_repeats():
    def subject(factor):
        generator = np.random.default_rng(0)

        def noisy(x):
            return log_prob(x).numpy() + 0.2 * generator.standard_normal(len(x)), np.full(len(x), 0.2 * factor)

        return Subject("noisy", noisy, lambda num, seed: sample(num).numpy())

    assert audit(subject(1.0), **NUM)["repeats"].verdict == "pass"
    assert audit(subject(0.4), **NUM)["repeats"].verdict == "fail"


def test_what_cannot_be_told_is_said():
    """In 40 dimensions a ring of bananas is beyond any mixture that is fitted to it."""
    num_dims = 40
    base = distributions.Independent(distributions.Normal(torch.zeros(num_dims).double(), 1.0), 1)

    def bend(x, sign):
        head, tail = x[:, :1], x[:, 1:]
        return torch.cat([head, tail + sign * 3 * head**2], 1)

    found = audit(
        lambda x: base.log_prob(bend(torch.as_tensor(x), -1)), sample=lambda num: bend(base.sample((num,)), 1), **NUM
    )
    assert found[IMPORTANCE].verdict == "can't tell", str(found)
    assert "k-hat" in found[IMPORTANCE].remedy
    assert found.verdict == "pass"


def test_a_mass_is_summed():
    def mass(x):
        return torch.distributions.Binomial(4, 0.3).log_prob(torch.as_tensor(x)[:, 0])

    support = np.arange(5.0)[:, None]
    assert audit(mass, support=support).verdict == "pass"
    assert audit(lambda x: mass(x) + 0.01, support=support)["normalisation by summing"].verdict == "fail"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("text", "neither log_prob"),
        (log_prob, "has no sample"),
        (lambda x: log_prob(x)[:, None], "one number for each point"),
        (lambda x: torch.zeros(3), "one number for each point"),
        (distributions.Normal(torch.zeros(3), 1.0), r"a batch of densities of the shape \(3,\)"),
    ],
)
def test_what_cannot_be_audited_is_refused(model, words):
    given = {} if words == "has no sample" else {"sample": sample}
    with pytest.raises(InputError, match=words):
        audit(model, **given)


@pytest.mark.parametrize(("value", "words"), [(math.nan, "are NaN"), (-math.inf, "all log densities are -inf")])
def test_what_is_no_number_is_said_to_be_none(value, words):
    found = audit(lambda x: torch.full((len(x),), value), sample=lambda num: torch.randn(num, 2), **NUM)
    for name in ("normalisation by quadrature", IMPORTANCE):
        assert found[name].verdict == "fail"
        assert words in found[name].finding
        assert "a log density is a number" in found[name].remedy


def test_the_random_state_stays():
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    audit(right("one dimension"), **NUM)
    assert torch.equal(torch.rand(1), before)


def test_a_mixture_that_draws_the_same_each_time_is_asked_for_others():
    """A proposal is fitted to some samples and others are held against it; test points are no training points."""
    mixture = right("a mixture of scikit-learn")
    draw = as_subject(mixture).sample
    assert draw is not None
    assert (draw(50, 1) == draw(50, 1)).all()
    assert not np.isin(draw(50, 1), draw(50, 2)).any()
    assert (mixture.sample(50)[0] == mixture.sample(50)[0]).all()
