"""The page on the code runs."""

import dataclasses
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "codec.md"


def small(config):
    network = dataclasses.replace(config.network, width=8, blocks_per_level=1)
    return dataclasses.replace(
        config, network=network, training=dataclasses.replace(config.training, minutes=None, steps=30)
    )


def test_its_example_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    # so many steps, however busy the machine is: of a model that has learned nothing the first examples cost less than its
    # bound
    shorter, num_shortened = re.subn(r"lb\.recipe\(digits, minutes=0\.1\)", "small(lb.recipe(digits))", code[1])
    assert num_shortened == 1
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page", "small": small}
    exec(compile(shorter, "codec.md", "exec"), names)
    assert (names["again"] == names["raw"]).all()
    assert names["bits"] > names["bound"]
    assert "bits/dim in the file" in capsys.readouterr().out
