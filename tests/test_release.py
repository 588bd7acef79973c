"""What is released: wheel and source distribution hold what they should, the wheel runs, and other recipes agree."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import lowerbound

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Of packages that are called otherwise there."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the source distribution, unpacked as well, and the wheel that is made of it alone."""
    backend = pytest.importorskip("hatchling.build")
    out = tmp_path_factory.mktemp("dist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        source = out / backend.build_sdist(str(out))
        with tarfile.open(source) as archive:
            archive.extractall(out, filter="data")
        patch.chdir(out / source.name.removesuffix(".tar.gz"))
        backend.build_wheel(str(out))
    return out


def installed_files() -> set[str]:
    package = Path(lowerbound.__file__).parent
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"lowerbound/{path.relative_to(package)}" for path in files}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    facts = {name for name in names if ".dist-info/" in name}
    assert names - facts == installed_files()
    data = {"py.typed", "explore/page.html", "web/studio.css", "web/waiting.html", "report/page.css"}
    assert {f"lowerbound/{name}" for name in data} <= names
    assert any(name.endswith("licenses/LICENSE") for name in facts)
    assert "lowerbound = lowerbound.cli.main:main" in entry_points
    required = re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE)
    assert sorted(required) == sorted(PROJECT["dependencies"])
    assert f"Version: {PROJECT['version']}\n" in metadata


def test_the_source_distribution_holds_what_it_takes_to_test(built):
    (folder,) = (path for path in built.iterdir() if path.is_dir())
    for name in ("tests/test_release.py", "docs/commands.md", "Makefile", "constraints.txt", "LICENSE"):
        assert (folder / name).is_file(), name
    assert not (folder / ".venv").exists()


def test_the_wheel_runs_in_an_environment_of_its_own(built, tmp_path):
    """A new one, that has the libraries which are here, but not the checkout: its command trains a model."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "place"
    venv.create(place, with_pip=False)
    (libraries,) = place.glob("lib/python*/site-packages")
    (libraries / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    python, command = place / "bin" / "python", place / "bin" / "lowerbound"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile", "--ignore-installed"]
    install = [sys.executable, "-m", "pip", "--python", python, "install", *quiet, wheel]
    subprocess.run(install, check=True, env=os.environ | {"PYTHONPATH": ""})

    def said(*arguments: object) -> str:
        environment = os.environ | {"PYTHONPATH": ""}
        ended = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    where = said(python, "-c", "from importlib.util import find_spec; print(find_spec('lowerbound').origin)")
    assert where.startswith(str(place))
    assert said(command, "--help").splitlines()[0] == "usage: lowerbound VERB [arguments]"
    tiny = [
        "--steps",
        "2",
        "--batch-size",
        "8",
        "--network.width",
        "8",
        "--num-evaluations",
        "1",
        "--num-pictures",
        "1",
    ]
    assert json.loads(said(command, "train", "digits", *tiny, "--json"))["state"] == "complete"
    assert (tmp_path / "runs/digits/samples/step-000000002.png").is_file()


def test_the_conda_recipe_agrees_with_the_project():
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text()
    assert f'version: "{PROJECT["version"]}"' in recipe
    run = recipe.partition("\n  run:\n")[2].partition("\n\n")[0]
    listed = [line.strip().removeprefix("- ") for line in run.splitlines()]
    wanted = [re.fullmatch(r"([\w-]+)(.*)", each) for each in PROJECT["dependencies"]]
    named = [f"{CONDA_NAMES.get(each[1], each[1])} {each[2]}" for each in wanted if each]
    assert sorted(listed) == sorted([f"python {PROJECT['requires-python']}", *named])
    assert "lowerbound = lowerbound.cli.main:main" in recipe
    assert PROJECT["description"] in recipe


def test_the_image_copies_what_is_there():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY"):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
    (base,) = (line for line in lines if line.startswith("FROM"))
    assert base == "FROM python:${PYTHON}-slim"
    assert any(line == "USER user" for line in lines)


def test_the_list_for_assistants_names_every_page():
    text = (ROOT / "llms.txt").read_text()
    assert text.startswith("# lowerbound\n\n> ")
    linked = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): .+\.$", text, re.MULTILINE)
    assert all((ROOT / name).exists() for name in linked)
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    # those of the reference hold nothing before the site is built
    assert {page for page in pages if page == "docs/api/index.md" or "/api/" not in page} <= set(linked)
