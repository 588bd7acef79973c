"""Checkpoints of ADM, EDM and score SDEs say what their authors' code makes of them; what is none of them is refused.

`originals.npz` holds what that code returned, of revisions of November 2026, for weights that are a function of their names
(`values`): of each case its settings, the names, shapes and sizes of its tensors, the noise levels, and the images that it
takes for the data.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lowerbound import InputError, PerSample, elbo, likelihood, open_run
from lowerbound.cli.main import run
from lowerbound.imports import open_denoiser
from lowerbound.run.imported import import_model

ORIGINALS = np.load(Path(__file__).parent / "originals.npz")
CASES = [name for name in ORIGINALS.files if ORIGINALS[name].ndim == 0]
SETTINGS = {"adm": "adm.json", "edm": "edm.json", "score-sde": "score_sde.json"}


def values(name, shape, std):
    """Numbers that a name determines."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy((drawn * std).astype(np.float32))


def written(case, folder):
    """The files of a case, as its authors' code writes them, and what it says."""
    said, family = json.loads(str(ORIGINALS[case])), case.partition(":")[0]
    tensors = {name: values(name, *about) for name, about in said["tensors"].items()}
    buffers = [name for name in ORIGINALS.files if name.startswith(f"{case}:")]
    everything = tensors | {name.removeprefix(f"{case}:"): torch.from_numpy(ORIGINALS[name]) for name in buffers}
    folder.mkdir(exist_ok=True)
    (folder / SETTINGS[family]).write_text(json.dumps(said["settings"]))
    if family == "adm":
        torch.save(everything, folder / "ema_0.9999.pt")
    elif family == "edm":
        save_file(everything, folder / "model.safetensors")
    else:
        trained = [name for name, (_, std) in said["tensors"].items() if std != 16]
        newest = {f"module.{name}": tensor + (name in trained) for name, tensor in everything.items()}
        ema = {"decay": 0.999, "num_updates": 3, "shadow_params": [tensors[name] for name in trained]}
        torch.save({"model": newest, "ema": ema, "optimizer": {"state": {}}, "step": 3}, folder / "checkpoint_8.pth")
    return said


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_what_it_takes_for_the_data_is_what_its_authors_code_does(case, tmp_path):
    said = written(case, tmp_path / "model")
    denoiser = open_denoiser(tmp_path / "model")
    source = denoiser.source
    labels = None if said["labels"] is None else torch.tensor(said["labels"])
    rng = np.random.default_rng(0)
    x, eps = rng.uniform(-1, 1, (2, 3, 8, 8)), rng.standard_normal((2, 3, 8, 8))
    low, high = source.value_range
    for number, about in enumerate(said["levels"]):
        level = denoiser.schedule.level_at(about["gamma"] - 2 * np.log(denoiser.scale))
        own = denoiser.their_level(level)
        theirs = about["alpha"] * ((x + 1) / 2 * (high - low) + low) + about["alpha"] * np.exp(about["gamma"] / 2) * eps
        ours = (torch.from_numpy(theirs.astype(np.float32)).double() / about["alpha"] - denoiser.shift) / denoiser.scale
        prediction = denoiser(ours * level.alpha, level, labels)
        expected = torch.from_numpy(ORIGINALS[f"{case}/x"][number])
        found = prediction.x * denoiser.scale + denoiser.shift
        assert (found - expected).abs().max() < 1e-5 * max(1, expected.abs().max().item())
        if (variances := f"{case}/log_variance") in ORIGINALS.files:
            last = len(denoiser.schedule.knots) - 1
            below = denoiser.schedule.level((round(float(level.t) * last) - 1) / last)
            unit = denoiser.scale * own.alpha / level.alpha
            log_variance = torch.as_tensor(prediction.reverse_variance("learned", below)).log() + 2 * np.log(unit)
            assert (log_variance - torch.from_numpy(ORIGINALS[variances][number])).abs().max() < 1e-4


@pytest.mark.parametrize("case", [CASES[0], "edm: NCSN++ of classes", "score-sde: sub-VP"])
def test_runs_of_them_have_a_bound_and_are_the_same_model(case, tmp_path, capsys):
    written(case, tmp_path / "model")
    assert run(["import", str(tmp_path / "model"), "-o", str(tmp_path / "run")]) == 0
    assert "(3, 8, 8)" in capsys.readouterr().out
    opened, denoiser = open_run(tmp_path / "run"), open_denoiser(tmp_path / "model")
    x, labels = torch.zeros(2, 3, 8, 8), torch.tensor([1, 2]) if opened.spec.class_names else None
    assert torch.equal(opened.denoiser(x, 0.3, labels).x, denoiser(x, 0.3, labels).x)
    bound = elbo(
        denoiser.given(labels), likelihood.LevelPosterior(256), x + 1 / 256, noise=PerSample(range(2)), num_times=2
    )
    assert torch.isfinite(bound.bits_per_dim).all()


def rewritten(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


ADM, EDM, SDE = CASES[0], "edm: NCSN++ of classes", "score-sde: NCSN++, residual"
REFUSED = {
    "a flag that is unknown": (ADM, lambda flags: flags.update(large_size=64), "unknown name large_size"),
    "another width": (ADM, lambda flags: flags.update(num_channels=64), r"has the shape \(.*its settings call for one"),
    "fewer blocks": (ADM, lambda flags: flags.update(num_res_blocks=2), "lacks .* tensors, .*settings call for"),
    "attention too little": (
        ADM,
        lambda flags: flags.update(attention_resolutions="2"),
        "output_blocks.1.1.*settings call",
    ),
    "words": (ADM, lambda flags: flags.update(channel_mult="wide"), "whole numbers with commas"),
    "classes without labels": (ADM, lambda flags: flags.update(class_cond=True), "hold no classes"),
    "a schedule that is unknown": (
        ADM,
        lambda flags: flags.update(noise_schedule="mine"),
        "supported are linear, cosine",
    ),
    "steps whose scale is unsaid": (
        ADM,
        lambda flags: flags.update(diffusion_steps=4000),
        "rescale_timesteps has to be",
    ),
    "another size": (ADM, lambda flags: flags.pop("channel_mult"), "image_size is 8 and channel_mult is not given"),
    "heads up": (ADM, lambda flags: flags.update(num_heads_upsample=2), "on the way up is not supported"),
    "another preconditioning": (EDM, lambda made: made.update(class_name="MyPrecond"), "class_name"),
    "another network": (EDM, lambda made: made.update(model_type="DDPM"), "model_type"),
    "another filter": (EDM, lambda made: made.update(resample_filter=[1, 1]), "not the filter"),
    "no classes": (EDM, lambda made: made.update(label_dim=0), "map_label"),
    "a filter that is unknown": (EDM, lambda made: made.update(resample_filter=[1, 2, 1]), r"\[1, 3, 3, 1\]"),
    "no section": (SDE, lambda config: config.pop("training"), "lacks training"),
    "an older network": (SDE, lambda config: config["model"].update(name="ncsnv2"), "supported is 'ncsnpp'"),
    "other blocks": (SDE, lambda config: config["model"].update(resblock_type="ddpm"), "supported is 'biggan'"),
    "another process": (SDE, lambda config: config["training"].update(sde="mine"), "sde"),
    "enormous": (SDE, lambda config: config["model"].update(nf=8192, ch_mult=[64, 64]), "parameters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_do_not_fit_are_refused(name, tmp_path):
    case, change, message = REFUSED[name]
    written(case, tmp_path / "model")
    rewritten(tmp_path / "model" / SETTINGS[case.partition(":")[0]], change)
    with pytest.raises(InputError, match=f"(?s){message}"):
        import_model(tmp_path / "model", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.map_layer0.weight"), "lacks model.map_layer0.weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), "has extra, which its settings have no place for"),
        (
            lambda tensors: tensors.update({"model.map_layer0.weight": torch.zeros(3, 3)}),
            r"map_layer0.weight has the shape",
        ),
        (lambda tensors: tensors.update({"model.map_layer0.bias": torch.full((64,), torch.nan)}), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message, tmp_path):
    written(EDM, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=message):
        open_denoiser(tmp_path)


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "network.pkl").write_bytes(b"a program")
    with pytest.raises(InputError, match=r"(?s)holds programs, and is not opened.*pickle.load.*save_file.*init_kwargs"):
        open_denoiser(tmp_path)
    (tmp_path / "network.pkl").rename(tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"holds weights.pt: no model .*adm.json.*edm.json.*score_sde.json"):
        open_denoiser(tmp_path)
    (tmp_path / "adm.json").write_text("{}")
    with pytest.raises(InputError, match="a pickle may run any program"):
        open_denoiser(tmp_path)
    torch.save({"model": {}}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="not tensors by their names"):
        open_denoiser(tmp_path)
    torch.save({"other": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"lack input_blocks.0.0.weight"):
        open_denoiser(tmp_path)
    (tmp_path / "more.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"one file of weights is needed beside adm\.json"):
        open_denoiser(tmp_path)
    (tmp_path / "adm.json").rename(tmp_path / "score_sde.json")
    (tmp_path / "more.pt").unlink()
    with pytest.raises(InputError, match="holds no checkpoint of score_sde_pytorch"):
        open_denoiser(tmp_path)
