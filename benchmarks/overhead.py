"""What sampling costs beside the network, per step, against loops written by hand: python benchmarks/overhead.py

10,000 points in the plane in single precision; the network, a multiplication, says the noise. The loops by hand are what one
would write for a network of that kind: x_hat, then the step, every coefficient a number computed before. All are timed in
turn, round after round, the network's own time is taken off, and the medians are compared. Both sides draw from the same
kind of source, `Stream`, and their samples agree to rounding.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lowerbound import DDIM, Ancestral, LinearGamma, NetworkDenoiser, Sampler, Stream, grid, sample
from lowerbound.reverse import posterior
from lowerbound.schedule import CLEAN, Level

BARS = {"ancestral": 1.25, "DDIM": 1.5}


class Half(nn.Module):
    """A network that costs next to nothing."""

    def forward(self, x: Tensor, gamma: Tensor, cond: Tensor | None) -> Tensor:
        return 0.5 * x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    schedule, times, network = LinearGamma(), grid.uniform(arguments.steps), Half()
    denoiser = NetworkDenoiser(network, schedule, (2,), target="eps")
    levels = [*schedule.levels(times), CLEAN]
    x_1 = Stream(arguments.seed).normal(torch.empty(arguments.points, 2))

    def ours(sampler: Sampler) -> Callable[[], Tensor]:
        return lambda: sample(denoiser, sampler, x_1, times, Stream(arguments.seed))

    def alone() -> Tensor:
        for _ in times:
            network(x_1, None, None)
        return x_1

    ways = {
        "the network": alone,
        "ancestral, by hand": lambda: ancestral_by_hand(network, x_1, levels, Stream(arguments.seed)),
        "ancestral": ours(Ancestral()),
        "DDIM, by hand": lambda: ddim_by_hand(network, x_1, levels),
        "DDIM": ours(DDIM()),
    }
    for name in BARS:
        difference = (ways[name]() - ways[f"{name}, by hand"]()).abs().max()
        assert difference < 1e-4 * ways[name]().abs().max(), f"{name}: another sample"
    medians = median_seconds(ways, arguments.steps, arguments.rounds)

    print(f"{arguments.points:,} points in the plane, {arguments.steps} steps, median of {arguments.rounds} rounds")
    print(f"{'':>20} {'us per step':>12} {'without network':>16} {'ratio':>7} {'at most':>8}")
    for name, median in medians.items():
        beside = median - medians["the network"]
        row = f"{name:>20} {1e6 * median:>12.1f} {1e6 * beside:>16.1f}"
        if name in BARS:
            ratio = beside / (medians[f"{name}, by hand"] - medians["the network"])
            row += f" {ratio:>7.2f} {BARS[name]:>8}"
        print(row)


def median_seconds(ways: dict[str, Callable[[], Tensor]], num_steps: int, rounds: int) -> dict[str, float]:
    """The processor's seconds per step of each way, all taken in turn."""
    seconds = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(rounds):
            for name, way in ways.items():
                begin = time.process_time()
                way()
                seconds[name].append((time.process_time() - begin) / num_steps)
    return {name: statistics.median(values) for name, values in seconds.items()}


def ancestral_by_hand(network: nn.Module, x: Tensor, levels: list[Level], noise: Stream) -> Tensor:
    """DDPM's algorithm 2."""
    steps = [
        (1 / t.alpha, -t.sigma / t.alpha, (step := posterior(t, s)).from_x_t, step.from_x, step.variance**0.5)
        for t, s in zip(levels[:-1], levels[1:], strict=True)
    ]
    gammas = [torch.tensor(level.gamma).expand(len(x)) for level in levels[:-1]]
    for (of_x_t, of_eps, from_x_t, from_x, deviation), gamma in zip(steps, gammas, strict=True):
        x_hat = of_x_t * x + of_eps * network(x, gamma, None)
        x = from_x_t * x + from_x * x_hat
        if deviation:
            x = x + deviation * noise.normal(x)
    return x


def ddim_by_hand(network: nn.Module, x: Tensor, levels: list[Level]) -> Tensor:
    """DDIM without noise."""
    steps = [(1 / t.alpha, -t.sigma / t.alpha, s.alpha, s.sigma) for t, s in zip(levels[:-1], levels[1:], strict=True)]
    gammas = [torch.tensor(level.gamma).expand(len(x)) for level in levels[:-1]]
    for (of_x_t, of_eps, alpha_s, sigma_s), gamma in zip(steps, gammas, strict=True):
        eps = network(x, gamma, None)
        x_hat = of_x_t * x + of_eps * eps
        x = alpha_s * x_hat + sigma_s * eps
    return x


if __name__ == "__main__":
    main()
