"""Where the bits of discrete data are: by level of noise, and by kind of entry.

The bound is an integral over gamma of the squared error of the noise, entry by entry: here it is split between entries of
frequent levels (`--denoiser.spikes` of the recipe), others whose level occurs again in their example, and those whose level
does not. Beside each stands what an entry would cost at that noise if nothing were known of it: a part of one is known.

    python benchmarks/where_bits.py runs/mnist
"""

import math
from dataclasses import dataclass

import torch
import tyro

import lowerbound as lb
from lowerbound.levels import nearest_level
from lowerbound.training.recipes import spikes


@dataclass(frozen=True)
class Options:
    """Split a run's bound."""

    run: tyro.conf.Positional[str]
    examples: int = 200
    """Validation examples."""
    step: float = 0.5
    """Of gamma."""


@torch.no_grad()
def main(options: Options) -> None:
    run = lb.open_run(options.run)
    dataset, schedule = run.open_dataset(), run.denoiser.schedule
    num_levels = run.spec.num_levels
    if num_levels is None:
        raise SystemExit(f"{options.run}: its data are no levels")
    x = dataset.encoded(dataset.some("validation", options.examples))
    levels = nearest_level(x, num_levels).long()
    kinds = kinds_of(levels, spikes(levels, num_levels))
    entries = {name: kind.sum().item() for name, kind in kinds.items()}
    print(", ".join(f"{count / len(x):.1f} entries an example {name}" for name, count in entries.items()))
    print(
        f"{'gamma':>7}" + "".join(f"{name:>20}" for name in kinds) + "   bits/dim in steps of gamma, share of ignorance"
    )
    totals = dict.fromkeys(kinds, 0.0)
    low, high = (float(schedule.level(torch.tensor(t)).gamma) for t in (0.0, 1.0))
    num_steps = max(1, round((high - low) / options.step))
    for place in range(num_steps):
        gamma = low + (place + 0.5) * (high - low) / num_steps
        level = schedule.level_at(gamma)
        eps = lb.Stream(0).normal(x)
        squares = (run.denoiser(level.alpha * x + level.sigma * eps, level).eps - eps).square()
        each = (high - low) / num_steps / 2 / math.log(2)
        cells = []
        for name, kind in kinds.items():
            bits = each * squares[kind].sum().item() / x.numel()
            totals[name] += bits
            cells.append(f"{bits:12.5f} {bits * x.numel() / (each * max(1, entries[name])):7.3f}")
        print(f"{gamma:7.2f}" + "".join(cells), flush=True)
    for name, bits in totals.items():
        print(f"{name}: {bits:.4f} bits/dim, {bits * x.numel() / max(1, entries[name]):.3f} bits an entry")


def kinds_of(levels: torch.Tensor, frequent: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Which entries are of frequent levels, which of others that their example has more than once, and which of none."""
    is_frequent = torch.isin(levels, torch.tensor(frequent))
    rows = levels.flatten(1)
    is_again = torch.stack([torch.bincount(row)[row] > 1 for row in rows]).view(levels.shape)
    return {"frequent": is_frequent, "again": is_again & ~is_frequent, "once": ~is_again & ~is_frequent}


if __name__ == "__main__":
    main(tyro.cli(Options))
