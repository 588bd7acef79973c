"""Help texts are plain sentences about what an option does."""

import importlib
import warnings

import pytest
import tyro

from lowerbound.cli.devices import pick_device
from lowerbound.cli.main import VERBS
from lowerbound.errors import InputError


def helps(verb) -> dict[str, str]:
    """What `--help` says of each option of a verb, its default left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tyro no longer likes to show its parser
        parser = tyro.extras.get_parser(importlib.import_module(f"lowerbound.cli.{verb}").Options)
    texts = {
        action.dest: " ".join(str(action.help).partition("(default:")[0].split())
        for action in parser._actions
        if action.dest != "help"
    }
    return {
        name: text.partition(" (required)")[0].partition(" (repeatable)")[0].strip() for name, text in texts.items()
    }


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
        assert told.split()[0].lower() not in ("how", "where", "what", "of", "which", "whether", "whose"), (name, text)
        assert "mps" not in text.replace("mmps", ""), (name, text)


def test_a_device_without_double_precision_is_refused():
    with pytest.raises(InputError, match=r"--device is mps.*choose cpu, cuda or auto"):
        pick_device("mps")
