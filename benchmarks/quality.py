"""Frechet distance of samplers at few network calls, and whether they are worse than many calls:
python benchmarks/quality.py runs/mnist

All settings start from the same noise and are compared with the same training examples, so that the difference of two of
them is known better than either. The yardsticks are ancestral sampling and Heun's method with 250 calls; each row gives the
difference to the better of the two with its standard error. Features are those that `lowerbound evaluate` uses. Heun's
yardstick takes Karras' grid, as published, ancestral sampling equal steps of time.
"""

import argparse
import itertools
from pathlib import Path

from lowerbound import open_run
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.quality import Split, frechet_distance
from lowerbound.evaluate.trade_off import plan_of_calls
from lowerbound.pictures.quality import quality_by_calls
from lowerbound.run.variance import with_analytic_variance
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.plan import DEFAULT_GRID, DEFAULT_SAMPLER, GRIDS
from lowerbound.words.rounding import figure_text

YARDSTICKS = {"ancestral": "time", "heun": "karras"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--calls", type=int, nargs="+", default=[8, 12, 16, 24])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=[DEFAULT_SAMPLER, "dpm++", "unipc", "ddim"])
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=[DEFAULT_GRID])
    parser.add_argument("--many", type=int, default=250, help="calls of the yardsticks")
    parser.add_argument("--yardsticks", nargs="+", choices=YARDSTICKS, default=[*YARDSTICKS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="a .png to draw the table into")
    arguments = parser.parse_args()

    run = with_analytic_variance(open_run(arguments.run), conditional=True)
    dataset = run.open_dataset()
    space = feature_space(dataset, feature_classifier(dataset, run.folder.path))
    judge = Judge.of(dataset, space, arguments.samples, arguments.seed)
    references = Split(judge.references, 1, arguments.seed)
    floor = frechet_distance(Split(judge.held_out, 0, arguments.seed), references)
    print(f"{arguments.run}, {space}")
    print(
        f"{len(judge.held_out)} samples each against {len(judge.references)} training examples; "
        f"as many held-out examples: {figure_text(*floor.figure)}"
    )

    found, curves = {}, {}
    yardsticks = [(name, YARDSTICKS[name], arguments.many) for name in arguments.yardsticks]
    settings = [*yardsticks]
    few = itertools.product(
        dict.fromkeys(arguments.samplers), dict.fromkeys(arguments.grids), sorted(set(arguments.calls))
    )
    settings += few
    print(
        f"{'sampler':<18} {'grid':<14} {'calls':>6} {'Frechet distance':>18} {'less the best of many':>24} {'errors':>7}"
    )
    for name, grid, calls in settings:
        plan = plan_of_calls(run, SAMPLERS[name], calls, grid)
        samples, spent = draw(run, dataset, len(judge.held_out), plan, seed=arguments.seed)
        x = dataset.spec.encoding.encode(samples)
        estimate = frechet_distance(Split(judge.features(x), 0, arguments.seed), references)
        found[name, grid, calls] = estimate
        curves.setdefault(f"{name}, {grid}", []).append((spent, *estimate.figure))
        line = f"{name:<18} {grid:<14} {spent:>6g} {figure_text(*estimate.figure):>18}"
        if len(found) > len(yardsticks):
            best = min((found[each] for each in yardsticks), key=lambda each: each.value)
            difference = estimate - best
            line += f" {figure_text(*difference.figure):>24} {difference.value / difference.error:>7.1f}"
        print(line, flush=True)
    if arguments.picture:
        quality_by_calls(arguments.picture, curves, floor.figure)


if __name__ == "__main__":
    main()
