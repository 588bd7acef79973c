"""What missing entries cost a model in likelihood: python benchmarks/missing.py

A correlated Gaussian in five dimensions, whose log density, and that of any part of a row, is known. One network is trained
on complete rows, another one on the same rows with 30 % of all entries missing at random: it sees which are there, and its
loss counts only these. Both are scored on the same complete test rows, the second on test rows with gaps as well, against
the exact log density of the entries that are there.

All figures are of -log p in nats per entry that is there, each row's by its own number of them; the errors are standard
errors over test rows. The bound of the exact denoiser is what a network can reach; it is drawn with the same times and noise
as those of the networks, so that the last column, what a network's errors cost, is known better than the bounds are.
"""

import argparse
import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

import lowerbound as lb
from lowerbound import Diffusion, Effort, Run, mean_and_error, open_dataset, open_run, recipe, score, train
from lowerbound.data import Affine
from lowerbound.training.config import DataConfig

SCALES, CORRELATION = (0.5, 1.0, 2.0, 1.0, 0.7), 0.8
NUM_TEST = 1000
SHARE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=4000, help="of the training split")
    parser.add_argument("--calls", type=int, default=64, help="of the network for each test row")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the tensors are small
    truth = correlated_gaussian()
    rows = truth.sample(arguments.rows + NUM_TEST, lb.Stream(arguments.seed)).numpy()
    gaps = with_gaps(rows, SHARE, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: trained(Path(folder) / name, values, arguments)
            for name, values in (("complete", rows), ("missing", gaps))
        }
        kinds = {
            "network trained on complete rows": runs["complete"],
            "network trained with 30 % missing": runs["missing"],
        }
        complete, incomplete = rows[arguments.rows :], gaps[arguments.rows :]
        print(
            f"{arguments.rows:,} training rows, {arguments.steps:,} steps, seed {arguments.seed}, {NUM_TEST:,} test rows"
        )
        print("\ncomplete test rows: -log p in nats per entry")
        table(truth, complete, {"exact denoiser": exact(truth, runs["complete"]), **kinds}, arguments.calls)
        print("\ntest rows with 30 % missing: -log p of what is there")
        found = {"exact denoiser": exact(truth, runs["missing"]), "network trained with 30 % missing": runs["missing"]}
        table(truth, incomplete, found, arguments.calls)


def correlated_gaussian() -> lb.Gaussian:
    """Neighbouring entries correlate by 0.8, others by its powers."""
    scales, places = torch.tensor(SCALES).double(), torch.arange(len(SCALES))
    covariance = scales[:, None] * scales * CORRELATION ** (places[:, None] - places).abs()
    return lb.Gaussian(torch.arange(5).double(), covariance, lb.LinearGamma())


def with_gaps(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows with entries missing at random (NaN); one of a row whose entries all would be stays."""
    rng = np.random.default_rng(seed)
    places = rng.random(rows.shape)
    missing = (places < share) & (places < places.max(1, keepdims=True))
    return np.where(missing, np.nan, rows)


def trained(out: Path, values: np.ndarray, arguments: argparse.Namespace) -> Run:
    """A run of a small network on all but the last rows."""
    source = out.with_suffix(".npz")
    np.savez(source, train=values[: arguments.rows], test=values[arguments.rows :])
    dataset, data = open_dataset(str(source)), DataConfig(str(source))
    config = recipe(dataset, data)
    training = dataclasses.replace(config.training, minutes=None, steps=arguments.steps, seed=arguments.seed)
    training = dataclasses.replace(training, num_evaluations=4, num_pictures=0)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, width=64, depth=3))
    train(dataclasses.replace(config, training=training), dataset, out, say=lambda line: None, show_progress=False)
    return open_run(out)


def exact(truth: lb.Gaussian, run: Run) -> Run:
    """The run with the exact denoiser of the data as its network sees them, for the same schedule."""
    encoding = run.spec.encoding
    assert isinstance(encoding, Affine)
    shift, scale = (torch.tensor(values).double() for values in (encoding.shift, encoding.scale))
    mean, covariance = truth.moments()
    denoiser = lb.Gaussian((mean - shift) / scale, covariance / (scale[:, None] * scale), run.denoiser.schedule)
    return dataclasses.replace(run, model=Diffusion(denoiser, run.diffusion.decoder))


def table(truth: lb.Gaussian, values: np.ndarray, runs: dict[str, Run], num_calls: int) -> None:
    """The bound of each run beside the exact figure."""
    observed = torch.from_numpy(~np.isnan(values))
    count = observed.sum(1)
    known = -truth.log_marginal(torch.from_numpy(values), lb.schedule.CLEAN, observed) / count
    print(f"{'':36}{'bound':>18}{'less exact value':>20}{'less exact denoiser':>21}")
    print(f"{'exact log density':36}{text(known):>18}")
    best = None
    for name, run in runs.items():
        nats = torch.from_numpy(score(run, values, Effort(num_calls)).bits_per_dim) * math.log(2)
        best = nats if best is None else best
        cost = "" if best is nats else text(nats - best)
        print(f"{name:36}{text(nats):>18}{text(nats - known):>20}{cost:>21}", flush=True)


def text(values: torch.Tensor) -> str:
    mean, error = mean_and_error(values)
    return f"{mean:.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
