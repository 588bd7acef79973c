"""Options of verbs that take any run: those that have no effect on its model are refused."""

import operator
from collections.abc import Sequence
from typing import Any

from lowerbound.cli.flags import flags
from lowerbound.errors import InputError
from lowerbound.run import Run


def check_effect(options: Any, defaults: Any, run: Run, effective: Sequence[str]) -> None:
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
