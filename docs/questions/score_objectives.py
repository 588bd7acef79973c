r"""Is explicit score matching the Fisher divergence plus a constant?

Yes: E[tr ds/dx + |s|^2 / 2] = F - E|grad log p|^2 / 2 for every s (`lowerbound.score_matching`): below, for six s
whose Fisher divergences go from 0 to 4.9, the difference is -4.86 to -4.88, with errors of 0.02 to 0.07.

p is a mixture in the plane with noise of standard deviation 0.3 on it, whose score is known; s are wrong in different ways.
The sliced objective, with one probe for each example, estimates the same number without the trace; the denoising one, from
the mixture without the noise, is larger by D / (2 sigma^2) and asks for no derivative at all. Means over examples, with
standard errors; the difference is over the same examples and should not depend on s. The last columns are how much a single
example's objective varies.

python docs/questions/score_objectives.py
"""

import math
import time

import torch
from torch import Tensor

from lowerbound import GaussianMixture, LinearGamma, Stream, mean_and_error
from lowerbound.data import mixture_parameters
from lowerbound.schedule import VARIANCE_EXPLODING
from lowerbound.score_matching import Score, denoising, explicit, fisher_divergence, sliced

SIGMA, NUM_EXAMPLES = 0.3, 20_000


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)  # the tensors are small
    began = time.perf_counter()
    weights, means, covariances = map(torch.tensor, mixture_parameters())
    data = GaussianMixture(weights, means, covariances, LinearGamma(2 * math.log(SIGMA), 5.0, VARIANCE_EXPLODING))
    level, clean = data.schedule.level(0.0), data.sample(NUM_EXAMPLES, Stream(0))
    x = clean + SIGMA * Stream(3).normal(clean)
    mean, covariance = x.mean(0), x.T.cov()

    def true(x: Tensor) -> Tensor:
        return data(x, level).score

    scores: dict[str, Score] = {
        "the true one": true,
        "1.2 times it": lambda x: 1.2 * true(x),
        "moved by 0.1": lambda x: true(x - 0.1),
        "a Gaussian's": lambda x: (mean - x) @ torch.linalg.inv(covariance),
        "turned by 20 degrees": lambda x: true(x) @ rotation(20.0),
        "as good as none": lambda x: 1e-6 * true(x),
    }
    constant = with_error(-0.5 * true(x).square().sum(1))
    print(f"-E|grad log p|^2 / 2 = {constant}; D / (2 sigma^2) = {1 / SIGMA**2:.3f}; {NUM_EXAMPLES:,} examples")
    print(
        f"{'s':<21} {'explicit':>16} {'Fisher':>15} {'difference':>16} {'sliced':>16} {'denoising less':>16} "
        f"{'spread of each':>18}"
    )
    for name, score in scores.items():
        exact, fisher = explicit(score, x), fisher_divergence(score, true, x)
        probed = sliced(score, x, Stream(1))
        noisy = denoising(score, clean, SIGMA, Stream(3)) - 1 / SIGMA**2  # at the same x
        spreads = " ".join(f"{values.std().item():>5.2f}" for values in (exact, probed, noisy))
        print(
            f"{name:<21} {with_error(exact):>16} {with_error(fisher):>15} {with_error(exact - fisher):>16} "
            f"{with_error(probed):>16} {with_error(noisy):>16} {spreads:>18}",
            flush=True,
        )
    print(f"{time.perf_counter() - began:.1f} s")


def rotation(degrees: float) -> Tensor:
    angle = math.radians(degrees)
    return torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]).double()


def with_error(values: Tensor) -> str:
    mean, error = mean_and_error(values)
    return f"{mean:.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
