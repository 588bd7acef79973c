r"""One likelihood per example, in the units of the stored data: the bound of each, or its density under the flow.

The terms are those of `likelihood`; what is added is that an example's figure depends on its number and the seed alone,
whatever the batch, and that each network call's draw of the diffusion term is kept, so that every example has an error
of its own. The n calls of an example go one to each of n equal parts of time (or of the chain's steps), at the same
place within each: $t_k = (k + p) / n$. The places of examples i = 0, 1, 2, ... are $p_i = (u + i \varphi) \bmod 1$ with
the golden ratio $\varphi$, u drawn from the seed: uniform for each, evenly spread over any run of them (Weyl 1916), so that
their mean has little error from the choice of times.

The error of an example's mean is estimated from the differences of neighbouring draws, which hold little of the trend that
equal parts take out of the mean (`spread`).

The probability flow is another model of the same network (`density`). Of discrete data its figure is a bound too, by noise
within the levels (`dequantization`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from lowerbound.brief import Brief
from lowerbound.data.windows import Windows
from lowerbound.errors import InputError
from lowerbound.models import Effort
from lowerbound.run import Run
from lowerbound.run.examples import Vector, batches, condition_text
from lowerbound.scoring.spread import error_of_mean

GOLDEN = (math.sqrt(5) - 1) / 2
AS_ADVISED = Effort()


@dataclass(frozen=True, repr=False)
class Scores(Brief):
    """The likelihood of each example, an array (N,) per figure; all but the nats are in bits per dimension.

    Of an example with missing entries all figures are of those that are there: D is their number.

    Arguments:
        nats: log p of the example as it is stored, or the bound on it.
        bits_per_dim: -nats / (D ln 2), the sum of the next four.
        reconstruction, prior, diffusion: the three terms, each as what it adds.
        normalisation: what the stored units add to the model's; zero for discrete data.
        diffusion_error: standard error of the diffusion term over its network calls; NaN, not known, for a single one.
        interval_95: half the width of an interval of 95 % from it, by Student's distribution (`spread.error_of_mean`): of
            four calls about 4 to 12 standard errors, of many 2.
        kind: what the number is, in words.
        num_calls: estimates per example that were averaged: network calls of a diffusion model.
        steps: what each level of a hierarchy adds to the diffusion term, (N, L); None of models without levels.
    """

    nats: Vector
    bits_per_dim: Vector
    reconstruction: Vector
    prior: Vector
    diffusion: Vector
    normalisation: Vector
    diffusion_error: Vector
    interval_95: Vector
    kind: str
    num_calls: int
    steps: Float[np.ndarray, "num_examples num_levels"] | None = None


@torch.no_grad()
def score(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"] | Windows,
    effort: Effort = AS_ADVISED,
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Scores:
    """The likelihood of each example, or the bound on it.

    Arguments:
        run: the model.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        effort: how much is spent on each.
        cond: their conditions (see `conditions`), or None: no condition.
        numbers: of the examples, by which an example has the same times and noise in any company; 0 .. N - 1 if None.
        batch_size: it changes nothing but speed and memory.
        seed: of times and noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run has no likelihood, the examples are not what it takes, or a number is out of range.
    """
    try:
        effort = run.model.completed(effort)
    except InputError as error:
        raise InputError(f"the run in {run.folder.path}: {error}") from error
    start = np.random.default_rng(seed & (1 << 64) - 1).random()
    terms, errors, steps, dims, log_dets = [], [], [], [], []
    for x, batch_cond, noise, indices in batches(run, raw, cond, numbers, batch_size, seed):
        offsets = torch.from_numpy((start + indices * GOLDEN) % 1)
        bound = run.model.given(batch_cond, run.spec.observed(x)).elbo(x, noise, effort, offsets)
        terms.append(torch.stack([bound.reconstruction, bound.prior, bound.diffusion]).cpu().double().numpy())
        dims.append(bound.num_dims.cpu().double().numpy())
        log_dets.append(run.spec.encoding.log_det(x).cpu().numpy())
        if bound.draws is not None:
            errors.append(error_of_mean(bound.draws.cpu().double().numpy()))
        elif bound.steps is not None:
            steps.append(bound.steps.cpu().double().numpy())
        progress(len(x))
    to_bits, log_det = 1 / (np.concatenate(dims) * math.log(2)), np.concatenate(log_dets)
    reconstruction, prior, diffusion = np.concatenate(terms, 1)
    error, interval = np.concatenate(errors, 1) if errors else np.full((2, len(raw)), math.nan)
    nats = reconstruction - prior - diffusion + log_det
    return Scores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        reconstruction=-reconstruction * to_bits,
        prior=prior * to_bits,
        diffusion=diffusion * to_bits,
        normalisation=-log_det * to_bits,
        diffusion_error=error * to_bits,
        interval_95=interval * to_bits,
        kind=run.model.figure(effort, condition_text(run, cond is not None)),
        num_calls=effort.importance if effort.importance > 1 else effort.num_draws or 1,
        steps=np.concatenate(steps) * to_bits[:, None] if steps else None,
    )
