"""Settings by the names that the command line has for them."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated

import tyro

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
    return {name: flag for name, flag, _ in _options(kind)}


def joined(arguments: Sequence[str], kind: type) -> list[str]:
    """The arguments, in which an option of any number of names that is given more than once has all of them.

    Whoever is told to leave out one column after another adds `--ignore B` to `--ignore A`, and means both. Of numbers the
    last ones count, as of single values: they are put in the place of others.

    Arguments:
        arguments: of the command line.
        kind: the dataclass of the verb's options.
    """
    of_names = {flag for _, flag, hint in _options(kind) if hint == tuple[str, ...]}
    others: list[str] = []
    values: dict[str, list[str]] = {}
    number_given, open_flag = 0, ""
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if (flag := flag.replace("_", "-")) in of_names:
            number_given += 1
            values.setdefault(flag, []).extend([value] * bool(equals))
            open_flag = "" if equals else flag
        elif open_flag and not argument.startswith("-"):
            values[open_flag].append(argument)
        else:
            open_flag = ""
            others.append(argument)
    if number_given == len(values) or "--" in arguments:
        return list(arguments)
    return others + [text for flag, given in values.items() for text in (flag, *given)]


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
        flags_of_name = candidates.get(match[0], [])
        if len(flags_of_name) != 1:
            flags_of_name = [flag for flag in flags_of_name if flag in used]
        return flags_of_name[0] if len(flags_of_name) == 1 else match[0]

    return _NAME.sub(renamed, message)


def _options(kind: type, within: str = "", prefix: str = "") -> Iterator[tuple[str, str, typing.Any]]:
    """Each option's name in Python, its flag, and its type."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, marks = hints[field.name], ()
        if typing.get_origin(hint) is Annotated:
            hint, marks = typing.get_args(hint)[0], hint.__metadata__
        if dataclasses.is_dataclass(hint):
            inner = "" if tyro.conf.OmitArgPrefixes in marks else f"{prefix}{field.name}."
            yield from _options(typing.cast(type, hint), f"{within}{field.name}.", inner)
        elif not {tyro.conf.Positional, tyro.conf.Fixed}.intersection(marks):
            renamings = [mark.name for mark in marks if getattr(mark, "name", None)]  # of which no section is part
            option = renamings[0] if renamings else f"{prefix}{field.name}"
            yield f"{within}{field.name}", f"--{option.replace('_', '-')}", hint
