"""Settings by the names that the command line has for them."""

import dataclasses
import math
import operator
import re
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lowerbound.errors import InputError

if TYPE_CHECKING:
    from lowerbound.run import Run

ALIASES = {
    "num_probes": "probes",
    "num_importance": "importance",
}
"""Arguments of the library that an option has another name for."""


_NAME = re.compile(
    r"(?<![\w/.'\"-])"  # not within a path, a quotation or a flag
    r"(?:[a-z]+(?:_[a-z]+)+(?![\w/.(-])"
    r"|[a-z]+(?==|\sis\s-?[\d(]|\sis\s(?:nan|inf)\b))"
)


def flags(kind: type) -> dict[str, str]:
    """The flag of each option of a verb, by its name in Python with its section: `flow.tolerance` is `--tolerance`.

    Arguments:
        kind: the dataclass of the verb's options.
    """
    return {name: f"--{shown.replace('_', '-')}" for name, shown in _names(kind)}


def check_counts(options: Any, *names: str) -> None:
    """Refuse options that are numbers below 1, by an InputError; one that is None was not given."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not value >= 1:
            raise InputError(f"{flags(type(options))[name]} is {value}: it starts at 1")


def check_seeds(options: Any) -> None:
    """Refuse seeds whose samples would not be their own, by an InputError: they have 32 bits."""
    for name, shown in flags(type(options)).items():
        if name.rpartition(".")[2] == "seed" and not 0 <= (value := operator.attrgetter(name)(options)) < 1 << 32:
            raise InputError(f"{shown} is {value}: it is at least 0 and below 2^32")


def check_effect(options: Any, defaults: Any, run: "Run", effective: Sequence[str]) -> None:
    """Refuse, of a model that is no denoiser, options that have no effect on it, by an InputError.

    Arguments:
        options, defaults: a verb's, the latter with the arguments that have no default alike.
        run: whose model they are given for.
        effective: the options that have an effect on any model, with their section's name where they have one.
    """
    if run.is_denoiser:
        return
    for name, flag in flags(type(options)).items():
        option = operator.attrgetter(name)
        if name not in effective and option(options) != option(defaults):
            raise InputError(f"{flag} has no effect on the model {run.config.model.name}, which is no denoiser")


def minutes_of(options: Any, other: str, default: float) -> float | None:
    """The minutes of a training: those of --minutes, none where its length is given otherwise, else the default ones.

    Arguments:
        options: a verb's.
        other: the option that gives the length otherwise.
        default: used where neither is given.

    Raises:
        InputError: if both are given, or it is no length.
    """
    minutes, length = options.minutes, getattr(options, other)
    if minutes is not None and length is not None:
        raise InputError(f"--minutes and --{other} were both given: give one of the two")
    check_counts(options, other)
    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError(f"--minutes is {minutes}: it must be positive and finite")
    return default if minutes is None and length is None else minutes


def in_flags(message: str, kind: type, arguments: Sequence[str]) -> str:
    """An error of the library, whose words are those of Python, with a verb's flags in the place of its arguments' names.

    A name that several sections have is that of the flag that was given, if one of them was, or else stays as it is. Names
    without an underscore are words as well, and count as names only before a value.

    Arguments:
        message: the error's.
        kind: the dataclass of the verb's options.
        arguments: of the command line.
    """
    candidates: dict[str, list[str]] = {}
    for name, flag in flags(kind).items():
        candidates.setdefault(name.rpartition(".")[2], []).append(flag)
    used = {argument.partition("=")[0].replace("_", "-") for argument in arguments}

    def renamed(match: re.Match[str]) -> str:
        name = ALIASES.get(match[0], match[0])
        flags_of_name = candidates.get(name, [])
        if len(flags_of_name) != 1:
            flags_of_name = [flag for flag in flags_of_name if flag in used]
        return flags_of_name[0] if len(flags_of_name) == 1 else match[0]

    return _NAME.sub(renamed, message)


def _names(kind: type, within: str = "", prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each option's name in Python and its name on the command line."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, marks = hints[field.name], ()
        if typing.get_origin(hint) is Annotated:
            hint, marks = typing.get_args(hint)[0], hint.__metadata__
        if dataclasses.is_dataclass(hint):
            inner = "" if tyro.conf.OmitArgPrefixes in marks else f"{prefix}{field.name}."
            yield from _names(typing.cast(type, hint), f"{within}{field.name}.", inner)
        elif tyro.conf.Positional not in marks:
            renamings = [mark.name for mark in marks if getattr(mark, "name", None)]  # of which no section is part
            yield f"{within}{field.name}", renamings[0] if renamings else f"{prefix}{field.name}"
