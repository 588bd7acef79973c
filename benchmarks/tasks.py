"""Ten tasks as a new user would, and the minutes of each, its own and the processor's: python benchmarks/tasks.py

The commands are those of docs/tasks.md, read from the page and run by bash in a folder with small files by the names that
the page uses: 300 pictures of discs, a table of 1,000 people, two months of an hourly load, and a pipeline of diffusers with
random weights. `--quick` runs them with budgets of a few steps. A task that lacks a library is left out, with the reason.
"""

import argparse
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PAGE = Path(__file__).parent.parent / "docs" / "tasks.md"
SIDE = 16
FEW = "--batch-size 8 --network.width 8 --num-evaluations 1 --num-pictures 1"
QUICK = {
    r"--minutes (\d+)": rf"--steps \1 {FEW}",
    r"(evaluate \S+)": r"\1 --quick --num-samples 20 --num-examples 20 --num-times 1",
    r"-n (\d+) -o": r"-n 4 --steps 2 --batch-size 2 -o",
    r"--num-samples \d+ -o": r"--num-samples 2 --steps 2 -o",
    r"( score .*)": r"\1 --num-times 1",
}
"""What stands in a command, and what takes its place in a quick run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of training, a few samples")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_files(folder)
        print(f"{'task':<40} {'commands':>8} {'processor':>9} {'minutes':>8}", flush=True)
        for title, commands in tasks().items():
            if "import ddpm" in commands[0] and not (folder / "ddpm").exists():
                print(f"{title:<40} {len(commands):>8} left out: diffusers is not installed", flush=True)
                continue
            began = time.perf_counter(), processor_seconds()
            for command in commands:
                perform(quickly(command) if arguments.quick else command, folder)
            minutes, processor = (time.perf_counter() - began[0]) / 60, (processor_seconds() - began[1]) / 60
            print(f"{title:<40} {len(commands):>8} {processor:>9.2f} {minutes:>8.2f}", flush=True)


def tasks() -> dict[str, list[str]]:
    """The commands of each task, as the page shows them."""
    parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0]: re.findall(r"```\n(.*?)\n```", part, re.DOTALL)[0].splitlines() for part in parts}


def processor_seconds() -> float:
    """Of the commands that have ended, which is what they take of a machine that does other work as well."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def quickly(command: str) -> str:
    """A command with a small budget."""
    for usual, small in QUICK.items():
        command = re.sub(usual, small, command)
    return command


def perform(command: str, folder: Path) -> None:
    """Run a command in a folder, where `lowerbound` is the one of this Python; end with what it said if it fails."""
    shim = folder / ".bin" / "lowerbound"
    if not shim.exists():
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowerbound "$@"\n')
        shim.chmod(0o755)
    environment = {**os.environ, "PATH": f"{shim.parent.resolve()}:{os.environ.get('PATH', os.defpath)}"}
    ended = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"{command}\nended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")


def make_files(folder: Path) -> None:
    """The files that the page names."""
    rng = np.random.default_rng(0)
    for name, count in (("photos", 300), ("test-photos", 20), ("broken", 2)):
        (folder / name).mkdir(exist_ok=True)
        for number in range(count):
            Image.fromarray(disc(rng)).save(folder / name / f"{number:03}.png")
    hole = np.full((SIDE, SIDE), 255, np.uint8)
    hole[4:10, 6:12] = 0
    Image.fromarray(hole).save(folder / "mask.png")

    people = [person(rng) for _ in range(1000)]
    strange = "150.1,119.3,rowing"  # a small and heavy one
    for name, rows in (("people.csv", people), ("new.csv", [*people[:40], strange])):
        (folder / name).write_text("\n".join(["height,weight,sport", *rows]) + "\n")

    hours = np.datetime64("2024-01-01T00:00") + np.arange(1440) * np.timedelta64(1, "h")
    load = 20 + 5 * np.sin(2 * np.pi * np.arange(1440) / 24) + rng.normal(size=1440)
    lines = [f"{str(hour).replace('T', ' ')}:00,{value:.3f}" for hour, value in zip(hours, load, strict=True)]
    (folder / "load.csv").write_text("\n".join(["date,load", *lines]) + "\n")

    if importlib.util.find_spec("diffusers") is not None:
        make_pipeline(folder / "ddpm")


def disc(rng: np.random.Generator) -> np.ndarray:
    """A picture of a disc of one colour before another."""
    y, x = np.mgrid[:SIDE, :SIDE]
    middle, radius = rng.uniform(5, 11, 2), rng.uniform(2, 6)
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    colours = rng.integers(0, 256, (2, 3))
    noisy = np.where(inside[..., None], colours[0], colours[1]) + rng.normal(0, 4, (SIDE, SIDE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def person(rng: np.random.Generator) -> str:
    """A line of a table."""
    sport = rng.choice(["rowing", "chess", "running"])
    height = rng.normal(183 if sport == "rowing" else 172, 7)
    return f"{height:.1f},{height - 100 + rng.normal(0, 6):.1f},{sport}"


def make_pipeline(folder: Path) -> None:
    """A pipeline of diffusers with random weights, as `save_pretrained` writes it."""
    from diffusers import DDPMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    )
    network.save_pretrained(folder / "unet")
    DDPMScheduler().save_pretrained(folder / "scheduler")
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "DDPMPipeline", "_diffusers_version": "0", **parts})
    )


if __name__ == "__main__":
    main()
