"""Help texts are plain sentences about what an option does, and those that most people need fit on a screen."""

import argparse
import importlib
import re
import warnings

import pytest
import tyro

from lowerbound.cli.device import pick_device
from lowerbound.cli.flags import flags
from lowerbound.cli.main import VERBS, run
from lowerbound.errors import InputError

WITHOUT_HIDDEN_OPTIONS = (
    "classifier",
    "completion",
    "distill",
    "doctor",
    "export",
    "impute",
    "merge",
    "report",
    "runs",
)


NO_SENTENCE = ("how", "where", "what", "of", "which", "whether", "whose")
"""First words of what does not say what a thing does."""


def parser_of(verb) -> argparse.ArgumentParser:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tyro no longer likes to show its parser
        return tyro.extras.get_parser(importlib.import_module(f"lowerbound.cli.{verb}").Options)


def helps(verb) -> dict[str, str]:
    """What `--help` says of each option of a verb, its default left out."""
    texts = {
        action.dest: " ".join(str(action.help).partition("(default:")[0].split())
        for action in parser_of(verb)._actions
        if action.dest != "help"
    }
    return {
        name: text.partition(" (required)")[0].partition(" (repeatable)")[0].strip() for name, text in texts.items()
    }


def shown(arguments, capsys, monkeypatch) -> str:
    """What the command line prints of itself on a screen of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit, match="0"):
        run(arguments)
    return capsys.readouterr().out


def flags_in(text) -> set[str]:
    """The flags that a help explains, each at the beginning of a line."""
    lines = re.findall(r"^  (-.*)", text, re.MULTILINE)
    return {found for line in lines for found in re.findall(r"--[a-z][a-z0-9.-]*", line.partition("  ")[0])}


def test_the_help_of_training_fits_on_a_screen(capsys, monkeypatch):
    text = shown(["train", "--help"], capsys, monkeypatch)
    lines = sum(max(1, -(-len(line) // 100)) for line in text.splitlines())
    assert lines <= 42  # two for frames that a terminal shows in one
    assert flags_in(text) == {
        "--help",
        "--out",
        "--device",
        "--dry-run",
        "--image-size",
        "--conditional",
        "--model",
        "--for",
        "--steps",
        "--minutes",
        "--batch-size",
        "--learning-rate",
        "--seed",
    }
    for words in ("usage: lowerbound train", "Example:", "--help-all shows all", "(default: 0.006)", "DATA "):
        assert words in text


@pytest.mark.parametrize("verb", VERBS)
def test_help_all_shows_every_option_and_help_some_of_them(verb, capsys, monkeypatch):
    options = set(flags(importlib.import_module(f"lowerbound.cli.{verb}").Options).values())
    switches = {re.sub(r"^--(.*\.)?", r"\g<0>no-", flag) for flag in options}
    every = flags_in(shown([verb, "--help-all"], capsys, monkeypatch)) - {"--help"}
    assert every - switches == options
    some = flags_in(shown([verb, "--help"], capsys, monkeypatch)) - {"--help"}
    assert some - switches <= options
    assert (some == every) == (verb in WITHOUT_HIDDEN_OPTIONS)


@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_a_text_breaks_where_the_line_is_full(flag, capsys, monkeypatch):
    """Not where a line of the source ends."""
    text = shown(["sample", flag], capsys, monkeypatch)
    assert re.search(r"samples/samples.png in the\s+run\s+folder if not given.", text)
    widths = [len(line.rstrip()) for line in text.splitlines() if "An .npy or .npz" in line or "layout, range" in line]
    assert all(width > 85 for width in widths)
    assert widths


@pytest.mark.parametrize("verb", ["score", "train"])
def test_the_whole_help_names_plain_types(verb, capsys, monkeypatch):
    text = shown([verb, "--help-all"], capsys, monkeypatch)
    assert "{None" not in text
    assert re.search(r"--num-times INT|--minutes FLOAT", text)


def test_help_is_shown_whatever_stands_beside_it(capsys, monkeypatch):
    text = shown(["train", "digits", "--network.width", "x", "--help"], capsys, monkeypatch)
    assert text == shown(["train", "-h"], capsys, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--network.width", "x"], "--network.width takes a whole number, not x"),
        (["--clip"], "--clip"),
        (["--netwrk.width", "8"], "Perhaps you meant: --network.width"),
        (["--model", "lstm"], "--model is lstm: choose one of diffusion, score"),
    ],
)
def test_mistakes_name_hidden_options_and_where_they_are_explained(arguments, told, capsys):
    assert run(["train", "digits", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.rstrip().endswith("See lowerbound train --help-all.")


def test_completion_knows_hidden_options(capsys):
    with pytest.raises(SystemExit):
        run(["train", "--tyro-print-completion", "bash"])
    printed = capsys.readouterr().out
    assert "--network.width" in printed
    assert "--minutes" in printed


def test_there_are_texts():
    assert len(helps("train")) > 50
    assert helps("sample")["num-samples"] == "The number of samples to draw."


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_is_explained_in_a_sentence(verb):
    for name, text in helps(verb).items():
        assert text.endswith("."), (name, text)
        told = (
            text.partition(": ")[2] if text.partition(": ")[0].islower() else text
        )  # "vae: the prior of the latents."
        assert told.split()[0].lower() not in NO_SENTENCE, (name, text)
        assert "mps" not in text.replace("mmps", ""), (name, text)


@pytest.mark.parametrize("verb", VERBS)
def test_each_paragraph_and_each_group_of_options_begins_as_a_sentence(verb):
    parser = parser_of(verb)
    paragraphs = re.split(r"\n\s*\n", parser.description or "")
    assert len(paragraphs) > 1
    for text in [*paragraphs, *(group.description for group in parser._action_groups if group.description)]:
        assert text.split()[0].lower() not in NO_SENTENCE, text


def test_a_device_without_double_precision_is_refused():
    with pytest.raises(InputError, match=r"--device is mps.*choose cpu, cuda or auto"):
        pick_device("mps")
