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
from jaxtyping import Num
from torch import Tensor

from lowerbound.brief import Brief
from lowerbound.errors import InputError
from lowerbound.likelihood import check_likelihood, elbo
from lowerbound.run import Run
from lowerbound.score.examples import Vector, batches, check_examples, condition_text
from lowerbound.score.spread import error_of_mean

GOLDEN = (math.sqrt(5) - 1) / 2
ENTRIES = 65_536
"""About how many entries of one example go through the network where the number of calls is not given."""


@dataclass(frozen=True, repr=False)
class Scores(Brief):
    """The bound of each example, an array (N,) per figure; all but the nats are in bits per dimension.

    Arguments:
        nats: the bound on log p of the example as it is stored.
        bits_per_dim: -nats / (D ln 2), the sum of the next four.
        reconstruction, prior, diffusion: the three terms, each as what it adds.
        normalisation: what the stored units add to the model's; zero for discrete data.
        diffusion_error: standard error of the diffusion term over its network calls; NaN, not known, for a single one.
        interval_95: half the width of an interval of 95 % from it, by Student's distribution (`spread.error_of_mean`): of
            four calls about 4 to 12 standard errors, of many 2.
        kind: what the number is, in words.
        num_calls: network calls per example for the diffusion term.
    """

    nats: Vector
    bits_per_dim: Vector
    reconstruction: Vector
    prior: Vector
    diffusion: Vector
    normalisation: float
    diffusion_error: Vector
    interval_95: Vector
    kind: str
    num_calls: int


@torch.no_grad()
def score(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    num_steps: int | None = None,
    num_times: int | None = None,
    reverse: str = "lower",
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Scores:
    """The bound of each example.

    Arguments:
        run: the model.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        cond: their conditions (see `conditions`), or None: no condition.
        numbers: of the examples, by which an example has the same times and noise in any company; 0 .. N - 1 if None.
        num_steps: T of a chain of T steps, equally spaced in time; None: continuous time.
        num_times: network calls per example for the diffusion term; if None 16 to 256, the more the smaller an example
            is; never more than the chain's steps.
        reverse: the chain's reverse variance (`reverse.reverse_variance`).
        batch_size: it changes nothing but speed and memory.
        seed: of times and noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run has no likelihood, the examples are not what it takes, or a number is out of range.
    """
    for name, value in (("num_steps", num_steps), ("num_times", num_times), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: it starts at 1")
    check_likelihood(run.denoiser)
    assert run.decoder is not None
    check_examples(run, raw)
    num_dims = math.prod(run.data.shape)
    num_times = num_times or max(16, min(256, ENTRIES // num_dims))
    num_times = num_times if num_steps is None else min(num_times, num_steps)
    chain = None if num_steps is None else torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    start = np.random.default_rng(seed & (1 << 64) - 1).random()
    parts = []
    for x, given, noise, which in batches(run, raw, cond, numbers, batch_size, seed):
        place = torch.from_numpy((start + which * GOLDEN) % 1)
        settings = {"noise": noise, "num_times": num_times, "place": place, "reverse": reverse}
        bound = elbo(run.denoiser.given(given), run.decoder, x, chain, **settings)
        assert bound.draws is not None
        terms = torch.stack([bound.reconstruction, bound.prior, bound.diffusion]).cpu().double().numpy()
        parts.append(np.concatenate([terms, error_of_mean(bound.draws.cpu().double().numpy())]))
        progress(len(x))
    to_bits = 1 / (num_dims * math.log(2))
    reconstruction, prior, diffusion, error, interval = np.concatenate(parts, 1)
    nats = reconstruction - prior - diffusion + run.data.encoding.log_det(run.data.shape)
    return Scores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        reconstruction=-reconstruction * to_bits,
        prior=prior * to_bits,
        diffusion=diffusion * to_bits,
        normalisation=-run.data.encoding.log_det(run.data.shape) * to_bits,
        diffusion_error=error * to_bits,
        interval_95=interval * to_bits,
        kind=_kind(run, num_steps, reverse, cond is not None),
        num_calls=num_times,
    )


def _kind(run: Run, num_steps: int | None, reverse: str, given: bool) -> str:
    time = "continuous time" if num_steps is None else f"{num_steps} step{'s' * (num_steps > 1)}"
    variance = "" if reverse == "lower" else f", {reverse} reverse variance"
    mass = "" if run.data.encoding.num_levels else ", of the density"
    return f"bound ({time}{variance}{mass}{condition_text(run, given)})"
