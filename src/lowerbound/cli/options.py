"""A verb's options from its arguments, with mistakes as one line like all others; those that several verbs have."""

import contextlib
import io
import itertools
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import tyro
from tyro.constructors import MISSING_NONPROP

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

DeviceName = Annotated[
    str,
    tyro.conf.arg(help="The device to work on: cpu, cuda, or auto for cuda where there is one."),
]
"""The option of several verbs."""
DEVICE_KINDS = ("cpu", "cuda")
"""Devices that compute in double precision, as noise levels and densities are."""

_WANTED = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "INT INT": "two whole numbers",
    "FLOAT FLOAT": "two numbers",
    "invalid literal for int": "a whole number",
    "could not convert": "a number",
}
"""What a value should be, by what the parser says of it."""


def parse(kind: type[Options], verb: str, arguments: list[str], default: Any = MISSING_NONPROP) -> Options:
    """The options of a verb; `--help` and `--help-all` print them and exit.

    Raises:
        InputError: for arguments that do not fit.
    """
    complaint = io.StringIO()
    program = f"lowerbound {verb}"
    if help_flags := {*HELP, HELP_ALL}.intersection(arguments):
        show_help(kind, program, everyday=HELP_ALL not in help_flags)
    try:
        with contextlib.redirect_stderr(complaint):
            options = tyro.cli(kind, args=arguments, prog=program, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        words = _plainly(complaint.getvalue(), arguments)
        raise InputError(re.sub("For full helptext.*", f"See {program} {HELP_ALL}.", words)) from None
    check_seeds(options)
    return options


def _plainly(complaint: str, arguments: list[str]) -> str:
    """The parser's words on a mistake without its frames, and without Python's words on a value that it could not read."""
    without_titles = re.sub(r"╭─ .*? ─+╮|^ .*\n -{3,}", "", complaint)  # in frames, or underlined
    without_titles = re.sub(r"Argument helptext:.*?(?=For full helptext)", "", without_titles, flags=re.DOTALL)
    words = re.sub(r"(-{3,}|[─│╭╮╰╯\s])+", " ", without_titles).strip()
    words = re.sub(r"(Perhaps you meant: --\S+).*(?= For full helptext)", r"\1.", words)
    mistake = re.search(r"Error parsing (?:-\w/)?([^:/]+)\S*: (.*?)( For full helptext.*)", words)
    if not mistake:
        return words
    flag, reason, end = mistake.groups()
    kind = re.search(
        r"no type matching (?:\{None\}\|)?\{?(.*?)\}? could|(invalid literal for int|could not convert)", reason
    )
    wanted = _WANTED.get((kind[1] or kind[2]) if kind else "")
    return (
        f"{flag}: {reason}{end}" if wanted is None else f"{flag} takes {wanted}, not {_values(flag, arguments)}.{end}"
    )


def _values(flag: str, arguments: list[str]) -> str:
    """What follows a flag."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") in (flag, "-n"):
            following = itertools.takewhile(lambda value: not value.startswith("--"), arguments[position + 1 :])
            return value if equals else " ".join(following)
    return "what was given"


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        InputError: if there is no such device, or it has no double precision.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICE_KINDS:
            raise InputError(f"--device is {name}, which is not supported: choose cpu, cuda or auto")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device is {name}, which cannot be used ({reason}): choose cpu or auto") from error
    return device
