"""Posteriors of closed-form data by every method, against the truth: python benchmarks/inverse.py

Data are a Gaussian and a mixture of three in the plane; measured are one entry without noise, one with noise, and the sum of
both with noise. For several y that occur the mean and covariance of draws are held against those of the exact posterior.
Both errors are root mean squares over the y, of the Euclidean and of the Frobenius norm, relative to the root of the trace
and to the trace of the exact covariances; the row "exact" has draws from the exact posterior: what is left there is Monte
Carlo noise.
"""

import argparse
import time

import torch

from lowerbound import Gaussian, GaussianMixture, LinearGamma, Stream, grid
from lowerbound.inverse import MMPS, LinearOperator, Mask, PiGDM, Replacement, TwistedParticles, posterior_sample

METHODS = {
    "replacement": Replacement(1),
    "replacement, 5 times": Replacement(5),
    "Pi-GDM": PiGDM(),
    "MMPS": MMPS(),
    "particles, 1": TwistedParticles(1, "analytic"),
    "particles, 4": TwistedParticles(4, "analytic"),
    "particles, 16": TwistedParticles(16, "analytic"),
    "particles, 64": TwistedParticles(64, "analytic"),
}
FIRST = Mask(torch.tensor([True, False]))
SUM = LinearOperator(lambda x: x.sum(1, keepdim=True), lambda y: y.expand(-1, 2))
MEASUREMENTS = {
    "one entry": (FIRST, [[1.0, 0.0]], 0.0),
    "one entry, noise 0.3": (FIRST, [[1.0, 0.0]], 0.3),
    "the sum, noise 0.3": (SUM, [[1.0, 1.0]], 0.3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-measurements", type=int, default=10, help="y, each with a posterior of its own")
    parser.add_argument("--num-draws", type=int, default=400, help="of each posterior")
    parser.add_argument("--num-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    schedule = LinearGamma(-10.0, 8.0)
    print(
        f"{arguments.num_measurements} y, {arguments.num_draws} draws of each, {arguments.num_steps} steps; errors of "
        "mean and covariance, relative to the posteriors' spread"
    )
    for data_name, data in {"Gaussian": gaussian(schedule), "mixture": mixture(schedule)}.items():
        for name, (operator, rows, noise_std) in MEASUREMENTS.items():
            print(f"\n{data_name}, {name}\n{'method':<22} {'mean':>8} {'covariance':>11} {'seconds':>8}")
            matrix = torch.tensor(rows, dtype=torch.float64)
            noise = Stream(arguments.seed)
            x = data.sample(arguments.num_measurements, noise)
            y = x @ matrix.T
            y = y + noise_std * noise.normal(y)
            truths = [data.posterior(matrix, row, noise_std) for row in y]
            exact = torch.cat([truth.sample(arguments.num_draws, noise) for truth in truths])
            report("exact", exact, truths, 0.0)
            measured = torch.cat([y, 0 * y], 1) if operator is FIRST else y
            measured = measured.repeat_interleave(arguments.num_draws, 0)
            for method_name, method in METHODS.items():
                if isinstance(method, Replacement) and operator is not FIRST:
                    continue
                begin, noise = time.perf_counter(), Stream(arguments.seed + 1)
                times = grid.uniform(arguments.num_steps)
                draws = posterior_sample(method, data, operator, measured, noise_std, times, noise)
                report(method_name, draws, truths, time.perf_counter() - begin)


def report(name: str, draws: torch.Tensor, truths: list[GaussianMixture], seconds: float) -> None:
    mean_error = covariance_error = spread = squared_spread = 0.0
    for truth, part in zip(truths, draws.chunk(len(truths)), strict=True):
        mean, covariance = truth.moments()
        mean_error += (part.mean(0) - mean).square().sum().item()
        covariance_error += (torch.cov(part.T) - covariance).square().sum().item()
        spread += covariance.trace().item()
        squared_spread += covariance.trace().item() ** 2
    relative = (mean_error / spread) ** 0.5, (covariance_error / squared_spread) ** 0.5
    print(f"{name:<22} {relative[0]:>8.3f} {relative[1]:>11.3f} {seconds:>8.1f}", flush=True)


def gaussian(schedule: LinearGamma) -> Gaussian:
    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
    return Gaussian(torch.tensor([0.5, -1.0], dtype=torch.float64), covariance, schedule)


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
