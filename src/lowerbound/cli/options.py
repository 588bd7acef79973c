"""A verb's options from its arguments, with mistakes as one line like all others."""

import contextlib
import io
import re
from typing import TypeVar

import tyro

from lowerbound.cli.flags import check_seeds
from lowerbound.errors import InputError

Options = TypeVar("Options")


def parse(kind: type[Options], verb: str, arguments: list[str], default: Options | None = None) -> Options:
    """The options of a verb; `--help` prints them and exits.

    Raises:
        InputError: for arguments that do not fit.
    """
    told = io.StringIO()
    program = f"lowerbound {verb}"
    try:
        with contextlib.redirect_stderr(told):
            if default is None:
                options = tyro.cli(kind, args=arguments, prog=program)
            else:
                options = tyro.cli(kind, args=arguments, prog=program, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        without_titles = re.sub(r"╭─ .*? ─+╮", "", told.getvalue())
        without_titles = re.sub(r"Argument helptext:.*?(?=For full helptext)", "", without_titles, flags=re.DOTALL)
        words = re.sub(r"(-{3,}|[─│╭╮╰╯\s])+", " ", without_titles).strip()
        raise InputError(words) from None
    check_seeds(options)
    return options
