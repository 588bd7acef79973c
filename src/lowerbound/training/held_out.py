"""Held-out bits/dim along the way: always the same examples, times and noise, so that changes are the model's."""

from typing import Any

import torch
from torch import Tensor

from lowerbound.baselines import Baseline
from lowerbound.data import Dataset
from lowerbound.likelihood import mean_and_error
from lowerbound.machine.processor import at_once
from lowerbound.models import Effort, Model
from lowerbound.rng import PerSample
from lowerbound.training.parallel.processes import ALONE, Processes

_SEED = 1 << 40  # apart from the seeds of samples


def held_out_bits(
    model: Model, dataset: Dataset, num_examples: int | None = None, conditional: bool = False
) -> tuple[float, float] | None:
    """The mean over examples of `held_out_by_example`, and its standard error; None of a model without a likelihood."""
    bits = held_out_by_example(model, dataset, num_examples, conditional)
    return None if bits is None else mean_and_error(bits)


@torch.no_grad()
def held_out_by_example(
    model: Model,
    dataset: Dataset,
    num_examples: int | None = None,
    conditional: bool = False,
    processes: Processes = ALONE,
) -> Tensor | None:
    """Bits/dim of validation examples, (N,), in the units of the stored data, of each by the number of its entries that are
    there; None of a model without a likelihood.

    Arguments:
        model: what is measured.
        dataset: whose validation split is read.
        num_examples: how many; as many as say enough if None.
        conditional: whether the examples' conditions are given to the model.
        processes: that share the work, batch by batch.
    """
    if model.likelihood == "none":
        return None
    indices, effort = dataset.some("validation", num_examples or model.most_held_out), held_out_effort(model, dataset)
    bits = torch.zeros(len(indices), dtype=torch.float64)
    batch_size = at_once(dataset.spec.num_dims)  # however many share the work: times are spread over a batch
    starts = range(0, len(indices), batch_size)
    for start in starts[processes.rank :: processes.count]:
        part = indices[start : start + batch_size]
        x, cond = dataset.encoded(part).to(model.device), dataset.cond(part) if conditional else None
        noise = PerSample(range(_SEED + start, _SEED + start + len(part)))
        cond = None if cond is None else cond.to(model.device)
        bound = model.given(cond, dataset.spec.observed(x)).elbo(x, noise, effort)
        in_bits = bound.to_bits(-(bound.nats + dataset.spec.encoding.log_det(x).to(bound.nats)))
        bits[start : start + len(part)] = in_bits.cpu()
    return processes.sum(bits)


def held_out_text(bits: float, standard_error: float) -> str:
    """Held-out bits/dim with digits that show how they change, which is known better than they are."""
    return f"held-out {bits:.4f}{f' ± {standard_error:.4f}' if standard_error > 0 else ''} bits/dim"


def held_out_effort(model: Model, dataset: Dataset) -> Effort:
    """What is spent on each of a data set's held-out examples: small ones are cheap, and their estimates noisy."""
    return Effort(num_draws=model.held_out_draws(min(model.most_held_out, len(dataset.validation))))


def figures(bits: float, error: float, num_examples: int, simplest: Baseline | None) -> dict[str, Any]:
    """Held-out bits/dim, their standard error, of how many examples they are, and the best baseline, as logs and weights
    keep them."""
    facts = {"held_out_bits_per_dim": bits, "standard_error": error, "num_examples": num_examples}
    baseline = {} if simplest is None else {"baseline": simplest.name, "baseline_bits_per_dim": simplest.bits_per_dim}
    return facts | baseline


def fixed_nats(model: Model, dataset: Dataset) -> float:
    """What makes the loss the bound in the data's units, nats per example: constants, estimated on training data."""
    x, spec = dataset.encoded(dataset.some("train", 256)).to(model.device), dataset.spec
    return model.given(observed=spec.observed(x)).fixed_nats(x) - spec.encoding.log_det(x).mean().item()
