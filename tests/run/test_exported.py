"""What is exported says the same elsewhere: ONNX under onnxruntime, plain files under torch."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.runs import written_run

from lowerbound import DDIM, InputError, PerSample, open_run, sample
from lowerbound.cli.main import run
from lowerbound.data import DataConfig, open_dataset
from lowerbound.denoiser import FittedMixture
from lowerbound.elementary import expand
from lowerbound.files.records import Measured
from lowerbound.files.weights import HASH, weights_file
from lowerbound.run.exported import OfGamma, _exportable, export_onnx
from lowerbound.run.opened import Run
from lowerbound.training.build import build_model
from lowerbound.training.config import DenoiserConfig
from lowerbound.training.folder import RunFolder
from lowerbound.training.recipes import recipe

DOCS = Path(__file__).parent.parent.parent / "docs"
SIZES = ["--network.width", "8", "--network.multipliers", "1", "2", "--steps", "2", "--coarse.split", "None"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of tiny images whose weights are no longer zero."""
    folder = tmp_path_factory.mktemp("runs")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    assert run(["train", str(folder / "images.npy"), "--out", str(folder / "run"), "--batch-size", "8", *SIZES]) == 0
    opened = open_run(folder / "run")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in opened.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    metadata = {name: value for name, value in opened.metadata.items() if name != HASH}
    content = weights_file(dict(opened.model.trained.named_parameters()), metadata)
    opened.folder.model.write_bytes(content)
    return folder / "run"


@pytest.fixture(scope="module")
def shared_by_two(trained):
    """A run of two networks, whose weights are no longer zero."""
    folder = trained.parent / "two"
    sizes = [*SIZES[:-2], "--coarse.split", "-3", "--coarse.width", "8", "--coarse.dense", "4"]
    sizes += ["--coarse.components", "2", "--coarse.axes", "3", "--coarse.further-axes", "4"]
    sizes += ["--network.lines", "--network.values", "--denoiser.odds", "2"]
    data = str(trained.parent / "images.npy")
    assert run(["train", data, "--out", str(folder), "--batch-size", "8", "--learning-rate", "0.3", *sizes]) == 0
    return folder


def test_two_networks_upon_a_mixture_are_a_function_of_gamma(shared_by_two):
    run = open_run(shared_by_two)
    x_t, gamma = (
        torch.randn(3, *run.spec.shape, generator=torch.Generator().manual_seed(0)),
        torch.tensor([-9.0, 0.0, 7.0]),
    )
    expected = run.denoiser(x_t, run.denoiser.schedule.level_at(gamma)).x
    torch.testing.assert_close(OfGamma(_exportable(run))(x_t, gamma), expected, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of what the exporter makes of its own dependencies
@pytest.mark.parametrize("made", ["trained", "shared_by_two"])
def test_onnx_says_what_the_denoiser_says(made, request, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    trained = request.getfixturevalue(made)
    opened = open_run(trained)
    folder = tmp_path / "onnx"
    # in a process of its own: the exporter traces with sizes that the checks of these tests can't take
    command = [sys.executable, "-m", "lowerbound", "export", str(trained), "--as", "onnx", "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    generator = torch.Generator().manual_seed(0)
    facts = json.loads((folder / "model.json").read_text())
    schedule = opened.denoiser.schedule
    assert facts["gamma"] == [schedule.gamma_min, schedule.gamma_max]
    assert facts["num_levels"] == 256
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    for times in ([0.1], [0.0, 0.5, 1.0]):
        t = torch.tensor(times)
        x_t = torch.randn(len(times), 1, 8, 8, generator=generator)
        level = schedule.level(t)
        (found,) = session.run(None, {"x_t": x_t.numpy(), "gamma": level.gamma.numpy()})
        # of variance preserving x_t, whatever the schedule's own scaling
        unit = (level.alpha / torch.sigmoid(-level.gamma).sqrt())[:, None, None, None]
        expected = opened.denoiser(x_t * unit, t).x
        assert np.abs(found - expected.numpy()).max() < 1e-5 * max(1, expected.abs().max().item())
    with pytest.raises(InputError, match="not an empty folder"):
        export_onnx(opened, folder)
    snippet = re.search(r"```python\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)
    assert snippet is not None
    names: dict = {}
    exec(compile(snippet[1].replace("digits-onnx", str(folder)), "export.md", "exec"), names)
    first = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 1, 8, 8)))
    times = [opened.denoiser.schedule.level_at(gamma).t for gamma in np.linspace(*facts["gamma"][::-1], 21)]
    drawn = sample(opened.denoiser, DDIM(), first, torch.tensor(times[:-1], dtype=torch.float64), PerSample(range(4)))
    # the last of its calls gives the data themselves, where the sampler's last step goes
    assert (names["x"] - drawn.numpy()).__abs__().max() < 1e-3
    assert names["images"].shape == (4, 1, 8, 8)


def untrained(folder, source, conditional=False, components=None, **how):
    """A run of random weights, in a folder of its own."""
    dataset = open_dataset(source, **how)
    config = recipe(dataset, DataConfig(str(source), conditional=conditional))
    small = {"width": 8} | ({"multipliers": (1, 2)} if config.network.kind == "unet" else {"depth": 2})
    config = replace(config, network=replace(config.network, **small))
    if components is not None:
        config = replace(config, denoiser=replace(config.denoiser, components=components))
    model, generator = build_model(config, dataset.spec).trained, torch.Generator().manual_seed(0)
    mixture = getattr(model, "mixture", None)
    fitted = set() if mixture is None else set(mixture.parameters())
    with torch.no_grad():
        for parameter in set(model.parameters()) - fitted:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    if isinstance(mixture, FittedMixture):  # two of its components in use
        num, chances = mixture.means.shape[1], mixture.chances
        tables = None if chances is None else 0.1 + torch.rand(2, *chances.shape[1:], generator=generator)
        spread = torch.stack([0.5 * torch.eye(num), 0.3 + 2 * torch.eye(num)])
        mixture.fit(torch.tensor([0.3, 0.7]), torch.randn(2, num, generator=generator), spread, tables)
    return written_run(folder, config, dataset, model)


@pytest.fixture(scope="module")
def given_something(tmp_path_factory):
    """Runs whose networks are given more than x_t and gamma, or stand upon a mixture, beside what they are given."""
    folder, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    torch.manual_seed(0)
    images = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(folder / "labels.npz", x=images, labels=rng.integers(0, 3, 60))
    np.savez(folder / "vectors.npz", x=rng.normal(size=(60, 2)), cond=rng.normal(size=(60, 3)))
    gaps = rng.normal(size=(60, 1, 8, 8))
    gaps[rng.random(gaps.shape) < 0.2] = np.nan
    np.save(folder / "gaps.npy", gaps)
    rows = [
        f"{x:.3f},{count},{letter}"
        for x, count, letter in zip(rng.normal(size=90), [0, 3, 4] * 30, "abcaab" * 15, strict=True)
    ]
    (folder / "table.csv").write_text("\n".join(["x,count,letter", *rows]))
    (folder / "series.csv").write_text("\n".join(["x,y", *(f"{x:.3f},{y:.3f}" for x, y in rng.normal(size=(300, 2)))]))
    vectors, along = torch.randn(4, 3), torch.randn(4, 2, 10)
    vectors[1], along[:, :, 4:] = torch.nan, torch.nan
    there = torch.rand(4, 1, 8, 8) < 0.7
    conditional, windows = {"conditional": True}, {"window": 8, "horizon": 2, "components": 0}
    cases = {
        "labels": ("labels.npz", conditional, {"cond": torch.tensor([0, 2, -1, 1])}),
        "vectors": ("vectors.npz", conditional, {"cond": vectors}),
        "gaps": ("gaps.npy", {}, {"observed": there}),
        "table": ("table.csv", {}, {}),
        "series": ("series.csv", windows, {"cond": along, "observed": torch.rand(4, 2, 10) < 0.7}),
    }
    return {name: (untrained(folder / name, folder / file, **how), given) for name, (file, how, given) in cases.items()}


def noisy(denoiser):
    """Noisy examples at levels from the first to the last, variance preserving, and what the denoiser is to be asked."""
    t = torch.linspace(0, 1, 4)
    level = denoiser.schedule.level(t)
    x_t = torch.randn(4, *denoiser.shape, generator=torch.Generator().manual_seed(1))
    unit = expand(level.alpha / torch.sigmoid(-level.gamma).sqrt(), x_t)
    return x_t, level.gamma, (unit * x_t, t)


@pytest.mark.parametrize("name", ["labels", "vectors", "gaps", "table", "series"])
def test_a_denoiser_of_gamma_takes_what_the_denoiser_takes(given_something, name):
    opened, given = given_something[name]
    x_t, gamma, asked = noisy(opened.denoiser)
    expected = opened.denoiser(*asked, **given).x
    assert (OfGamma(opened.denoiser)(x_t, gamma, **given) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_conditions_and_gaps_are_inputs_of_onnx(given_something, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    lines = [
        f"export_onnx(open_run({str(opened.folder.path)!r}), {str(tmp_path / name)!r})"
        for name, (opened, _) in given_something.items()
    ]
    script = "\n".join(["from lowerbound import open_run", "from lowerbound.run.exported import export_onnx", *lines])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, (opened, given) in given_something.items():
        x_t, gamma, asked = noisy(opened.denoiser)
        expected = opened.denoiser(*asked, **given).x.numpy()
        session = onnxruntime.InferenceSession(str(tmp_path / name / "model.onnx"))
        inputs = {key: value.numpy() for key, value in {"x_t": x_t, "gamma": gamma, **given}.items()}
        facts = json.loads((tmp_path / name / "model.json").read_text())
        assert list(facts["inputs"]) == [each.name for each in session.get_inputs()] == list(inputs), name
        assert all(facts["inputs"][key][1:] == list(value.shape[1:]) for key, value in inputs.items()), name
        assert facts.keys() >= given.keys(), name
        for part in (slice(None), slice(1, 2)):
            (found,) = session.run(None, {key: value[part] for key, value in inputs.items()})
            # a network says the noise, whose error x has divided by alpha, and x is rounded
            largest = np.abs(expected[part]).reshape(len(found), -1).max(1)
            allowed = 3e-6 * np.exp(inputs["gamma"][part] / 2) + 4e-7 * np.maximum(1, largest)
            assert (np.abs(found - expected[part]).reshape(len(found), -1).max(1) < allowed).all(), name


def test_what_solves_equations_of_its_own_for_each_example_is_refused(given_something, tmp_path):
    path = given_something["series"][0].folder.path.parent / "series.csv"
    opened = untrained(tmp_path / "run", path, window=8, horizon=2)
    with pytest.raises(InputError, match=re.escape("--denoiser.components 0")):
        export_onnx(opened, tmp_path / "onnx")


def test_factors_under_wide_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.training.mixtures.WIDEST_JOINT", 8)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32))
    settings = ["--steps", "2", "--network.width", "8", "--network.depth", "1", "--out", str(tmp_path / "run")]
    assert run(["train", str(tmp_path / "rows.npy"), *settings]) == 0
    with pytest.raises(InputError, match=re.escape("--denoiser.factors 0")):
        export_onnx(open_run(tmp_path / "run"), tmp_path / "onnx")


def test_a_pipeline_needs_its_library(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.delitem(sys.modules, "lowerbound.adapters.diffusers", raising=False)
    assert run(["export", str(trained), "--as", "diffusers", "-o", str(tmp_path / "pipeline")]) == 2
    assert "pip install 'lowerbound[diffusers]'" in capsys.readouterr().err


def test_a_kind_of_files_that_is_unknown_is_refused(trained, tmp_path):
    assert run(["export", str(trained), "--as", "keras", "-o", str(tmp_path / "keras")]) == 2
    assert not (tmp_path / "keras").exists()


@pytest.mark.parametrize(
    ("name", "settings", "remedy", "advised"),
    [
        ("forest", {}, "--model diffusion", DenoiserConfig(components=4)),
        ("energy", {}, "--model diffusion", DenoiserConfig(components=4)),
        ("diffusion", {"denoiser": DenoiserConfig("velocity")}, "--denoiser.target v", DenoiserConfig("v")),
    ],
    ids=["forest", "energy", "another target"],
)
def test_what_is_no_network_of_gamma_alone_is_refused_with_what_is_possible(name, settings, remedy, advised, tmp_path):
    dataset, source = open_dataset("moons"), DataConfig("moons")
    config = replace(recipe(dataset, source, model=name), **settings)
    opened = Run(RunFolder(tmp_path), config, dataset.spec, build_model(config, dataset.spec), {})
    with pytest.raises(InputError, match=f"{remedy}; networks of the targets"):
        export_onnx(opened, tmp_path / "onnx")
    config = replace(recipe(dataset, source), denoiser=advised)
    _exportable(replace(opened, config=config, model=build_model(config, dataset.spec)))


def test_a_repository_is_a_run_with_a_card(trained, tmp_path, capsys):
    opened = open_run(trained)
    assert run(["export", str(trained), "--as", "hub", "-o", str(tmp_path / "hub")]) == 0
    assert "README.md" in capsys.readouterr().out
    card = (tmp_path / "hub/README.md").read_text()
    assert card.startswith("---\nlibrary_name: lowerbound\n")
    bits = Measured(*(float(opened.metadata[name]) for name in ("held_out_bits_per_dim", "standard_error")))
    assert f"{bits} bits/dim of held-out data (an upper bound)" in card
    again = open_run(tmp_path / "hub")
    x_t = torch.rand(2, 1, 8, 8)
    assert torch.equal(again.denoiser(x_t, 0.3).x, opened.denoiser(x_t, 0.3).x)


@pytest.mark.parametrize("num_components", [3, 0])
def test_plain_torch_reads_the_files_of_a_run(num_components, tmp_path, monkeypatch):
    """As docs/export.md does, and says the same as the run; a network alone where there is no mixture below it."""
    rows = np.random.default_rng(0).normal([3, -1], [2, 0.1], (80, 2))
    np.save(tmp_path / "rows.npy", rows)
    dataset = open_dataset(tmp_path / "rows.npy")
    config = recipe(dataset, DataConfig(str(tmp_path / "rows.npy")))
    config = replace(
        config,
        network=replace(config.network, width=8, depth=2),
        denoiser=replace(config.denoiser, components=num_components),
    )
    model, generator = build_model(config, dataset.spec).trained, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    if num_components:
        means = torch.tensor([[1.0, 0.0], [-1.0, 0.5]])
        model.mixture.fit(torch.tensor([0.3, 0.7]), means, torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0], [0, 2]]]))
    (tmp_path / "moons").mkdir()
    folder = RunFolder(tmp_path / "moons")
    folder.write_config(config, replace(dataset.spec, fingerprint=dataset.fingerprint()))
    folder.model.write_bytes(weights_file(dict(model.named_parameters()), {}))
    opened = open_run(folder.path)
    snippet = re.findall(r"```python\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)[1]
    assert "lowerbound" not in snippet
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippet, "export.md", "exec"), names)
    if not num_components:
        names["mixture"] = lambda y, variance: torch.zeros_like(y)
    t = torch.tensor([0.0, 0.2, 0.7, 1.0])
    x_t = torch.randn(4, 2, generator=generator)
    expected = opened.denoiser(x_t, t).x
    assert (names["denoise"](x_t, t) - expected).abs().max() < 1e-5 * max(1, expected.abs().max().item())
    facts = names["config"]["data_facts"]["encoding"]
    assert np.abs(opened.encode(rows).numpy() - (rows - facts["shift"]) / facts["scale"]).max() < 1e-6
