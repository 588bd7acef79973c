"""The house: arrows between packages point one way, and what scripts beside it import is there."""

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lowerbound

SOURCE = Path(lowerbound.__file__).parent
ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/**/*.py")))
ORDER = ("schedule", "denoiser", "likelihood", "samplers", "models", "training", "run", "scoring", "evaluate", "cli")
"""From the core to the command line: each may know those before it, and none of those after it."""


def room(module: str) -> str:
    """The package or top-level file that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def arrows() -> dict[str, set[str]]:
    """Of each package or top-level file, those that it imports."""
    imports: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lowerbound":
                whole = node.module == "lowerbound"
                names = [f"lowerbound.{alias.name}" for alias in node.names] if whole else [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.split(".")[0] == "lowerbound"]
            imports.setdefault(own, set()).update(room(name) for name in names)
    for own, others in imports.items():
        others.discard(own)
    return {own: others for own, others in imports.items() if own not in ("__init__", "__main__")}


def test_no_circle_between_packages():
    order = list(TopologicalSorter(arrows()).static_order())
    assert set(ORDER) <= set(order)


def test_no_package_knows_what_is_made_of_it():
    known = arrows()
    for number, package in enumerate(ORDER):
        assert not known[package] & set(ORDER[number + 1 :]), package


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_imports_from_the_house_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lowerbound":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
