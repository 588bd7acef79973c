"""How much `import lowerbound` costs beyond `import torch`: medians of fresh processes, in turn.

python benchmarks/import_time.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 9


def seconds(module: str) -> float:
    """Wall time of a process that imports the module."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print medians and the median of the pairs' ratios."""
    seconds("torch"), seconds("lowerbound")
    pairs = [(seconds("torch"), seconds("lowerbound")) for _ in range(ROUNDS)]
    torch, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"import torch {torch:.3f} s, import lowerbound {ours:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
