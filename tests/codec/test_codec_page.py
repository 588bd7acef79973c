"""The page on the code runs."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "codec.md"


def test_its_example_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    shorter, num_shortened = re.subn(r"minutes=0\.1", "minutes=0.02", code[1])
    assert num_shortened == 1
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(compile(shorter, "codec.md", "exec"), names)
    assert (names["again"] == names["raw"]).all()
    assert names["bits"] > names["bound"]
    assert "bits/dim in the file" in capsys.readouterr().out
