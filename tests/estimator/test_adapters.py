"""The adapters, each used once as its library uses it."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from lowerbound import (
    Denoiser,
    DiffusionDensity,
    GaussianDecoder,
    GaussianMixture,
    InputError,
    LevelPosterior,
    LinearGamma,
    PerSample,
    Prediction,
    recipe,
)
from lowerbound.data.dataset import assemble
from lowerbound.models import Diffusion
from lowerbound.run import Run
from lowerbound.training.folder import RunFolder

TINY = DiffusionDensity(steps=150, width=32, depth=1, learning_rate=3e-3)


@pytest.mark.filterwarnings("ignore")
def test_pyod_finds_what_is_far_away():
    pytest.importorskip("pyod.models.base")
    from lowerbound.adapters.pyod import DiffusionDetector

    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(190, 2)), rng.normal([6.0, -6.0], size=(10, 2))])
    detector = DiffusionDetector(contamination=0.05, estimator=TINY).fit(rows)
    assert detector.labels_.sum() == 10
    assert (detector.predict(np.array([[0.0, 0.0], [6.0, -6.0]])) == [0, 1]).all()
    assert np.abs(detector.explain(rows[:5]).sum(1) - detector.decision_function(rows[:5])).max() < 1e-3


@pytest.mark.filterwarnings("ignore")
def test_sbi_trains_it_to_a_posterior(tmp_path, monkeypatch):
    """Of a Gaussian parameter seen with Gaussian noise of its own width: half of the observation, of variance one half."""
    inference = pytest.importorskip("sbi.inference")
    from lowerbound.adapters.sbi import density_estimator

    monkeypatch.chdir(tmp_path)  # where sbi keeps a log
    torch.manual_seed(0)
    prior = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    theta = prior.sample((1000,))
    x = theta + torch.randn(1000, 2)
    trainer = inference.NPE(prior, density_estimator=density_estimator(width=32, depth=1), show_progress_bars=False)
    estimator = trainer.append_simulations(theta, x).train(
        training_batch_size=100, max_num_epochs=80, learning_rate=3e-3
    )
    observed = torch.tensor([[1.0, -1.0]])
    drawn = trainer.build_posterior(estimator).sample((300,), x=observed, show_progress_bars=False)
    assert (drawn.mean(0) - observed[0] / 2).abs().max() < 0.3
    assert (drawn.std(0) - math.sqrt(0.5)).abs().max() < 0.2
    log_p = estimator.log_prob(torch.tensor([[[0.5, -0.5]], [[2.0, 0.0]]]), observed)
    assert log_p.shape == (2, 1)
    assert log_p[0, 0] - log_p[1, 0] == pytest.approx(1.5**2 + 0.5**2, abs=1)
    assert estimator.sample(torch.Size((3, 2)), observed.repeat(4, 1)).shape == (3, 2, 4, 2)


@pytest.mark.filterwarnings("ignore")
def test_sdgym_s_two_functions():
    pandas = pytest.importorskip("pandas")
    from lowerbound.adapters.sdv import get_trained_synthesizer, sample_from_synthesizer

    rng = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "key": np.arange(100),
            "height": rng.normal(170, 9, 100),
            "age": rng.integers(1, 90, 100),
            "code": rng.choice([5, 7], 100),
            "city": rng.choice(["Rome", "Oslo"], 100),
            "left": rng.random(100) < 0.5,
            "since": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(0, 300, 100), "D"),
        }
    )
    kinds = {"key": "id", "height": "numerical", "age": "numerical", "code": "categorical", "city": "categorical"}
    kinds |= {"left": "boolean", "since": "datetime"}
    metadata = {"tables": {"people": {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}}}
    settings = {"steps": 100, "width": 16, "depth": 1, "learning_rate": 3e-3}
    synthesizer = get_trained_synthesizer(table, metadata, **settings)
    drawn = sample_from_synthesizer(synthesizer, 50)
    assert list(drawn.columns) == list(table.columns)
    assert (drawn.dtypes == table.dtypes).all()
    assert abs(drawn["height"].mean() - 170) < 10
    assert set(drawn["code"]) <= {5, 7}
    assert set(drawn["city"]) <= {"Rome", "Oslo"}
    metadata["tables"]["people"]["columns"]["height"]["sdtype"] = "pii"
    with pytest.raises(InputError, match="'height' is pii"):
        get_trained_synthesizer(table, metadata)


class Square(Denoiser):
    """A denoiser of vectors as one of images of 2 x 2."""

    def __init__(self, flat: Denoiser):
        super().__init__(flat.schedule, (1, 2, 2))
        self.flat = flat

    def predict(self, x_t, level, cond, observed):
        x = self.flat.predict(x_t.flatten(1), level, None, None).x
        return Prediction(x_t, level, x.reshape(x_t.shape), self.schedule)


class Still(Denoiser):
    """One that always says the mean."""

    def predict(self, x_t, level, cond, observed):
        return Prediction(x_t, level, torch.zeros_like(x_t), self.schedule)


class _Denoiser(nn.Module):
    """What deepinv's own class asks of a denoiser, where it can't be imported (it needs torchvision)."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.to(device)

    def forward(self, x, sigma, **kwargs):
        raise NotImplementedError


@pytest.fixture
def adapter(monkeypatch):
    """The adapter for deepinv, on its real class if it is there."""
    try:
        import deepinv.models.base  # noqa: F401
    except (ImportError, RuntimeError):
        module = ModuleType("deepinv.models.base")
        module.Denoiser = _Denoiser
        for name in ("deepinv", "deepinv.models"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "deepinv.models.base", module)
    import lowerbound.adapters.deepinv as adapter

    return adapter


def test_deepinv_is_given_the_posterior_mean_in_its_own_units(adapter, tmp_path):
    """Of images that are black or white, each with probability one half: a mean that is known for every noise."""
    images = np.concatenate([np.zeros((5, 1, 2, 2), np.uint8), np.full((5, 1, 2, 2), 255, np.uint8)])
    dataset = assemble("pair", images, layout="NCHW")
    means = dataset.spec.encoding.encode(images[[0, -1]]).flatten(1)
    flat = GaussianMixture(torch.ones(2) / 2, means, 1e-8 * torch.eye(4).repeat(2, 1, 1), LinearGamma(-13.3, 5.0))
    run = Run(RunFolder(tmp_path), recipe(dataset), dataset.spec, Diffusion(Square(flat), LevelPosterior(256)), {})
    denoiser = adapter.RunDenoiser(run)
    noisy = 0.5 + 0.05 * PerSample(range(3)).normal(torch.empty(3, 1, 2, 2))
    for sigma in (0.3, torch.tensor([0.1, 0.3, 1.0])):
        scale = torch.as_tensor(sigma).reshape(-1, 1, 1, 1)
        exact = torch.sigmoid(((noisy - 0.5) / scale**2).sum((1, 2, 3), keepdim=True)).expand_as(noisy)
        assert (denoiser(noisy, sigma) - exact).abs().max() < 1e-3


def test_deepinv_takes_floats_of_one_scale_alone(adapter, tmp_path):
    rng = np.random.default_rng(0)
    for widths, message in (((0.1, 0.1), None), ((0.1, 0.3), "different scales")):
        one = rng.uniform(size=(50, 1, 4, 4))
        dataset = assemble("fields", np.concatenate([width * one for width in widths], 1), layout="NCHW")
        model = Diffusion(Still(LinearGamma(-12.0, 5.0), (2, 4, 4)), GaussianDecoder())
        run = Run(RunFolder(tmp_path), recipe(dataset), dataset.spec, model, {})
        if message is not None:
            with pytest.raises(InputError, match=message):
                adapter.RunDenoiser(run)
        else:
            mean = adapter.RunDenoiser(run)(torch.rand(3, 2, 4, 4), 0.2)
            assert mean.flatten(2)[0, 0].numpy() == pytest.approx(dataset.examples[dataset.train, 0].mean(), rel=1e-4)
