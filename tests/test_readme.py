"""The README's Python runs, and its file tree is the one that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_example_runs(capsys):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    names: dict = {}
    exec(compile(example[1], "README.md", "exec"), names)
    printed = re.match(r"bound (-?\d+\.\d+) ± (\d+\.\d+) bits/dim, exact (-?\d+\.\d+)", capsys.readouterr().out)
    assert printed is not None
    bound, error, exact = map(float, printed.groups())
    assert bound > exact - 3 * error
    assert bound < exact + 0.05 + 3 * error
    assert names["samples"].shape == (1000, 1)


def test_tree_names_everything_there_is():
    tree = README.split("## The tree")[1]
    named = set(re.findall(r"^  ([a-z_]+(?:\.py|/))", tree, re.MULTILINE))
    package = ROOT / "src" / "lowerbound"
    there = {p.name for p in package.glob("*.py")} | {f"{p.name}/" for p in package.iterdir() if p.is_dir()}
    assert named == there - {"__init__.py", "__main__.py", "__pycache__/"}
