"""What the documentation names is there."""

import functools
import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from every_sampler import draws_noise, settings

import lowerbound
from lowerbound import grid
from lowerbound.cli.flags import flags
from lowerbound.cli.runs import Options as RunsOptions
from lowerbound.cli.sampler import SamplerOptions
from lowerbound.cli.score import Options as ScoreOptions
from lowerbound.cli.train import Options as TrainOptions
from lowerbound.sampling import SAMPLERS

DOCS = Path(__file__).parent.parent / "docs"
NAMES = sorted(
    set(re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_0-9]+)*)`", (DOCS / "equations.md").read_text())) - {"chain", "None"}
)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_named_exists_and_is_documented(name):
    found = functools.reduce(getattr, name.split("."), lowerbound)
    if name != "Prediction.x":
        assert inspect.getdoc(found)


def test_the_table_is_not_empty():
    assert len(NAMES) > 25


def test_the_table_of_samplers_is_what_they_declare():
    table = (DOCS / "sampling.md").read_text().partition("| `--sampler` |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\S+)` \| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| .+ \|$", table, re.MULTILINE)
    assert sorted(row[0] for row in rows) == sorted(SAMPLERS)
    for name, kind, order, calls, options in rows:
        sampler = SAMPLERS[name]
        assert kind == type(sampler).__name__
        assert order.split(",")[0] == str(sampler.order or "none"), name
        assert ("weak" in order) == (sampler.order > 0 and draws_noise(sampler)), name
        assert calls.split()[0] == str(sampler.calls_per_step), name
        declared = {flags(SamplerOptions)[field] for field in settings(name)}
        assert set(re.findall(r"`(--\S+)`", options)) == declared, name


def test_the_bound_beside_the_exact_value(capsys):
    example = re.search(r"```python\n(.*?)```", (DOCS / "equations.md").read_text(), re.DOTALL)
    assert example is not None
    names: dict = {}
    exec(compile(example[1], "equations.md", "exec"), names)
    printed = re.match(r"bound (-?\d+\.\d+) ± (\d+\.\d+) bits/dim, exact (-?\d+\.\d+)", capsys.readouterr().out)
    assert printed is not None
    bound, error, exact = map(float, printed.groups())
    assert bound > exact - 3 * error
    assert bound < exact + 0.05 + 3 * error
    assert names["samples"].shape == (1000, 1)


def test_the_snippets_on_sampling_run():
    """On eight images in closed form, in the place of a run."""
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    denoiser = lowerbound.denoiser.Empirical(images, lowerbound.LinearGamma(-6.0, 5.0))
    names = {
        "lb": lowerbound,
        "run": SimpleNamespace(denoiser=denoiser),
        "noise": lowerbound.Stream(seed=0),
        "times": grid.uniform(4),
        "labels": torch.zeros(16, dtype=torch.int64),
        "y": torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)),
    }
    shapes = []
    for snippet in re.findall(r"```python\n(.*?)```", (DOCS / "sampling.md").read_text(), re.DOTALL):
        exec(compile(snippet, "sampling.md", "exec"), names)
        shapes.append(tuple(names["x"].shape))
    assert shapes == [(16, 1, 8, 8), (3, 1, 8, 8)]


def test_the_snippets_on_audits_run():
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "audit.md").read_text(), re.DOTALL)
    assert len(snippets) > 1
    exec(compile("\n".join(snippets), "audit.md", "exec"), {})


def test_the_snippets_on_the_family_run():
    """In one go, as they are read."""
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "family.md").read_text(), re.DOTALL)
    assert len(snippets) > 1
    exec(compile("\n".join(snippets), "family.md", "exec"), {})


def test_the_page_on_data_runs(tmp_path, monkeypatch, capsys):
    """Its Python, and its commands' options are there."""
    page = (DOCS / "data.md").read_text()
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "data.md", "exec"), {"__name__": "data"})
    assert capsys.readouterr().out == "('cat', 'dog') (3, 4, 4)\n"
    known = {*flags(TrainOptions).values(), "--num-samples", "--dry-run"}
    assert set(re.findall(r"--[a-z][a-z.-]+", page)) <= known


def test_the_options_on_the_page_on_scale_are_there():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", (DOCS / "scale.md").read_text()))
    of_torchrun = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-id", "--rdzv-endpoint"}
    of_slurm = {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--time", "--requeue", "--signal"}
    of_others = {*of_torchrun, *of_slurm, "--array", "--train"}
    assert of_others < named
    own = [flags(kind).values() for kind in (TrainOptions, ScoreOptions, RunsOptions)]
    assert named - of_others <= set().union(*own)


def test_the_snippet_on_series_runs(tmp_path, monkeypatch):
    """With a shorter training: what is learned in it is not looked at."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / "series.md").read_text(), re.DOTALL))
    assert code.count("minutes=0.5") == 1
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code.replace("minutes=0.5", "minutes=0.01"), "series.md", "exec"), names)
    assert names["ahead"].samples.shape == (20, 24, 1)
    series = names["ahead"].series
    assert series.clock.texts(series.steps)[0] == "2024-02-10 00:00:00"
    samples, load = names["filled"].samples[..., 0], names["load"]
    known = [k for k in range(960) if not 300 <= k < 330]
    assert abs(samples[:, known] - load[known]).max() < 1e-4
    assert samples[:, 300:330].std(0).min() > 0
    assert (names["bound"].num_dims == 12).all()


def test_the_snippet_on_modules_of_others_runs():
    """The one that needs no library beside this one; every option that the page names is there."""
    page = (DOCS / "import.md").read_text()
    *needing, code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(needing) == 1
    names: dict = {}
    exec(compile(code, "import.md", "exec"), names)
    assert names["x"].shape == (2, 3, 32, 32)
    assert torch.isfinite(names["bound"].bits_per_dim).all()
    others = {"--sampler", "--steps", "--mask", "--grid", "--reverse", "--data"}
    options = importlib.import_module("lowerbound.cli.import").Options
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) - others <= set(flags(options).values())


def test_the_page_for_assistants_runs_and_has_the_signatures_of_the_library(tmp_path, monkeypatch):
    page = (DOCS / "assistants.md").read_text()
    shown = dict(re.findall(r"^lb\.(\w+)\((.*)\)$", page, re.MULTILINE))
    assert all(f"`lb.{name}`" in page for name in set(lowerbound.__all__) - set(shown))
    for name, arguments in shown.items():
        assert arguments == ", ".join(_parameters(getattr(lowerbound, name))), name
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "assistants"}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), "assistants.md", "exec"), names)
    assert names["samples"].shape == (20, 2)
    assert names["filled"].shape == (4, 3, 2)
    assert names["drawn"].shape == (3, 2)
    assert names["entries"].sum(1) == pytest.approx(names["scores"].nats[:4], abs=1e-3)
    assert names["gap"].mean() > -0.1


def _parameters(thing) -> list[str]:
    """The names of a signature, as the page writes them."""
    kinds = inspect.Parameter
    found = inspect.signature(thing).parameters.values()
    return [f"**{each.name}" if each.kind is kinds.VAR_KEYWORD else each.name for each in found]
