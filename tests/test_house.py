"""The house: arrows between packages point one way, and what scripts beside it import is there."""

import ast
import importlib
import io
import re
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lowerbound

SOURCE = Path(lowerbound.__file__).parent
ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/**/*.py")))
ORDER = ("schedule", "denoiser", "likelihood", "samplers", "models", "training", "run", "scoring", "evaluate", "cli")
"""From the core to the command line: each may know those before it, and none of those after it."""
GROUND = {"errors", "arguments", "settings", "shapes", "elementary", "gradient", "files", "machine", "words"}
"""What would serve another program as well: it knows nothing of diffusion."""
CORE = ("schedule", "denoiser", "objective.py", "likelihood", "samplers")
"""What every reader has to know."""
LONGEST_CORE = 2_000
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def room(module: str) -> str:
    """The package or top-level file that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def modules() -> dict[str, Path]:
    """The file of each module of the house but its face, whose names come in when they are asked for."""
    files = {path: ("lowerbound", *path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    names = {".".join(parts).removesuffix(".__init__"): path for path, parts in files.items()}
    return {name: path for name, path in names.items() if name not in ("lowerbound", "lowerbound.__main__")}


def imported() -> dict[str, set[str]]:
    """Of each module those that it imports, within functions too."""
    files = modules()
    known: dict[str, set[str]] = {}
    for own, path in files.items():
        names = known.setdefault(own, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lowerbound":
                each = [f"{node.module}.{alias.name}" for alias in node.names]
                names.update(name if name in files else node.module for name in each)
            elif isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names if alias.name.split(".")[0] == "lowerbound")
    return known


def arrows() -> dict[str, set[str]]:
    """Of each package or top-level file, those that it imports."""
    rooms: dict[str, set[str]] = {}
    for own, names in imported().items():
        rooms.setdefault(room(own), set()).update(room(name) for name in names)
    return {own: others - {own} for own, others in rooms.items()}


def code_lines(source: str) -> int:
    """Lines of code, without comments, docstrings and blank lines."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_lines_of_code_are_counted_without_what_explains_them():
    assert (
        code_lines(
            '"""A\nmodule."""\n\nx = 1  # one\n# two\ndef f():\n    """Three."""\n    return (\n        x\n    )\n'
        )
        == 5
    )


def test_the_core_stays_short_enough_to_read():
    files = [path for part in CORE for path in ((SOURCE / part).rglob("*.py") if "." not in part else [SOURCE / part])]
    assert sum(code_lines(path.read_text()) for path in files) <= LONGEST_CORE


def test_no_circle_between_packages():
    order = list(TopologicalSorter(arrows()).static_order())
    assert set(ORDER) <= set(order)


def test_no_circle_between_files():
    """What a file says of another that knows it has no beginning, and neither can be read before the other."""
    assert len(list(TopologicalSorter(imported()).static_order())) > 400


def test_no_package_knows_what_is_made_of_it():
    known = arrows()
    for number, package in enumerate(ORDER):
        assert not known[package] & set(ORDER[number + 1 :]), package


def test_the_ground_rests_upon_itself_alone():
    known = arrows()
    for room_below in GROUND:
        assert known[room_below] <= GROUND, room_below


def test_no_part_of_a_split_is_its_beginning():
    beginning = re.compile(r"\.(?:train|validation|test|indices\([a-z_.]+\))\[ ?:(?![:,])")  # which is `Dataset.some`
    files = [*SOURCE.rglob("*.py"), *ROOT.glob("benchmarks/*.py")]
    assert not [
        f"{path.name}: {line}" for path in files for line in path.read_text().splitlines() if beginning.search(line)
    ]
    assert beginning.search("few = dataset.test[:30]")
    assert beginning.search("dataset.indices(split)[: num_examples]")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_imports_from_the_house_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lowerbound":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
