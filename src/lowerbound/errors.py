"""What a user can mend."""


class InputError(ValueError):
    """A mistake in what was given: the message says what was given, what is allowed and how to mend it.

    The command line prints it as one or two lines and exits with code 2; any other exception is a fault of ours and
    keeps its traceback.
    """
