"""A verb's options from its arguments, with mistakes as one line like all others."""

import contextlib
import io
import itertools
import re
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from lowerbound.cli.flags import check_seeds
from lowerbound.cli.help import HELP, HELP_ALL, show_help
from lowerbound.errors import InputError

Options = TypeVar("Options")
RunPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="The run folder.")]
"""The argument of several verbs."""
DataName = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="DATA", help="The name of bundled data, a folder of images, or an .npy or .npz file."),
]
"""The argument of several verbs."""

_WANTED = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "INT INT": "two whole numbers",
    "FLOAT FLOAT": "two numbers",
    "invalid literal for int": "a whole number",
    "could not convert": "a number",
}
"""What a value should be, by what the parser says of it."""


def parse(kind: type[Options], verb: str, arguments: list[str], default: Options | None = None) -> Options:
    """The options of a verb; `--help` and `--help-all` print them and exit.

    Raises:
        InputError: for arguments that do not fit.
    """
    told = io.StringIO()
    program = f"lowerbound {verb}"
    if asked := {*HELP, HELP_ALL}.intersection(arguments):
        show_help(kind, program, everyday=HELP_ALL not in asked)
    try:
        with contextlib.redirect_stderr(told):
            if default is None:
                options = tyro.cli(kind, args=arguments, prog=program)
            else:
                options = tyro.cli(kind, args=arguments, prog=program, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        words = _plainly(told.getvalue(), arguments)
        raise InputError(re.sub("For full helptext.*", f"See {program} {HELP_ALL}.", words)) from None
    check_seeds(options)
    return options


def _plainly(told: str, arguments: list[str]) -> str:
    """The parser's words on a mistake without its frames, and without Python's words on a value that it could not read."""
    without_titles = re.sub(r"╭─ .*? ─+╮|^ .*\n -{3,}", "", told)  # in frames, or underlined
    without_titles = re.sub(r"Argument helptext:.*?(?=For full helptext)", "", without_titles, flags=re.DOTALL)
    words = re.sub(r"(-{3,}|[─│╭╮╰╯\s])+", " ", without_titles).strip()
    words = re.sub(r"(Perhaps you meant: --\S+).*(?= For full helptext)", r"\1.", words)
    found = re.search(r"Error parsing (?:-\w/)?([^:/]+)\S*: (.*?)( For full helptext.*)", words)
    if not found:
        return words
    flag, reason, end = found.groups()
    kind = re.search(
        r"no type matching (?:\{None\}\|)?\{?(.*?)\}? could|(invalid literal for int|could not convert)", reason
    )
    wanted = _WANTED.get((kind[1] or kind[2]) if kind else "")
    return f"{flag}: {reason}{end}" if wanted is None else f"{flag} takes {wanted}, not {_given(flag, arguments)}.{end}"


def _given(flag: str, arguments: list[str]) -> str:
    """What follows a flag."""
    for place, argument in enumerate(arguments):
        if argument.partition("=")[0].replace("_", "-") in (flag, "-n"):
            values = itertools.takewhile(lambda value: not value.startswith("--"), arguments[place + 1 :])
            return " ".join([argument.partition("=")[2]] if "=" in argument else values)
    return "what was given"
