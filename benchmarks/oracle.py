"""The bound with the exact denoiser against the exact log density, on a mixture in the plane: python benchmarks/oracle.py

The denoiser is the best there is, so what is left of the gap is the chain's: its finite number of steps, the reverse
variance, and its finite ends. It can only be positive, and it must vanish as the chain is refined.
"""

import argparse
import time

import torch

from lowerbound import GaussianDecoder, GaussianMixture, LinearGamma, Stream, elbo, mean_and_error

# T, reverse variance, examples; T = None is continuous time, with 1000 calls per example
ROWS = [
    (10, "lower", 100_000),
    (100, "lower", 20_000),
    (1000, "lower", 4000),
    (10_000, "lower", 2000),
    (100, "analytic", 20_000),
    (1000, "analytic", 10_000),
    (None, "lower", 8000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamma-min", type=float, default=-9.0)
    parser.add_argument("--gamma-max", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    schedule = LinearGamma(arguments.gamma_min, arguments.gamma_max)
    data = mixture(schedule)
    print(f"2-D mixture of 3 Gaussians, linear gamma from {schedule.gamma_min} to {schedule.gamma_max}; nats/dim")
    print(f"{'T':>10} {'variance':>9} {'examples':>9} {'exact':>9} {'bound':>9} {'gap':>9} {'error':>8} {'seconds':>8}")
    for num_steps, variance, num_examples in ROWS:
        begin = time.perf_counter()
        x = data.sample(num_examples, Stream(arguments.seed))
        exact, bound = data.log_prob(x) / 2, bound_of(data, x, num_steps, variance, arguments.seed + 1) / 2
        gap, error = mean_and_error(exact - bound)
        name = "continuous" if num_steps is None else num_steps
        print(
            f"{name:>10} {variance if num_steps else '-':>9} {num_examples:>9} {exact.mean():>9.4f} {bound.mean():>9.4f} "
            f"{gap:>9.4f} {error:>8.4f} {time.perf_counter() - begin:>8.1f}",
            flush=True,
        )


def bound_of(data: GaussianMixture, x: torch.Tensor, num_steps: int | None, variance: str, seed: int) -> torch.Tensor:
    """The bound in nats per example."""
    noise = Stream(seed)
    if num_steps is None:
        return elbo(data, GaussianDecoder(), x, noise=noise, num_times=1000).nats
    chain = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    return elbo(data, GaussianDecoder(), x, chain, noise=noise, reverse=variance).nats


def mixture(schedule: LinearGamma) -> GaussianMixture:
    """Three components of different widths and directions."""
    return GaussianMixture(
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]], dtype=torch.float64),
        torch.tensor(
            [[[0.09, 0.03], [0.03, 0.04]], [[0.06, -0.01], [-0.01, 0.09]], [[0.25, 0.0], [0.0, 0.04]]],
            dtype=torch.float64,
        ),
        schedule,
    )


if __name__ == "__main__":
    main()
