"""One likelihood per example under a relative: exact, or a bound by draws of its latents."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Num

from lowerbound.errors import InputError
from lowerbound.models import LatentVariableModel, importance_weighted
from lowerbound.run import RelativeRun
from lowerbound.score.bound import Scores
from lowerbound.score.examples import batches, check_examples

NUM_DRAWS = 4
"""Of the latents of each example, where the number is not given."""


@torch.no_grad()
def score_relative(
    run: RelativeRun,
    raw: Num[np.ndarray, "num_examples *shape"],
    *,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    num_draws: int | None = None,
    importance: int = 1,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Scores:
    r"""The log likelihood of each example, or a bound on it, in the bound's terms.

    Arguments:
        run: the model.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        numbers: of the examples, by which an example has the same noise in any company; 0 .. N - 1 if None.
        num_draws: of the latents, over which the bound's terms are averaged; an exact likelihood has none.
        importance: K samples of the latents whose weights' mean makes the bound tighter,
            $\log \frac1K \sum_k p(x, z_k) / q(z_k | x)$ (Burda et al. 2016, equation 8); it has no terms, and all of it
            stands as reconstruction.
        batch_size: it changes nothing but speed and memory.
        seed: of the noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the model has no likelihood or no latents, or the examples are not what it takes.
    """
    model, encoding, shape = run.relative, run.data.encoding, run.data.shape
    if model.likelihood == "none":
        raise InputError(f"the run in {run.folder.path} has no likelihood: {model.no_likelihood}")
    for name, value in (("num_draws", num_draws), ("importance", importance), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: it starts at 1")
    if importance > 1 and not isinstance(model, LatentVariableModel):
        raise InputError(
            f"importance samples are of latents, and the model {run.config.model.name} has none: leave it 1"
        )
    check_examples(run, raw)
    num_draws = 1 if model.likelihood == "exact" or importance > 1 else num_draws or NUM_DRAWS
    parts = []
    for x, _, noise, _ in batches(run, raw, None, numbers, batch_size, seed):
        if importance > 1:
            assert isinstance(model, LatentVariableModel)
            weighted = importance_weighted(model, x, importance, noise).cpu().double()
            parts.append(torch.stack([weighted, *weighted.new_zeros(2, len(weighted))]))
        else:
            bounds = [model.elbo(x, noise) for _ in range(num_draws)]
            terms = [torch.stack([b.reconstruction, b.prior, b.diffusion]).cpu().double() for b in bounds]
            parts.append(torch.stack(terms).mean(0))
        progress(len(x))
    to_bits, log_det = 1 / (math.prod(shape) * math.log(2)), encoding.log_det(shape)
    reconstruction, prior, diffusion = torch.cat(parts, 1).numpy()
    nats = reconstruction - prior - diffusion + log_det
    return Scores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        reconstruction=-reconstruction * to_bits,
        prior=prior * to_bits,
        diffusion=diffusion * to_bits,
        normalisation=-log_det * to_bits,
        diffusion_error=np.full(len(nats), math.nan),
        interval_95=np.full(len(nats), math.nan),
        kind=kind(run, importance),
        num_calls=importance if importance > 1 else num_draws,
    )


def kind(run: RelativeRun, importance: int = 1) -> str:
    """What a relative's figure is, in words."""
    model, name = run.relative, run.config.model.name
    if model.likelihood == "none":
        return "none"
    mass = "" if run.data.encoding.num_levels else ", of the density"
    if model.likelihood == "exact":
        return f"exact ({name}{mass})"
    weighted = f", {importance:,} importance samples" if importance > 1 else ""
    return f"bound ({name}{weighted}{mass})"
