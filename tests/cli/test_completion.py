"""`lowerbound completion`: the shell itself is asked what it would complete."""

import importlib
import shutil
import subprocess

import pytest

from lowerbound.cli.completion import choices, script
from lowerbound.cli.flags import flags
from lowerbound.cli.main import VERBS, run


def completed(*words) -> set[str]:
    """What bash proposes for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    lines = (
        script("bash"),
        f"COMP_WORDS=({line})",
        f"COMP_CWORD={len(words) - 1}",
        "_lowerbound",
        'echo "${COMPREPLY[@]}"',
    )
    ended = subprocess.run(["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    return set(ended.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_verbs_options_and_words():
    assert completed("lowerbound", "") == {*VERBS}
    assert completed("lowerbound", "ev") == {"evaluate"}
    assert completed("lowerbound", "train", "digits", "--network.w") == {"--network.width"}
    assert {"--num-samples", "--help-all", "--json"} <= completed("lowerbound", "sample", "runs/digits", "--")
    assert completed("lowerbound", "sample", "runs/digits", "--sampler", "dd") == {"ddim"}
    assert completed("lowerbound", "score", "runs/digits", "digi") == set()  # files, which bash completes by itself


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_verbs_options_and_words():
    def proposed(line: str) -> set[str]:
        commands = f"{script('fish')}\ncomplete -C '{line}'"
        ended = subprocess.run(["fish", "--no-config", "-c", commands], capture_output=True, text=True, check=True)
        assert ended.stderr == ""
        return {each.split("\t")[0] for each in ended.stdout.splitlines()}

    assert proposed("lowerbound ") == {*VERBS}
    assert proposed("lowerbound ev") == {"evaluate"}
    assert proposed("lowerbound train sample --network.w") == {"--network.width"}
    assert proposed("lowerbound sample train --network.w") == set()
    assert proposed("lowerbound sample runs/digits --sampler dd") == {"ddim"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_every_verb_and_option(shell, capsys):
    assert run(["completion", shell]) == 0
    printed = capsys.readouterr().out
    for verb in VERBS:
        assert verb in printed
        for flag in flags(importlib.import_module(f"lowerbound.cli.{verb}").Options).values():
            assert (
                (f"-l {flag[2:]}\n" in printed or f"-l {flag[2:]} " in printed) if shell == "fish" else flag in printed
            )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_read_without_a_complaint(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=script(shell), text=True, check=True)


def test_words_of_an_option():
    found = choices(importlib.import_module("lowerbound.cli.score").Options)
    assert found["--by"] == ("column", "noise")
    assert found["--num-times"] == found["--help"] == ()


def test_another_shell_is_refused(capsys):
    assert run(["completion", "csh"]) == 2
    assert "bash" in capsys.readouterr().err
