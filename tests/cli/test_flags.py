"""Flags in messages are flags of the command line."""

import ast
import importlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import tyro

import lowerbound
from lowerbound.cli.flags import flags, in_flags, joined
from lowerbound.cli.help import HELP_ALL
from lowerbound.cli.main import VERBS, run
from lowerbound.cli.options import parse
from lowerbound.errors import flag
from lowerbound.training.config import CoarseConfig, Config, DenoiserConfig
from lowerbound.training.recipes import TABLES_OF_ODDS


def options(verb):
    return importlib.import_module(f"lowerbound.cli.{verb}").Options


def of_parser(verb) -> set[str]:
    """The long flags that tyro's own parser of a verb takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tyro no longer likes to show its parser
        parser = tyro.extras.get_parser(options(verb))
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}


@pytest.mark.parametrize("verb", VERBS)
def test_options_have_the_flags_of_the_parser(verb):
    switches = {re.sub(r"^--(.*\.)?", r"\g<0>no-", flag) for flag in flags(options(verb)).values()}
    assert of_parser(verb) - switches - {"--help"} == set(flags(options(verb)).values())


def test_settings_of_a_configuration_have_the_flags_of_train():
    for name, shown in flags(options("train")).items():
        if "." in name:
            assert flag(name) == shown
    assert flag("data.source") == "DATA"


OF_TORCHRUN = {"--standalone", "--nproc-per-node"}


def words() -> list[tuple[str, str]]:
    """Each string of the package with flags in it, and its file."""
    found = []
    for path in sorted(Path(lowerbound.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [(path.name, word) for word in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", node.value)]
    return sorted({(file, word) for file, word in found if word not in OF_TORCHRUN})


def test_flags_in_messages_exist():
    known = {flag for verb in VERBS for flag in of_parser(verb)} | {"--version", "--help", HELP_ALL}
    assert len(words()) > 100
    assert not [
        (file, word)
        for file, word in words()
        if word not in known and not any(flag.startswith(f"{word}.") for flag in known)
    ]


@pytest.mark.parametrize(
    ("verb", "message", "arguments", "told"),
    [
        ("train", "got gamma_min=2 and gamma_max=1", [], "got --schedule.gamma-min=2 and --schedule.gamma-max=1"),
        ("train", "width=0, depth=3", ["--network.width", "0"], "--network.width=0, depth=3"),
        ("train", "width=0, depth=3", [], "width=0, depth=3"),
        ("sample", "multistep_order is 5: 1 to 2", [], "--order is 5: 1 to 2"),
        ("score", "tolerance is 0: as a tolerance it must be", [], "--tolerance is 0: as a tolerance it must be"),
        ("score", "/a/batch_size/x.npy and 'num_times' and batch_size.csv", [], None),
        ("score", "--batch-size is 3, num_levels is 4, a split is what it is", [], None),
    ],
)
def test_the_library_s_names_become_flags(verb, message, arguments, told):
    assert in_flags(message, options(verb), arguments) == (told or message)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "digits", "--denoiser.sigma-data", "0", "--steps", "1"], "--denoiser.sigma-data is 0.0"),
        (["train", "digits", "--network.width", "0", "--steps", "1"], "--network.width=0"),
        (["train", "digits", "--weight-decay", "-1", "--steps", "1"], "--weight-decay is -1.0"),
        (["train", "digits", "--num-evaluations", "0", "--steps", "1"], "--num-evaluations is 0"),
        (["train", "digits", "--decoder.name", "gaussian", "--steps", "1"], "--decoder.name is gaussian"),
        (["train", "digits", "--model.width", "8", "--steps", "1"], "--model.width has no effect"),
        (["train", "digits", "--seed", "-1", "--steps", "1"], "--seed is -1"),
        (["sample", "{run}", "--order", "7"], "--order is 7"),
        (["sample", "{run}", "--seed", "4294967296"], "--seed is 4294967296"),
        (["score", "{run}", "digits", "-o", "{tmp}/a.csv", "--ode", "--probes", "0"], "--probes is 0"),
        (["score", "{run}", "digits", "-o", "{tmp}/a.csv", "--num-times", "0"], "--num-times is 0: give 1 or more"),
        (
            ["score", "{run}", "digits", "-o", "{tmp}/a.csv", "--ode", "--tolerance", "5"],
            "error: --tolerance is 5.0: it",
        ),
        (["evaluate", "{run}", "--tolerance", "5"], "error: --tolerance is 5.0: it must be below 1"),
        (["evaluate", "{run}", "--num-samples", "3"], "error: --num-samples is 3: at least 20 are needed"),
        (["evaluate", "{run}", "--num-times", "0"], "error: --num-times is 0: give 1 or more\n"),
        (["edit", "{run}", "digits", "-o", "{tmp}/a.png", "--num-samples", "0"], "--num-samples is 0"),
        (["impute", "{run}", "digits", "-o", "{tmp}/a.npz", "--steps", "0"], "--steps is 0"),
        (["compare", "digits", "--minutes", "nan"], "--minutes is nan"),
        (["classifier", "{run}", "--minutes", "0"], "--minutes is 0.0"),
        (["distill", "{run}", "--updates", "0"], "--updates is 0"),
    ],
    ids=lambda given: given[0] + " " + given[-2] if isinstance(given, list) else None,
)
def test_mistakes_are_told_by_their_flags(arguments, told, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run([argument.format(run=trained, tmp=tmp_path) for argument in arguments]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "columns", "multipliers"),
    [
        ("x.csv --ignore a b", ("a", "b"), (1, 2, 2)),
        ("x.csv --ignore a --ignore b", ("a", "b"), (1, 2, 2)),
        ("--ignore=a x.csv --seed 3 --ignore b c --network.multipliers 1", ("a", "b", "c"), (1,)),
        ("x.csv --network.multipliers 1 2 --ignore a --network.multipliers 4 --ignore=b", ("a", "b"), (4,)),
    ],
)
def test_an_option_of_names_has_all_that_it_is_given_and_one_of_numbers_the_last(arguments, columns, multipliers):
    options = parse(importlib.import_module("lowerbound.cli.train").Options, "train", arguments.split())
    assert (options.data.source, options.data.ignore, options.network.multipliers) == ("x.csv", columns, multipliers)


def test_options_that_are_given_once_stay_where_they_are():
    given = ["--ignore", "a", "b", "--seed", "1", "x.csv"]
    assert joined(given, importlib.import_module("lowerbound.cli.train").Options) == given


def test_a_dry_run_of_one_step(tmp_path, capsys):
    assert (
        run(["train", "moons", "--steps", "1", "--dry-run", "--network.width", "8", "--out", str(tmp_path / "run")])
        == 0
    )
    assert '"steps": 1' in capsys.readouterr().out


def test_another_network_or_variance_leaves_out_the_recipe_s_second_network(tmp_path, capsys):
    """But one that was asked for is refused."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8))
    arguments = ["train", str(tmp_path / "images.npy"), "--out", str(tmp_path / "run"), "--dry-run", "--steps", "2"]
    transformer = ["--network.kind", "transformer", "--network.patch", "4"]
    for more in (transformer, ["--denoiser.variance", "learned", "--denoiser.target", "eps"]):
        assert run([*arguments, *more]) == 0, capsys.readouterr().err
        assert configuration(capsys.readouterr().out).coarse == CoarseConfig()
    assert run([*arguments, *transformer, "--coarse.split", "-2"]) == 2
    assert "--coarse.split is for diffusion models" in capsys.readouterr().err


def test_another_network_than_a_run_has_is_shown_by_its_own_recipe_and_refused(tmp_path, capsys):
    """Without what the run's own network has, which nobody has given."""
    digits = ["train", "digits", "--steps", "1", "--batch-size", "4", "--out", str(tmp_path / "run")]
    unet = ["--network.width", "8", "--network.multipliers", "1", "2", "--num-pictures", "0"]
    assert run([*digits, *unet]) == 0
    capsys.readouterr()
    assert run([*digits, "--network.kind", "transformer", "--dry-run"]) == 0, capsys.readouterr().err
    assert configuration(capsys.readouterr().out).network.kind == "transformer"
    assert run([*digits, "--network.kind", "transformer"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], None),
        (["--network.kind", "transformer", "--network.patch", "4"], None),
        (["--coarse.width", "40"], "--coarse.width has no effect unless --coarse.split says"),
    ],
    ids=["", "transformer", "given"],
)
def test_the_recipe_s_second_network_is_left_out_with_all_that_the_recipe_says_of_it(tmp_path, capsys, more, said):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8))
    arguments = ["train", str(tmp_path / "images.npy"), "--out", str(tmp_path / "run"), "--dry-run", "--steps", "2"]
    status = run([*arguments, "--coarse.split", "None", *more])
    shown = capsys.readouterr()
    if said is None:
        assert status == 0, shown.err
        assert configuration(shown.out).coarse == CoarseConfig()
    else:
        assert status == 2
        assert said in shown.err


@pytest.mark.parametrize(
    ("data", "setting", "value"),
    [("moons", "components", "3"), ("images", "spread", "2"), ("drawings", "odds", "2")],
    ids=["mixture", "spread", "odds"],
)
def test_another_target_leaves_out_what_the_recipe_says_of_its_own(tmp_path, capsys, data, setting, value):
    """But what was given is refused."""
    if data != "moons":
        data = saved(
            tmp_path, drawings() if data == "drawings" else np.random.default_rng(0).integers(0, 256, (40, 9, 9))
        )
    arguments = ["train", data, "--out", str(tmp_path / "run"), "--dry-run", "--steps", "2"]
    shown = []
    for more in ([], ["--denoiser.target", "v"]):
        assert run([*arguments, *more]) == 0
        shown.append(configuration(capsys.readouterr().out).denoiser)
    advised, other = shown
    assert getattr(advised, setting)
    assert (other.target, getattr(other, setting)) == ("v", getattr(DenoiserConfig(), setting))
    assert run([*arguments, "--denoiser.target", "v", f"--denoiser.{setting}", value]) == 2
    assert f"--denoiser.{setting}" in capsys.readouterr().err


def test_another_decoder_leaves_out_the_odds_of_the_recipe(tmp_path, capsys):
    """But those that were given are refused."""
    data = saved(tmp_path, drawings())
    arguments = [
        "train",
        data,
        "--model",
        "autoregressive",
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
        "--steps",
        "2",
    ]
    logistic = ["--model.decoder", "discretized-logistic"]
    for more, odds in (([], TABLES_OF_ODDS), (["--model.decoder", "categorical"], TABLES_OF_ODDS), (logistic, None)):
        assert run([*arguments, *more]) == 0
        assert configuration(capsys.readouterr().out).model.odds == odds
    assert run([*arguments, *logistic, "--model.odds", "1"]) == 2
    assert "odds=1 has no effect on the decoder 'discretized-logistic'" in capsys.readouterr().err


def drawings():
    """Images each of whose rows has one grey, or the background."""
    generator = np.random.default_rng(0)
    return np.where(generator.random((60, 20, 20)) < 0.3, generator.integers(1, 256, (60, 20, 1)), 0)


def saved(folder, images):
    path = folder / "images.npy"
    np.save(path, images.astype(np.uint8))
    return str(path)


def configuration(shown):
    """What a dry run shows."""
    return Config.from_dict(json.loads(shown[shown.index("{") :]))
