"""What a user can mend, and what asks the program to end."""

import re
import signal


class InputError(ValueError):
    """A mistake in what was given: the message says what was given, what is allowed and how to mend it.

    The command line prints it as one or two lines and exits with code 2; any other exception is a fault of ours and
    keeps its traceback.
    """


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end, as Ctrl-C does.

    Arguments:
        number: the signal's.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def flag(setting: str) -> str:
    """A setting as the command line calls it: `schedule.gamma_min` is `--schedule.gamma-min`, `training.seed` `--seed`.

    Arguments:
        setting: its name in Python, with its section where it has one.
    """
    if setting == "data.source":
        return "DATA"
    if setting == "model.name":
        return "--model"
    if setting == "training.purpose":
        return "--for"
    return f"--{re.sub('^(training|data)[.]', '', setting).replace('_', '-')}"
