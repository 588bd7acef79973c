"""The bound does not depend on the way between a schedule's ends, the variance of its estimate does:
python benchmarks/schedules.py runs/mnist

One trained model, one pair of ends, and several schedules between them. For each the mean of one-draw estimates of the
diffusion term on held-out examples, which must agree, and their variance: of single draws, and of the mean of a batch with
evenly spread times, times the size of the batch. The learned schedule is the run's own, or, if its schedule is not
learned, a monotone network trained here for a few hundred steps on the training data with the model held fixed.
"""

import argparse
import math

import torch

from lowerbound import (
    Cosine,
    Dataset,
    Denoiser,
    LearnedGamma,
    LinearGamma,
    Schedule,
    Stream,
    loss,
    mean_and_error,
    open_run,
)
from lowerbound.schedule import LinearBeta, MonotoneWarp
from lowerbound.times import antithetic_times

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--num-draws", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=400, help="of training the learned schedule, if the run has none")
    arguments = parser.parse_args()

    run = open_run(arguments.run)
    dataset = run.open_dataset()
    denoiser, own = run.denoiser, run.denoiser.schedule
    ends = {"gamma_min": own.gamma_min, "gamma_max": own.gamma_max}
    learned = own
    if not isinstance(own, LearnedGamma):
        learned = fit(denoiser, dataset, LearnedGamma(**ends, warp=MonotoneWarp()), arguments.steps)
    schedules: dict[str, Schedule] = {
        "linear betas": LinearBeta(**ends),
        "cosine": Cosine(**ends),
        "linear gamma": LinearGamma(**ends),
        "learned gamma": learned,
    }
    low, high = ends.values()
    print(f"{arguments.run}: gamma from {low:.2f} to {high:.2f}, {arguments.num_draws} draws each; bits/dim")
    head = ("diffusion", "error", "variance", "to linear", "spread times", "to linear")
    print(f"{'schedule':<15} {head[0]:>9} {head[1]:>7} {head[2]:>10} {head[3]:>9} {head[4]:>12} {head[5]:>9}")
    rows = {name: measure(denoiser, dataset, schedule, arguments.num_draws) for name, schedule in schedules.items()}
    for name, (mean, error, variance, spread) in rows.items():
        _, _, line, line_spread = rows["linear gamma"]
        print(
            f"{name:<15} {mean:>9.4f} {error:>7.4f} {variance:>10.4f} {variance / line:>9.2f} {spread:>12.4f} "
            f"{spread / line_spread:>9.2f}"
        )


def fit(denoiser: Denoiser, dataset: Dataset, schedule: LearnedGamma, num_steps: int) -> LearnedGamma:
    """Train the way between a schedule's ends to lower the variance, the model and the ends held fixed."""
    assert schedule.warp is not None
    denoiser.schedule = schedule
    optimizer = torch.optim.Adam(schedule.warp.parameters(), lr=0.03)
    noise = Stream(1)
    for step in range(num_steps):
        part = dataset.train[(step * BATCH) % len(dataset.train) :][:BATCH]
        optimizer.zero_grad()
        factor = torch.ones(len(part))
        scaled = denoiser.along(schedule.minimising_variance(factor))
        losses = loss(scaled, dataset.encoded(part), noise=noise) / math.prod(dataset.shape)
        factor.copy_(2 * losses.detach())
        losses.mean().backward()
        optimizer.step()
    return schedule.requires_grad_(False)


@torch.no_grad()
def measure(
    denoiser: Denoiser, dataset: Dataset, schedule: Schedule, num_draws: int
) -> tuple[float, float, float, float]:
    """Mean of single draws and its error, their variance, and the variance of a batch's mean times its size."""
    denoiser.schedule = schedule
    noise, batches = Stream(0), []
    to_bits = 1 / (math.prod(dataset.shape) * math.log(2))
    single, means = [], []
    for number in range(num_draws // BATCH):
        part = dataset.validation[(number * BATCH) % (len(dataset.validation) - BATCH) :][:BATCH]
        x = dataset.encoded(part)
        apart = noise.uniform(x.new_empty(BATCH, 1))[:, 0]
        single.append(loss(denoiser, x, t=apart, noise=noise) * to_bits)
        # evenly spread times, given to the examples in an order that has nothing to do with theirs
        spread = antithetic_times(noise.uniform(x.new_empty(1, 1))[0, 0], BATCH)
        means.append(loss(denoiser, x, t=spread, noise=noise).mean() * to_bits)
    draws, batches = torch.cat(single).double(), torch.stack(means).double()
    mean, error = mean_and_error(draws)
    return mean, error, draws.var().item(), BATCH * batches.var().item()


if __name__ == "__main__":
    main()
