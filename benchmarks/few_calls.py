"""A likelihood in few network calls beside the flow that is followed to its end: python benchmarks/few_calls.py RUN ...

Both figures of each test example have the same probes and the same noise within levels, so that what is left of their
difference is the few calls'. Beside the mean difference, in bits/dim, stands the error that `score --ode --calls` states for
a mean of so many examples, and beside the differences' spread the one that it states for an example. Of few examples the
mean hangs on that noise: with several draws of it, and of the calibration's, it is the mean over these, and the spread that
of single ones.
"""

import argparse

import numpy as np

import lowerbound as lb
from lowerbound.scoring import Flow
from lowerbound.words.rounding import figure_text


def main() -> None:
    """Print a row for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--calls", type=int, nargs="+", default=[8])
    parser.add_argument("--examples", type=int, default=200, help="the most test examples of each run")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the flow that is followed to its end")
    parser.add_argument(
        "--furthest", type=int, default=0, help="examples whose differences are listed, the mean of the others"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    parser.add_argument("--draws", type=int, default=1, help="of the noise and the calibration")
    arguments = parser.parse_args()
    head = (
        "run",
        "examples",
        "calls of the flow",
        "calls",
        "difference",
        "stated",
        "spread",
        "stated",
        "within one, two",
    )
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for path in arguments.runs:
        run = lb.open_run(path)
        dataset = run.open_dataset()
        indices = dataset.some("test", arguments.examples)
        cond = dataset.cond(indices) if run.config.data.conditional else None
        raw, drawn = dataset.examples[indices], range(arguments.seed, arguments.seed + arguments.draws)
        settings = {"cond": cond, "numbers": indices}
        exact = [lb.score_density(run, raw, Flow(arguments.tolerance), seed=seed, **settings) for seed in drawn]
        calls_of_flow = np.mean([each.num_calls.mean() for each in exact])
        for num_calls in arguments.calls:
            found = [lb.score_density(run, raw, Flow(num_calls=num_calls), seed=seed, **settings) for seed in drawn]
            each = np.stack([few.bits_per_dim - whole.bits_per_dim for few, whole in zip(found, exact, strict=True)])
            off, count = each.mean(0), len(indices)
            errors = np.stack([few.solver_error for few in found])
            correction_error = np.stack([few.correction_error for few in found])
            single = np.sqrt(np.mean(errors**2))
            mean = np.sqrt(np.mean(correction_error**2) + single**2 / count)
            within = [f"{np.mean(np.abs(each) <= k * errors):.2f}" for k in (1, 2)]
            figures = (
                figure_text(off.mean(), off.std() / count**0.5),
                f"{mean:.3f}",
                f"{each.std():.3f}",
                f"{single:.3f}",
            )
            row = (run.spec.name, count, f"{calls_of_flow:.0f}", num_calls, *figures, ", ".join(within))
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            if arguments.furthest:
                order = np.argsort(-np.abs(off))
                furthest, others = np.split(off[order], [arguments.furthest])
                listed = ", ".join(f"{value:.2f}" for value in furthest)
                print(
                    f"furthest: {listed}; mean of the others {figure_text(others.mean(), others.std() / len(others) ** 0.5)}"
                )


if __name__ == "__main__":
    main()
