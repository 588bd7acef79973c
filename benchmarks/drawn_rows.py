"""How samples of rows differ from the training rows, by sampler and steps: python benchmarks/drawn_rows.py runs/moons

Of draws of 4,000 samples, from the same noise for all ways, in the units in which the model sees rows: the mean distance of
quantiles, from 0.005 to 0.995, over 64 random directions (a sliced Wasserstein distance), and the mean over principal axes
of the variance drawn over the training rows' own. The first line is of as many training rows, drawn at random.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tyro
from ledger import print_table

from lowerbound import generate, mean_and_error, open_run
from lowerbound.sampling import SAMPLERS, Plan
from lowerbound.sampling.plan import DEFAULT_SAMPLER
from lowerbound.words.rounding import figure_text

NUM_DIRECTIONS = 64
PROBABILITIES = np.linspace(0.005, 0.995, 199)


@dataclass(frozen=True)
class Options:
    """Draw a run's rows in several ways."""

    run: tyro.conf.Positional[str]
    samplers: tuple[str, ...] = (DEFAULT_SAMPLER, "dpm++sde", "unipc")
    steps: tuple[int, ...] = (16, 24, 48)
    samples: int = 4000
    draws: int = 4
    """Of so many samples each, whose means and standard errors are printed."""


def main(options: Options) -> None:
    run = open_run(options.run)
    dataset = run.open_dataset()
    train = dataset.encoded(dataset.train).flatten(1).double().numpy()
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(train.shape[1], NUM_DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    mean, (variances, axes) = train.mean(0), np.linalg.eigh(np.cov(train.T))
    expected = np.quantile(train @ directions, PROBABILITIES, axis=0)

    def figures(draws: Iterable[np.ndarray]) -> list[str]:
        found = []
        for rows in draws:
            apart = np.abs(np.quantile(rows @ directions, PROBABILITIES, axis=0) - expected)
            found.append((apart.mean(), (((rows - mean) @ axes).var(0) / variances).mean()))
        return [figure_text(*mean_and_error(values)) for values in np.transpose(found)]

    def drawn(plan: Plan) -> Iterator[np.ndarray]:
        for seed in range(options.draws):
            x = run.encode(generate(run, options.samples, plan, seed=seed, batch_size=options.samples))
            yield x.flatten(1).double().numpy()

    rows = {"training rows": ["", *figures(rng.choice(train, options.samples) for _ in range(options.draws))]}
    for name in options.samplers:
        for num_steps in options.steps:
            plan = run.diffusion.plan(SAMPLERS[name], num_steps)
            rows[f"{name}, {num_steps} steps"] = [f"{plan.num_calls}", *figures(drawn(plan))]
    print(f"{options.run}: {options.draws} times {options.samples} samples, {len(train)} training rows")
    print_table("samples", ("calls", "distance of quantiles", "variance drawn / true"), rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
