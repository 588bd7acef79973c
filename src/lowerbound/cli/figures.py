"""`--json`: a verb's figures for a script to read, apart from its sentences for people."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

JsonOption = Annotated[
    bool, tyro.conf.arg(help="Print the figures as JSON, one object a line, and all else to the standard error.")
]
"""The option of every verb that has something to tell."""


class CheckFailedError(Exception):
    """What was asked was found out, and the answer is no.

    Arguments:
        message: which answer.
        figures: that show it.
    """

    def __init__(self, message: str, figures: Any):
        super().__init__(message)
        self.figures = figures


def tell(main: Callable[[list[str]], Any], arguments: list[str]) -> None:
    """Run a verb; with `--json` its figures are all that it prints.

    Arguments:
        main: of the verb; it returns its figures: a record, a mapping, a list of these, a line for each, or None.
        arguments: of the verb.
    """
    if "--json" not in arguments:
        main(arguments)
        return
    with redirect_stdout(sys.stderr):
        try:
            figures, failed = main(arguments), None
        except CheckFailedError as error:
            figures, failed = error.figures, error
    for each in figures if isinstance(figures, list) else [] if figures is None else [figures]:
        print(as_line(each))
    if failed is not None:
        raise failed


def as_line(figures: Any) -> str:
    """Figures as JSON in one line; a value with its error is a pair, and null what is no number or not known."""
    text = json.dumps(figures, default=_plain)
    return json.dumps(json.loads(text, parse_constant=lambda name: None))


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    match value:
        case np.generic():
            return value.item()
        case Path():
            return str(value)
        case Iterable():
            return list(value)
    return dataclasses.asdict(value)
