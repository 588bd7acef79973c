"""What sampling and evaluating take where freed memory is given back at once, and where it is kept:
python benchmarks/heap.py RUN --rounds 5

Each is a process of its own, by turns; processor time of user and system, in which pages are filled with zeros.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lowerbound.machine.processor import processor

BEGINNINGS = {"given back": "", "kept": "from lowerbound.machine.heap import keep_freed_memory; keep_freed_memory(); "}
REST = "import sys; from lowerbound.cli.main import run; sys.exit(run(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{processor()}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    print(f"{'':<10}{'freed memory':<14}{'seconds':>9}{'of system':>11}")
    with TemporaryDirectory() as folder:
        sizes = ["--num-examples", "200", "--num-samples", "200", "--ode-examples", "10", "--no-baselines"]
        verbs = {
            "sample": ["sample", arguments.run, "-n", "200", "-o", f"{folder}/samples.npy"],
            "evaluate": ["evaluate", arguments.run, "--anew", *sizes],
        }
        for verb, command in verbs.items():
            taken = {name: [] for name in BEGINNINGS}
            for _ in range(arguments.rounds):
                for name, beginning in BEGINNINGS.items():
                    taken[name].append(seconds([sys.executable, "-c", beginning + REST, *map(str, command)]))
            for name, each in taken.items():
                whole, system = (statistics.median(values) for values in zip(*each, strict=True))
                print(f"{verb:<10}{name:<14}{whole:>9.2f}{system:>11.2f}", flush=True)


def seconds(command: list[str]) -> tuple[float, float]:
    """The processor time of a command, and the system's share of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return user + system, system


if __name__ == "__main__":
    main()
