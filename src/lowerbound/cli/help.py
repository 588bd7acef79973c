"""A verb's help: `--help` shows the options that most people need, `--help-all` all of them."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from tyro.constructors import (
    MISSING,
    MISSING_NONPROP,
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from lowerbound.cli.flags import flags
from lowerbound.settings import EVERYDAY

HELP, HELP_ALL = ("-h", "--help"), "--help-all"


def show_help(kind: type, program: str, *, everyday: bool) -> None:
    """Print a verb's help and exit.

    Arguments:
        kind: the dataclass of the verb's options.
        program: the command line up to the verb.
        everyday: show the options alone that are marked as `Everyday`, where some are, and those that are required.
    """
    text = inspect.getdoc(kind)
    short = everyday and _has_everyday(kind)
    if short:
        text = f"{text}\n\nOptions that most people need are below; {HELP_ALL} shows all {len(flags(kind))}."
    pairs = (tyro.conf.FlagCreatePairsOff,) if short else ()
    plain = (tyro.conf.DisallowNone, *pairs)  # what is None if not given says so in its text
    tyro.cli(kind, args=HELP[:1], prog=program, description=text, config=plain, registry=_registry(short=short))


def _has_everyday(hint: Any) -> bool:
    """Whether an option is marked, or a section holds one that is."""
    if EVERYDAY in getattr(hint, "__metadata__", ()):
        return True
    kind = _bare(hint)
    return dataclasses.is_dataclass(kind) and any(
        map(_has_everyday, typing.get_type_hints(kind, include_extras=True).values())
    )


def _registry(*, short: bool) -> ConstructorRegistry:
    """How the parser reads dataclasses for a help."""
    registry, nested = ConstructorRegistry(), False

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal nested
        if nested or not dataclasses.is_dataclass(info.type):
            return None
        nested = True  # the parser's own rule is the next in turn
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            nested = False
        assert isinstance(spec, StructConstructorSpec)
        return dataclasses.replace(spec, fields=tuple(_shown(field, short=short) for field in spec.fields))

    return registry


def _shown(field: StructFieldSpec, *, short: bool) -> StructFieldSpec:
    """A field as a help shows it: in one paragraph and, in a short help, in one list or hidden."""
    marks: list[Any] = [tyro.conf.arg(help_behavior_hint=_default)]
    if short and dataclasses.is_dataclass(_bare(field.type)):
        marks = [tyro.conf.arg(name="")]
    elif short and not _has_everyday(field.type) and field.default not in (MISSING, MISSING_NONPROP):
        marks.append(tyro.conf.Suppress)
    kind: Any = Annotated[(field.type, *marks)]
    return dataclasses.replace(field, type=kind, helptext=_paragraph(field.helptext))


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _default(value: str) -> str:
    """What a help adds to an option's text, which itself says what happens if it is not given; a switch is off."""
    return f"(default: {value})" if value not in ("None", "", "False") else ""


def _paragraph(text: str | Callable[[], str | None] | None) -> str | None:
    text = text() if callable(text) else text
    return text and " ".join(text.split())
