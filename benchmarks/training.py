"""What a training step consists of, for each recipe: python benchmarks/training.py

The shares of gradient, optimiser and running average in a step, medians over steps, and the gradient's matrix products and
convolutions (counted by torch's FlopCounterMode) over its time as a share of the rate of a large matrix product; with
--batch-sizes of several batches in turn, and the examples that a second has of each. Recipes of data that are not there are
left out.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from lowerbound import InputError, open_dataset, recipe
from lowerbound.machine.processor import processor
from lowerbound.training.config import DataConfig, ModelName
from lowerbound.training.trainer import Trainer

RECIPES: tuple[tuple[str, ModelName], ...] = (
    ("moons", "diffusion"),
    ("digits", "diffusion"),
    ("digits", "score"),
    ("digits", "energy"),
    ("digits", "vae"),
    ("digits", "hierarchical-vae"),
    ("digits", "ladder-vae"),
    ("digits", "autoregressive"),
    ("digits", "flow"),
    ("digits", "gan"),
    ("mnist", "diffusion"),
    ("mnist", "autoregressive"),
)
PARTS = ("gradient", "optimiser", "averaging")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", help="train these, as `lowerbound train` would, instead of all recipes")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), help="instead of the recipe's own")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="instead of the recipe's own")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    peak, bfloat16 = product_rate(torch.float32), product_rate(torch.bfloat16)
    print(f"{processor()}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"matrix product of 1024: {peak / 1e9:.0f} GFLOP/s in float32, {bfloat16 / 1e9:.0f} in bfloat16")
    parts = "".join(f"{part:>11}" for part in PARTS)
    print(f"{'recipe':<26}{'batch':>7}{'ms a step':>11}{'examples/s':>12}{parts}{'of the peak':>13}")
    recipes = RECIPES if arguments.data is None else tuple((source, "diffusion") for source in arguments.data)
    for source, model in recipes:
        try:
            dataset = open_dataset(source)
        except InputError:
            continue
        config = recipe(dataset, DataConfig(source), model=model)
        if arguments.optimizer:
            config = replace(config, training=replace(config.training, optimizer=arguments.optimizer))
        for batch_size in arguments.batch_sizes or [config.training.batch_size]:
            config = replace(config, training=replace(config.training, batch_size=batch_size))
            seconds, operations = measure(Trainer(config, dataset), arguments.steps)
            total = sum(seconds)
            speed = f"{batch_size:>7}{1e3 * total:>11.1f}{batch_size / total:>12,.0f}"
            shares = "".join(f"{part / total:>11.1%}" for part in seconds)
            of_peak = "" if operations is None else f"{operations / seconds[0] / peak:>13.0%}"
            print(f"{f'{source} {model}':<26}{speed}{shares}{of_peak}", flush=True)


def measure(trainer: Trainer, num_steps: int) -> tuple[list[float], int | None]:
    """The medians of the parts of a step, seconds, and the gradient's floating-point operations."""
    operations = count_operations(trainer)
    seconds: list[list[float]] = []
    for _ in range(num_steps + 2):
        times = [time.perf_counter()]
        trainer.gradient()
        times.append(time.perf_counter())
        trainer.optimizer.step(1e-4)
        times.append(time.perf_counter())
        trainer.average.update()
        times.append(time.perf_counter())
        seconds.append([after - before for before, after in zip(times, times[1:], strict=False)])
        trainer.step += 1
    return [statistics.median(part) for part in zip(*seconds[2:], strict=True)], operations


def count_operations(trainer: Trainer) -> int | None:
    """Those of a gradient; None of a loss that differentiates with respect to its input, which the counter can't follow."""
    try:
        with FlopCounterMode(display=False) as counter:
            trainer.gradient()
    except RuntimeError:
        return None
    return counter.get_total_flops()


def product_rate(dtype: torch.dtype, side: int = 1024) -> float:
    """Floating-point operations a second of a matrix product, the best of five."""
    matrix = torch.randn(side, side).to(dtype)
    matrix[:64] @ matrix  # what it sets up at its first use
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


if __name__ == "__main__":
    main()
