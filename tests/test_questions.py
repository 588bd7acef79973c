"""Every script that answers a question runs, in its short form if it has one, and prints what its picture is drawn from."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

QUESTIONS = sorted((Path(__file__).parent.parent / "docs" / "questions").glob("*.py"))
PLOTS = runpy.run_path(str(QUESTIONS[0].parent.parent / "plots.py"))["PLOTS"]
every_question = pytest.mark.parametrize("script", QUESTIONS, ids=[script.stem for script in QUESTIONS])


@every_question
def test_it_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), *(["--quick"] if "--quick" in script.read_text() else [])])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) > 1
    assert not [*tmp_path.iterdir()], "a script leaves no files behind"
    PLOTS[script.stem](printed).savefig(tmp_path / "picture.png")


@every_question
def test_it_asks_and_answers(script):
    question, *answer = (ast.get_docstring(ast.parse(script.read_text())) or "").split("\n\n")
    assert question.endswith("?")
    assert any(character.isdigit() for character in " ".join(answer)), "an answer has measured figures in it"


def test_their_pictures_are_small():
    pictures = [*(QUESTIONS[0].parent / "pictures").glob("*.png")]
    assert len(pictures) > 8
    for picture in pictures:
        assert picture.stem in PLOTS
        assert picture.stat().st_size < 60_000


def test_there_are_questions():
    assert len(QUESTIONS) > 2
