"""What each kind of figures says: the modules that tell them register their functions with `description.tell`."""

from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures
from lowerbound.report import audited, classes, columns, diagnosis, distances, imputation, likelihood, quality  # noqa: F401 - they register what they tell
from lowerbound.report.description import Description, tell


def description(figures: Figures) -> Description:
    """What figures say.

    Raises:
        InputError: if they contradict each other, as only those of a file that was changed do.
    """
    try:
        return tell(figures)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise InputError(
            f"the figures contradict each other: {error}; lowerbound evaluate --anew finds them again"
        ) from error
