"""Data larger than memory: peak memory, how long opening takes, and how fast examples come beside how fast they are needed.

A made .npy of 20 GB (a sparse file) and one of a hundredth of that train for some steps, each in a process of its own, and
the peaks of their memory are compared, their own and the pages of files that they have (Linux); a made tar of 100,000 small
JPEGs is opened, in memory and beyond it; and batches are prepared as training does, beside the time that a step takes.

python benchmarks/large.py [--gigabytes 20] [--images 100000] [--steps 20]
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ledger import print_table
from PIL import Image

SHAPE = (3, 32, 32)


def make_array(path: Path, gigabytes: float) -> None:
    """A sparse .npy of uint8 images, the first of them noise and the others zeros that take no room."""
    num_examples = int(gigabytes * 1e9) // int(np.prod(SHAPE))
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(num_examples, *SHAPE))
    array[:1000] = np.random.default_rng(0).integers(0, 256, (min(1000, num_examples), *SHAPE), np.uint8)


def make_archive(path: Path, num_images: int) -> None:
    """A tar of small JPEGs in ten classes."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for number in range(num_images):
            content = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32)).save(content, "JPEG")
            entry = tarfile.TarInfo(f"{number % 10}/{number}.jpg")
            entry.size = len(content.getvalue())
            archive.addfile(entry, io.BytesIO(content.getvalue()))


def measure(source: str, num_steps: int) -> dict[str, float]:
    """What opening a data set and some steps of training take, and what of a step is waiting for its batch."""
    from lowerbound.data import DataConfig, open_dataset
    from lowerbound.training import recipe
    from lowerbound.training.trainer import Trainer

    memory = Memory()
    figures = memory.peaks("imports")
    wall, processor = time.perf_counter(), time.process_time()
    dataset = open_dataset(source)
    figures |= {"s to open": time.perf_counter() - wall, "CPU s to open": time.process_time() - processor}
    figures |= memory.peaks("opening")
    config = recipe(dataset, DataConfig(source))
    trainer = Trainer(replace(config, training=replace(config.training, minutes=None, steps=num_steps)), dataset)
    preparing = 0.0
    encoded = type(dataset).encoded

    def timed(self, *which):
        nonlocal preparing
        began = time.perf_counter()
        x = encoded(self, *which)
        preparing += time.perf_counter() - began
        return x

    type(dataset).encoded = timed
    began = time.perf_counter()
    for _ in trainer.records():
        pass
    took, num_examples = time.perf_counter() - began, num_steps * trainer.training.batch_size
    return (
        figures
        | memory.peaks("training")
        | {
            "examples/s prepared": num_examples / preparing,
            "examples/s trained on": num_examples / took,
            "share of waiting": preparing / took,
        }
    )


class Memory(threading.Thread):
    """Peaks of this process's memory, looked at every few milliseconds: of its own, and of pages of files.

    Pages of a mapped file are a copy of what is on the disk, and the kernel takes them back when it likes: they are no need
    of the process, and how many it has is told apart.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self._most = {"RssAnon": 0, "RssFile": 0}
        self.start()

    def run(self):
        while True:
            self._look()
            time.sleep(0.005)

    def peaks(self, when: str) -> dict[str, float]:
        """The most that there were so far, in MB."""
        self._look()
        own, file = (kilobytes / 1000 for kilobytes in self._most.values())
        return {f"MB own, {when}": own, f"MB file, {when}": file}

    def _look(self):
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        self._most = {name: max(most, int(fields[name].split()[0])) for name, most in self._most.items()}


def in_a_process(source: Path, num_steps: int, **environment: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(source), "--steps", str(num_steps)]
    done = subprocess.run(command, env=os.environ | environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} has failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--measure")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.steps)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small, large, archive = folder / "small.npy", folder / "large.npy", folder / "images.tar"
        make_array(small, arguments.gigabytes / 100)
        make_array(large, arguments.gigabytes)
        make_archive(archive, arguments.images)
        tiny = str(0.1 * arguments.images * np.prod(SHAPE) / 2**30)
        runs = {
            f".npy of {arguments.gigabytes / 100:g} GB": in_a_process(small, arguments.steps),
            f".npy of {arguments.gigabytes:g} GB": in_a_process(large, arguments.steps),
            f"tar of {arguments.images:,} JPEGs": in_a_process(archive, arguments.steps),
            "the same, beyond memory": in_a_process(archive, arguments.steps, LOWERBOUND_MEMORY=tiny),
        }
    units = list(next(iter(runs.values())))
    print_table("", units, {name: [f"{figures[unit]:.3g}" for unit in units] for name, figures in runs.items()})
    less, more, opened, beyond = runs.values()
    own, file = (more[f"MB {kind}, training"] - less[f"MB {kind}, training"] for kind in ("own", "file"))
    for kind, grown in {"own memory": own, "pages of files in memory": file}.items():
        room = 10 * arguments.gigabytes  # MB: a hundredth of the data
        print(
            f"aim, {kind} flat in the size of the data: {_met(grown < room)}, {grown:+.0f} MB for a hundred times as much"
        )
    took = opened["CPU s to open"]
    print(f"aim, the tar open within a minute of a processor: {_met(took < 60)}, {took:.1f} s")
    waiting = max(figures["share of waiting"] for figures in (more, opened, beyond))
    print(
        f"aim, examples come faster than they are needed: {_met(waiting < 0.5)}, waited for in {waiting:.1%} of the time"
    )


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


if __name__ == "__main__":
    main()
