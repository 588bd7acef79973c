"""What a user can mend."""

import re


class InputError(ValueError):
    """A mistake in what was given: the message says what was given, what is allowed and how to mend it.

    The command line prints it as one or two lines and exits with code 2; any other exception is a fault of ours and
    keeps its traceback.
    """


def flag(setting: str) -> str:
    """A setting as the command line calls it: `schedule.gamma_min` is `--schedule.gamma-min`, `training.seed` `--seed`.

    Arguments:
        setting: its name in Python, with its section where it has one.
    """
    if setting == "data.source":
        return "DATA"
    if setting == "model.name":
        return "--model"
    return f"--{re.sub('^(training|data)[.]', '', setting).replace('_', '-')}"
