"""Runs that several processes train: started as scripts by tests, which train the same alone."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from training.runs import draw_little, evaluate_quickly, tiny_config

import lowerbound
from lowerbound.cli.main import run as command
from lowerbound.files import whole as files
from lowerbound.models import Diffusion
from lowerbound.run import Run
from lowerbound.training import recipe, train
from lowerbound.training.config import CoarseConfig, DataConfig, ModelConfig, ScheduleConfig
from lowerbound.training.held_out import held_out_by_example
from lowerbound.training.parallel import shared_memory
from lowerbound.training.parallel.processes import ALONE, joined
from lowerbound.training.trainer import Trainer
from lowerbound.training.training import Record

ROOT = Path(__file__).parent.parent


NAMES = ("AdamW", "learned schedule, Muon, pieces", "importance", "persistent chains", "GAN")


def configuration(name: str):
    """A run of a kind, whose batches do not divide among two processes, and its data."""
    if name in ("AdamW", "GAN"):
        config, dataset = tiny_config("moons", steps=20, batch_size=33, optimizer="adamw")
        if name == "GAN":
            gan = recipe(dataset, DataConfig("moons"), model="gan")
            training = replace(gan.training, minutes=None, steps=4, batch_size=7)
            config = replace(gan, model=ModelConfig("gan", width=16), training=training)
        return config, dataset
    settings = {"steps": 4, "batch_size": 9, "micro_batch_size": 2, "times": "antithetic", "objective": "elbo"}
    config, dataset = tiny_config("digits", **settings)
    config, training = replace(config, schedule=ScheduleConfig("learned-linear")), config.training
    if name == "importance":
        training = replace(training, times="importance", steps=14, batch_size=64, micro_batch_size=None)
        config = replace(config, schedule=ScheduleConfig("cosine"), training=training)
    if name == "persistent chains":
        energy = recipe(dataset, DataConfig("digits"), model="energy")
        training = replace(training, objective="persistent-contrastive-divergence", optimizer="adamw", batch_size=5)
        config = replace(energy, network=config.network, training=replace(training, steps=3))
    return config, dataset


def outcome(config, dataset, processes=ALONE):
    """Losses, and all that a checkpoint would hold."""
    trainer = Trainer(config, dataset, processes=processes)
    losses = torch.tensor([record.loss for record in trainer.records()], dtype=torch.float64)
    trainer.model.eval()
    measured = held_out_by_example(trainer.model, dataset, 300, processes=processes)
    tensors, _ = trainer.state()
    return losses, tensors, measured


def stopping(steps: int | None = 30, **training):
    """A run that is stopped and gone on with, upon one Gaussian."""
    config, dataset = tiny_config("moons", steps=steps, batch_size=31, optimizer="adamw", **training)
    return replace(config, denoiser=replace(config.denoiser, components=1)), dataset


def start(task: str, folder: Path, count: int = 2, **environment: str) -> list[subprocess.Popen]:
    """Processes that do one of `TASKS` together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    shared |= {"PYTHONPATH": f"{Path(lowerbound.__file__).parent.parent}:{ROOT}", **environment}
    return [
        subprocess.Popen(
            [sys.executable, __file__, task, str(folder)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(workers: list[subprocess.Popen], seconds: float = 120.0) -> list[tuple[int, str]]:
    """The status of each and what it said; none outlives this."""
    try:
        return [
            (worker.returncode, "".join(said)) for worker in workers for said in [worker.communicate(timeout=seconds)]
        ]
    finally:
        for worker in workers:
            worker.kill()


def compute(folder: Path) -> None:
    processes = joined()
    found = {name: outcome(*configuration(name), processes) for name in NAMES}
    if processes.is_first:
        torch.save(found, folder / "found.pt")
    config, dataset = stopping(10**6, learning_rate=1e-12, num_evaluations=10**6, num_pictures=0, patience=2)
    train(config, dataset, folder / "early", show_progress=False)  # which does not end but for its patience
    use(folder / "early", folder)
    add_up(folder)


def use(run: Path, folder: Path) -> None:
    """Draw from a run and evaluate it, by as many processes as there are."""
    samples = ["-n", "20", "--batch-size", "8", "--sampler", "flow", "-o", str(folder / "samples.npy")]
    few = ["--num-examples", "21", "--num-times", "2", "--num-samples", "30", "--ode-examples", "5", "--no-baselines"]
    assert command(["sample", str(run), *samples]) == 0
    assert command(["evaluate", str(run), *few, "--tolerance", "0.1"]) == 0


def teach(folder: Path) -> None:
    """Train a student of a run, and a classifier of its data, by as many processes as there are."""
    run = folder / "run"
    student = ["--steps", "2", "--updates", "10", "--no-compare", "-o", str(folder / "student")]
    assert command(["distill", str(run), *student]) == 0
    assert command(["classifier", str(run), "--steps", "10", "--width", "8"]) == 0


def draw_until_killed(folder: Path) -> None:
    """The last process ends in the middle of its share; the others say so, and write nothing."""
    if joined().rank == joined().count - 1:
        Run.decode = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(
        command(["sample", str(folder / "run"), "-n", "50", "--batch-size", "8", "-o", str(folder / "samples.npy")])
    )


def go_on(folder: Path) -> None:
    config, dataset = stopping()
    train(config, dataset, folder / "run", show_progress=False)


def go_on_further(folder: Path) -> None:
    train(*stopping(33), folder / "run", show_progress=False)


def go_on_slowly(folder: Path, **denoiser: object) -> None:
    """Until it is ended by force."""
    Diffusion.most_held_out = 16
    config, dataset = stopping(10**6, num_evaluations=10**5, num_pictures=0)
    config = replace(config, denoiser=replace(config.denoiser, **denoiser))
    train(config, dataset, folder / "run", show_progress=False)


def full_disk(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def run_out_of_disk(folder: Path) -> None:
    """The first process finds no room for the second checkpoint."""
    go_on_until(folder, 3, rank=0, work=lambda: setattr(files.os, "fsync", full_disk))


def run_out_of_disk_for_a_part(folder: Path) -> None:
    """The second process finds no room for its part of the second checkpoint."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    go_on_until(folder, 3, rank=1, work=lambda: setattr(HuggingFaceStorageWriter, "write_data", full_disk), shard=True)


def go_on_until(folder: Path, step: int, rank: int, work: Callable[[], None], **training: object) -> None:
    """Train six steps, with something that happens in one of the processes after one of them."""
    every = Trainer.records

    def records(self: Trainer) -> Iterator[Record]:
        for record in every(self):
            if record.step == step and self.processes.rank == rank:
                work()
            yield record

    Trainer.records, Diffusion.most_held_out = records, 16
    config, dataset = stopping(6, num_evaluations=1, num_pictures=0, **training)
    train(config, dataset, folder / "run", show_progress=False)


def wait_for_a_slow_one(folder: Path) -> None:
    """A timed run, one of whose processes takes a fifth of a second longer for each step than the other."""
    gradient, Diffusion.most_held_out = Trainer.gradient, 16

    def slow(self: Trainer) -> tuple[float, float]:
        time.sleep(0.2 * self.processes.rank)
        return gradient(self)

    Trainer.gradient = slow
    config, dataset = stopping(steps=None, minutes=1 / 40, num_evaluations=1, num_pictures=0)
    config = replace(config, denoiser=replace(config.denoiser, components=0))  # whose fit would be a part of the time
    train(config, dataset, folder / "run", show_progress=False)


def go_on_impatiently(folder: Path) -> None:
    """Until one of them does not answer for twenty seconds."""
    joined(patience=timedelta(seconds=20))
    go_on_slowly(folder, components=0)  # whose fit one would wait for


def add_up(folder: Path) -> None:
    """Values of several sizes, in memory that is shared and, once no place has room, by sockets."""
    processes = joined()
    memory = processes.memory
    assert memory is not None

    def check(num: int) -> None:
        values = [torch.full((3, 2), processes.rank + 1.0), torch.arange(float(num)) * 10**processes.rank]
        found = processes.sum_of(values)
        count = processes.count
        factors = torch.tensor([(count + 1) * count / 2, sum(10**rank for rank in range(count))])
        assert torch.equal(found, torch.cat([factors[:1].expand(6), torch.arange(float(num)) * factors[1]]))

    for num in (5, 20_000, 20_001, 100, 40_000, 30_000, 30_000):
        check(num)
    assert memory.is_usable
    assert memory.places is not None
    assert memory.places.shape == (processes.count, 40_006)
    shared_memory.PLACE = folder / "nowhere"
    check(50_000)
    check(30_000)
    assert not memory.is_usable
    (folder / f"added-{processes.rank}").touch()


def divided(steps: int, shard: bool = True):
    """A run whose network is divided among processes, in pieces of which they have as many each."""
    settings = {"steps": steps, "batch_size": 9, "micro_batch_size": 2, "optimizer": "adamw", "num_evaluations": 2}
    settings |= {"times": "antithetic", "objective": "elbo"}  # as a learned schedule has them
    config, dataset = tiny_config("digits", **settings, shard=shard)
    return replace(config, schedule=ScheduleConfig("learned-linear")), dataset


RECIPES = ("Muon", "Muon, compiled", "two networks", "mixture", "mixed table")


def divided_recipe(name: str, folder: Path, shard: bool = True):
    """A run as a recipe has it, which is divided among processes, and its data; of two networks some batches call one."""
    settings = {"steps": 4, "batch_size": 8, "num_evaluations": 2, "num_pictures": 0, "shard": shard}
    if name == "two networks":
        config, dataset = tiny_config("digits", **{**settings, "batch_size": 2, "steps": 6, "times": "antithetic"})
        coarse = CoarseConfig(split=3.5, width=8, multipliers=(1,), blocks_per_level=1)
        return replace(config, coarse=coarse), dataset
    if name == "mixed table":
        rows = [f"{number / 7},{number % 3},{'xyz'[number * number % 3]}" for number in range(300)]
        (folder / "table.csv").write_text("\n".join(["real,count,letter", *rows]))
        config, dataset = tiny_config(str(folder / "table.csv"), **settings)
    else:
        source = "moons" if name == "mixture" else "digits"
        config, dataset = tiny_config(source, **settings, compile=name.endswith("compiled"))
    return config, dataset


def divide_further(folder: Path) -> None:
    """Go on with a divided run."""
    Diffusion.most_held_out = 200
    train(*divided(8), folder / "divided", show_progress=False)


def divide(folder: Path) -> None:
    """A divided run, one that goes on with what was whole, and one that others go on with; and one of each recipe."""
    from lowerbound.training.parallel import shard

    shard.LEAST_BLOCK = 1000  # so that there are several blocks
    Diffusion.most_held_out = 200
    for name in ("divided", "whole first"):
        config, dataset = divided(6)
        train(config, dataset, folder / name, show_progress=False)
    for name in RECIPES:
        train(*divided_recipe(name, folder), folder / name, show_progress=False)


TASKS = {
    task.__name__: task
    for task in (
        compute,
        teach,
        go_on,
        go_on_further,
        go_on_slowly,
        go_on_impatiently,
        wait_for_a_slow_one,
        run_out_of_disk,
        run_out_of_disk_for_a_part,
        draw_until_killed,
        divide,
        divide_further,
    )
}

if __name__ == "__main__":
    for quickly in (draw_little, evaluate_quickly):  # as the tests do that compare with it
        quickly(pytest.MonkeyPatch())
    TASKS[sys.argv[1]](Path(sys.argv[2]))
