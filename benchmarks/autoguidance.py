"""Samples guided away from a run's early weights, by scale and by where: python benchmarks/autoguidance.py runs/digits

All settings draw from the same noise, by the default sampler; each figure is a mean over so many draws of the same number of
samples, against the same training examples, in the features that `lowerbound evaluate` uses, with its standard error over
the draws. Calls are those of both weights. The first rows are held-out examples and the model alone, by default and in twice
the steps, the last ones scale 2 below gamma = 0 by other samplers in other numbers of steps (`--samplers`, `--steps`).
"""

import math
from dataclasses import dataclass

import numpy as np
import tyro
from ledger import print_table

from lowerbound import generate, open_run
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge
from lowerbound.run import Run
from lowerbound.run.autoguided import autoguided
from lowerbound.run.generate import network_calls
from lowerbound.sampling import SAMPLERS, Plan
from lowerbound.sampling.plan import DEFAULT_STEPS
from lowerbound.words.rounding import figure_text

FIGURES = ("frechet", "precision", "coverage")


@dataclass(frozen=True)
class Options:
    """Draw a run's samples with autoguidance."""

    run: tyro.conf.Positional[str]
    scales: tuple[float, ...] = (1.5, 2.0, 3.0)
    """Of the guidance."""
    below: tuple[float, ...] = (-1.0, 0.0, 1.0, math.inf)
    """Gamma below which samples are guided at scale 2; the scales are tried below 0."""
    samples: int = 1000
    """Of each draw, at most as many as there are held-out examples."""
    draws: int = 1
    samplers: tuple[str, ...] = ()
    steps: tuple[int, ...] = (16, 24)


def main(options: Options) -> None:
    run = open_run(options.run)
    dataset = run.open_dataset()
    space = feature_space(dataset, feature_classifier(dataset, run.folder.path))
    judge = Judge.of(dataset, space, options.samples)
    settings: dict[str, tuple[Run, Plan | None]] = {
        "the model alone": (run, None),
        "the model alone, twice the steps": (run, run.diffusion.plan(num_steps=2 * DEFAULT_STEPS)),
        **{f"scale {scale:g}, gamma below 0": (autoguided(run, scale), None) for scale in options.scales},
        **{
            f"scale 2, gamma below {end:g}": (autoguided(run, interval=(-math.inf, end)), None)
            for end in options.below
            if end or 2.0 not in options.scales
        },
        **{
            f"{name}, {num_steps} steps": (autoguided(run), run.diffusion.plan(SAMPLERS[name], num_steps))
            for name in options.samplers
            for num_steps in options.steps
        },
    }
    floor = judge.floor()
    rows = {"held-out examples": ["", *(str(getattr(floor, name)) for name in FIGURES)]}
    for name, (guided, plan) in settings.items():
        with network_calls(guided.denoiser) as calls:
            drawn = [generate(guided, len(judge.held_out), plan, seed=seed) for seed in range(options.draws)]
        qualities = [judge.quality(run.encode(samples)) for samples in drawn]
        values = np.array([[getattr(quality, figure).value for figure in FIGURES] for quality in qualities])
        error = values.std(0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.zeros(len(FIGURES))
        num = sum(calls) / len(drawn) / len(judge.held_out)
        rows[name] = [f"{num:.3g}", *map(figure_text, values.mean(0).tolist(), error.tolist())]
    print(f"{options.run}: {space}; {len(judge.held_out)} samples, {options.draws} times")
    print_table("samples", ("calls", "Frechet distance", "precision", "coverage"), rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
