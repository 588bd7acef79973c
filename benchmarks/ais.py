"""Annealed importance sampling where log Z is known: python benchmarks/ais.py

A mixture of four Gaussians of different widths, its log density raised by a known log Z, in several dimensions and over
several numbers of bridges: from draws of a Gaussian along the geometric path and along the noise levels (which lie below on
average), and from draws of the mixture backwards along the geometric path (above).
"""

import argparse
import time
from collections.abc import Callable

import torch

from lowerbound import GaussianMixture, LinearGamma, Stream
from lowerbound.theory import Annealed, Geometric, NoiseLevels, log_normaliser, log_normaliser_above

LOG_Z = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--bridges", type=int, nargs="+", default=[10, 100, 500])
    parser.add_argument("--chains", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small
    print(f"log Z = {LOG_Z}; {arguments.chains} chains, one step at each bridge")
    print(
        f"{'D':>3} {'bridges':>8} {'path':>20} {'estimate':>9} {'error':>7} {'own':>7} {'effective':>10} {'accepted':>9} "
        f"{'seconds':>8}"
    )
    for dim in arguments.dims:
        data = mixture(dim)
        geometric = Geometric(lambda x, data=data: data.log_prob(x) + LOG_Z, (dim,), 1.2)
        levels = NoiseLevels(lambda x, t, data=data: data.log_marginal(x, t) + LOG_Z, data.schedule, (dim,))
        for num_bridges in arguments.bridges:
            given = {"num_chains": arguments.chains, "num_bridges": num_bridges, "dtype": torch.float64}
            x, noise = data.sample(arguments.chains, Stream(arguments.seed + 1)), Stream(arguments.seed)
            runs: dict[str, Callable[[], Annealed]] = {
                "geometric": lambda p=geometric, n=noise, g=given: log_normaliser(p, n, **g),
                "geometric, backwards": lambda p=geometric, x=x, n=noise, k=num_bridges: log_normaliser_above(
                    p, x, n, num_bridges=k
                ),
                "noise levels": lambda p=levels, n=noise, g=given: log_normaliser(p, n, **g),
            }
            for name, run in runs.items():
                began = time.perf_counter()
                made = run()
                print(
                    f"{dim:>3} {num_bridges:>8} {name:>20} {made.log_z:>9.4f} {made.log_z - LOG_Z:>+7.3f} "
                    f"{made.standard_error:>7.3f} {made.effective_sample_size:>10.0f} "
                    f"{made.acceptance.mean().item():>9.2f} {time.perf_counter() - began:>8.1f}",
                    flush=True,
                )


def mixture(dim: int) -> GaussianMixture:
    """Four components about as far from one another in every dimension, of standard deviations 0.2 to 0.5."""
    noise = Stream(dim)
    means = 1.5 * noise.normal(torch.empty(4, dim, dtype=torch.float64)) / dim**0.5
    widths = torch.tensor([0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    covariances = widths[:, None, None] ** 2 * torch.eye(dim, dtype=torch.float64)
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    return GaussianMixture(weights, means, covariances, LinearGamma(-8.0, 5.0))


if __name__ == "__main__":
    main()
