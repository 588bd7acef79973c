"""Models of diffusers, randomly initialised, say what they say there; what is none of them is refused in a sentence."""

import copy
import json
import random
import shutil

import numpy as np
import pytest
import torch
from later import if_installed
from safetensors.torch import load_file, save_file

from lowerbound import Ancestral, InputError, PerSample, elbo, grid, likelihood, open_run, sample, start
from lowerbound.cli.main import run
from lowerbound.data import DataConfig
from lowerbound.data.encoding import Levels
from lowerbound.imports import open_denoiser
from lowerbound.imports.schedulers import OF_TABLES
from lowerbound.run.imported import import_model
from lowerbound.schedule import EDM, LinearGamma, RectifiedFlow, betas, from_betas

diffusers = if_installed("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of what diffusers makes of its own dependencies

BLOCKS = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (8, 12),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
SMALL = {"sample_size": 8, "in_channels": 3, "out_channels": 3, **BLOCKS}
FILES = ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def unet(**settings):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(**{**SMALL, **settings}).eval()


def transformer(**settings):
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "sample_size": 8, "patch_size": 2}
    model = diffusers.DiTTransformer2DModel(**{**sizes, "in_channels": 3, "num_embeds_ada_norm": 5, **settings}).eval()
    for parameter in model.parameters():  # of which many begin at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def save(folder, model, scheduler, part="unet"):
    """A pipeline as the library writes it, of any part and scheduler."""
    model.save_pretrained(folder / part)
    scheduler.save_pretrained(folder / "scheduler")
    parts = {part: ["diffusers", type(model).__name__], "scheduler": ["diffusers", type(scheduler).__name__]}
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "Pipeline", "_diffusers_version": "0", **parts})
    )
    return folder


def noisy(denoiser, level, seed=0):
    """Images of 256 levels with noise on them: as we see them, and as their model does, (k / 255) in its own range."""
    encoding, noise = Levels(256), PerSample(range(seed, seed + 2))
    shape = (2, *denoiser.shape)
    raw = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    x, eps = encoding.encode(raw), noise.normal(torch.empty(shape))
    low = denoiser.shift - denoiser.scale * 255 / 256
    theirs = low + torch.from_numpy(raw).float() / 255 * 2 * (denoiser.shift - low)
    own = denoiser.their_level(level)
    x_t = theirs * own.alpha + eps * own.sigma * 1.0
    ours = level.alpha * x + level.sigma * eps
    return ours, x_t, theirs


def agree(denoiser, level, theirs_of, cond=None):
    """Our E[x | x_t] beside theirs, which `theirs_of` makes from their x_t; both in units of their data."""
    ours, x_t, _ = noisy(denoiser, level)
    with torch.no_grad():
        prediction = denoiser(ours, level, cond)
        expected = theirs_of(x_t)
    x = denoiser.scale * prediction.x + denoiser.shift
    assert (x - expected).abs().max() < 1e-5 * max(1.0, expected.abs().max().item())
    return prediction


STEP = 300
UNETS = {
    "plain": {},
    "one channel, an odd size": {"in_channels": 1, "out_channels": 1, "sample_size": 10},
    "a rectangle": {"sample_size": (8, 12)},
    "five channels": {"in_channels": 5, "out_channels": 5, "block_out_channels": (4, 20)},
    "scale and shift, resnets between": {
        "resnet_time_scale_shift": "scale_shift",
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "add_attention": False,
    },
    "centred": {"center_input_sample": True, "flip_sin_to_cos": False, "freq_shift": 1},
    "no middle": {"mid_block_type": None, "time_embedding_dim": 24},
    "steps learned": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "dropout": {"dropout": 0.5},
}


@pytest.mark.parametrize("name", UNETS)
def test_every_kind_of_network(name, tmp_path):
    model = unet(**UNETS[name])
    folder = save(tmp_path, model, diffusers.DDPMScheduler())
    denoiser = open_denoiser(folder)
    scheduler = diffusers.DDPMScheduler()
    alpha_bar = scheduler.alphas_cumprod[STEP]

    def x(x_t):
        eps = model(x_t, STEP).sample
        return (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()

    agree(denoiser, denoiser.schedule.level(STEP / 999), x)


def test_labels_are_handed_on(tmp_path):
    model = unet(num_class_embeds=5)
    denoiser = open_denoiser(save(tmp_path, model, diffusers.DDIMScheduler(prediction_type="sample")))
    labels = torch.tensor([4, 0])
    level = denoiser.schedule.level(STEP / 999)
    agree(denoiser, level, lambda x_t: model(x_t, STEP, class_labels=labels).sample, labels)
    x_t = torch.zeros(2, 3, 8, 8)
    for cond in (None, torch.tensor([1, -1])):
        with pytest.raises(InputError, match="give a label for each"):
            denoiser(x_t, level, cond)
    with pytest.raises(InputError, match="from 0 to 4, or -1 for none"):
        denoiser(x_t, level, torch.tensor([1, 5]))
    unconditional = open_denoiser(save(tmp_path / "other", unet(), diffusers.DDIMScheduler()))
    with pytest.raises(InputError, match="the network takes none"):
        unconditional(x_t, level, labels)


def test_a_transformer_with_its_null_class_and_its_variance(tmp_path):
    model = transformer(out_channels=6)
    folder = save(tmp_path, model, diffusers.DDPMScheduler(variance_type="learned_range"), part="transformer")
    denoiser = open_denoiser(folder)
    level = denoiser.schedule.level(STEP / 999)
    alpha_bar = diffusers.DDPMScheduler().alphas_cumprod[STEP]
    for cond, labels in ((None, [5, 5]), (torch.tensor([2, -1]), [2, 5])):

        def output(x_t, labels=labels):
            return model(x_t, torch.tensor([STEP] * 2), class_labels=torch.tensor(labels)).sample

        def x(x_t, output=output):
            return (x_t - (1 - alpha_bar).sqrt() * output(x_t)[:, :3]) / alpha_bar.sqrt()

        prediction = agree(denoiser, level, x, cond)
        assert prediction.variance_mix is not None
        with torch.no_grad():
            mix = (output(noisy(denoiser, level)[1])[:, 3:] + 1) / 2
        assert (prediction.variance_mix - mix).abs().max() < 1e-4


def test_a_learned_variance_takes_the_step_of_ddpm(tmp_path):
    """Mean and variance of its step from 300 to 299, beside the library's own."""
    model = unet(out_channels=6)
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    level, below = denoiser.schedule.levels(torch.tensor([STEP, STEP - 1.0], dtype=torch.float64) / 999)
    ours, x_t, _ = noisy(denoiser, level)
    with torch.no_grad():
        output = model(x_t, STEP).sample
        variance = scheduler._get_variance(STEP, output[:, 3:], "learned_range")
        prediction = denoiser(ours, level)
    # their noise is in units that are 256 / 255 of ours, as their data are
    unit = denoiser.scale * (denoiser.their_level(level).alpha / level.alpha)
    assert torch.allclose(
        torch.as_tensor(prediction.reverse_variance("learned", below)) * unit**2, torch.exp(variance), rtol=2e-3
    )


TABLES = {
    "linear": ({"beta_schedule": "linear"}, betas.linear()),
    "scaled": ({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}, betas.scaled_linear()),
    "cosine": ({"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100}, betas.cosine(100)),
    "given": ({"trained_betas": [0.1, 0.2, 0.4], "num_train_timesteps": 3}, torch.tensor([0.1, 0.2, 0.4])),
}


@pytest.mark.parametrize("name", TABLES)
def test_its_tables_are_ours(name, tmp_path):
    settings, expected = TABLES[name]
    denoiser = open_denoiser(save(tmp_path, unet(), diffusers.DDPMScheduler(**settings)))
    times = torch.linspace(0, 1, len(expected), dtype=torch.float64)
    own = denoiser.schedule.gamma(times) + 2 * np.log(256 / 255)
    # theirs are computed in single precision, where 1 - alpha_bar has few digits at first
    assert torch.allclose(own, from_betas(expected).gamma(times), atol=2e-3)


@pytest.mark.parametrize("name", OF_TABLES)
def test_every_scheduler_of_a_table(name, tmp_path):
    """By its own `add_noise`: the same signal and noise at the same step."""
    try:
        scheduler = getattr(diffusers, name)()
        folder = save(tmp_path, unet(), scheduler)
        denoiser = open_denoiser(folder)
    except ImportError as error:
        pytest.skip(str(error))
    level = denoiser.their_level(denoiser.schedule.level(STEP / 999))
    alpha_bar = scheduler.alphas_cumprod[STEP].item()
    assert level.alpha == pytest.approx(alpha_bar**0.5, rel=1e-6)
    assert level.sigma == pytest.approx((1 - alpha_bar) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_gives_the_library_s_own_x(kind, tmp_path):
    model = unet()
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    scheduler.set_timesteps(1000)
    for step in (0, STEP, 999 if kind != "epsilon" else 900):

        def x(x_t, step=step):
            return scheduler.step(model(x_t, step).sample, step, x_t).pred_original_sample

        agree(denoiser, denoiser.schedule.level(step / 999), x)


def test_a_table_without_signal_at_its_end(tmp_path):
    model = unet()
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert scheduler.alphas_cumprod[-1] == 0
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    alpha = scheduler.alphas_cumprod[-2].item() ** 0.5 / 2
    assert denoiser.their_level(denoiser.schedule.level(1.0)).alpha == pytest.approx(alpha, rel=1e-6)
    agree(denoiser, denoiser.schedule.level(1.0), lambda x_t: alpha * x_t - model(x_t, 999).sample)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", ["karras", "exponential"])
def test_edm_gives_the_library_s_own_x(kind, schedule, tmp_path):
    model = unet()
    scheduler = diffusers.EDMEulerScheduler(prediction_type=kind, sigma_schedule=schedule, sigma_data=0.6)
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    expected = EDM(0.002, 80.0) if schedule == "karras" else LinearGamma(2 * np.log(0.002), 2 * np.log(80))
    assert denoiser.schedule.gamma(torch.tensor([0.3], dtype=torch.float64)).item() == pytest.approx(
        expected.gamma(torch.tensor([0.3], dtype=torch.float64)).item() - 2 * np.log(256 / 255)
    )
    for t in (0.0, 0.4, 1.0):
        level = denoiser.schedule.level(t)
        sigma = torch.tensor(denoiser.their_level(level).sigma)

        def x(x_t, sigma=sigma):
            output = model(scheduler.precondition_inputs(x_t, sigma), scheduler.precondition_noise(sigma)).sample
            return scheduler.precondition_outputs(x_t, output, sigma)

        agree(denoiser, level, x)


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"])
def test_flows_step_as_the_library_does(name, tmp_path):
    model = unet()
    scheduler = getattr(diffusers, name)(shift=3.0)
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    assert isinstance(denoiser.schedule.schedule, RectifiedFlow)
    scheduler.set_timesteps(5)
    for time, sigma in list(zip(scheduler.timesteps, scheduler.sigmas, strict=False))[1:4]:
        gamma = 2 * torch.log(sigma.double() / (1 - sigma.double())).item() - 2 * np.log(256 / 255)
        level = denoiser.schedule.level_at(gamma)
        agree(denoiser, level, lambda x_t, time=time, sigma=sigma: x_t - sigma * model(x_t, time[None]).sample)


def test_scores_of_exploding_variance_are_of_data_in_0_to_1(tmp_path):
    model = unet(time_embedding_type="fourier")
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    denoiser = open_denoiser(save(tmp_path, model, scheduler))
    assert denoiser.source.value_range == (0, 1)
    assert denoiser.shift == 0.5
    for t in (0.1, 0.5, 1.0):
        level = denoiser.schedule.level(t)
        sigma = torch.tensor(denoiser.their_level(level).sigma)
        assert sigma.item() == pytest.approx(0.01 * 5000**t)
        agree(denoiser, level, lambda x_t, sigma=sigma: x_t + sigma**2 * model(x_t, sigma[None]).sample)


def test_the_chain_of_ddpm_draws_the_same_images(tmp_path):
    """Ancestral sampling over all steps of a table, from the library's noise, is its pipeline's."""
    scheduler = diffusers.DDPMScheduler(
        trained_betas=[0.02, 0.1, 0.3, 0.5], num_train_timesteps=4, clip_sample=False, variance_type="fixed_small"
    )
    model = unet()
    denoiser = open_denoiser(save(tmp_path, model, scheduler), value_range=(-255 / 256, 255 / 256))  # in our units
    assert denoiser.scale == 1
    x, noise = start(denoiser, 2, PerSample(range(2))), PerSample(range(2))
    drawn = sample(denoiser, Ancestral(), x, grid.ddpm_steps(denoiser.schedule, 4), noise)
    repeated = PerSample(range(2))
    scheduler.set_timesteps(4)
    for step in (3, 2, 1, 0):
        with torch.no_grad():
            x = (
                scheduler.step(model(x, step).sample, step, x, generator=None).pred_original_sample
                if step == 0
                else _step(scheduler, model, x, step, repeated)
            )
    assert (drawn - x).abs().max() < 1e-4


def _step(scheduler, model, x_t, step, noise):
    """The library's step, with noise of ours in the place of its own."""
    alpha, before = scheduler.alphas_cumprod[step], scheduler.alphas_cumprod[step - 1]
    deterministic = copy.copy(scheduler)
    with torch.no_grad():
        output = model(x_t, step).sample
        seeded = torch.Generator().manual_seed(0)
        drawn = deterministic.step(output, step, x_t, generator=seeded).prev_sample
        its_noise = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0))
    std = (scheduler._get_variance(step) ** 0.5).item()
    gamma, below = (torch.log((1 - each) / each).item() for each in (alpha, before))
    return drawn - std * its_noise + std * noise.step(x_t, gamma, below)


def test_weights_of_other_files(tmp_path):
    """In half precision, in torch's own format, and under the names that attention had before 2023."""
    model = unet()
    folder = save(tmp_path / "pipeline", model, diffusers.DDPMScheduler())
    plain = open_denoiser(folder)
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    former = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def renamed(name):
        for present, before in former.items():
            name = name.replace(present, before)
        return name

    torch.save({renamed(name): tensor for name, tensor in tensors.items()}, folder / "unet/diffusion_pytorch_model.bin")
    assert any("query" in renamed(name) for name in tensors)
    again = diffusers.UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    x_t = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(again.eval()(x_t, 3).sample, model(x_t, 3).sample)  # the library reads it so, too
        assert torch.equal(open_denoiser(folder)(x_t, 0.5).x, plain(x_t, 0.5).x)
    (folder / "unet/diffusion_pytorch_model.bin").unlink()
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    with torch.no_grad():
        assert (open_denoiser(folder)(x_t, 0.5).x - plain(x_t, 0.5).x).abs().max() < 1e-2


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    return save(folder, unet(in_channels=1, out_channels=1), diffusers.DDPMScheduler())


@pytest.fixture
def damaged(pipeline, tmp_path):
    return shutil.copytree(pipeline, tmp_path / "damaged")


def rewrite(path, **changes):
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value != "absent"}))


def test_a_run_of_it_is_the_same_model(pipeline, tmp_path):
    folder = import_model(pipeline, tmp_path / "run")
    opened, denoiser = open_run(folder.path), open_denoiser(pipeline)
    assert opened.config.imported is not None
    assert opened.config.imported.files.keys() == {*FILES, WEIGHTS}
    x_t = torch.rand(2, 1, 8, 8)
    assert torch.equal(opened.denoiser(x_t, 0.3).x, denoiser(x_t, 0.3).x)
    x = opened.encode(np.zeros((1, 1, 8, 8), np.uint8))
    bound = elbo(opened.denoiser, likelihood.LevelPosterior(256), x, noise=PerSample([0]))
    assert torch.isfinite(bound.bits_per_dim).all()
    with pytest.raises(InputError, match="not an empty folder"):
        import_model(pipeline, tmp_path / "run")


def test_a_run_with_data_takes_their_classes(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (10, 10), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    model = unet(in_channels=1, out_channels=1, num_class_embeds=2)
    folder = save(tmp_path / "pipeline", model, diffusers.DDPMScheduler())
    data = DataConfig(str(tmp_path / "images"))
    opened = open_run(import_model(folder, tmp_path / "run", data=data, image_size=(8, 8)).path)
    assert opened.spec.class_names == ("cat", "dog")
    assert len(opened.open_dataset().test) > 0
    with pytest.raises(InputError, match=r"shape \(1, 10, 10\), the model's \(1, 8, 8\)"):
        import_model(folder, tmp_path / "other", data=data)
    with pytest.raises(InputError, match="knows 2 classes, and 3 names were given"):
        import_model(folder, tmp_path / "other", class_names="abc")
    assert open_run(import_model(folder, tmp_path / "numbers").path).spec.class_names == ("0", "1")


def test_from_the_command_line(pipeline, tmp_path, capsys):
    """Import, draw, score other data, evaluate them; what has no data says so; nothing is trained on."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8))
    out, data = str(tmp_path / "run"), str(tmp_path / "images.npy")
    assert run(["import", str(pipeline), "-o", out]) == 0
    printed = capsys.readouterr().out
    assert "UNet2DModel with DDPMScheduler, of diffusers" in printed
    assert "-1 to 1 in the model" in printed
    assert run(["sample", out, "-n", "2", "--steps", "2", "-o", str(tmp_path / "drawn.npy")]) == 0
    assert np.load(tmp_path / "drawn.npy").dtype == np.uint8
    assert run(["score", out, data, "--num-times", "2", "-o", str(tmp_path / "scores.csv")]) == 0
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 7
    assert run(["evaluate", out, "--data", data, "--quick"]) == 0
    mask = np.ones((8, 8), bool)
    mask[2:5] = False
    np.save(tmp_path / "mask.npy", mask)
    filled = [
        "--mask",
        str(tmp_path / "mask.npy"),
        "--num-samples",
        "2",
        "--steps",
        "2",
        "-o",
        str(tmp_path / "filled.npz"),
    ]
    assert run(["impute", out, data, *filled]) == 0
    assert np.load(tmp_path / "filled.npz")["samples"].shape[:2] == (6, 2)
    assert run(["runs", str(tmp_path)]) == 0
    assert "complete" in capsys.readouterr().out
    assert run(["evaluate", out]) == 2
    assert "was imported without data: name some by --data" in capsys.readouterr().err
    assert run(["train", data, "--out", out, "--steps", "1"]) == 2
    assert "was trained elsewhere, which is not trained on" in capsys.readouterr().err
    assert run(["import", str(pipeline), "-o", out]) == 2
    assert "not an empty folder" in capsys.readouterr().err


REFUSED = {
    "a scheduler that is unknown": (
        FILES[0],
        {"scheduler": ["diffusers", "KarrasVeScheduler"]},
        "KarrasVe.*supported are DDPM",
    ),
    "a program in the place of a class": (FILES[0], {"scheduler": ["mine", "DDPMScheduler"]}, r"mine\.DDPMScheduler"),
    "another network": (
        FILES[0],
        {"unet": ["diffusers", "UNet2DConditionModel"]},
        "UNet2DConditionModel.*supported is",
    ),
    "latents": (FILES[0], {"vae": ["diffusers", "AutoencoderKL"]}, "no likelihood of images without its decoder"),
    "no scheduler": (FILES[0], {"scheduler": "absent"}, r"made of unet \(diffusers.UNet2DModel\); supported"),
    "parts that are none": (FILES[0], {"scheduler": [1, 2]}, "not a library and a class"),
    "settings of another network": (
        FILES[1],
        {"_class_name": "UNet1DModel"},
        "config.json holds the settings of UNet1DModel, and model_index.json calls for UNet2DModel",
    ),
    "settings of another scheduler": (
        FILES[2],
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
        "holds the settings of FlowMatchEuler.*calls for DDPMScheduler",
    ),
    "more channels": (
        FILES[1],
        {"in_channels": 3, "out_channels": 3},
        r"shape \(8, 1, 3, 3\), its settings call for \(8, 3",
    ),
    "fewer layers": (FILES[1], {"layers_per_block": 2}, "lacks .* tensors, .*which its settings call for"),
    "no middle": (FILES[1], {"mid_block_type": None}, "has .* tensors, mid_block.*no place for"),
    "an enormous network": (FILES[1], {"block_out_channels": [8, 1 << 20]}, "parameters"),
    "endless layers": (FILES[1], {"layers_per_block": 10**9}, "layers_per_block is 1000000000: a whole number"),
    "a setting from the future": (FILES[1], {"warp": 9}, "'warp', which this version of diffusers does not know"),
    "blocks that are unknown": (FILES[1], {"down_block_types": ["A", "B"]}, "UNet2DModel make none"),
    "widths that are words": (FILES[1], {"block_out_channels": "wide"}, "UNet2DModel make none"),
    "no size": (FILES[1], {"sample_size": None}, "have no sample_size: give image_size"),
    "a size that is a word": (FILES[1], {"sample_size": "large"}, "no images"),
    "a size that does not halve": (FILES[1], {"sample_size": 9}, "fails on an image of shape"),
    "embeddings": (FILES[1], {"class_embed_type": "identity"}, "class_embed_type is 'identity'"),
    "outputs of something else": (FILES[1], {"out_channels": 3}, "3 output channels for 1 of the image"),
    "a prediction that is unknown": (FILES[2], {"prediction_type": "flow_prediction"}, "supported are epsilon, sample"),
    "betas that are unknown": (FILES[2], {"beta_schedule": "mine"}, "DDPMScheduler make none: .*mine"),
    "betas of words": (FILES[2], {"beta_start": "small"}, "DDPMScheduler make none"),
    "betas the wrong way": (FILES[2], {"beta_start": -0.1, "beta_end": -0.01}, "no way from data to noise"),
    "steps without end": (FILES[2], {"num_train_timesteps": 10**12}, "a whole number from 2 to"),
    "one step": (FILES[2], {"num_train_timesteps": 1}, "a whole number from 2 to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused(name, damaged, tmp_path, capsys):
    file, changes, message = REFUSED[name]
    rewrite(damaged / file, **changes)
    with pytest.raises(InputError, match=f"(?s){message}"):
        import_model(damaged, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run(["import", str(damaged), "-o", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_folders_that_hold_no_model(damaged, tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        open_denoiser(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"model_index.json is a file, and no folder: give one that holds a pipeline"):
        open_denoiser(damaged / FILES[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds nothing: no model .*supported is a pipeline: model_index.json"):
        open_denoiser(tmp_path / "empty")
    (tmp_path / "empty/model.ckpt").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"holds model.ckpt"):
        open_denoiser(tmp_path / "empty")
    (damaged / WEIGHTS).rename(damaged / "unet/diffusion_pytorch_model-00001-of-00002.safetensors")
    with pytest.raises(InputError, match="in one file, by save_pretrained"):
        open_denoiser(damaged)


class Program:
    """What a pickle may do."""

    def __reduce__(self):
        return print, ("this must not be printed",)


def test_no_pickle_is_run(damaged, capsys):
    (damaged / WEIGHTS).unlink()
    torch.save({"conv_in.weight": Program()}, damaged / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"a pickle may run any program.*save it as .safetensors"):
        open_denoiser(damaged)
    assert "must not" not in capsys.readouterr().out
    for content, message in (([1, 2], "holds 'list', not tensors"), ({"weight": 1}, "not tensors by their names")):
        torch.save(content, damaged / "unet/diffusion_pytorch_model.bin")
        with pytest.raises(InputError, match=message):
            open_denoiser(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("conv_in.weight"), "lacks conv_in.weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), "has extra, which its settings have no place for"),
        (lambda tensors: tensors.update({"conv_in.bias": torch.zeros(9)}), r"conv_in.bias has the shape \(9,\)"),
        (lambda tensors: tensors.update({"conv_in.bias": torch.zeros(8).long()}), "weights are floats"),
        (lambda tensors: tensors.update({"conv_in.bias": torch.full((8,), torch.nan)}), "conv_in.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message, damaged):
    tensors = load_file(damaged / WEIGHTS)
    change(tensors)
    save_file(tensors, damaged / WEIGHTS)
    with pytest.raises(InputError, match=message):
        open_denoiser(damaged)


STRANGE = [None, True, -1, 0, 10**30, 1e300, float("nan"), "", "x\x1b[2J", [], {}, [None], [8, "a"], {"a": 1}]


def test_folders_damaged_at_random_are_models_or_refused(pipeline, tmp_path):
    """A setting that is anything, a file that is cut or has other bytes; no other error, and no run half written."""
    rng = random.Random(0)
    refused = 0
    for number in range(60):
        folder = shutil.copytree(pipeline, tmp_path / f"{number}")
        file = folder / rng.choice([*FILES, *FILES, WEIGHTS])
        if file.suffix == ".json" and rng.random() < 0.8:
            values = json.loads(file.read_text())
            rewrite(file, **{rng.choice(list(values)): copy.deepcopy(rng.choice([*STRANGE, "absent"]))})
        else:
            content = bytearray(file.read_bytes())
            if rng.random() < 0.5:
                del content[rng.randrange(len(content)) :]
            else:
                content[rng.randrange(min(len(content), 2000))] = rng.randrange(256)
            file.write_bytes(content)
        out = tmp_path / f"run-{number}"
        try:
            import_model(folder, out)
            open_run(out)
        except InputError:
            refused += 1
            assert not out.exists()
    assert 20 < refused < 60


def test_runs_damaged_at_random_are_models_or_refused(pipeline, tmp_path):
    """What a run keeps of where its model came from."""
    whole = import_model(pipeline, tmp_path / "run").config.read_text()
    rng, refused = random.Random(1), 0
    for _ in range(40):
        values = json.loads(whole)
        section = values["imported"]
        section = rng.choice(
            [section, section["settings"], section["settings"]["network"], section["settings"]["scheduler"]]
        )
        section[rng.choice(list(section))] = copy.deepcopy(rng.choice(STRANGE))
        (tmp_path / "run/config.json").write_text(json.dumps(values))
        try:
            open_run(tmp_path / "run")
        except InputError:
            refused += 1
    assert 10 < refused < 40
