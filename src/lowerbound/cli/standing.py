"""A line on a run whose model has not learned much, before anything is made with it."""

import sys

from lowerbound.baselines import weakness
from lowerbound.run import Run


def say_weakness(model: Run) -> None:
    """Say so if held-out data cost the model more bits than its simplest baseline, as training has measured it."""
    if (found := weakness(model.metadata)) is not None:
        print(f"note: {found}", file=sys.stderr)
