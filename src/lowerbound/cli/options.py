"""A verb's options: those that several verbs have, how they are read from its arguments, and what is checked of them."""

import contextlib
import io
import itertools
import math
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro
from tyro.constructors import MISSING_NONPROP

from lowerbound.cli.flags import flags, joined
from lowerbound.cli.help import HELP, HELP_ALL, show_help
from lowerbound.cli.overwriting import check_overwriting
from lowerbound.errors import InputError
from lowerbound.settings import check_counts, check_seed
from lowerbound.words.nearest import nearest

if TYPE_CHECKING:
    from lowerbound.run import Run

Options = TypeVar("Options")
RunPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="The run folder.")]
"""The argument of several verbs."""
DataName = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="DATA",
        help="The name of bundled data, hf:NAME, a folder or an archive of images, or a file of a table, arrays or fields.",
    ),
]
"""The argument of several verbs."""

ProcessesOption = Annotated[
    int,
    tyro.conf.arg(
        help="The number of processes on this machine that work together, each with its share; the same as starting them "
        "by torchrun."
    ),
]
"""The option of the verbs that several processes do together."""

_WANTED = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "INT INT": "two whole numbers",
    "FLOAT FLOAT": "two numbers",
    "invalid literal for int": "a whole number",
    "could not convert": "a number",
}
"""What a value should be, by what the parser says of it."""
SHARING = ("sample", "evaluate", "score", "impute", "forecast", "edit", "distill", "classifier")
"""Verbs that look at once how many processors are free; training does so all along, and the studio once it is shown."""


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
            options = tyro.cli(kind, args=joined(arguments, kind), prog=program, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        cause = stop.__context__
        while cause is not None:
            if isinstance(cause, InputError):  # of the options' own dataclass, or of a section's
                raise cause from None
            cause = cause.__context__
        message = _plainly(complaint.getvalue(), arguments, tuple(flags(kind).values()))
        raise InputError(re.sub("For full helptext.*", f"See {program} {HELP_ALL}.", message)) from None
    check_seeds(options)
    check_overwriting(options)
    if verb in SHARING:
        from lowerbound.machine.processor import leave_busy_processors

        leave_busy_processors()
    return options


def check_seeds(options: Any) -> None:
    """Refuse seeds whose samples would not be their own, by an InputError: they have 32 bits."""
    for name, flag in flags(type(options)).items():
        if name.rpartition(".")[2] == "seed":
            check_seed(operator.attrgetter(name)(options), flag)


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
        section = name.partition(".")[0]
        if name not in effective and section != "reading" and option(options) != option(defaults):
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


def _plainly(complaint: str, arguments: list[str], options: Sequence[str]) -> str:
    """The parser's words on a mistake without its frames, and without Python's words on a value that it could not read.

    Arguments:
        complaint: what the parser printed.
        arguments: of the command line.
        options: the flags that there are.
    """
    without_titles = re.sub(r"╭─ .*? ─+╮|^ .*\n -{3,}", "", complaint)  # in frames, or underlined
    without_titles = re.sub(r"Argument helptext:.*?(?=For full helptext)", "", without_titles, flags=re.DOTALL)
    message = re.sub(r"(-{3,}|[─│╭╮╰╯\s])+", " ", without_titles).strip()
    message = re.sub(r" Perhaps you meant: .*(?= For full helptext)", "", message)
    if (mistake := re.search(r"^Unrecognized options: (.*?) For full helptext", message)) is not None:
        return f"{_unknown(mistake[1].replace(', ', ' '), options)} {message[message.index('For full helptext') :]}"
    for pattern, rewritten in _REWRITTEN.items():
        if (mistake := re.search(pattern, message)) is not None:
            return f"{rewritten(mistake)} {message[message.index('For full helptext') :]}"
    mistake = re.search(r"Error parsing (?:-\w/)?([^:/]+)\S*: (.*?)( For full helptext.*)", message)
    if not mistake:
        return message
    flag, reason, end = mistake.groups()
    kind = re.search(
        r"no type matching (?:\{None\}\|)?\{?(.*?)\}? could|(invalid literal for int|could not convert)", reason
    )
    wanted = _WANTED.get((kind[1] or kind[2]) if kind else "")
    if wanted is None:
        return f"{flag}: {reason}{end}"
    return f"{flag} takes {wanted}, not {_values(flag, arguments)}.{end}"


def _missing(mistake: re.Match[str]) -> str:
    """What was not given, each with what it is: its names, and its help's first sentence."""
    required = re.findall(
        r"(?:-\w \S+, )?(--\S+|[A-Z][A-Z_]+)(?: [A-Z{][^ a-z]*(?=[ ]))? (.*?) \(required\)", mistake[1]
    )
    sentences = ((name, what.split(". ")[0].rstrip(".")) for name, what in required)
    return " ".join(f"{name} is missing: {what[:1].lower()}{what[1:]}." for name, what in sentences)


def _unknown(argument: str, options: Sequence[str]) -> str:
    """What no option takes, and the one that was perhaps meant: of the whole flags before those of a section's settings."""
    flag = argument.split("=", maxsplit=1)[0].split(maxsplit=1)[0].replace("_", "-")
    plain = [] if "." in flag else [option for option in options if "." not in option]
    by_setting = {f"--{option.rpartition('.')[2]}": option for option in options if "." in option}
    near = nearest(flag, plain) or nearest(flag, options) or by_setting.get(nearest(flag, by_setting) or "")
    return f"not understood: {argument}." + (f" Perhaps you meant: {near}." if near else "")


def _choice(mistake: re.Match[str]) -> str:
    """What can be chosen, the one that is written nearly so first."""
    value, flag = mistake[1], mistake[2]
    choices = [choice for choice in re.findall(r"'(.*?)'", mistake[3]) if choice != "None"]
    near = nearest(value, choices)
    meant = f"; did you mean {near}? Choose" if near else ": choose"
    return f"{flag} is {value}{meant} one of {', '.join(choices)}."


_REWRITTEN: dict[str, Callable[[re.Match[str]], str]] = {
    r"^Missing from lowerbound \S+: (.*\(required\))": _missing,
    r"invalid choice '(.*?)' for argument '(--\S+?)'\. Expected one of \((.*?)\)\.": _choice,
    r"^Missing value for argument '(\S*?-\S+?)'": lambda mistake: (
        f"{mistake[1].rpartition('/')[2]} takes a value, and none was given."
    ),
    r"^Missing value for argument '(\w+)'": lambda mistake: f"{mistake[1].upper()} is missing.",
}
"""What the parser says of frequent mistakes, and how it is said here."""


_OPTION = re.compile("--?[A-Za-z]")
"""How an option begins, and a negative number does not."""


def _values(flag: str, arguments: list[str]) -> str:
    """What follows a flag, or else the short form of --num-samples."""
    for written in (flag, "-n"):
        for position, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if name.replace("_", "-") == written:
                following = itertools.takewhile(lambda value: not _OPTION.match(value), arguments[position + 1 :])
                return value if equals else " ".join(following)
    return "what was given"
