"""The directive `reference`: what a module offers, each name with its signature and its docstring, which is Markdown."""

import importlib
import inspect
import re
from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SECTION = re.compile(r"^(Arguments|Attributes|Raises|Returns|Yields):$")
ENTRY = re.compile(r"^    ([\w*, .]+): (.*)$")


class Reference(SphinxDirective):
    """Writes each public thing of a module as a directive of the Python domain."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(self.arguments[0])
        lines = [line for name in public(module) for line in entry(module, name)]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source=module.__file__ or ""), 0, container)
        return container.children


def public(module) -> list[str]:
    """The names that a module lists, or else those that it defines."""
    own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__]
    return getattr(module, "__all__", [name for name in own if not name.startswith("_")])


def entry(module, name: str) -> Iterator[str]:
    """A public name: a class with its public methods, a function, a module or a value."""
    thing, full = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.ismodule(thing):
        yield from described("module", full, thing, [])
    elif inspect.isclass(thing):
        own = [
            method for each, method in vars(thing).items() if not each.startswith("_") and inspect.isfunction(method)
        ]
        methods = [
            line for method in own for line in described("method", method.__name__ + signature(method), method, [])
        ]
        yield from described("class", full + signature(thing), thing, methods)
    elif callable(thing):
        yield from described("function", full + signature(thing), thing, [])
    else:
        yield from described("data", full, None, [])


def described(kind: str, head: str, thing: object, below: list[str]) -> Iterator[str]:
    """A directive around a docstring, fenced by more marks than what it holds."""
    fence = ":" * (5 if kind == "class" else 4)
    yield f"{fence}{{py:{kind}}} {head}"
    if kind == "module":
        yield ":no-index:"
    yield ""
    yield from markdown(inspect.getdoc(thing) or "" if thing is not None else "")
    yield from below
    yield fence
    yield ""


def signature(thing) -> str:
    """The names of the arguments and their defaults: shapes and units stand in the text."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    empty = inspect.Parameter.empty
    bare = [each.replace(annotation=empty) for name, each in found.parameters.items() if name != "self"]
    plain = [each if simple(each.default) else each.replace(default=Ellipsis) for each in bare]
    return str(found.replace(parameters=plain, return_annotation=empty)).replace("Ellipsis", "...")


def simple(value: object) -> bool:
    """Whether a default can be read as it is printed."""
    return value is inspect.Parameter.empty or isinstance(value, int | float | str | bool | tuple | None)


def markdown(text: str) -> Iterator[str]:
    """A docstring with its arguments as a list."""
    within = False
    for line in text.splitlines():
        if SECTION.match(line):
            within = True
            yield from (f"**{line}**", "")
        elif within and (found := ENTRY.match(line)):
            yield f"- `{found[1]}`: {found[2]}"
        else:
            within = within and (not line or line.startswith("    "))
            yield f"  {line.strip()}" if within and line else line
    yield ""


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("reference", Reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
