"""Data with missing entries: trained, scored and held against the marginal densities of what is there."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from lowerbound import Gaussian, GaussianDecoder, LinearGamma, Stream
from lowerbound.data import Affine, Dataset, DataSpec
from lowerbound.data.dataset import assemble
from lowerbound.errors import InputError
from lowerbound.evaluate.likelihood import held_out_likelihood
from lowerbound.evaluate.profile import profile
from lowerbound.models import Diffusion, Draw, Effort
from lowerbound.rng import PerSample
from lowerbound.run import Run
from lowerbound.schedule import CLEAN
from lowerbound.scoring import Flow, score, score_density
from lowerbound.training import Config, recipe
from lowerbound.training.build import build_model
from lowerbound.training.config import DataConfig, DenoiserConfig, NetworkConfig
from lowerbound.training.folder import RunFolder
from lowerbound.training.held_out import held_out_bits
from lowerbound.training.trainer import Trainer

SCALES = torch.tensor([0.5, 2.0, 1.0]).double()
MEAN = torch.tensor([1.0, -3.0, 0.0]).double()
COVARIANCE = SCALES[:, None] * SCALES * 0.8 ** (torch.arange(3)[:, None] - torch.arange(3)).abs()
TRUTH = Gaussian(MEAN, COVARIANCE, LinearGamma())


def gaps(num_rows: int, seed: int = 0) -> np.ndarray:
    """Rows of the Gaussian, 30 % of whose entries are missing, but never all of a row."""
    rows, rng = TRUTH.sample(num_rows, Stream(seed)).numpy(), np.random.default_rng(seed)
    places = rng.random(rows.shape)
    return np.where((places < 0.3) & (places < places.max(1, keepdims=True)), np.nan, rows)


def exact_nats(raw: np.ndarray) -> np.ndarray:
    """Log density of the entries that are there."""
    return TRUTH.log_marginal(torch.from_numpy(raw), CLEAN, torch.from_numpy(~np.isnan(raw))).numpy()


DATASET = assemble("gaps", gaps(1200), layout="ND")


def small(dataset: Dataset, **training: object) -> Config:
    config = recipe(dataset, DataConfig("gaps"))
    settings = {"minutes": None, "steps": 20, "batch_size": 64, "warmup_steps": 20, **training}
    return dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, width=32, depth=2),
        training=dataclasses.replace(config.training, **settings),
    )


def exact_model(spec: DataSpec, gamma_min: float = -12.0, gamma_max: float = 5.0) -> Diffusion:
    """The Gaussian's own denoiser, in the units of an encoding."""
    encoding = spec.encoding
    assert isinstance(encoding, Affine)
    shift, scale = (torch.tensor(values).double() for values in (encoding.shift, encoding.scale))
    mean, covariance = (MEAN - shift) / scale, COVARIANCE / (scale[:, None] * scale)
    return Diffusion(Gaussian(mean, covariance, LinearGamma(gamma_min, gamma_max)), GaussianDecoder())


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Run:
    """A run of the data whose denoiser is the exact one."""
    folder = RunFolder(tmp_path_factory.mktemp("known"))
    return Run(folder, small(DATASET), DATASET.spec, exact_model(DATASET.spec, -13.0, 9.0), {})


def test_the_bound_of_the_exact_denoiser_is_the_marginal_density(known):
    raw = DATASET.examples[[int(np.argmin(DATASET.num_observed)), int(np.argmax(DATASET.num_observed)), 2]]
    draws = score(known, np.repeat(raw, 2000, 0), Effort(64), batch_size=6000)
    nats = draws.nats.reshape(3, 2000)
    error = nats.std(1) / 2000**0.5
    assert error.max() < 0.06
    # 0.02: what the finite ends of gamma leave
    assert (np.abs(nats.mean(1) - exact_nats(raw)) < 4 * error + 0.02).all()
    count = np.repeat((~np.isnan(raw)).sum(1), 2000)
    assert len(set(count)) > 1
    np.testing.assert_allclose(draws.bits_per_dim, -draws.nats / (count * math.log(2)))
    terms = draws.reconstruction + draws.prior + draws.diffusion + draws.normalisation
    np.testing.assert_allclose(terms, draws.bits_per_dim)


def test_the_flow_has_the_marginal_density(known):
    raw = DATASET.examples[:12]
    found = score_density(known, raw, Flow(tolerance=1e-6, max_calls=5000))
    np.testing.assert_allclose(found.nats, exact_nats(raw), atol=0.01)
    np.testing.assert_allclose(found.bits_per_dim, -found.nats / (DATASET.num_observed[:12] * math.log(2)))


def test_held_out_figures_are_means_over_examples_of_bits_for_each_entry_that_is_there(known):
    expected = -exact_nats(DATASET.examples) / (DATASET.num_observed * math.log(2))
    found, _ = held_out_likelihood(known, DATASET, effort=Effort(64))
    bits, error = held_out_bits(known.model, DATASET, 120)
    for (mean, spread), split in ((found.total, "test"), ((bits, error), "validation")):
        assert abs(mean - expected[DATASET.indices(split)].mean()) < 4 * spread
    assert set(found.terms) == {"reconstruction", "prior", "diffusion", "normalisation"}
    of_levels = profile(known, DATASET, num_examples=120)
    terms = of_levels.draws.sum(1) + of_levels.reconstruction + of_levels.prior
    log_det = DATASET.spec.encoding.log_det(DATASET.encoded(DATASET.test)).numpy()
    terms = terms - log_det / (DATASET.num_observed[DATASET.test] * math.log(2))
    assert abs(terms.mean() - expected[DATASET.test].mean()) < 4 * terms.std() / len(terms) ** 0.5
    assert np.isfinite(of_levels.outside).all()


def test_examples_are_refused_that_have_no_entry(known):
    with pytest.raises(InputError, match=r"1 of 2 examples hold nothing but NaN \(example 1\)"):
        score(known, np.array([[0.0, 1.0, 2.0], [np.nan] * 3]))
    with pytest.raises(InputError, match="infinity"):
        score(known, np.array([[0.0, np.inf, np.nan]]))


@pytest.mark.parametrize("target", ["v", "eps"])
def test_what_stands_in_missing_entries_is_never_looked_at(target):
    config = small(DATASET)
    model = build_model(dataclasses.replace(config, denoiser=DenoiserConfig(target=target)), DATASET.spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    x = DATASET.encoded(DATASET.train[:16])
    observed = ~x.isnan()

    def found(x: torch.Tensor, observed: torch.Tensor) -> list[torch.Tensor]:
        given = model.given(observed=observed)
        losses = given.loss(x, Draw(PerSample(range(16)))).total
        gradient = torch.autograd.grad(losses.sum(), list(model.parameters()))
        with torch.no_grad():
            return [losses.detach(), given.elbo(x, PerSample(range(16))).nats, *gradient]

    as_it_is = found(x, observed)
    assert all(values.isfinite().all() for values in as_it_is)
    for filling in (0.0, 9.0, math.inf):
        again = found(torch.where(observed, x, filling), observed)
        assert all(map(torch.equal, as_it_is, again))
    # but which entries are missing is seen, also by those that are there
    t, x_t = torch.full((16,), 0.5), torch.where(observed, x, 0)
    all_there, some_there = (model.denoiser.given(observed=each)(x_t, t).x for each in (None, observed))
    assert (all_there - some_there)[observed].abs().max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective": "simple"},
        {"objective": "sliced"},
        {"times": "importance"},
        {"objective": "form-a"},
        {"objective": "hybrid"},
        {"schedule": "learned-linear"},
        {"schedule": "learned"},
    ],
    ids=str,
)
def test_every_objective_trains_on_what_is_there(settings):
    schedule = settings.pop("schedule", None) if "schedule" in settings else None
    config = small(DATASET, **settings)
    if schedule is not None:
        config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, name=schedule))
    if settings.get("objective") in ("form-a", "hybrid"):
        config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, num_steps=20))
    if settings.get("objective") == "hybrid":
        config = dataclasses.replace(config, denoiser=DenoiserConfig(variance="learned"))
    trainer = Trainer(config, DATASET)
    for _ in range(2):
        loss, norm = trainer.gradient()
        trainer.optimizer.step(1e-3)
        assert math.isfinite(loss)
        assert math.isfinite(norm)
    assert all(parameter.isfinite().all() for parameter in trainer.trained.parameters())


def test_pieces_of_a_batch_have_its_loss_and_gradient():
    whole, pieces = (Trainer(small(DATASET, micro_batch_size=size), DATASET) for size in (None, 10))
    for trainer in (whole, pieces):
        trainer.step = 3
    (loss, norm), (other_loss, other_norm) = whole.gradient(), pieces.gradient()
    assert loss == pytest.approx(other_loss, rel=1e-5)
    assert norm == pytest.approx(other_norm, rel=1e-4)
    # the loss is in bits for each entry that is there, on average over the training split
    assert whole.num_dims == pytest.approx((~np.isnan(DATASET.examples[DATASET.train])).sum(1).mean())


def test_a_model_trained_with_gaps_knows_the_complete_density():
    """A short training: within 0.1 nats per entry of the exact denoiser, whose bound is the density; independent entries
    cost 0.34 more, and a model that fills gaps with the mean learns another distribution."""
    dataset = assemble("gaps", gaps(4000), layout="ND")
    trainer = Trainer(small(dataset, steps=400, batch_size=128, learning_rate=4e-3), dataset)
    for _ in trainer.records():
        pass
    trainer.average.swap()
    exact, model = exact_model(dataset.spec), trainer.model.eval()
    low, high = (getattr(model.denoiser.schedule, name) for name in ("gamma_min", "gamma_max"))
    assert (low, high) == (exact.denoiser.schedule.gamma_min, exact.denoiser.schedule.gamma_max)
    complete = TRUTH.sample(500, Stream(5)).numpy()
    for raw in (complete, gaps(500, seed=6)):
        x = dataset.spec.encoding.encode(raw)
        observed, effort = dataset.spec.observed(x), Effort(8)
        with torch.no_grad():  # of the same times and noise, so that their difference is known well
            ours, best = (
                each.given(observed=observed).elbo(values, PerSample(range(500)), effort)
                for each, values in ((model, x), (exact, x.double()))
            )
        cost = (best.nats - ours.nats.double()) / best.num_dims
        error = cost.std() / 500**0.5
        assert error < 0.015
        assert -4 * error < cost.mean() < 0.1, (cost.mean(), error)


@pytest.mark.parametrize("name", ["vae", "flow", "autoregressive", "gan", "energy"])
def test_other_models_refuse_such_data_before_they_are_trained(name):
    config = recipe(DATASET, DataConfig("gaps"), model=name)
    with pytest.raises(InputError, match=rf"missing entries \(NaN\), which the model {name} does not take"):
        build_model(config, DATASET.spec)


@pytest.mark.parametrize(("shape", "kind"), [((4,), "mlp"), ((2, 6), "unet"), ((1, 4, 4), "unet")])
def test_the_networks_input_alone_grows(shape, kind):
    """Nothing of a network of complete data changes; one that is told what is there has as many inputs more."""
    whole, part = (
        DataSpec("x", shape, Affine((0.0,) * shape[0], (1.0,) * shape[0], has_missing=has_missing))
        for has_missing in (False, True)
    )
    network = NetworkConfig(kind=kind, width=8, multipliers=(1, 2))
    config = dataclasses.replace(small(DATASET), network=network, denoiser=DenoiserConfig())
    before, after = (
        {name: value.shape for name, value in build_model(config, spec).trained.named_parameters()}
        for spec in (whole, part)
    )
    different = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert different == {"network.into.weight"}
    assert after["network.into.weight"][1] == before["network.into.weight"][1] + shape[0]
