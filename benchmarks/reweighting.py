"""Log Z of two systems by the weighted samples of a run's flow, beside what quadrature says: a double well in two
dimensions, and four Lennard-Jones particles on a line in a harmonic trap.

Usage: python benchmarks/reweighting.py [--minutes 1] [--num-samples 2000] [--systems double-well] [--out /tmp/reweighting]

Each run is trained on 4,000 exact samples of its system, drawn from a fine grid.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

import lowerbound as lb
from lowerbound.auditing import reweight

BARRIER = 4.0
"""Of the double well, in units of the temperature."""
NUM_PARTICLES = 4
GAPS = np.linspace(0.75, 3.5, 100)
"""Between neighbours, where a particle is found: nearer the energy is above 100, farther the trap's is."""
TRAP = 2.0


def double_well(x: np.ndarray) -> np.ndarray:
    r"""$E = 4 (x^2 - 1)^2 + y^2 / 2$."""
    return BARRIER * (x[:, 0] ** 2 - 1) ** 2 + x[:, 1] ** 2 / 2


def four_particles(x: np.ndarray) -> np.ndarray:
    r"""$E = \sum_{i < j} 4 (r_{ij}^{-12} - r_{ij}^{-6}) + \sum_i x_i^2$ of particles in their order; inf in another."""
    gaps = np.diff(x, axis=1)
    ordered = (gaps > 0).all(1)
    energy = np.full(len(x), np.inf)
    energy[ordered] = _pairs(gaps[ordered]) + TRAP * (x[ordered] ** 2).sum(1) / 2
    return energy


def _pairs(gaps: np.ndarray) -> np.ndarray:
    """The energy of all pairs, from the distances of neighbours, (N, 3)."""
    distances = [
        gaps[:, first:last].sum(1) for first in range(gaps.shape[1]) for last in range(first + 1, gaps.shape[1] + 1)
    ]
    sixth = np.stack(distances, 1) ** -6.0
    return 4 * (sixth**2 - sixth).sum(1)


def exact_double_well() -> float:
    """By quadrature along x; along y it is a normal."""
    x = np.linspace(-4, 4, 4001)
    return float(np.log(np.trapezoid(np.exp(-BARRIER * (x**2 - 1) ** 2), x)) + np.log(2 * np.pi) / 2)


def exact_four_particles() -> float:
    """By quadrature over the three gaps; their centre of mass is a normal of its own, as $\\sum x_i^2 = 4 c^2 + ...$."""
    log_masses, _ = _gap_masses()
    return float(logsumexp(log_masses) + 3 * np.log(GAPS[1] - GAPS[0]) + np.log(2 * np.pi / (TRAP * NUM_PARTICLES)) / 2)


def _gap_masses() -> tuple[np.ndarray, np.ndarray]:
    """Minus the energy of gaps on a grid, and the grid, without the centre's part."""
    grid = np.stack(np.meshgrid(GAPS, GAPS, GAPS, indexing="ij"), -1).reshape(-1, 3)
    return -_pairs(grid) - TRAP * (_positions(grid) ** 2).sum(1) / 2, grid


def _positions(gaps: np.ndarray) -> np.ndarray:
    """Of the particles around their centre."""
    x = np.concatenate([np.zeros((len(gaps), 1)), gaps.cumsum(1)], 1)
    return x - x.mean(1, keepdims=True)


def sample_double_well(num: int, rng: np.random.Generator) -> np.ndarray:
    x = np.linspace(-4, 4, 4001)
    masses = np.exp(-BARRIER * (x**2 - 1) ** 2)
    wells = rng.choice(x, num, p=masses / masses.sum()) + (rng.random(num) - 0.5) * (x[1] - x[0])
    return np.stack([wells, rng.standard_normal(num)], 1)


def sample_four_particles(num: int, rng: np.random.Generator) -> np.ndarray:
    log_masses, grid = _gap_masses()
    chosen = grid[rng.choice(len(grid), num, p=np.exp(log_masses - logsumexp(log_masses)))]
    gaps = chosen + (rng.random(chosen.shape) - 0.5) * (GAPS[1] - GAPS[0])
    return _positions(gaps) + rng.standard_normal((num, 1)) / (TRAP * NUM_PARTICLES) ** 0.5


SYSTEMS = {
    "double-well": (double_well, exact_double_well, sample_double_well),
    "four-particles": (four_particles, exact_four_particles, sample_four_particles),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--num-samples", type=int, default=2000)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--out", default="/tmp/reweighting")
    options = parser.parse_args()
    print("| system | log Z, nats | k-hat | effective sample size | by quadrature |\n|---|---|---|---|---|")
    for name in options.systems:
        energy, exact, sample = SYSTEMS[name]
        folder = Path(options.out) / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "samples.npy"
        np.save(path, sample(4000, np.random.default_rng(0)).astype(np.float32))
        dataset = lb.open_dataset(str(path))
        run = lb.open_run(lb.train(lb.recipe(dataset, minutes=options.minutes), dataset, folder / "run").path)
        found = reweight(run, energy, options.num_samples)
        log_z = f"{found.log_z:.4f} ± {found.standard_error:.4f}" if found.is_reliable else f"about {found.log_z:.3g}"
        size = f"{found.effective:,.0f} of {options.num_samples:,}"
        print(f"| {name} | {log_z} | {found.pareto_shape:.2f} | {size} | {exact():.4f} |", flush=True)


if __name__ == "__main__":
    main()
