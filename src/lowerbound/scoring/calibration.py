"""The calibration of a flow in few calls on examples that a run held out."""

from typing import Any

import numpy as np
import torch

from lowerbound.discrete import Dequantizer
from lowerbound.discrete.dequantization import dequantized
from lowerbound.errors import InputError
from lowerbound.few_calls import FEWEST, FewCalls, calibrate
from lowerbound.likelihood.density import ProbedFlow
from lowerbound.run import Run
from lowerbound.run.examples import batches
from lowerbound.scoring.flow import Flow

ENTRIES = 16_384
"""About how many entries of examples the flow is calibrated on: 256 images of 8 x 8."""
MOST_EXAMPLES, LEAST_EXAMPLES = 512, 64


def calibrated(
    run: Run, flow: Flow, dequantizer: Dequantizer | None, *, conditional: bool, batch_size: int, seed: int
) -> FewCalls:
    """The rule of `flow.num_calls` calls, with its correction, from validation examples.

    The model fits its training examples better than others, and a correction found on them is not that of others: 0.03
    bits/dim apart on a table of 1,280 rows. Training examples are taken only where too few were held out.

    Arguments:
        run: the model.
        flow: how its flow is followed.
        dequantizer: of its data; None if they are continuous.
        conditional: whether it is told the examples' conditions.
        batch_size: examples at a time.
        seed: of the examples, their probes and their noise.

    Raises:
        InputError: if the run's data are not there, or too few of them.
    """
    assert flow.num_calls is not None
    try:
        dataset = run.open_dataset()
    except InputError as error:
        raise InputError(
            f"a flow in {flow.num_calls} calls is calibrated on the run's own data ({error}): put them where they were, or "
            "leave out the number of calls (--calls)"
        ) from error
    held_out = dataset.validation if len(dataset.validation) >= FEWEST else dataset.train
    count = min(len(held_out), max(LEAST_EXAMPLES, min(MOST_EXAMPLES, ENTRIES // dataset.spec.num_dims)))
    indices = np.sort(np.random.default_rng(seed).choice(held_out, count, replace=False))
    cond = dataset.cond(indices) if conditional else None
    followed: list[tuple[ProbedFlow, torch.Tensor | None]] = []
    for x, batch_cond, noise, _ in batches(run, dataset.examples[indices], cond, indices, batch_size, seed):
        denoiser = run.denoiser.given(batch_cond, run.spec.observed(x))
        drawing: dict[str, Any] = {"noise": noise, "num_probes": flow.probes}
        if dequantizer is None:
            followed.append((ProbedFlow.of(denoiser, x.double(), **drawing), None))
        else:
            followed.append(dequantized(denoiser, x.double(), dequantizer, **drawing)[:2])
    return calibrate(followed, flow.num_calls, tolerance=flow.tolerance, max_calls=flow.max_calls)
