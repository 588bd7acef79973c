"""A network in bfloat16 or compiled: nearly the same losses, and everything around it as it was."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.runs import tiny_config

import lowerbound
from lowerbound.errors import InputError
from lowerbound.training import fast
from lowerbound.training.config import DenoiserConfig, ModelConfig, ScheduleConfig, TrainingConfig
from lowerbound.training.held_out import held_out_bits
from lowerbound.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:this processor has no units")


@pytest.fixture(params=[0, 2], ids=["alone", "told-of-kinds"])
def in_bf16(request):
    config, dataset = tiny_config("digits", steps=6, batch_size=32)
    config = replace(config, denoiser=replace(config.denoiser, odds=request.param))
    faster = replace(config, training=replace(config.training, precision="bf16"))
    return Trainer(config, dataset), Trainer(faster, dataset)


def test_losses_in_bfloat16_are_near_those_in_single_precision(in_bf16):
    plain, faster = ([record.loss for record in trainer.records()] for trainer in in_bf16)
    assert plain != faster
    assert torch.allclose(torch.tensor(faster), torch.tensor(plain), rtol=0.01)


def test_the_network_alone_is_in_bfloat16(in_bf16):
    _, trainer = in_bf16
    network, seen = trainer.model.denoiser.network, set()
    network.into.register_forward_hook(lambda module, inputs, output: seen.add((inputs[0].dtype, output.dtype)))
    for _ in trainer.records():
        pass
    assert seen == {(torch.float32, torch.bfloat16)}
    tensors, _ = trainer.state()
    moved = {
        value.dtype
        for group in ("weights", "average", "optimizer")
        for name, value in tensors[group].items()
        if ".histograms." not in name  # which are fitted once, in double precision
    }
    assert moved == {torch.float32}


def test_what_is_measured_is_in_single_precision(in_bf16):
    plain, faster = in_bf16
    tensors, numbers = plain.state()
    faster.restore(tensors, {**numbers, "step": 0})
    for trainer in in_bf16:
        trainer.model.eval()
    assert held_out_bits(plain.model, plain.dataset, 64) == held_out_bits(faster.model, faster.dataset, 64)


@pytest.mark.parametrize("target", ["x", "v", "edm"])
def test_every_target_is_trained_in_bfloat16(target):
    config, dataset = tiny_config("moons", steps=5, batch_size=256, precision="bf16")
    config = replace(config, denoiser=DenoiserConfig(target=target))
    faster = [record.loss for record in Trainer(config, dataset).records()]
    plain = replace(config, training=replace(config.training, precision="float32"))
    expected = [record.loss for record in Trainer(plain, dataset).records()]
    assert torch.allclose(torch.tensor(faster), torch.tensor(expected), rtol=0.03)


@pytest.mark.parametrize("setting", [{"precision": "bf16"}, {"compile": True}])
@pytest.mark.parametrize("model", ["energy", "vae"])
def test_models_that_it_does_not_suit_are_refused(model, setting):
    config, dataset = tiny_config("digits")
    length = {"steps": 2, "minutes": None, **setting}
    training = TrainingConfig(**length)
    if model == "energy":
        config = replace(config, denoiser=DenoiserConfig(), schedule=ScheduleConfig(), training=training)
        config = replace(config, model=ModelConfig(model))
    else:
        config = type(config)(data=config.data, model=ModelConfig(model), training=training)
    with pytest.raises(InputError, match=f"is not for the model {model}"):
        Trainer(config, dataset)


def test_an_objective_that_differentiates_twice_is_not_compiled():
    config, dataset = tiny_config("moons", objective="sliced", compile=True)
    with pytest.raises(InputError, match="--compile is not for --objective sliced"):
        Trainer(config, dataset)


def test_a_device_without_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **settings: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "An Old Device")
    with pytest.raises(InputError, match="An Old Device does not compute in bfloat16"):
        fast.check_bfloat16(torch.device("cuda"))


def test_a_processor_without_bfloat16_is_warned_of(monkeypatch):
    monkeypatch.setattr(fast, "processor", lambda: "A Processor (AVX2, no bfloat16)")
    with pytest.warns(UserWarning, match="no units for bfloat16"):
        fast.check_bfloat16(torch.device("cpu"))


COMPILED = """
import dataclasses, sys
import torch
from training.runs import tiny_config
from lowerbound.training.trainer import Trainer

config, dataset = tiny_config("moons", steps=6, batch_size=32)
plain = [record.loss for record in Trainer(config, dataset).records()]
config = dataclasses.replace(config, training=dataclasses.replace(config.training, compile=True))
trainer = Trainer(config, dataset)
assert set(dict(trainer.trained.named_parameters())) == set(dict(Trainer(config, dataset).trained.named_parameters()))
losses = []
for record in trainer.records():
    losses.append(record.loss)
    if record.step == 3:
        tensors, numbers = trainer.state()
        tensors = {group: {name: value.clone() for name, value in named.items()} for group, named in tensors.items()}
        kept = tensors, {**numbers, "step": record.step}
assert torch.allclose(torch.tensor(losses), torch.tensor(plain), rtol=1e-4), (losses, plain)
resumed = Trainer(config, dataset)
resumed.restore(*kept)
assert [record.loss for record in resumed.records()] == losses[3:], losses
"""


@pytest.mark.slow
def test_a_compiled_run_has_the_same_losses_and_resumes_equal(tmp_path):
    source = Path(lowerbound.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{source}:{Path(__file__).parent.parent}"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", COMPILED], env=environment, check=True, timeout=300)
