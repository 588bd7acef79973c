"""Every script that answers a question runs, in its short form where it has one, and prints something."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

QUESTIONS = sorted((Path(__file__).parent.parent / "docs" / "questions").glob("*.py"))
every_question = pytest.mark.parametrize("script", QUESTIONS, ids=[script.stem for script in QUESTIONS])


@every_question
def test_it_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), *(["--quick"] if "--quick" in script.read_text() else [])])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) > 1
    assert not [*tmp_path.iterdir()], "a script leaves no files behind"


@every_question
def test_it_asks_and_answers(script):
    question, *answer = (ast.get_docstring(ast.parse(script.read_text())) or "").split("\n\n")
    assert question.endswith("?")
    assert any(character.isdigit() for character in " ".join(answer)), "an answer has measured figures in it"


def test_there_are_questions():
    assert len(QUESTIONS) > 2
