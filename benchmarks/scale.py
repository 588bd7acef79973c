"""One process against two that train together: python benchmarks/scale.py [--steps 100] [--seconds 20] [--score-rows N]

The largest difference of weights after some steps of AdamW in float32, from the same seed with the same whole batches; and,
of U-Nets on synthetic images, examples per second and the share of a step that goes into the exchange of gradients. Each
process has one thread. The machine should do nothing else.

With --score-rows 1000000 instead: the rows of a table scored in 1, 2 and 4 parts, one of which is killed as it works and all
of which are repeated; how many rows are lost, doubled, or differ from those of scoring without parts.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from lowerbound.data import open_dataset
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.processes import Processes, joined
from lowerbound.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--score-rows", type=int)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.folder is not None:
        work(arguments)
        return
    if arguments.score_rows is not None:
        with tempfile.TemporaryDirectory() as folder:
            score_in_parts(arguments.score_rows, Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        np.savez(f"{folder}/images.npz", x=generator.integers(0, 256, (2000, 28, 28)).astype(np.uint8))
        found = {}
        for count in (1, arguments.count):
            start(count, folder)
            found[count] = json.loads(Path(f"{folder}/{count}.json").read_text()), torch.load(f"{folder}/{count}.pt")
    (alone, weights), (together, others) = found.values()
    for name, values in weights.items():
        largest = max((others[name][key] - value).abs().max().item() for key, value in values.items())
        size = max(value.abs().max().item() for value in values.values())
        print(
            f"{name}: weights differ by {largest:.2g} at most after {arguments.steps} steps; the largest is {size:.3g}"
        )
    for count, figures in ((1, alone), (arguments.count, together)):
        print(
            f"{count} process{'es' * (count > 1)}: {figures['speed']:.1f} examples/s, "
            f"{figures['exchange']:.1%} of the time in exchanges"
        )
    print(f"speed-up {together['speed'] / alone['speed']:.2f}")


def start(count: int, folder: str) -> None:
    """Run this script in so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    workers = [
        subprocess.Popen(
            [sys.executable, *sys.argv, "--folder", folder],
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        sys.exit(1)


def score_in_parts(num_rows: int, folder: Path) -> None:
    """Score a table whole and in parts, one of them killed at half of its time and repeated, and compare the rows."""
    generator = np.random.default_rng(0)
    columns = {"width": generator.normal(size=num_rows), "count": generator.integers(0, 9, num_rows)}
    columns["colour"] = generator.choice(["red", "green", "blue"], num_rows)
    parquet.write_table(pa.table(columns), folder / "rows.parquet")
    parquet.write_table(pa.table(columns).slice(0, 2000), folder / "few.parquet")
    lowerbound("train", folder / "few.parquet", "--out", folder / "run", "--steps", 200, "--network.width", 32).wait()

    def score(out: Path, *arguments: object) -> subprocess.Popen:
        return lowerbound("score", folder / "run", folder / "rows.parquet", "--num-times", 2, "-o", out, *arguments)

    whole = folder / "whole.parquet"
    began = time.perf_counter()
    if score(whole).wait():
        sys.exit(1)
    took = time.perf_counter() - began
    expected = parquet.read_table(whole)
    print(f"{num_rows:,} rows without parts: {took:.0f} s")
    for count in (1, 2, 4):
        out = folder / f"in-{count}.parquet"
        killed = score(out, "--shard", f"{count}/{count}")
        time.sleep(took / count / 2)
        killed.kill()
        was_killed = killed.wait() < 0
        there = len(list(folder.glob(f"{out.name}.part-*")))
        for number in (*range(1, count + 1), *range(1, count + 1)):
            if score(out, "--shard", f"{number}/{count}").wait():
                sys.exit(1)
        if lowerbound("merge", out).wait():
            sys.exit(1)
        found = parquet.read_table(out)
        examples, counts = np.unique(found["example"].to_numpy(), return_counts=True)
        lost, doubled = num_rows - len(examples), int((counts > 1).sum())
        story = f"killed: {was_killed}, parts there then: {there}"
        print(f"{count} parts ({story}): rows lost {lost}, doubled {doubled}; same as whole: {found.equals(expected)}")


def lowerbound(*arguments: object) -> subprocess.Popen:
    """Start the command line on one thread, its words thrown away."""
    command = [sys.executable, "-m", "lowerbound", *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


class Clocked(Processes):
    """Processes that know how long they have exchanged."""

    seconds: ClassVar[list[float]] = [0.0]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        super().sum(values)
        self.seconds[0] += time.perf_counter() - began
        return values


def work(arguments: argparse.Namespace) -> None:
    processes = Clocked(**vars(joined()))
    weights = {}
    for source in ("moons", "digits"):
        dataset = open_dataset(source)
        config = recipe(dataset, DataConfig(source))
        training = replace(config.training, minutes=None, steps=arguments.steps, optimizer="adamw", batch_size=33)
        trainer = Trainer(replace(config, training=training), dataset, processes=processes)
        for _ in trainer.records():
            pass
        weights[source] = {name: value.detach() for name, value in trainer.trained.named_parameters()}
    dataset = open_dataset(str(arguments.folder / "images.npz"))
    config = recipe(dataset, DataConfig("images"))
    training = replace(config.training, minutes=None, steps=10**6, batch_size=arguments.batch_size)
    records = Trainer(replace(config, training=training), dataset, processes=processes).records()
    next(records)
    processes.seconds[0], began, steps = 0.0, time.perf_counter(), 0
    while processes.most([float(processes.is_first and time.perf_counter() - began < arguments.seconds)])[0]:
        next(records)
        steps += 1
    took = time.perf_counter() - began
    if processes.is_first:
        figures = {"speed": steps * arguments.batch_size / took, "exchange": processes.seconds[0] / took}
        (arguments.folder / f"{processes.count}.json").write_text(json.dumps(figures))
        torch.save(weights, arguments.folder / f"{processes.count}.pt")


if __name__ == "__main__":
    main()
