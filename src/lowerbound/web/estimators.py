"""Three estimators of one chain's bound, of a point in the plane whose density is known, and how far they spread."""

from functools import lru_cache

import numpy as np
import torch

from lowerbound.data import mixture_parameters
from lowerbound.denoiser.exact import GaussianMixture
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder
from lowerbound.pictures.theory import spreads
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma
from lowerbound.theory.derivations import one_sample, t_sample, two_sample
from lowerbound.web.show import drawn, picture, table
from lowerbound.words.counts import counted
from lowerbound.words.rounding import figure_text

NUM_DRAWS = 300
MOST_STEPS = 100
GAMMAS = (-9.0, 8.0)
ESTIMATORS = {"T-sample": t_sample, "two-sample": two_sample, "one-sample": one_sample}


@lru_cache(maxsize=16)
@torch.no_grad()
def estimates(num_steps: int, seed: int = 0) -> tuple[float, dict[str, np.ndarray]]:
    """The exact log density of a point of the bundled mixture, and draws of the bound by each estimator, in nats.

    The denoiser is the exact one, in float64: what spreads is the estimator, and what is lost is the chain's.

    Raises:
        InputError: for a chain of no step or of more than `MOST_STEPS`.
    """
    if not 1 <= num_steps <= MOST_STEPS:
        raise InputError(f"{num_steps} steps: a chain here has from 1 to {MOST_STEPS}")
    weights, means, covariances = (torch.as_tensor(each, dtype=torch.float64) for each in mixture_parameters())
    exact = GaussianMixture(weights, means, covariances, LinearGamma(*GAMMAS))
    x = exact.sample(1, Stream(seed))
    chain = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    copies = x.expand(NUM_DRAWS, -1).contiguous()
    draws = {
        name: estimate(exact, GaussianDecoder(), copies, chain, noise=Stream(seed + 1)).nats.numpy()
        for name, estimate in ESTIMATORS.items()
    }
    return exact.log_prob(x).item(), draws


def compared(num_steps: int) -> str:
    """The estimators' draws as a picture, and their means and spreads as a table."""
    exact, draws = estimates(num_steps)
    calls = {"T-sample": num_steps, "two-sample": 1, "one-sample": 1}
    named = {f"{name}, {counted(calls[name], 'call')}": values for name, values in draws.items()}
    content = drawn(lambda path: spreads(path, named, "one draw of the bound, nats"))
    text = f"{NUM_DRAWS} draws of the bound by each estimator, T = {num_steps}; log p = {exact:.3f}"
    rows = [
        (name, figure_text(values.mean(), values.std() / len(values) ** 0.5), f"{values.std():.3g}")
        for name, values in named.items()
    ]
    caption = "One bound, three ways to estimate it: the means agree, the spreads do not"
    return picture(content, text) + table(caption, ("estimator", "mean, nats", "standard deviation of a draw"), rows)
