"""A likelihood in few network calls beside the flow that is followed to its end: python benchmarks/few_calls.py RUN ...

Both figures of each test example have the same probes and the same noise within levels, so that what is left of their
difference is the few calls'. Beside the mean difference, in bits/dim, stands the error that `score --ode --calls` states for
a mean of so many examples, and beside the differences' spread the one that it states for an example.
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
    parser.add_argument("--seed", type=int, default=0)
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
        settings = {"cond": cond, "numbers": indices, "seed": arguments.seed}
        raw = dataset.examples[indices]
        exact = lb.score_density(run, raw, Flow(arguments.tolerance), **settings)
        for num_calls in arguments.calls:
            found = lb.score_density(run, raw, Flow(num_calls=num_calls), **settings)
            assert found.correction_error is not None
            off, count = found.bits_per_dim - exact.bits_per_dim, len(indices)
            single = np.sqrt(np.mean(found.solver_error**2))
            mean = np.sqrt(np.mean(found.correction_error**2) + single**2 / count)
            within = [f"{np.mean(np.abs(off) <= k * found.solver_error):.2f}" for k in (1, 2)]
            figures = (
                figure_text(off.mean(), off.std() / count**0.5),
                f"{mean:.3f}",
                f"{off.std():.3f}",
                f"{single:.3f}",
            )
            row = (run.spec.name, count, f"{exact.num_calls.mean():.0f}", num_calls, *figures, ", ".join(within))
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
