r"""One likelihood per example, in the units of the stored data: the bound of each, or its density under the flow.

The terms are those of `likelihood`; what is added is that an example's figure depends on its number and the seed alone,
whatever the batch, and that each network call's draw of the diffusion term is kept, so that every example has an error
of its own. The n calls of an example go one to each of n equal parts of time (or of the chain's steps), at a place
within each that is turned on from part to part (`likelihood.bound.turned`): $t_k = (k + p_k) / n$, for at one place in all
a trend would leave an error that the draws do not show. The first places of examples i = 0, 1, 2, ... are
$p_i = (u + i \varphi) \bmod 1$ with the golden ratio $\varphi$, u drawn from the seed: uniform for each, evenly spread
over any run of them (Weyl 1916), so that their mean has little error from the choice of times.

The error of an example's mean is estimated from the differences of neighbouring draws, which hold little of the trend that
equal parts take out of the mean (`spread`).

What an example's figure is made of can be had by the same draws, in two ways, each of which adds up to its nats: by noise,
the diffusion term of each of up to `MOST_BANDS` equal parts of time; and by column, what each entry j of x adds,

$$\log p(x_j | x_{t_0}) - KL_j - \tfrac12 \int E (\epsilon_j - \hat\epsilon_j)^2 d\gamma + \log |d x_j / d\,raw_j|.$$

All terms are sums over entries, so that the split is exact; the entries of a category's block belong together. The integral
is entry j's part of the one that I-MMSE equates with information (Guo, Shamai & Verdu 2005): an entry that is unlikely, by
itself or beside the others, is told badly from the noise, and its part is large. It is not
$\log p(x_j | \text{others})$: those do not add up to $\log p(x)$, and what two entries say together is here divided
between them.

The probability flow is another model of the same network (`density`). Of discrete data its figure is a bound too, by noise
within the levels (`dequantization`).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from lowerbound.data.series.windows import Stored, Windows
from lowerbound.errors import InputError
from lowerbound.likelihood import Elbo
from lowerbound.machine.processor import ENTRIES_AT_ONCE, at_once, fit_threads
from lowerbound.models import Effort
from lowerbound.models.base import ONE_DRAW
from lowerbound.run import Run
from lowerbound.run.examples import Batch, Vector, batches, condition_text
from lowerbound.scoring.spread import error_of_mean
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.words.brief import Brief

GOLDEN = (math.sqrt(5) - 1) / 2
AS_ADVISED = Effort()
MOST_BANDS = 16
"""Of noise, into which an example's diffusion term is divided."""


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
        entries: by column, what each stored value adds to the nats, (N, *shape), NaN where it is missing; None unless asked.
        bands: by noise, what is added by the reconstruction in stored units, by each of K equal parts of time from the
            data's end on, and by the prior, (N, K + 2): their sum is the nats; None unless asked.
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
    entries: Float[np.ndarray, "num_examples *shape"] | None = None
    bands: Float[np.ndarray, "num_examples num_bands"] | None = None


def fit_threads_to(run: Run, raw: Stored, cond: Tensor | None = None) -> None:
    """Let torch work on as many threads as score examples fastest (`machine.processor.fit_threads`).

    Arguments:
        run: the model; of one without a likelihood the number stays.
        raw: examples as they are stored, (N, *shape).
        cond: their conditions, (N, ...), or None.
    """
    if run.model.likelihood != "none":
        few = raw[: max(1, ENTRIES_AT_ONCE // raw[0].size)]  # a batch of small examples, fewer of large ones
        few_cond = None if cond is None else cond[: len(few)]
        fit_threads(lambda: score(run, few, ONE_DRAW, cond=few_cond))


@torch.no_grad()
def score(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"] | Windows,
    effort: Effort = AS_ADVISED,
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    by: str | None = None,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda examples: None,
) -> Scores:
    """The likelihood of each example, or the bound on it.

    Arguments:
        run: the model.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        effort: how much is spent on each.
        cond: their conditions (see `conditions`), or None: no condition.
        numbers: of the examples, by which an example has the same times and noise in any company; 0 .. N - 1 if None.
        batch_size: it changes nothing but speed, memory and, as the number of threads, the last digits' rounding; as many as
            `machine.processor.at_once` allows if None.
        seed: of times and noise.
        by: "column" for `Scores.entries`, "noise" for `Scores.bands`, or None.
        processes: that score together, each its batches; every one of them gets all scores.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run has no likelihood, the examples are not what it takes, a number is out of range, or the model
            is no denoiser and its figures can't be divided.
    """
    if by is not None and by not in PARTS:
        raise InputError(f"by is {by!r}: scores are divided by {' or by '.join(PARTS)}, or None")
    if by is not None and not run.is_denoiser:
        raise InputError(
            f"the run in {run.folder.path} is a model of the kind {run.config.model.name}, whose scores are not divided by "
            f"{by}: a diffusion model's are"
        )
    try:
        effort = run.model.completed(effort)
    except InputError as error:
        raise InputError(f"the run in {run.folder.path}: {error}") from error
    start = np.random.default_rng(seed & (1 << 64) - 1).random()

    def scored(batch: Batch) -> dict[str, np.ndarray]:
        """What is kept of a batch, its examples along the first axis."""
        x, batch_cond, noise, indices = batch
        offsets = torch.from_numpy((start + indices * GOLDEN) % 1)
        bound = run.model.given(batch_cond, run.spec.observed(x)).elbo(x, noise, effort, offsets)
        kept = {
            "terms": torch.stack([bound.reconstruction, bound.prior, bound.diffusion], 1).cpu().double().numpy(),
            "dims": bound.num_dims.cpu().double().numpy(),
            "log_dets": run.spec.encoding.log_det(x).cpu().numpy(),
        }
        if bound.draws is not None:
            kept["errors"] = np.stack(error_of_mean(bound.draws.cpu().double().numpy()), 1)
        elif bound.steps is not None:
            kept["steps"] = bound.steps.cpu().double().numpy()
        if by is not None:
            kept["parts"] = PARTS[by](run, x, bound)
        progress(len(x))
        return kept

    batch_size = at_once(run.spec.num_dims) if batch_size is None else batch_size
    batch_size = min(batch_size, -(-len(raw) // processes.count)) or batch_size  # a share for each
    scored_batches = processes.by_turns(batches(run, raw, cond, numbers, batch_size, seed), scored)
    kept = {name: np.concatenate([of_batch[name] for of_batch in scored_batches]) for name in scored_batches[0]}
    to_bits, log_det = 1 / (kept["dims"] * math.log(2)), kept["log_dets"]
    reconstruction, prior, diffusion = kept["terms"].T
    error, interval = kept.get("errors", np.full((len(raw), 2), math.nan)).T
    steps, parts = kept.get("steps"), kept.get("parts")
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
        steps=None if steps is None else steps * to_bits[:, None],
        entries=_where_there(parts, raw[:]) if by == "column" and parts is not None else None,
        bands=parts if by == "noise" else None,
    )


def _entries(run: Run, x: Tensor, bound: Elbo) -> np.ndarray:
    """What each stored value adds to the nats of a batch, (B, *shape)."""
    assert bound.entries is not None
    encoding = run.spec.encoding
    return encoding.by_value(bound.entries.cpu().double().numpy() + encoding.log_slopes(x).cpu().numpy())


def _where_there(entries: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """The same, NaN where a stored value is missing: it adds nothing, which is not to be read as a probability of 1."""
    return np.where(np.isnan(raw), np.nan, entries) if raw.dtype.kind == "f" else entries


def _bands(run: Run, x: Tensor, bound: Elbo) -> np.ndarray:
    """What the ends and as many parts of time as divide the draws add to the nats of a batch, (B, K + 2)."""
    assert bound.draws is not None
    draws = bound.draws.double()
    parts = -draws.reshape(len(draws), num_bands(draws.shape[1]), -1).sum(2) / draws.shape[1]
    first, last = bound.reconstruction.double() + run.spec.encoding.log_det(x), -bound.prior.double()
    return torch.cat([first[:, None], parts, last[:, None]], 1).cpu().numpy()


def num_bands(num_draws: int) -> int:
    """Into how many equal parts of time draws are divided."""
    return max(number for number in range(1, MOST_BANDS + 1) if num_draws % number == 0)


PARTS = {"column": _entries, "noise": _bands}
"""By what scores are divided, and how."""


def part_names(run: Run, scores: Scores) -> list[str]:
    """What `Scores.entries`, row by row, or `Scores.bands` are of: entries by their places, or ranges of gamma.

    Raises:
        InputError: if the scores were not divided.
    """
    if scores.entries is not None and run.spec.columns:
        return [column.name for column in run.spec.columns]
    if scores.entries is not None:
        return [",".join(map(str, index)) for index in np.ndindex(scores.entries.shape[1:])]
    if scores.bands is None:
        raise InputError("the scores were not divided: give by='column' or by='noise'")
    ends = torch.linspace(0, 1, scores.bands.shape[1] - 1, dtype=torch.float64)
    gammas = [f"{gamma:.2f}" for gamma in run.denoiser.schedule.gamma(ends).tolist()]
    bands = [f"gamma {low} to {high}" for low, high in itertools.pairwise(gammas)]
    return ["reconstruction", *bands, "prior"]
