"""What a step of a training costs, told by steps of few examples where one of a whole batch would take long."""

import time
from dataclasses import dataclass, replace

from lowerbound.machine.device import finish
from lowerbound.training.trainer import Trainer

LONG_STEP = 0.5
"""Seconds of a step that tells what more examples would cost."""
LONG_TRIES = 2.0
"""Seconds of steps of one size that need no repetition."""
FEWEST = 2
"""Examples of a step, of which each of two networks has one."""


@dataclass(frozen=True)
class StepCost:
    """Seconds of the gradients of batches, measured, and of what moves the weights, which does not depend on the batch.

    Arguments:
        gradients: by the size of the batch.
        optimizer: of moving the weights once.
    """

    gradients: dict[int, float]
    optimizer: float

    def of(self, batch_size: int) -> float:
        """Seconds of a step: measured, or beyond the largest measured batch in proportion to its examples."""
        measured = min((size for size in self.gradients if size >= batch_size), default=max(self.gradients))
        return self.gradients[measured] * max(1.0, batch_size / measured) + self.optimizer


def step_cost(trainer: Trainer) -> StepCost:
    """Measure the steps of a trainer, which is of no other use afterwards.

    A processor begins with few examples, and takes twice as many until the batch is whole or a step takes `LONG_STEP`: of
    large examples a whole batch may take minutes, and all of the memory. An accelerator takes as long for few examples
    as for many, and may compile its networks for each number of them, so it has the whole batch at once.
    """
    whole = trainer.training.batch_size
    cost = StepCost({}, 0.0)
    for size in _growing(whole) if trainer.device.type == "cpu" else [whole]:
        trainer.training = replace(trainer.training, batch_size=size)
        cost = _measured(trainer, cost, size)
        if cost.gradients[size] >= LONG_STEP:
            break
    return cost


def _growing(whole: int) -> list[int]:
    """Sizes of batches up to the whole, each half of the next."""
    sizes = [whole]
    while sizes[0] >= 2 * FEWEST:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def _measured(trainer: Trainer, before: StepCost, size: int) -> StepCost:
    """What is known, and the shortest of three steps of another size, since the first sets things up and others may be held
    up; of those so long that this is little there are fewer."""
    tries = []
    while len(tries) < 3 and sum(gradient for gradient, _ in tries) < LONG_TRIES:
        began = time.perf_counter()
        trainer.gradient()
        finish(trainer.device)
        moved = time.perf_counter()
        trainer.optimizer.step(0.0)
        finish(trainer.device)
        tries.append((moved - began, time.perf_counter() - moved))
    gradients, optimizers = zip(*tries, strict=True)
    return StepCost({**before.gradients, size: min(gradients)}, min(optimizers))
