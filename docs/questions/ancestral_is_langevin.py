r"""Is the ancestral step a Langevin step plus a drift?

Yes: x_s = x_t + (a step of the probability flow) + (a Langevin step) + rho * score, to 3e-16 in every coefficient, and rho
vanishes against the Langevin step as 1 / T: 1.69 of it at T = 10, 0.0105 at T = 1000, 0.00105 at T = 10,000
(`lowerbound.theory.split`). Left out, it moves the end about as much as the finite steps themselves do.

For each number of steps T:

- error: the largest difference between the ancestral step and the sum of the four parts, over all steps;
- rho / Langevin: the largest ratio of rho to the Langevin step's own e / 2;
- left out: how far the variance at the end, of data N(0, 0.3), moves if rho is left out of every step, relative to it;
- discretisation: how far the ancestral variance itself is from that of q(x_t), for comparison;
- path: how far samples of a mixture in the plane move if rho is left out, root mean square, with the same noise.

python docs/questions/ancestral_is_langevin.py
"""

import argparse
import time
from itertools import pairwise

import torch

from lowerbound import GaussianMixture, LinearGamma, Stream, grid, start
from lowerbound.langevin import langevin_step
from lowerbound.reverse import posterior
from lowerbound.schedule import Level
from lowerbound.theory import split_ancestral

VARIANCE = 0.3
LONGEST_PATH = 1000
NUM_STEPS = (10, 30, 100, 300, 1000, 3000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to T = 100 only")
    quick = parser.parse_args().quick

    torch.set_num_threads(1)  # the tensors are small
    began, schedule = time.perf_counter(), LinearGamma(-8.0, 6.0)
    print("linear gamma from -8 to 6, variance preserving, posterior variance; every ratio falls as 1 / T")
    print(f"{'T':>6} {'error':>9} {'rho / Langevin':>15} {'left out':>10} {'discretisation':>15} {'path':>10}")
    for num_steps in NUM_STEPS[:3] if quick else NUM_STEPS:
        levels = schedule.levels(grid.uniform(num_steps + 1))
        error, ratio = parts(levels)
        exact = levels[-1].alpha ** 2 * VARIANCE + levels[-1].sigma ** 2
        ancestral, without = (end_variance(levels, keep) for keep in (1.0, 0.0))
        path = f"{path_distance(schedule, levels):>10.2e}" if num_steps <= LONGEST_PATH else f"{'':>10}"
        print(
            f"{num_steps:>6} {error:>9.1e} {ratio:>15.6f} {abs(without / ancestral - 1):>10.2e} "
            f"{abs(ancestral / exact - 1):>15.2e} {path}",
            flush=True,
        )
    print(f"{time.perf_counter() - began:.1f} s")


def parts(levels: list[Level]) -> tuple[float, float]:
    """The largest error of the identity in the coefficients of x_t and the score, and the largest rho / (e / 2)."""
    errors, ratios = [], []
    for t, s in pairwise(levels):
        split, whole = split_ancestral(t, s), posterior(t, s)
        # the ancestral mean is from_x_t x_t + from_x x_hat, and Tweedie's x_hat is (x_t + sigma_t^2 score) / alpha_t
        errors.append(abs(1 + split.stretch - (whole.from_x_t + whole.from_x / t.alpha)))
        along_score = split.flow + split.step_size / 2 + split.remainder
        errors.append(abs(along_score - whole.from_x * t.sigma**2 / t.alpha))
        errors.append(abs(split.step_size - whole.variance))
        ratios.append(abs(split.remainder) / (split.step_size / 2))
    return max(errors), max(ratios)


def end_variance(levels: list[Level], keep: float) -> float:
    """The variance at the end for data N(0, u) from q's own at the start, with `keep` times the remainder."""
    variance = levels[0].alpha ** 2 * VARIANCE + levels[0].sigma ** 2
    for t, s in pairwise(levels):
        split, precision = split_ancestral(t, s), 1 / (t.alpha**2 * VARIANCE + t.sigma**2)
        along_score = split.flow + split.step_size / 2 + keep * split.remainder
        variance = (1 + split.stretch - along_score * precision) ** 2 * variance + split.step_size
    return variance


@torch.no_grad()
def path_distance(schedule: LinearGamma, levels: list[Level]) -> float:
    """How far apart samples with and without the remainder end, on a mixture, the noise shared."""
    data = GaussianMixture(
        torch.tensor([0.6, 0.4]).double(),
        torch.tensor([[-1.0, 0.0], [1.0, 0.5]]).double(),
        torch.tensor([[[0.1, 0.0], [0.0, 0.05]], [[0.05, 0.02], [0.02, 0.1]]]).double(),
        schedule,
    )
    noise = Stream(0)
    ends = [start(data, 500, noise, dtype=torch.float64)] * 2
    for t, s in pairwise(levels):
        split, z = split_ancestral(t, s), noise.normal(ends[0])
        for i, keep in enumerate((1.0, 0.0)):
            x_t, score = ends[i], data(ends[i], t).score
            drifted = x_t + split.stretch * x_t + split.flow * score
            ends[i] = langevin_step(drifted, score, z, split.step_size) + keep * split.remainder * score
    return (ends[0] - ends[1]).square().mean().sqrt().item()


if __name__ == "__main__":
    main()
