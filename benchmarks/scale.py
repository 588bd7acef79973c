"""One process against several: python benchmarks/scale.py [--steps 100] [--seconds 20] [--score-rows N | --shard | --paper]

The largest difference of weights after some steps of AdamW in float32, from the same seed with the same whole batches; and,
of the two U-Nets of the recipe on synthetic images, examples per second and the share of a step that goes into the exchange
of gradients: what the fastest process takes for it, and what the others wait for one another. Each process has one thread.
The machine should do nothing else.

Beside the speed-up stands its ceiling: that of processes which train on their own at the same time, each on batches of its
part, and exchange nothing. What the ceiling lacks is the machine's, where one process slows down another, and a step's own,
of which a part costs the same whatever its batch; one process alone on such batches tells the two apart.

With --score-rows 1000000 instead: the rows of a table, scored by a small network in 1, 2 and 4 parts, one of which is killed
as it works and all of which are repeated; how many rows are lost, doubled, or differ from those of scoring without parts.

With --shard: the peak memory of each process that trains an MLP of 50 million parameters by AdamW, alone, and divided among
--count processes. What a process has given back is taken from it at once (MALLOC_MMAP_THRESHOLD_=65536): by default glibc
keeps most of it for what comes next, and a divided network's process then seems to take as much as an undivided one's.

With --paper: the efficiency to be expected of 8, 64 and 512 devices for U-Nets of three widths, each device with its own
--batch-size. Measured here are the seconds of a step's gradient, of the optimiser and of its data on one device (--device),
and of an exchange between two processes of this machine. Assumed are the bandwidths and the latency between devices, which
are printed and can be given. A ring of n devices moves 2 (n - 1) / n times the gradient's bytes through its slowest link, in
2 (n - 1) steps of one latency each; nothing else is done meanwhile, as in this library. Left out are devices that are slower
than others, and what is measured and saved along the way.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from lowerbound.data import open_dataset
from lowerbound.machine.device import finish
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.parallel.processes import ALONE, Processes, joined
from lowerbound.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--score-rows", type=int)
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--inside", type=float, default=300.0, help="GB/s between the devices of a machine")
    parser.add_argument("--between", type=float, default=25.0, help="GB/s between machines")
    parser.add_argument("--latency", type=float, default=20.0, help="microseconds between two devices")
    parser.add_argument("--per-machine", type=int, default=8, help="devices of a machine")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--name", help="of what a process that was started here measures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.folder is not None:
        (work_divided if arguments.shard else work_on_exchange if arguments.paper else work)(arguments)
        return
    if arguments.shard:
        compare_memory(arguments)
        return
    if arguments.paper:
        predict(arguments)
        return
    if arguments.score_rows is not None:
        with tempfile.TemporaryDirectory() as folder:
            score_in_parts(arguments.score_rows, Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        np.savez(f"{folder}/images.npz", x=generator.integers(0, 256, (2000, 28, 28)).astype(np.uint8))
        count, part = arguments.count, max(1, arguments.batch_size // arguments.count)
        start(1, folder, name="alone")
        start(1, folder, name="part", batch_size=part)
        start(count, folder, name="apart", batch_size=part, apart=True)
        start(count, folder, name="together")
        weights, others = (torch.load(f"{folder}/{name}.pt") for name in ("alone", "together"))
        speeds = {file.stem: json.loads(file.read_text()) for file in Path(folder).glob("*.json")}
    for name, values in weights.items():
        largest = max((others[name][key] - value).abs().max().item() for key, value in values.items())
        size = max(value.abs().max().item() for value in values.values())
        print(
            f"{name}: weights differ by {largest:.2g} at most after {arguments.steps} steps; the largest is {size:.3g}"
        )
    alone, together = speeds["alone-0"]["speed"], speeds["together-0"]
    ceiling = sum(figures["speed"] for name, figures in speeds.items() if name.startswith("apart"))
    print(f"one process, batches of {arguments.batch_size}: {alone:.1f} examples/s")
    print(f"one process, batches of {part}: {speeds['part-0']['speed']:.1f} examples/s")
    print(f"{count} processes that exchange nothing, batches of {part} each: {ceiling:.1f} examples/s")
    print(
        f"{count} processes together: {together['speed']:.1f} examples/s, {together['exchange']:.1%} of the time in "
        f"exchanges and {together['waiting']:.1%} waiting for one another"
    )
    print(f"speed-up {together['speed'] / alone:.2f}, of {ceiling / alone:.2f} without exchanges")


ONE_OF_THEM = {"OMP_NUM_THREADS": "1"} | ({"MALLOC_MMAP_THRESHOLD_": "65536"} if "--shard" in sys.argv else {})
"""The environment of a process."""


def start(count: int, folder: str, *, name: str = "", batch_size: int | None = None, apart: bool = False) -> None:
    """Run this script in so many processes, which know of one another unless they work apart."""
    settings = ["--folder", folder, "--name", name] + ["--batch-size", str(batch_size)] * (batch_size is not None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": str(1 if apart else count),
        }
    workers = [
        subprocess.Popen(
            [sys.executable, *sys.argv, *settings],
            env={**os.environ, **shared, **ONE_OF_THEM, "RANK": str(rank), "LOCAL_RANK": str(rank)},
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
    # a network alone, and large batches: what a row's score costs is not what is asked here
    small = ("--steps", 200, "--network.width", 32, "--denoiser.components", 0)
    lowerbound("train", folder / "few.parquet", "--out", folder / "run", *small).wait()

    def score(out: Path, *arguments: object, rows: str = "rows") -> subprocess.Popen:
        settings = ("--num-times", 2, "--batch-size", 4096, "-o", out)
        return lowerbound("score", folder / "run", folder / f"{rows}.parquet", *settings, *arguments)

    def seconds_of(out: Path, **table: str) -> float:
        began = time.perf_counter()
        if score(out, **table).wait():
            sys.exit(1)
        return time.perf_counter() - began

    whole = folder / "whole.parquet"
    opening, took = seconds_of(folder / "few-scores.parquet", rows="few"), seconds_of(whole)
    expected = parquet.read_table(whole)
    print(f"{num_rows:,} rows without parts: {took:.0f} s")
    for count in (1, 2, 4):
        out = folder / f"in-{count}.parquet"
        killed = score(out, "--shard", f"{count}/{count}")
        time.sleep(opening + (took - opening) / count / 2)
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


def compare_memory(arguments: argparse.Namespace) -> None:
    """Print the peak memory of one process that trains a large network, and of each of several among which it is divided."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/vectors.npy", np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32))
        for count in (1, arguments.count):
            start(count, folder)
            found = [json.loads(file.read_text()) for file in sorted(Path(folder).glob(f"memory-{count}-*.json"))]
            print(f"{count} process{'es' * (count > 1)}, {found[0]['parameters'] / 1e6:.1f} million parameters:")
            for rank, figures in enumerate(found):
                print(
                    f"  process {rank}: {figures['peak']:.0f} MiB at most, {figures['before']:.0f} of them before there "
                    f"was a network; loss after {figures['steps']} steps {figures['loss']:.6f}"
                )


def work_divided(arguments: argparse.Namespace) -> None:
    processes = joined()
    dataset = open_dataset(str(arguments.folder / "vectors.npy"))
    config = recipe(dataset, DataConfig(str(arguments.folder / "vectors.npy")))
    settings = {"minutes": None, "steps": 3, "optimizer": "adamw", "batch_size": 64, "shard": processes.count > 1}
    config = replace(
        config,
        denoiser=replace(config.denoiser, components=0),
        network=replace(config.network, width=2048, depth=4),
        training=replace(config.training, **settings),
    )
    before = peak()
    trainer = Trainer(config, dataset, processes=processes)
    records = list(trainer.records())
    figures = {
        "parameters": sum(parameter.numel() for parameter in trainer.trained.parameters()),
        "before": before,
        "peak": peak(),
        "steps": len(records),
        "loss": records[-1].loss,
    }
    (arguments.folder / f"memory-{processes.count}-{processes.rank}.json").write_text(json.dumps(figures))


def peak() -> float:
    """The most memory that this process has had so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


MENDS = {
    "gradient": "nothing: the devices compute most of the time",
    "optimizer": "dividing the optimiser's work among the devices, instead of doing all of it on each",
    "data": "reading the next batch while this one is computed",
    "bandwidth": "exchanging layers as soon as the way back has passed them, or more examples per device",
    "latency": "exchange within machines first and then between them, or more examples per device",
}
"""What takes a step's time, and what would take less of it."""


def predict(arguments: argparse.Namespace) -> None:
    """Print what a step takes here, and the efficiency of many devices to be expected from it."""
    print(
        f"assumed: {arguments.inside:g} GB/s between the {arguments.per_machine} devices of a machine, "
        f"{arguments.between:g} GB/s between machines, {arguments.latency:g} us from device to device"
    )
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        np.savez(f"{folder}/images.npz", x=generator.integers(0, 256, (2000, 28, 28)).astype(np.uint8))
        start(2, folder)
        exchanged = json.loads(Path(f"{folder}/exchange.json").read_text())
        for width in WIDTHS:
            parameters, parts = seconds_of_a_step(arguments, folder, width)
            print(
                f"width {width}, {parameters / 1e6:.2f} million parameters, batches of {arguments.batch_size} per device: "
                + ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in parts.items())
                + f"; exchange between two processes here {1000 * exchanged[str(width)]:.2f} ms"
            )
            for count in (8, 64, 512):
                whole = {**parts, **seconds_of_an_exchange(arguments, 4 * parameters, count)}
                efficiency = sum(parts.values()) / sum(whole.values())
                most = max(whole, key=lambda name: whole[name] if name != "gradient" else 0.0)
                print(
                    f"  {count:>4} devices: efficiency {efficiency:.1%}; first bottleneck {most}, mended by {MENDS[most]}"
                )


WIDTHS = (32, 64, 128)


def trainer_of(arguments: argparse.Namespace, folder: Path | str, width: int, processes: Processes) -> Trainer:
    """Of a U-Net of a width."""
    dataset = open_dataset(f"{folder}/images.npz")
    config = recipe(dataset, DataConfig("images"))
    training = replace(config.training, minutes=None, steps=10**6, batch_size=arguments.batch_size)
    config = replace(config, training=training, network=replace(config.network, width=width))
    return Trainer(config, dataset, arguments.device, processes)


def seconds_of_a_step(arguments: argparse.Namespace, folder: str, width: int) -> tuple[int, dict[str, float]]:
    """A network's number of parameters, and the median seconds of what a step on one device does."""
    trainer = trainer_of(arguments, folder, width, ALONE)
    records = trainer.records()
    next(records)
    taken: dict[str, list[float]] = {"gradient": [], "optimizer": [], "data": []}
    began, waited = time.perf_counter(), trainer.data_seconds
    while len(taken["data"]) < 3 or time.perf_counter() - began < arguments.seconds:
        moments = [time.perf_counter()]
        trainer.gradient()
        finish(trainer.device)
        moments.append(time.perf_counter())
        trainer.optimizer.step(1e-6)
        assert trainer.average is not None
        trainer.average.update()
        finish(trainer.device)
        moments.append(time.perf_counter())
        data, waited = trainer.data_seconds - waited, trainer.data_seconds
        for name, seconds in zip(taken, (moments[1] - moments[0] - data, moments[2] - moments[1], data), strict=True):
            taken[name].append(seconds)
    parameters = sum(parameter.numel() for parameter in trainer.trained.parameters())
    return parameters, {name: float(np.median(seconds)) for name, seconds in taken.items()}


def seconds_of_an_exchange(arguments: argparse.Namespace, num_bytes: int, count: int) -> dict[str, float]:
    """What a ring of so many devices takes to add up a gradient, by what it waits for."""
    bandwidth = 1e9 * (arguments.inside if count <= arguments.per_machine else arguments.between)
    return {
        "bandwidth": 2 * (count - 1) / count * num_bytes / bandwidth,
        "latency": 2 * (count - 1) * arguments.latency * 1e-6,
    }


def work_on_exchange(arguments: argparse.Namespace) -> None:
    """Write down the median seconds of an exchange between the processes that there are, for each width."""
    processes, seconds = joined(), {}
    for width in WIDTHS:
        trainer = trainer_of(
            argparse.Namespace(**{**vars(arguments), "device": "cpu"}), arguments.folder, width, processes
        )
        parameters = [parameter for parameter in trainer.trained.parameters() if parameter.requires_grad]
        taken = []
        for _ in range(7):
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            began = time.perf_counter()
            processes.sum_gradients(parameters, torch.zeros(1))
            taken.append(time.perf_counter() - began)
        seconds[width] = float(np.median(taken))
    if processes.is_first:
        (arguments.folder / "exchange.json").write_text(json.dumps(seconds))


class Clocked(Processes):
    """Processes that know how long each of their exchanges took."""

    seconds: ClassVar[list[float]] = []

    def sum_of(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        began = time.perf_counter()
        found = super().sum_of(values)
        self.seconds.append(time.perf_counter() - began)
        return found


def work(arguments: argparse.Namespace) -> None:
    processes = Clocked(**vars(joined()))
    weights = {}
    for source in ("moons", "digits") if arguments.name in ("alone", "together") else ():
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
    processes.seconds.clear()
    began, steps = time.perf_counter(), 0
    while processes.most([float(processes.is_first and time.perf_counter() - began < arguments.seconds)])[0]:
        for _ in range(10):
            next(records)
        steps += 10
    took = time.perf_counter() - began
    # of an exchange the last one to come to it waits for nobody
    taken = np.array(processes.by_turns(range(processes.count), lambda rank: list(processes.seconds)))
    exchange, waiting = taken.min(0).sum() / took, (taken - taken.min(0)).mean(0).sum() / took
    if processes.is_first:
        figures = {"speed": steps * arguments.batch_size / took, "exchange": exchange, "waiting": waiting}
        name = f"{arguments.name}-{os.environ['RANK']}"
        (arguments.folder / f"{name}.json").write_text(json.dumps(figures))
        if weights:
            torch.save(weights, arguments.folder / f"{arguments.name}.pt")


if __name__ == "__main__":
    main()
