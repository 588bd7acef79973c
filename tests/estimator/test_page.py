"""The page on the estimator runs, and what it says of its numbers holds."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "estimator.md"


def test_the_blocks_run(tmp_path, monkeypatch):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    shorter = "steps=100, width=32, learning_rate=3e-3, num_draws=32"
    code, num_shortened = re.subn("steps=1000, width=64", shorter, code)
    assert num_shortened == 1
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "estimator"}
    exec(compile(code, "estimator.md", "exec"), names)
    assert names["draws"].shape == (5, 20, 3)
    assert np.isfinite(names["filled"]).all()
    assert names["known"][0] > names["nats"][0] - 5
    assert (names["named"] != 2).mean() > 0.9  # the third column has no part in it
    assert names["by_noise"].shape == (50, 18)
    assert names["log_p"].shape == (2, 5)
    names["same"].set_params(num_draws=32)  # which a run does not keep
    assert (names["same"].score_samples(names["X"][:3]) == names["model"].score_samples(names["X"][:3])).all()
