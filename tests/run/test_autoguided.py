"""Which runs are drawn guided by their early weights, and what that takes."""

import dataclasses

import numpy as np
import pytest
from training.runs import tiny_run

from lowerbound.cli.main import run as command
from lowerbound.denoiser import Conditioned
from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance
from lowerbound.run import open_run
from lowerbound.run.autoguided import autoguided, for_samples, planned_calls
from lowerbound.run.generate import generate, network_calls
from lowerbound.sampling import SAMPLERS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(tiny_run(tmp_path_factory.mktemp("autoguided") / "run", steps=60, num_evaluations=4).path)


def test_it_is_for_images_that_are_to_be_seen(run, tmp_path):
    assert isinstance(for_samples(run).denoiser, AutoGuidance)
    likelihood = dataclasses.replace(run.config.training, purpose="likelihood")
    alone = dataclasses.replace(run, config=dataclasses.replace(run.config, training=likelihood))
    assert for_samples(alone) is alone
    moons = open_run(tiny_run(tmp_path / "moons", "moons", num_evaluations=4).path)
    assert moons.folder.early.is_file()
    assert for_samples(moons) is moons, "real numbers are drawn as they are scored"


@pytest.mark.parametrize("sampler", ["dpm++sde", "heun", "predictor-corrector"])
def test_the_calls_of_early_weights_count(run, sampler):
    plan = run.diffusion.plan(SAMPLERS[sampler], 5, "gamma")
    guided = for_samples(run)
    with network_calls(guided.denoiser) as calls:
        generate(guided, 3, plan)
    assert plan.num_calls < sum(calls) / 3 < 2 * plan.num_calls
    assert planned_calls(guided, plan) == sum(calls) / 3
    assert planned_calls(run, plan) == plan.num_calls


def test_wrappers_ask_what_they_wrap(run):
    guided = autoguided(run).denoiser
    assert guided.underlying == (run.denoiser, guided.weak)
    assert Conditioned(guided).underlying == guided.underlying


def test_the_command_line_draws_what_the_library_does(run, tmp_path, capsys):
    drawn, said = {}, {}
    for scale in ("", "1", "20"):
        out = tmp_path / f"x{scale}.npy"
        options = ["--guidance", scale] if scale else []
        assert command(["sample", str(run.folder.path), "-n", "3", "-o", str(out), *options]) == 0
        drawn[scale], said[scale] = np.load(out), capsys.readouterr().out
    assert "with autoguidance (--guidance 1: none)" in said[""]
    assert "autoguidance" not in said["1"]
    assert np.array_equal(drawn[""], generate(for_samples(run), 3)[:, 0])
    assert np.array_equal(drawn["1"], generate(run, 3)[:, 0])
    assert np.array_equal(drawn["20"], generate(autoguided(run, 20.0), 3)[:, 0])
    assert not np.array_equal(drawn["20"], drawn["1"])


def test_damaged_early_weights_are_refused_with_the_way_out(tmp_path):
    run = open_run(tiny_run(tmp_path / "run", num_evaluations=4).path)
    run.folder.early.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"early\.safetensors is damaged.*; remove this file to draw without"):
        for_samples(run)
    run.folder.early.unlink()
    assert for_samples(run) is run
