"""How samples of rows differ from the training rows, by sampler and steps: python benchmarks/drawn_rows.py runs/moons

Of 4,000 samples from the same noise, in the units in which the model sees rows: the mean distance of quantiles, from 0.005 to
0.995, over 64 random directions (a sliced Wasserstein distance), and the mean over principal axes of the variance drawn over
the training rows' own. The first line is of as many training rows, drawn at random.
"""

from dataclasses import dataclass

import numpy as np
import tyro
from ledger import print_table

from lowerbound import generate, open_run
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.plan import DEFAULT_SAMPLER

NUM_DIRECTIONS = 64
PROBABILITIES = np.linspace(0.005, 0.995, 199)


@dataclass(frozen=True)
class Options:
    """Draw a run's rows in several ways."""

    run: tyro.conf.Positional[str]
    samplers: tuple[str, ...] = (DEFAULT_SAMPLER, "dpm++sde", "unipc")
    steps: tuple[int, ...] = (16, 24, 48)
    samples: int = 4000


def main(options: Options) -> None:
    run = open_run(options.run)
    dataset = run.open_dataset()
    train = dataset.encoded(dataset.train).flatten(1).double().numpy()
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(train.shape[1], NUM_DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    mean, (variances, axes) = train.mean(0), np.linalg.eigh(np.cov(train.T))

    def figures(rows: np.ndarray) -> list[str]:
        quantiles = (np.quantile(each @ directions, PROBABILITIES, axis=0) for each in (rows, train))
        drawn = ((rows - mean) @ axes).var(0) / variances
        return [f"{np.abs(np.subtract(*quantiles)).mean():.4f}", f"{drawn.mean():.3f}"]

    rows = {"training rows": ["", *figures(rng.choice(train, options.samples))]}
    for name in options.samplers:
        for num_steps in options.steps:
            plan = run.diffusion.plan(SAMPLERS[name], num_steps)
            x = run.encode(generate(run, options.samples, plan)).flatten(1).double().numpy()
            rows[f"{name}, {num_steps} steps"] = [f"{plan.num_calls}", *figures(x)]
    print(f"{options.run}: {options.samples} samples, {len(train)} training rows")
    print_table("samples", ("calls", "distance of quantiles", "variance drawn / true"), rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
