"""A run as a pipeline of diffusers draws what the run draws, and becomes the run again."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imports.test_checkpoints import written
from later import if_installed
from safetensors.torch import load_file, save_file
from training.runs import written_run

from lowerbound import DDIM, InputError, PerSample, elbo, likelihood, open_run, sample
from lowerbound.cli.main import run
from lowerbound.data import DataConfig, Levels, open_dataset
from lowerbound.run.imported import import_model
from lowerbound.run.opened import Run
from lowerbound.samplers import DPMSolver
from lowerbound.training.build import build_model
from lowerbound.training.config import CoarseConfig, DenoiserConfig, ModelConfig, NetworkConfig, ScheduleConfig
from lowerbound.training.recipes import recipe

diffusers, adapter = if_installed("diffusers"), if_installed("diffusers", "lowerbound.adapters.diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of what diffusers makes of its own dependencies

PAGE = Path(__file__).parent.parent.parent / "docs" / "export.md"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SMALL = NetworkConfig(width=8, multipliers=(1, 2), blocks_per_level=1)
CASES: dict[str, dict[str, Any]] = {
    "levels and spikes": {"denoiser": DenoiserConfig("levels", spikes=(0, 255))},
    "two networks that share a learned schedule": {
        "schedule": ScheduleConfig("learned"),
        "denoiser": DenoiserConfig("levels"),
        "coarse": CoarseConfig(split=-3.0, width=8),
    },
    "a transformer of velocities, a rectified flow": {
        "schedule": ScheduleConfig("cosine", gamma_max=8.0, scaling="rectified-flow"),
        "denoiser": DenoiserConfig("velocity"),
        "network": NetworkConfig(kind="transformer", width=8, depth=1, patch=2),
    },
    "exploding variance": {"schedule": ScheduleConfig("edm"), "denoiser": DenoiserConfig("score", sigma_data=0.6)},
    "a table of betas": {"schedule": ScheduleConfig("ddpm", num_steps=50), "denoiser": DenoiserConfig("v")},
    "an energy": {"model": ModelConfig("energy"), "denoiser": DenoiserConfig()},
}


def untrained(folder: Path, source: Path | str, *, conditional: bool = False, **settings: Any) -> Run:
    """A run of random weights."""
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(str(source), conditional=conditional))
    config = replace(config, **{"network": SMALL, "coarse": CoarseConfig(), **settings})
    model, generator = build_model(config, dataset.spec).trained, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return written_run(folder, config, dataset, model)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Colour images, higher than wide."""
    file = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3), dtype=np.uint8))
    return file


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The run of digits, given their labels, and its pipeline."""
    folder = tmp_path_factory.mktemp("labelled")
    opened = untrained(folder / "run", "digits", conditional=True)
    return opened, adapter.export_diffusers(opened, folder / "pipeline")


def ours(opened: Run, unet: Any, steps: Any, x_t: torch.Tensor, sampler: Any, cond: Any = None) -> torch.Tensor:
    """What our sampler makes of their noise at the noise levels of their steps, ending at the data."""
    schedule = opened.denoiser.schedule
    gammas = torch.tensor(unet.config.gammas, dtype=torch.float64)[steps]
    times = schedule.inverse(gammas).clamp(0, 1)
    first = schedule.level(times[0].item())
    unit = float(first.alpha * (1 + np.exp(first.gamma)) ** 0.5)
    return sample(opened.denoiser.given(cond), sampler, unit * x_t, times, PerSample(range(len(x_t))))


@pytest.mark.parametrize("name", CASES)
def test_it_draws_what_the_run_draws(name, images, tmp_path):
    opened = untrained(tmp_path / "run", images, **CASES[name])
    folder = adapter.export_diffusers(opened, tmp_path / "pipeline")
    for pipeline, sampler in (
        (diffusers.DDIMPipeline.from_pretrained(folder), DDIM()),
        (diffusers.DiffusionPipeline.from_pretrained(folder), DPMSolver()),
    ):
        pipeline.set_progress_bar_config(disable=True)
        if isinstance(pipeline, diffusers.DDPMPipeline):
            pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        seeded = torch.Generator().manual_seed(0)
        drawn = pipeline(batch_size=2, num_inference_steps=5, generator=seeded, output_type="np").images
        noise = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
        expected = ours(opened, pipeline.unet, pipeline.scheduler.timesteps, noise, sampler)
        expected = (expected / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        assert drawn.shape == (2, 8, 6, 3)
        assert np.ptp(drawn) > 0.1
        assert np.abs(drawn - expected).max() < 1e-4, type(pipeline)


def test_labels_are_asked_for_by_the_network_s_own_argument(labelled):
    """Digits have 17 levels; a stock pipeline gives no label, a loop of one's own gives them, whole batch or row by row."""
    opened, folder = labelled
    pipeline = diffusers.DDIMPipeline.from_pretrained(folder)
    unet, scheduler, cond = pipeline.unet, pipeline.scheduler, torch.tensor([3, -1, 7])
    assert unet.config.num_class_embeds == 10
    scheduler.set_timesteps(5)
    noise = torch.randn(3, 1, 8, 8)
    for labels in (None, cond):
        x_t = noise
        for step in scheduler.timesteps:
            with torch.no_grad():
                v = unet(x_t, step, labels).sample
                rows = unet(x_t, step.expand(3), class_labels=labels, return_dict=False)[0]
            assert (v - rows).abs().max() < 1e-4
            x_t = scheduler.step(v, step, x_t).prev_sample
        expected = ours(opened, unet, scheduler.timesteps, noise, DDIM(), labels)
        assert (x_t - expected).abs().max() < 1e-4
    raw = np.clip(np.floor((x_t.numpy() / 2 + 0.5) * 17), 0, 16)
    assert (raw == opened.decode(x_t)).all()


def test_the_page_s_lines_run(labelled, monkeypatch, tmp_path):
    """Those of docs/export.md: two schedulers, and labels with guidance."""
    monkeypatch.chdir(labelled[1].parent)
    lines = [each for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "pipeline" in each]
    assert len(lines) == 2
    names: dict = {}
    exec(compile(lines[0].replace("digits-pipeline", "pipeline"), "export.md", "exec"), names)
    assert [image.size for image in names["images"]] == [(8, 8)] * 16
    exec(compile(lines[1], "export.md", "exec"), names)
    assert names["images"].shape == (16, 1, 8, 8)
    assert names["images"].isfinite().all()


def test_levels_of_256_are_what_pictures_of_a_pipeline_hold():
    raw = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    values = Levels(256).encode(raw).numpy() / 2 + 0.5
    assert (np.asarray(diffusers.DDPMPipeline.numpy_to_pil(values)[0]) == raw[0, :, :, 0]).all()


def test_a_step_between_two_has_the_noise_between_theirs(labelled):
    """As Heun's scheduler and its like ask."""
    opened, folder = labelled
    unet = diffusers.DDPMPipeline.from_pretrained(folder).unet
    x_t, gammas = torch.randn(1, 1, 8, 8), unet.config.gammas
    level = opened.denoiser.schedule.level_at(0.75 * gammas[300] + 0.25 * gammas[301])
    with torch.no_grad():
        assert torch.allclose(unet(x_t, 300.25).sample, opened.denoiser(x_t, level).v, atol=1e-5)


@pytest.mark.parametrize("name", ["two networks that share a learned schedule", "a table of betas"])
def test_it_becomes_the_run_again(name, images, tmp_path, capsys):
    """Also when the library has written the pipeline a second time; then it scores the same."""
    opened = untrained(tmp_path / "run", images, **CASES[name])
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(["export", str(tmp_path / "run"), "--as", "diffusers", "-o", str(first)]) == 0
    assert "model_index.json, scheduler, unet" in capsys.readouterr().out
    diffusers.DDPMPipeline.from_pretrained(first).save_pretrained(second)
    assert run(["import", str(second), "-o", str(tmp_path / "again")]) == 0
    again = open_run(tmp_path / "again")
    assert again.config == opened.config
    assert again.spec == opened.spec
    dataset = opened.open_dataset()
    x = dataset.encoded(dataset.test[:2])
    bits = [
        elbo(each.denoiser, likelihood.LevelPosterior(256), x, noise=PerSample(range(2))).bits_per_dim
        for each in (opened, again)
    ]
    assert torch.equal(*bits)


@pytest.mark.parametrize("case", ["edm: NCSN++ of classes", "score-sde: sub-VP"])
def test_a_model_of_another_library_becomes_a_pipeline(case, tmp_path):
    """Of this one's network, built from its own settings."""
    written(case, tmp_path / "model")
    opened = open_run(import_model(tmp_path / "model", tmp_path / "run").path)
    pipeline = diffusers.DDIMPipeline.from_pretrained(adapter.export_diffusers(opened, tmp_path / "pipeline"))
    labels = torch.tensor([1, 2]) if opened.spec.class_names else None
    noise = torch.randn(2, 3, 8, 8)
    pipeline.scheduler.set_timesteps(4)
    x_t = noise
    for step in pipeline.scheduler.timesteps:
        with torch.no_grad():
            x_t = pipeline.scheduler.step(pipeline.unet(x_t, step, labels).sample, step, x_t).prev_sample
    expected = ours(opened, pipeline.unet, pipeline.scheduler.timesteps, noise, DDIM(), labels)
    assert (x_t - expected).abs().max() < 1e-4 * max(1, expected.abs().max().item())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("moons", r"examples of shape \(2,\).*--as onnx"),
        (np.random.default_rng(0).normal(size=(40, 1, 8, 8)), "images of floats"),
    ],
)
def test_what_is_no_image_of_levels_is_refused(source, message, tmp_path, capsys):
    if isinstance(source, np.ndarray):
        np.save(tmp_path / "floats.npy", source)
        opened = untrained(tmp_path / "run", tmp_path / "floats.npy")
    else:
        opened = untrained(tmp_path / "run", source, network=NetworkConfig(kind="mlp", width=8, depth=1))
    with pytest.raises(InputError, match=message):
        adapter.export_diffusers(opened, tmp_path / "pipeline")
    assert run(["export", str(tmp_path / "run"), "--as", "diffusers", "-o", str(tmp_path / "pipeline")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "pipeline").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_it_says_nearly_the_same(dtype, labelled):
    whole, half = (
        diffusers.DDPMPipeline.from_pretrained(labelled[1], torch_dtype=each).unet for each in (torch.float32, dtype)
    )
    assert half.dtype == dtype
    x_t, steps = torch.randn(3, 1, 8, 8), torch.tensor([100, 500, 999])
    with torch.no_grad():
        v, expected = half(x_t.to(dtype), steps).sample, whole(x_t, steps).sample
    assert v.dtype == dtype
    assert (v - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.get_default_dtype() == torch.float32


def test_labels_for_a_run_without_any_are_refused(images, tmp_path):
    opened = untrained(tmp_path / "run", images)
    unet = diffusers.DDPMPipeline.from_pretrained(adapter.export_diffusers(opened, tmp_path / "pipeline")).unet
    with pytest.raises(InputError, match="trained without labels"):
        unet(torch.zeros(1, 3, 8, 6), 5, torch.tensor([0]))


@pytest.mark.parametrize("part", ["run", "weights", "nothing"])
def test_a_damaged_pipeline_is_no_run(part, labelled, tmp_path, capsys):
    folder = tmp_path / "pipeline"
    adapter.export_diffusers(labelled[0], folder)
    if part == "run":
        path = folder / "unet/config.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, "run": {**values["run"], "network": 3}}))
    elif part == "weights":
        tensors = load_file(folder / WEIGHTS)
        save_file({name: tensor for name, tensor in tensors.items() if "norm" not in name}, folder / WEIGHTS)
    else:
        (folder / WEIGHTS).unlink()
    assert run(["import", str(folder), "-o", str(tmp_path / "again")]) == 2
    expected = {
        "run": "network should be an object",
        "weights": f"{folder / WEIGHTS} lacks the weight",
        "nothing": "save the weights in one file",
    }
    assert expected[part] in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("learns_variance", [False, True])
def test_a_pipeline_that_was_imported_comes_back(learns_variance, tmp_path, capsys):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1 + learns_variance, norm_num_groups=4, layers_per_block=1, **blocks
    ).eval()
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=20, variance_type="learned_range" if learns_variance else "fixed_small"
    )
    model.save_pretrained(tmp_path / "first/unet")
    scheduler.save_pretrained(tmp_path / "first/scheduler")
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (tmp_path / "first/model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline", **parts}))
    import_model(tmp_path / "first", tmp_path / "run")
    assert run(["export", str(tmp_path / "run"), "--as", "diffusers", "-o", str(tmp_path / "again")]) == 0
    assert "model_index.json" in capsys.readouterr().out
    weights = [load_file(tmp_path / name / "unet/diffusion_pytorch_model.safetensors") for name in ("first", "again")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "again", low_cpu_mem_usage=False)
    kept = diffusers.DDPMScheduler.from_pretrained(tmp_path / "first/scheduler").config
    configs = [
        {name: value for name, value in each.items() if name[0] != "_"} for each in (pipeline.scheduler.config, kept)
    ]
    assert configs[0] == configs[1]
    x_t = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(pipeline.unet(x_t, 7).sample, model(x_t, 7).sample)
    if not learns_variance:
        draws = [
            each(num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="np").images
            for each in (pipeline, diffusers.DDPMPipeline(model, scheduler))
        ]
        assert np.abs(draws[0] - draws[1]).max() < 1e-6
