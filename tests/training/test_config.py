"""Configurations read back as they were written, and say what is wrong with them."""

import dataclasses
import json
import math
import typing

import pytest
import torch
from training.runs import made, tiny_config

from lowerbound import objective
from lowerbound.data import Affine, DataSpec, Levels, open_dataset
from lowerbound.denoiser import ByLevel
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import GaussianDecoder
from lowerbound.rng import Stream
from lowerbound.training import Config, recipe
from lowerbound.training.build import (
    build_decoder,
    build_denoiser,
    build_model,
    build_network,
    build_objective,
    build_schedule,
)
from lowerbound.training.config import (
    CoarseConfig,
    DataConfig,
    DecoderConfig,
    DenoiserConfig,
    ModelConfig,
    NetworkConfig,
    ObjectiveName,
    Purpose,
    ScheduleConfig,
    ScheduleName,
    Target,
    TrainingConfig,
    as_flags,
    differences,
)
from lowerbound.training.folder import RunFolder
from lowerbound.training.reasons import reasons
from lowerbound.training.recipes import unet
from lowerbound.training.trainer import Trainer

CONFIG = Config(DataConfig("digits", image_size=(4, 5)), training=TrainingConfig(steps=3))


def test_round_trip_through_json():
    assert Config.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("training", "learning_rat", 1.0, r"unknown name training\.learning_rat"),
        ("training", "learning_rate", "fast", r"training\.learning_rate is 'fast'"),
        ("training", "batch_size", 1.5, r"training\.batch_size is 1\.5"),
        ("training", "batch_size", 0, "must be positive"),
        ("training", "minutes", 3.0, "give one of the two"),
        ("training", "decay_from", 1.0, "below 1"),
        ("schedule", "name", "lineer", "one of linear-gamma"),
        ("schedule", "num_steps", 0, "at least one step"),
        ("training", "objective", "vlb", "one of elbo"),
        ("network", "multipliers", [1, "2"], r"network\.multipliers"),
    ],
)
def test_mistakes_are_named(section, name, value, message):
    values = CONFIG.to_dict()
    values[section][name] = value
    with pytest.raises(InputError, match=message):
        Config.from_dict(values)


def test_differences_name_each_setting():
    other = dataclasses.replace(CONFIG, training=TrainingConfig(steps=3, seed=4), denoiser=DenoiserConfig("v"))
    found = differences(CONFIG, other)
    assert found == ["denoiser.target: eps against v", "training.seed: 0 against 4"]
    assert [*map(as_flags, found)] == ["--denoiser.target: eps against v", "--seed: 0 against 4"]


@pytest.mark.parametrize("source", ["digits", "moons"])
def test_recipe_is_complete(source):
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source))
    assert Config.from_dict(config.to_dict()) == config
    noise = math.exp(config.schedule.gamma_min / 2)
    if dataset.spec.encoding.num_levels:
        assert noise == pytest.approx(2 / 17 / 6, rel=0.05)


def test_the_objective_of_the_recipe():
    """More weight on noise that can be seen for discrete images, which get two networks if they are large; else what the
    model is."""

    def advised(shape, num_levels, model="diffusion"):
        dataset = made(shape, num_levels)
        config = recipe(dataset, model=model)
        build_model(config, dataset.spec)
        is_balanced = config.training.objective == "balanced"  # and examples are few
        assert (config.training.weight_decay, config.training.average_width) == (
            (0.1, 0.1) if is_balanced else (0.0, 0.05)
        )
        return config.training.objective, config.coarse.split is not None

    assert advised((1, 8, 8), 17) == advised((3, 16, 16), 256) == ("balanced", False)
    assert advised((1, 28, 28), 256) == advised((1, 300), 65_536) == advised((3, 4, 40, 9), 256) == ("balanced", True)
    assert advised((1, 8, 8), None) == advised((5,), 17) == advised((1, 28, 28), 2) == ("elbo", False)
    assert advised((1, 28, 28), 256, "energy") == ("elbo", False)
    binary = recipe(made((1, 28, 28), 2), model="autoregressive").model
    assert (binary.odds, binary.decoder) == (None, None)
    assert advised((1, 8, 8), 17, "score") == ("simple", False)


def test_what_a_recipe_is_for():
    """Of two networks the coarse one learns from more of each batch, the more samples matter."""
    shares = [recipe(made((1, 28, 28), 256), purpose=purpose).coarse.share for purpose in typing.get_args(Purpose)]
    assert dict(zip(typing.get_args(Purpose), shares, strict=True)) == {"likelihood": 0.5, "samples": 0.75, "both": 0.5}
    objectives = [
        recipe(made((1, 8, 8), 17), purpose=each).training.objective for each in ("likelihood", "both", "samples")
    ]
    assert objectives == ["balanced", "balanced", "sigmoid"]
    for dataset, model in (
        (made((5,), None), "diffusion"),
        (made((1, 28, 28), 2), "diffusion"),
        (made((1, 8, 8), None), "diffusion"),
        (made((1, 28, 28), 256), "gan"),
    ):
        with pytest.raises(InputError, match="--for samples: only diffusion models of images"):
            recipe(dataset, model=model, purpose="samples")


def test_coarse_networks_are_fully_connected_where_that_is_affordable():
    """And where no axis is periodic; the model is built either way."""
    for shape, dense in (
        ((1, 28, 28), 256),
        ((3, 32, 32), 256),
        ((1, 300), 256),
        ((1, 24, 24, 24), 256),
        ((1, 32, 32, 32), 0),
    ):
        dataset = made(shape, 256)
        config = recipe(dataset)
        assert config.coarse.dense == dense, shape
        names = [name for name, _ in build_denoiser(config, dataset.spec).named_parameters()]
        assert any(".dense." in name for name in names) == (dense > 0)
    dataset = made((1, 32, 32), 256)
    config = recipe(dataset)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, periodic=(1,)))
    assert not any(".dense." in name for name, _ in build_denoiser(config, dataset.spec).named_parameters())


@pytest.mark.parametrize(
    ("shape", "num_levels", "model", "words"),
    [
        ((1, 28, 28), 256, "diffusion", ["below gamma = -3", "patches of 2 a side", "50% of each batch"]),
        ((1, 8, 8), 17, "diffusion", ["more weight on noise that can be seen", "against learning by heart"]),
        ((5,), None, "diffusion", ["adds to a fitted mixture", "on the bound itself"]),
        ((1, 8, 8), 17, "gan", ["gan, with its own settings", "on its own loss"]),
        ((1, 8, 8), 17, "score", ["score: U-Net", "by simple"]),
        ((5,), None, "forest", ["forest on a fitted Gaussian", "tree by tree"]),
    ],
)
def test_reasons_are_given(shape, num_levels, model, words):
    config = recipe(made(shape, num_levels), model=model)
    lines = " ".join(reasons(config))
    assert all(word in lines for word in words), lines


def test_a_series_is_said_to_stand_upon_a_gaussian_and_a_block_to_be_dense():
    config = recipe(made((1, 36), None))
    series = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, components=1))
    assert "adds to a fitted Gaussian of whole windows" in reasons(series)[0]
    dense = dataclasses.replace(config, network=dataclasses.replace(config.network, dense=4))
    assert reasons(dense)[0].endswith("and a fully connected block")


def test_no_optimizer_is_told_of_a_forest():
    assert "adamw" not in reasons(recipe(made((5,), None), model="forest"))[1]


@pytest.mark.parametrize("shape", [(1, 5), (2, 300), (1, 8, 8), (3, 32, 32), (2, 7, 40), (1, 6, 9, 5)], ids=str)
@pytest.mark.parametrize("num_levels", [None, 2, 65_536])
def test_recipe_fits_every_shape(shape, num_levels):
    encoding = Levels(num_levels) if num_levels else Affine((0.0,), (1.0,))
    network = build_network(unet(shape, num_levels), DataSpec("made", shape, encoding))
    assert network(torch.zeros(2, *shape), torch.zeros(2)).shape == (2, *shape)


@pytest.mark.parametrize("target", [target for target in typing.get_args(Target) if target != "blocks"])  # of tables
@pytest.mark.parametrize("name", typing.get_args(ScheduleName))
def test_every_schedule_and_target_trains(name, target):
    config = Config(
        DataConfig("digits"),
        ScheduleConfig(name, gamma_min=-7.9),
        DenoiserConfig(target, num_steps=1000 if target == "mu" else None),
        NetworkConfig(width=8, multipliers=(1,), blocks_per_level=1, attention_levels=0),
        training=TrainingConfig(steps=1),
    )
    denoiser = build_denoiser(config, open_dataset("digits").spec.conditioned(False))
    x = open_dataset("digits").encoded(torch.arange(4).numpy())
    loss = objective.loss(denoiser, x, noise=Stream(0)).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in denoiser.parameters())


def test_scaling_is_taken_over():
    schedule = build_schedule(ScheduleConfig("geometric", scaling="variance-preserving"))
    alpha, sigma = schedule(torch.tensor([0.3]))
    assert (alpha**2 + sigma**2).item() == pytest.approx(1)
    assert schedule.gamma_min == pytest.approx(-13.3)


@pytest.mark.parametrize("name", ["elbo", "simple", "min-snr", "edm"])
def test_weightings_are_positive(name):
    config = dataclasses.replace(CONFIG, training=TrainingConfig(steps=1, objective=name))
    weight = build_objective(config, build_schedule(config.schedule)).weighting
    assert (weight(torch.linspace(-9, 5, 9), torch.full((9,), 14.0)) > 0).all()


@pytest.mark.parametrize("name", typing.get_args(ObjectiveName))
@pytest.mark.parametrize("schedule", ["linear-gamma", "ddpm"])
def test_every_objective_trains(name, schedule):
    """One step moves the weights, on a table's own chain and on one laid through a curve."""
    config, dataset = tiny_config(steps=1, objective=name)
    config = dataclasses.replace(
        config,
        schedule=ScheduleConfig(schedule, gamma_min=-7.9, num_steps=4),
        denoiser=DenoiserConfig("eps", variance="learned" if name == "hybrid" else "fixed"),
        model=ModelConfig("energy" if name.endswith("contrastive-divergence") else "diffusion"),
    )
    trainer = Trainer(config, dataset)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    (record,) = trainer.records()
    assert math.isfinite(record.loss)
    assert record.gradient_norm > 0
    assert any((p != q).any() for p, q in zip(trainer.model.parameters(), before, strict=True))


@pytest.mark.parametrize("name", typing.get_args(ScheduleName))
def test_a_run_of_every_schedule_is_read_again(name, tmp_path):
    """Its network is built without numbers, to find its size; its schedule, which asks for the values of some, with them."""
    config, dataset = tiny_config(steps=1)
    config = dataclasses.replace(config, schedule=ScheduleConfig(name))
    folder = RunFolder(tmp_path)
    folder.write_config(config, dataset.spec)
    assert folder.read_config()[0] == config


def test_the_objective_knows_whether_it_is_a_bound():
    bounds = {"elbo", "sliced", "explicit", "form-a", "form-b", "t-sample", "two-sample", "one-sample"}
    for name in typing.get_args(ObjectiveName):
        variance = "learned" if name == "hybrid" else "fixed"
        config = dataclasses.replace(
            CONFIG, denoiser=DenoiserConfig(variance=variance), training=TrainingConfig(steps=1, objective=name)
        )
        assert build_objective(config, build_schedule(config.schedule)).is_bound == (name in bounds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"objective": "simple"}, "schedule": {"name": "learned"}}, "trained by --objective elbo"),
        ({"training": {"times": "importance"}, "schedule": {"name": "learned-linear"}}, "leave --times antithetic"),
        ({"training": {"times": "importance", "objective": "t-sample"}}, "takes all steps"),
        ({"training": {"reverse": "upper"}}, "has no effect on --objective balanced"),
        ({"training": {"objective": "hybrid"}}, "add --denoiser.variance learned"),
        ({"training": {"objective": "one-sample", "reverse": "learned"}}, "add --denoiser.variance learned"),
        ({"decoder": {"name": "gaussian"}}, "gaussian is for continuous data"),
        ({"decoder": {"name": "none"}, "training": {"objective": "form-b"}}, "other than none"),
        ({"denoiser": {"target": "levels", "variance": "learned"}}, "fixed reverse variance"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    config, dataset = tiny_config(steps=1)
    config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, name="linear-gamma"))
    for section, values in settings.items():
        config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})
    with pytest.raises(InputError, match=message):
        Trainer(config, dataset)


def test_decoders():
    assert build_decoder(DecoderConfig("none"), 17) is None
    assert isinstance(build_decoder(DecoderConfig("gaussian"), None), GaussianDecoder)
    assert build_decoder(DecoderConfig("discretized-gaussian", std=0.2), 17).std == 0.2
    with pytest.raises(InputError, match="gaussian is for continuous data"):
        build_decoder(DecoderConfig(), None)


COARSE = {"split": -3.0, "width": 8, "patch": 2}


def of_two(**others):
    """Digits by two networks."""
    schedule = ScheduleConfig("linear-gamma", gamma_min=-8.0)
    coarse = CoarseConfig(**{**COARSE, **others})
    training = TrainingConfig(steps=3, batch_size=8, objective="balanced")
    return Config(DataConfig("digits"), schedule=schedule, coarse=coarse, training=training)


def test_a_second_network_takes_the_noise_above_the_split():
    config = of_two()
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    trainer = Trainer(config, open_dataset(config.data))
    denoiser = trainer.model.trained
    assert isinstance(denoiser, ByLevel)
    assert denoiser.coarse.network.patch == 2
    assert [len(group) > 0 for group in trainer.optimizer._clipped] == [True, True, False]
    assert trainer.times.share == 0.5
    above = trainer.times.widths[trainer.times.is_above].sum().item()
    assert denoiser.schedule.gamma(torch.tensor([1 - above])).item() == pytest.approx(-3.0, abs=1e-6)
    before = {name: p.detach().clone() for name, p in denoiser.named_parameters()}
    assert all(math.isfinite(record.loss) for record in trainer.records())
    moved = {name.split(".")[0] for name, p in denoiser.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"fine", "coarse"}


def test_each_of_two_networks_has_a_weighting_of_its_own():
    config = of_two()
    weighting = build_objective(config, build_schedule(config.schedule)).weighting
    gamma = torch.tensor([-7.0, -3.1, -2.0, 5.0])
    expected = torch.tensor([1.0, 1.0, 0.5, torch.sigmoid(torch.tensor(7.0))])
    torch.testing.assert_close(weighting(gamma, torch.ones(4)), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coarse": {"width": 16}}, r"--coarse\.width has no effect unless --coarse\.split"),
        (
            {"coarse": {**COARSE, "split": 9.0}},
            r"--coarse\.split is 9\.0, .* between the schedule's ends, -8\.0 and 5\.0",
        ),
        ({"coarse": {**COARSE, "share": 1.0}}, r"--coarse\.share 1\.0: give a gamma"),
        ({"coarse": {**COARSE, "patch": 65}}, r"--coarse\.patch is 65: at most 64"),
        ({"coarse": {**COARSE, "patch": 0}}, r"--coarse\.patch is 0: give 1 position"),
        ({"coarse": COARSE, "model": {"name": "energy"}}, r"--coarse\.split is for diffusion models of images"),
        ({"coarse": COARSE, "model": {"name": "vae"}}, r"--coarse\.split is for diffusion models of images"),
        ({"coarse": COARSE, "denoiser": {"variance": "learned"}}, "with a fixed reverse variance"),
        ({"coarse": COARSE, "network": {"kind": "mlp"}}, r"--coarse\.split is for diffusion models of images"),
    ],
)
def test_a_second_network_that_fits_nothing_is_refused(changes, message):
    values = {**of_two().to_dict(), "coarse": {}, "training": {"steps": 3}, **changes}
    with pytest.raises(InputError, match=message):
        Trainer(Config.from_dict(values), open_dataset("digits"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"training": {"objective": "balanced"}}, True),
        ({"training": {"objective": "balanced", "times": "antithetic"}}, False),
        ({"training": {"objective": "balanced"}, "schedule": {"name": "learned"}}, False),
        ({"training": {"objective": "simple", "times": "importance"}}, True),
        ({"training": {"objective": "t-sample"}, "coarse": COARSE}, False),
        ({"coarse": COARSE}, True),
        ({"coarse": COARSE, "training": {"times": "antithetic"}}, False),
    ],
)
def test_times_follow_the_loss_where_nothing_else_spreads_them(changes, expected):
    values = Config(DataConfig("digits"), training=TrainingConfig(steps=3)).to_dict()
    for section, settings in changes.items():
        values[section] |= settings
    config = Config.from_dict(values)
    assert (Trainer(config, open_dataset("digits")).times is not None) == expected
