"""A line on a run whose model has not learned much, before anything is made with it."""

import sys

from lowerbound.baselines import weakness
from lowerbound.run import Run


def say_weakness(run: Run) -> None:
    """Say so if held-out data cost its model more bits than its simplest baseline, as training has measured it."""
    if (sentence := weakness(run.metadata)) is not None:
        print(f"note: {sentence}", file=sys.stderr)
