"""Score networks trained by each score-matching objective against the exact score: python benchmarks/score_recovery.py

The data are a mixture in the plane; its score, and that of the mixture with noise on it, is known. One network, one number
of steps; the figure is E|s - s*| / E|s*| over fresh draws. First a network s(x) of a single density, the mixture with noise
of standard deviation 0.3, then a denoiser of all noise levels, trained with the weighting of the bound, at each of several.
"""

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lowerbound import MLP, GaussianMixture, LinearGamma, NetworkDenoiser, Stream, objective
from lowerbound.data import mixture_parameters
from lowerbound.schedule import VARIANCE_EXPLODING
from lowerbound.score_matching import denoising, explicit, explicit_loss, sliced, sliced_loss

SIGMA, BATCH, GAMMAS = 0.3, 256, (-5.0, -3.0, -1.0, 1.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    weights, means, covariances = (torch.tensor(each).float() for each in mixture_parameters())
    at_one = GaussianMixture(weights, means, covariances, LinearGamma(2 * math.log(SIGMA), 5.0, VARIANCE_EXPLODING))
    single(at_one, arguments.steps, arguments.seed)
    at_all = GaussianMixture(weights, means, covariances, LinearGamma(-6.0, 5.0))
    levels(at_all, arguments.steps, arguments.seed)


def single(data: GaussianMixture, num_steps: int, seed: int) -> None:
    """A score of one density."""
    level, noise = data.schedule.level(0.0), Stream(seed + 1)

    def noisy(num_examples: int) -> Tensor:
        x = data.sample(num_examples, noise)
        return x + SIGMA * noise.normal(x)

    objectives: dict[str, Callable[[nn.Module], Tensor]] = {
        "explicit": lambda network: explicit(network, noisy(BATCH)),
        "sliced": lambda network: sliced(network, noisy(BATCH), noise),
        "denoising": lambda network: denoising(network, data.sample(BATCH, noise), SIGMA, noise),
    }
    print(f"the score of the mixture with noise of {SIGMA}, {num_steps} steps of {BATCH} examples")
    print(f"{'objective':<10} {'relative error':>15} {'seconds':>8}")
    for name, loss in objectives.items():
        began = time.perf_counter()
        torch.manual_seed(seed)
        network = train(perceptron(), loss, num_steps)
        with torch.no_grad():
            x = noisy(20_000)
            error = relative_error(network(x), data(x, level).score)
        print(f"{name:<10} {error:>15.3f} {time.perf_counter() - began:>8.1f}", flush=True)


def levels(data: GaussianMixture, num_steps: int, seed: int) -> None:
    """A score of each level: what `train` trains."""
    noise = Stream(seed + 1)
    objectives = {"explicit": explicit_loss, "sliced": sliced_loss, "denoising": objective.loss}
    print(f"\nthe scores of all levels, {num_steps} steps of {BATCH} examples; relative error at gamma =")
    print(f"{'objective':<10} " + " ".join(f"{gamma:>7.0f}" for gamma in GAMMAS) + f" {'seconds':>8}")
    for name, loss in objectives.items():
        began = time.perf_counter()

        def losses(denoiser: nn.Module, loss=loss) -> Tensor:
            return loss(denoiser, data.sample(BATCH, noise), noise=noise)

        torch.manual_seed(seed)
        start = NetworkDenoiser(MLP(2, width=64, depth=2), data.schedule, (2,), "v")
        denoiser = train(start, losses, num_steps)
        errors = []
        for gamma in GAMMAS:
            level, x = data.schedule.level_at(gamma), data.sample(20_000, noise)
            x_t = level.alpha * x + level.sigma * noise.normal(x)
            with torch.no_grad():
                errors.append(relative_error(denoiser(x_t, level).score, data(x_t, level).score))
        row = " ".join(f"{error:>7.3f}" for error in errors)
        print(f"{name:<10} {row} {time.perf_counter() - began:>8.1f}", flush=True)


def perceptron(width: int = 64) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))


def train(network: nn.Module, loss: Callable[[nn.Module], Tensor], num_steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(network).mean().backward()
        optimizer.step()
        rate.step()
    return network


def relative_error(score: Tensor, true: Tensor) -> float:
    return ((score - true).norm(dim=1).mean() / true.norm(dim=1).mean()).item()


if __name__ == "__main__":
    main()
