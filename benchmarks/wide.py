"""Rows wider than the layers of a network: python benchmarks/wide.py

Spectra (five peaks whose heights and places vary, 600 positions, 1,500 rows), panels of 2,000 columns that few causes move
(rank 20 and noise, 500 rows) and the same of independent columns; with --gaps some of their entries are missing. A network
alone, upon independent columns, upon factors, as beyond 2,048 numbers and with gaps, and upon one Gaussian; beside them the
baselines. Bits/dim of test rows, standard errors over rows; of the panels the truth is known.
"""

import argparse
import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import lowerbound as lb
from lowerbound.baselines.mixture import MIXTURE_FULL_DIMS
from lowerbound.baselines.yardsticks import of_dataset
from lowerbound.files.records import Measured
from lowerbound.machine.processor import processor
from lowerbound.training import mixtures
from lowerbound.training.factors import MOST_FACTORS

NOISE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--gaps", type=float, default=0.0, help="the share of entries that are missing")
    arguments = parser.parse_args()
    print(f"{processor()}, {torch.get_num_threads()} threads, {arguments.steps} steps")
    joint = mixtures.WIDEST_JOINT
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, truth in sets():
            source = str(Path(folder) / f"{name}.npy")
            rows[np.random.default_rng(1).random(rows.shape) < arguments.gaps] = np.nan
            np.save(source, rows.astype(np.float32))
            dataset = lb.open_dataset(source)
            print(f"\n{name}, {rows.shape[0]:,} x {rows.shape[1]:,}{'' if truth is None else f', truth {truth:.3f}'}")
            for baseline in of_dataset(dataset):
                print(f"  {baseline.bits}  {baseline.name}")
            below = [
                ("network alone", joint, {"components": 0, "factors": 0}),
                ("upon independent columns", MIXTURE_FULL_DIMS, {"components": 1, "factors": 0}),
                ("upon factors", joint, {"components": 1, "factors": MOST_FACTORS}),
            ]
            if not arguments.gaps:
                below.append(("upon a Gaussian", joint, {"components": 1, "factors": 0}))
            for title, widest, settings in below:
                mixtures.WIDEST_JOINT = widest
                bits, seconds = trained(dataset, Path(folder) / name / title, settings, arguments.steps)
                print(f"  {bits}  {title}, {seconds:.0f} s", flush=True)


def sets() -> Iterator[tuple[str, np.ndarray, float | None]]:
    """Name, rows, and the entropy in bits/dim where it is known."""
    rng = np.random.default_rng(0)
    places, spectra = np.linspace(0, 1, 600), NOISE / 10 * rng.normal(size=(1500, 600))
    for peak in range(5):
        centres = 0.15 * peak + 0.15 + 0.02 * rng.normal(size=(1500, 1))
        spectra += np.exp(0.4 * rng.normal(size=(1500, 1)) - 0.5 * ((places - centres) / 0.03) ** 2)
    yield "spectra", spectra, None
    for name, rank in (("panels", 20), ("independent", 0)):
        causes = rng.normal(size=(rank, 2000)) / math.sqrt(max(rank, 1))
        rows = rng.normal(size=(500, rank)) @ causes + NOISE * rng.normal(size=(500, 2000))
        log_det = np.linalg.slogdet(np.eye(rank) + causes @ causes.T / NOISE**2)[1] / 2000
        yield name, rows, (0.5 * log_det + math.log(NOISE) + 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)


def trained(dataset: lb.Dataset, out: Path, settings: dict[str, int], steps: int) -> tuple[Measured, float]:
    """Bits/dim of test rows after so many steps, and the seconds of training."""
    config = lb.recipe(dataset)
    training = dataclasses.replace(config.training, minutes=None, steps=steps, num_evaluations=5, num_pictures=0)
    denoiser = dataclasses.replace(config.denoiser, **settings)
    config = dataclasses.replace(config, training=training, denoiser=denoiser)
    lb.train(config, dataset, out, say=lambda line: None, show_progress=False)
    run = lb.open_run(out)
    scores = lb.score(run, dataset.examples[dataset.test], lb.Effort(64))
    return Measured.of(scores.bits_per_dim), float(run.folder.read_log()[-1]["seconds"])


if __name__ == "__main__":
    main()
