"""A CUDA device gives the numbers of the CPU, but for rounding: in training, sampling, likelihoods, and at resume.

Without such a device these tests are skipped. With LOWERBOUND_TEST_DEVICE=cpu the other side is the same CPU without its
library of convolutions, which rounds otherwise as well: so they can be tried where there is no device.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.runs import measure_little, tiny_config, train_until

from lowerbound.cli.main import run as command
from lowerbound.data import open_dataset
from lowerbound.machine.device import prepared
from lowerbound.models import Effort
from lowerbound.rng import PerSample, Stream
from lowerbound.run import open_run
from lowerbound.run.generate import generate
from lowerbound.run.impute import impute
from lowerbound.scoring import Flow, score, score_density
from lowerbound.training import recipe, train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.classifier import train_classifier
from lowerbound.training.config import DataConfig, DenoiserConfig, ScheduleConfig
from lowerbound.training.distill import distill
from lowerbound.training.muon import polar_factors
from lowerbound.training.trainer import Trainer

DEVICE = os.environ.get("LOWERBOUND_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE != "cpu" and not torch.cuda.is_available(), reason="there is no CUDA device to compare the CPU with"
)
LOSS = 2e-4
"""Relative to a loss of about one: what rounding may make of the losses of a few steps, which magnify it."""
SAMPLE = 2e-3
"""In units of the data's spread, of a network in single precision through 20 steps."""


def on_both(compute):
    """What a function of the device gives on the CPU and on the other one, or with other convolutions."""
    ours = compute("cpu")
    torch.backends.mkldnn.set_flags(DEVICE != "cpu")
    try:
        return ours, compute(DEVICE)
    finally:
        torch.backends.mkldnn.set_flags(True)


def losses(config, dataset, device):
    """Of each step, and at the end of the same examples; and the gradients' norms."""
    trainer = Trainer(config, dataset, device)
    assert trainer.model.device.type == torch.device(device).type
    records = list(trainer.records())
    return torch.tensor([*(r.loss for r in records), trainer.probe()]), torch.tensor([r.gradient_norm for r in records])


def assert_trains_alike(config, dataset):
    (ours, our_norms), (theirs, their_norms) = on_both(lambda device: losses(config, dataset, device))
    assert torch.isfinite(ours).all()
    assert torch.allclose(theirs, ours, rtol=LOSS, atol=LOSS)
    assert torch.allclose(their_norms, our_norms, rtol=50 * LOSS, atol=LOSS)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_digits_train_alike(optimizer):
    assert_trains_alike(*tiny_config("digits", steps=5, optimizer=optimizer))


def test_importance_times_and_small_pieces_train_alike():
    config, dataset = tiny_config("digits", steps=12, batch_size=64, times="importance", micro_batch_size=24)
    assert_trains_alike(replace(config, schedule=ScheduleConfig("linear-gamma")), dataset)


@pytest.mark.parametrize("target", ["x", "eps", "v", "score", "velocity", "edm", "mu"])
def test_every_target_trains_alike(target):
    config, dataset = tiny_config("moons", steps=4, batch_size=64)
    denoiser = DenoiserConfig(target=target, num_steps=50 if target == "mu" else None)
    assert_trains_alike(replace(config, denoiser=denoiser), dataset)


@pytest.mark.parametrize("name", ["learned", "learned-linear", "ddpm", "cosine", "sigmoid", "edm", "rectified-flow"])
def test_every_kind_of_schedule_trains_alike(name):
    config, dataset = tiny_config("digits", steps=3)
    assert_trains_alike(replace(config, schedule=ScheduleConfig(name)), dataset)


@pytest.mark.parametrize("name", ["form-a", "two-sample", "t-sample", "hybrid", "sliced", "min-snr"])
def test_every_kind_of_objective_trains_alike(name):
    config, dataset = tiny_config("digits", steps=3, objective=name, batch_size=4)
    config = replace(config, schedule=ScheduleConfig("cosine", num_steps=8), denoiser=DenoiserConfig())
    if name == "hybrid":
        config = replace(config, denoiser=DenoiserConfig(variance="learned"))
    assert_trains_alike(config, dataset)


@pytest.mark.parametrize("objective", ["elbo", "persistent-contrastive-divergence"])
def test_an_energy_trains_alike(objective):
    dataset = open_dataset("digits")
    config, _ = tiny_config("digits", steps=3, batch_size=4, objective=objective)
    energy = recipe(dataset, DataConfig("digits"), model="energy")
    config = replace(energy, network=config.network, training=replace(config.training, optimizer="adamw"))
    assert_trains_alike(config, dataset)


@pytest.mark.parametrize("name", ["vae", "hierarchical-vae", "ladder-vae", "autoregressive", "flow", "gan"])
def test_every_relative_trains_alike(name):
    if name == "flow":
        pytest.importorskip("zuko")
    dataset = open_dataset("digits")
    config = recipe(dataset, DataConfig("digits"), model=name)
    training = replace(config.training, minutes=None, steps=3, batch_size=8)
    model = replace(config.model, width=8)
    if name == "autoregressive":
        model = replace(model, dropout=0.3)
    assert_trains_alike(replace(config, model=model, training=training), dataset)


def test_conditions_and_missing_entries_train_alike(tmp_path):
    values = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    values[::3, 1] = np.nan
    np.savez(tmp_path / "gaps.npz", x=values, labels=np.arange(200) % 3)
    source = str(tmp_path / "gaps.npz")
    config, dataset = tiny_config(source, steps=4, batch_size=16)
    assert_trains_alike(replace(config, data=DataConfig(source, conditional=True)), dataset)


def test_noise_is_the_same():
    seeds = [0, 1, -1, 1 << 40, (1 << 63) - 1]
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-14)):
        for kind in ("uniform", "normal", "normal"):
            ours, theirs = on_both(
                lambda device: getattr(PerSample(seeds), kind)(torch.empty(5, 3, 7, dtype=dtype, device=device))  # noqa: B023
            )
            assert (theirs.cpu() - ours).abs().max() <= tolerance * 6  # the largest numbers are about six
    noise = Stream(0, DEVICE)
    assert noise.normal(torch.empty(3, device=DEVICE)).device.type == torch.device(DEVICE).type


def test_the_nearest_orthogonal_matrix_is_the_same():
    matrices = Stream(0).normal(torch.empty(4, 48, 96))
    ours, theirs = on_both(lambda device: polar_factors(matrices.to(device))[0])
    assert (theirs.cpu() - ours).abs().max() < 1e-5


def test_convolutions_and_products_keep_single_precision():
    x, kernel = Stream(0).normal(torch.empty(2, 64, 16, 16)), Stream(1).normal(torch.empty(64, 64, 3, 3))
    exact = torch.nn.functional.conv2d(x.double(), kernel.double())
    device = prepared(DEVICE)
    ours = torch.nn.functional.conv2d(x.to(device), kernel.to(device)).cpu()
    assert (ours - exact).abs().max() < 1e-5 * exact.abs().max()  # ten digits of TF32 would leave 1e-3
    product = (x.flatten(1).to(device) @ x.flatten(1).to(device).T).cpu()
    exact = x.flatten(1).double() @ x.flatten(1).double().T
    assert (product - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Small runs, trained on the CPU."""
    folder = tmp_path_factory.mktemp("runs")
    for source in ("digits", "moons"):
        config, dataset = tiny_config(source, steps=60, num_evaluations=1, num_pictures=0, batch_size=16)
        train(config, dataset, folder / source, say=lambda line: None, show_progress=False)
    return folder


@pytest.mark.parametrize("source", ["digits", "moons"])
@pytest.mark.parametrize("sampler", ["dpm++", "ancestral", "heun"])
def test_samples_are_the_same(source, sampler, folders):
    from lowerbound.sampling import SAMPLERS

    def draw(device):
        run = open_run(folders / source, device)
        plan = run.diffusion.plan(SAMPLERS[sampler], num_steps=10)
        return generate(run, 8, plan, brownian=sampler == "ancestral").astype(np.float64)

    ours, theirs = on_both(draw)
    if source == "digits":  # rounded to levels, of which a few may tip over
        assert (np.abs(ours - theirs) <= 1).all()
        assert (ours != theirs).mean() < 0.02
    else:
        assert np.abs(ours - theirs).max() < SAMPLE


@pytest.mark.parametrize("source", ["digits", "moons"])
@pytest.mark.parametrize("num_steps", [None, 8])
def test_bounds_are_the_same(source, num_steps, folders):
    raw = open_dataset(source).examples[:16]
    ours, theirs = on_both(lambda device: score(open_run(folders / source, device), raw, Effort(8, num_steps)))
    for name in ("bits_per_dim", "reconstruction", "prior", "diffusion", "diffusion_error"):
        assert np.allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("source", ["digits", "moons"])
def test_densities_are_the_same(source, folders):
    raw = open_dataset(source).examples[:4]

    def density(device, tolerance=1e-4):
        return score_density(open_run(folders / source, device), raw, Flow(tolerance=tolerance)).bits_per_dim

    ours, theirs = on_both(density)
    # a hardly trained network is rough, and what rounding decides there is which steps the solver takes
    assert (np.abs(theirs - ours) <= 1e-3 + np.abs(density("cpu", 1e-3) - ours)).all()


def test_imputations_are_the_same(folders):
    raw = open_dataset("moons").examples[:4]
    observed = np.ones_like(raw, dtype=bool)
    observed[:, 1] = False
    ours, theirs = on_both(
        lambda device: impute(open_run(folders / "moons", device), raw, observed, num_samples=2, num_steps=10).samples
    )
    assert np.abs(ours - theirs).max() < SAMPLE


def test_the_commands_work(folders, tmp_path, capsys):
    raw = open_dataset("moons").examples[:6].copy()
    raw[::2, 0] = np.nan
    np.save(tmp_path / "gaps.npy", raw)
    points, images = str(tmp_path / "points.npy"), str(tmp_path / "images.npy")
    np.save(points, open_dataset("moons").examples[:6])
    np.save(images, open_dataset("digits").examples[:6, 0])
    moons, digits, device = str(folders / "moons"), str(folders / "digits"), ["--device", DEVICE]
    small = ["--num-samples", "2", "--steps", "6"]
    for arguments in (
        ["evaluate", digits, "--quick", "--num-samples", "20", "--num-examples", "16"],
        ["sample", digits, "-n", "4", "--steps", "5", "--out", str(tmp_path / "samples.png")],
        ["score", digits, images, "--num-times", "4", "--out", str(tmp_path / "digits.csv")],
        ["score", moons, points, "--ode", "--out", str(tmp_path / "moons.csv")],
        ["impute", moons, str(tmp_path / "gaps.npy"), *small, "--out", str(tmp_path / "imputed.npz")],
        ["edit", moons, points, *small, "--out", str(tmp_path / "edited.npy")],
    ):
        assert command([*arguments, *device]) == 0, (arguments, capsys.readouterr().err)


def test_a_run_moves_between_devices(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    config, dataset = tiny_config("digits", steps=8, num_pictures=0)

    def trained(name, *devices):
        """By turns: the first device until step 4, the second to the end."""
        before, after = devices
        with pytest.raises(KeyboardInterrupt):
            train_until(4, config, dataset, tmp_path / name, monkeypatch, device=before)
        folder = train(config, dataset, tmp_path / name, device=after, say=lambda line: None, show_progress=False)
        tensors, _ = read_checkpoint(checkpoints(folder.checkpoints)[-1])
        return tensors["weights"], [record["loss"] for record in folder.read_log() if "loss" in record]

    weights, expected = trained("stays", "cpu", "cpu")
    for name, devices in {"goes": ("cpu", DEVICE), "comes": (DEVICE, "cpu"), "is away": (DEVICE, DEVICE)}.items():
        others, found = trained(name, *devices)
        assert np.allclose(found, expected, rtol=LOSS, atol=LOSS), name
        distance = sum((others[key] - value).square().sum() for key, value in weights.items()).sqrt()
        length = sum(value.square().sum() for value in weights.values()).sqrt()
        assert distance < 0.01 * length, name


def test_a_student_and_a_classifier_are_trained(folders):
    run = open_run(folders / "moons", DEVICE)
    student = distill(run.denoiser, run.config, open_dataset("moons"), 2, updates=3)
    assert student.device.type == torch.device(DEVICE).type
    ours, theirs = on_both(
        lambda device: train_classifier(open_dataset("digits"), -10.0, 5.0, steps=3, width=8, device=device)
    )
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (other.cpu() - weight).abs().max() < 0.02


@pytest.mark.skipif(DEVICE == "cpu", reason="of the device's own memory and numbering")
def test_what_the_device_cannot_do_is_told(tmp_path, capsys):
    assert command(["train", "moons", "--device", "cuda:99", "--out", str(tmp_path / "run"), "--steps", "1"]) == 2
    assert "--device is cuda:99" in capsys.readouterr().err
    large = ["--network.width", "2048", "--network.depth", "8", "--out", str(tmp_path / "run"), "--steps", "1"]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        assert command(["train", "moons", "--device", DEVICE, *large]) == 2
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    error = capsys.readouterr().err
    assert "the device is out of memory" in error
    assert "--micro-batch-size" in error
    assert "OMP_NUM_THREADS" not in error
