"""Options of verbs that take any run: those that have no effect on its model are refused."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from lowerbound.cli.flags import flags
from lowerbound.errors import InputError
from lowerbound.run import Run


def check_effect(options: Any, defaults: Any, run: Run, known: Sequence[str]) -> None:
    """Refuse, of a model that is no denoiser, options that have no effect on it, by an InputError.

    Arguments:
        options, defaults: a verb's, the latter with the arguments that have no default alike.
        run: whose model they are given for.
        known: the options that have an effect on any model, with their section's name where they have one.
    """
    if run.is_denoiser:
        return
    for name in _differences(options, defaults):
        if name not in known:
            raise InputError(
                f"{flags(type(options))[name]} has no effect on the model {run.config.model.name}, which is no denoiser"
            )


def _differences(options: Any, defaults: Any, section: str = "") -> Iterator[str]:
    for field in dataclasses.fields(options):
        mine, other = getattr(options, field.name), getattr(defaults, field.name)
        if dataclasses.is_dataclass(mine):
            yield from _differences(mine, other, f"{section}{field.name}.")
        elif mine != other:
            yield f"{section}{field.name}"
