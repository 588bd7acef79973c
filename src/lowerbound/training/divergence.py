"""Whether what a trainer holds is fit to be kept: looked at before anything is written over the last good state."""

import math
from collections.abc import Iterable

from torch import Tensor
from torch.nn.utils import get_total_norm

from lowerbound.training.parallel.processes import ALONE, own_part
from lowerbound.training.training import DivergenceError, Training

LARGEST_WEIGHT = 1e8
FAR = 1000.0
"""A loss that has risen by so many times its size, or by so many bits/dim, is that of a model which is lost: what training
recovers from is far less."""
NOT_LEARNED = "paths"
"""What a student learns from: no conditions are NaN there."""
_WORDS = {"weights": "weight", "average": "average", "optimizer": "optimiser's memory of", "buffers": "state"}


def check_sound(trainer: Training, loss_before: float | None = None) -> float:
    """Refuse a trainer that is not fit to be kept.

    Arguments:
        trainer: as it is now.
        loss_before: what this returned when the trainer was last found good; None: there is nothing to compare with.

    Returns:
        The loss of a few examples, always the same under the same noise.

    Raises:
        DivergenceError: if a number that would be saved is not finite, a weight is larger than any network's in use, or the
            loss of the same examples is not finite or far above what it was.
    """
    after = f"after step {trainer.step}"
    with (trainer.processes if trainer.is_sharded else ALONE).together():  # each looks at its part
        _check_numbers(trainer, after)
    loss = trainer.probe()
    before = loss if loss_before is None else loss_before
    if not math.isfinite(loss) or loss - before > FAR * max(1.0, abs(before)):
        raise DivergenceError(f"{after} the loss of the same examples is {loss:.4g}, where it was {before:.4g}")
    return loss


def _check_numbers(trainer: Training, after: str) -> None:
    tensors, _ = trainer.state()
    for group, named in tensors.items():
        if group == NOT_LEARNED:
            continue
        most = LARGEST_WEIGHT if group in ("weights", "average") else math.inf
        numbers = {name: part for name, value in named.items() if (part := own_part(value)).is_floating_point()}
        if not _are_sound(numbers.values(), most):
            name = next(name for name, part in numbers.items() if not _are_sound([part], most))
            raise DivergenceError(f"{after} the {_WORDS.get(group, group)} {name} is not finite, or absurdly large")


def _are_sound(parts: Iterable[Tensor], most: float) -> bool:
    """Whether all numbers are finite and at most so large."""
    largest = get_total_norm([part for part in parts if part.numel()], math.inf)  # NaN if one of them is
    return bool(largest.isfinite() and largest <= most)
