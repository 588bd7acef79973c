"""The public surface: about 45 names, each documented with shapes and used in README or docs."""

import inspect
import re
from pathlib import Path

import pytest
import torch

import lowerbound as lb

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = "\n".join("\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)) for page in PAGES)
LIBRARY = ROOT / "docs" / "library.md"
MADE_OF_TENSORS = re.compile(r"Tensor|ndarray")
SHAPE = re.compile(r"Float|Num\[|Int\[|Bool\[|Time\b|shape|\(B|\(N|\(D|number")


def described(thing: object) -> str:
    """Its own documentation, and that of what it is made by or called with."""
    parts = [thing]
    if inspect.isclass(thing):
        parts += [vars(base).get(name) for base in thing.__mro__[:-1] for name in ("forward", "step")]
        parts += thing.__mro__[1:-1]
    return "\n".join(filter(None, (inspect.getdoc(part) for part in parts if part is not None)))


def parameters(thing: object) -> list[inspect.Parameter]:
    """What it is called with."""
    if isinstance(thing, type) and (inspect.isabstract(thing) or issubclass(thing, Exception)):
        return []
    return [
        parameter
        for name, parameter in inspect.signature(thing).parameters.items()
        if name not in ("self", "args", "kwargs")
    ]


def test_there_are_about_45():
    assert 40 <= len(lb.__all__) <= 50
    assert len(set(lb.__all__)) == len(lb.__all__)


@pytest.mark.parametrize("name", lb.__all__)
def test_each_is_documented_with_its_shapes_and_used(name):
    thing = getattr(lb, name)
    assert inspect.getdoc(thing)
    text = described(thing)
    if name in ("sample", "trajectory"):  # the two have the same arguments
        text += described(lb.trajectory)
    for parameter in parameters(thing):
        assert re.search(rf"\b{re.escape(parameter.name)}\b", text), parameter.name
        annotation = str(parameter.annotation)
        if MADE_OF_TENSORS.search(annotation) and "Callable" not in annotation:
            line = re.search(rf"^.*\b{re.escape(parameter.name)}\b.*?:(.*)$", text, re.MULTILINE)
            assert SHAPE.search(annotation) or (line is not None and SHAPE.search(line[1])), parameter
    assert re.search(rf"\blb\.{name}\b", SNIPPETS), "used on no page"


def test_whoever_asks_for_another_name_is_told_so():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lb.nothing  # noqa: B018


def test_the_page_on_the_library_runs(tmp_path, monkeypatch):
    """Its blocks one after the other, with less training of the run, of whose quality nothing is said."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", LIBRARY.read_text(), re.DOTALL))
    code, num_shortened = re.subn(r"minutes=0\.1", "minutes=0.01", code)
    assert num_shortened == 1
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "library"}
    exec(compile(code, "library.md", "exec"), names)
    elbo, loose, worse = (names[name].bits_per_dim.mean().item() for name in ("elbo", "loose", "worse"))
    assert elbo < loose  # a decoder that does not fit the schedule costs bits
    assert elbo < worse
    assert names["drawn"].shape == names["samples"].shape == (100, 2)
    assert torch.isfinite(names["drawn"]).all()
    assert names["guided"].shape == (1, 16, 16)
    assert all(torch.isfinite(score) for score in names["scores"])
    signs = names["signs"]
    frequency = (signs[:, None] == signs).all(-1).double().mean(1)
    excess, error = lb.mean_and_error(names["mass"].bits_per_dim.double() + torch.log2(frequency) / signs.shape[1])
    assert -3 * error < excess < 0.02 + 3 * error
    assert names["guesses"].shape == (len(names["held_out"]), 4, 2)
    assert (names["guesses"][:, :, 0] == names["held_out"][:, None, 0]).all()
