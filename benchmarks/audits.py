"""How often an audit of a right density says that it is wrong.

Usage: python benchmarks/audits.py [--num-audits 200]
"""

import argparse
from collections import Counter

import numpy as np
import torch
from scipy.stats import beta
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import distributions

from lowerbound.auditing import audit


def density(seed: int):
    """A right density: a Gaussian, Student's t, a mixture, a kernel density or an untrained spline flow."""
    rng = np.random.default_rng(seed)
    num_dims = int(rng.integers(1, 9))
    root = torch.from_numpy(np.eye(num_dims) + 0.4 * rng.standard_normal((num_dims, num_dims)))
    mean = torch.from_numpy(3 * rng.standard_normal(num_dims))
    match seed % 5:
        case 0:
            return distributions.MultivariateNormal(mean, root @ root.T)
        case 1:
            base = distributions.Independent(distributions.StudentT(torch.full((num_dims,), 6.0).double(), mean), 1)
            return distributions.TransformedDistribution(base, distributions.AffineTransform(0.0, 2.0, event_dim=1))
        case 2:
            points = np.concatenate(
                [rng.standard_normal((150, num_dims)), 4 + 0.5 * rng.standard_normal((150, num_dims))]
            )
            return GaussianMixture(2, random_state=seed).fit(points)
        case 3:
            return KernelDensity(bandwidth=0.4).fit(rng.standard_normal((200, min(num_dims, 3))))
        case _:
            import zuko

            torch.manual_seed(seed)
            return zuko.flows.NSF(max(num_dims, 2), transforms=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-audits", type=int, default=200)
    num_audits = parser.parse_args().num_audits
    failed, verdicts = Counter(), Counter()
    num_alarms = 0
    for seed in range(num_audits):
        found = audit(density(seed), seed=seed)
        num_alarms += found.verdict == "fail"
        for check in found.checks:
            verdicts[check.name, check.verdict] += 1
            if check.verdict == "fail":
                failed[check.name] += 1
                print(f"seed {seed}: {found.name}, {found.num_dims} dimensions: {check.name}: {check.finding}")
    low = np.nan_to_num(beta.ppf(0.025, num_alarms, num_audits - num_alarms + 1))
    high = beta.ppf(0.975, num_alarms + 1, num_audits - num_alarms)
    print(f"{num_alarms} false alarms in {num_audits} audits of right densities (95 %: {low:.2%} to {high:.2%})")
    for (name, verdict), count in sorted(verdicts.items()):
        print(f"  {name:<42} {verdict:<10} {count}")


if __name__ == "__main__":
    main()
