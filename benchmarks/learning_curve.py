"""Held-out bits/dim against minutes of training, of several runs side by side: python benchmarks/learning_curve.py RUN ...

The price of not training the bound: train the same network once with the default recipe and once with DDPM's loss and betas,

    lowerbound train mnist --steps 1500 --out runs/bound
    lowerbound train mnist --steps 1500 --out runs/simple --objective simple --schedule.name ddpm --denoiser.target eps
        --decoder.name discretized-gaussian
"""

import argparse

import numpy as np

from lowerbound.training.folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--num-rows", type=int, default=10)
    arguments = parser.parse_args()

    curves = [curve(RunFolder(run)) for run in arguments.runs]
    last = max(minutes[-1] for minutes, _, _ in curves)
    print("minutes  " + "  ".join(f"{run:>22}" for run in arguments.runs))
    for moment in np.linspace(last / arguments.num_rows, last, arguments.num_rows):
        print(f"{moment:>7.1f}  " + "  ".join(f"{latest(moment, *found):>22}" for found in curves))


def curve(folder: RunFolder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minutes, held-out bits/dim and standard errors of a run's evaluations along the way."""
    records = [record for record in folder.read_log() if "held_out_bits_per_dim" in record]
    columns = ("seconds", "held_out_bits_per_dim", "standard_error")
    seconds, bits, errors = (np.array([record[name] for record in records]) for name in columns)
    return seconds / 60, bits, errors


def latest(moment: float, minutes: np.ndarray, bits: np.ndarray, errors: np.ndarray) -> str:
    """The last evaluation before a moment, in words."""
    known = np.flatnonzero(minutes <= moment + 1e-9)
    return "-" if not len(known) else f"{bits[known[-1]]:.4f} ± {errors[known[-1]]:.4f}"


if __name__ == "__main__":
    main()
