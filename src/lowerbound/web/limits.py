"""How much a visitor of the page may ask for at once."""

from dataclasses import dataclass

from lowerbound.errors import InputError
from lowerbound.settings import check_counts


@dataclass(frozen=True)
class Limits:
    """How much a visitor of the page may ask for at once.

    Raises:
        InputError: for a number below one.
    """

    most_samples: int = 256
    """The most samples that are drawn at once, and the most answers to an edit."""
    most_steps: int = 1000
    """The most steps of a sampler."""
    most_megabytes: int = 16
    """The size of the largest file that may be uploaded, in megabytes."""
    most_waiting: int = 64
    """The number of requests that may wait for their turn; more are refused."""
    most_minutes: int = 60
    """The longest training that may be started at once, in minutes."""

    def __post_init__(self) -> None:
        check_counts(self, "most_samples", "most_steps", "most_megabytes", "most_waiting", "most_minutes")

    def check(self, *, samples: int = 1, steps: int = 1) -> None:
        """Refuse more than is allowed, or less than one, by an InputError."""
        for name, count, most in (("samples", samples, self.most_samples), ("steps", steps, self.most_steps)):
            if not 1 <= count <= most:
                raise InputError(f"{count:,} {name}: this page takes from 1 to {most:,} at once")
