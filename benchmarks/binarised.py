"""A VAE against a ladder on statically binarised MNIST, at equal training time, over several seeds.

    LOWERBOUND_DATA=FOLDER python benchmarks/binarised.py --minutes 3 --seeds 0 1 2

Each model is trained for as many minutes on one thread; a run that is there already is not trained again. The bound is of
all 10,000 test images, the importance-weighted one of the first of them. Both in nats per image, to stand beside published
figures for MNIST binarised once: 86.8 / 81.3 (VAE) and 79.2 (ladder of 3 levels), after trainings of days.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lowerbound import Effort, open_dataset, open_run, recipe, score, train
from lowerbound.training.config import DataConfig

SOURCE = "binary-mnist"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="training of each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=["vae", "ladder-vae"])
    parser.add_argument("--importance", type=int, default=200, help="samples of the tighter bound")
    parser.add_argument("--num-examples", type=int, default=500, help="images of the tighter bound")
    parser.add_argument("--out", type=Path, default=Path("runs/binarised"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(SOURCE)
    images, few = dataset.examples[dataset.test], dataset.examples[dataset.some("test", given.num_examples)]
    print(
        f"nats per image, {given.minutes:g} minutes of one thread each; bound of {len(images):,} test images, bound of "
        f"{given.importance} importance samples of {len(few):,} of them"
    )
    bounds: dict[str, list[np.ndarray]] = {}
    for model in given.models:
        for seed in given.seeds:
            config = recipe(dataset, DataConfig(SOURCE), given.minutes, model)
            config = replace(config, training=replace(config.training, seed=seed))
            out = given.out / f"{model}-{seed}"
            train(config, dataset, out, say=lambda line: None, show_progress=False)
            run = open_run(out)
            plain, tighter = score(run, images), score(run, few, Effort(importance=given.importance))
            bounds.setdefault(model, []).append(-plain.nats)
            levels = ", ".join(
                f"{name} {getattr(plain, name).mean() * math.prod(dataset.shape) * math.log(2):.2f}"
                for name in ("reconstruction", "prior", "diffusion")
            )
            print(
                f"{model:>16} seed {seed}: {_text(-plain.nats)} ({levels}), {_text(-tighter.nats)}, "
                f"{run.num_parameters:,} parameters, {run.metadata['step']} steps",
                flush=True,
            )
    for model, found in bounds.items():
        means = np.array([each.mean() for each in found])
        print(f"{model:>16}: {means.mean():.2f} ± {means.std(ddof=1) / len(means) ** 0.5:.2f} over {len(means)} seeds")
    if len(bounds) == 2:
        (first, ours), (second, theirs) = bounds.items()
        gaps = np.array([(mine - other).mean() for mine, other in zip(ours, theirs, strict=True)])
        error = gaps.std(ddof=1) / len(gaps) ** 0.5
        print(f"{first} less {second}: {gaps.mean():.2f} ± {error:.2f} over seeds, {gaps.mean() / error:.1f} errors")


def _text(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
