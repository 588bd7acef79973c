"""The five tables of the flow papers: mean log density of the test rows, in nats, beside the published rows.

Usage: python benchmarks/flow_tables.py DATAFOLDER [--tables power miniboone] [--minutes 30] [--num-examples 10000]

DATAFOLDER holds the files of `lowerbound.data.flow_tables`; tables that are not there are left out. The figure of a run is
the bound of its chain in continuous time, with its standard error over test rows; with --flow N the density along the
probability flow of the first N besides. Published rows stand below with their sources: TraDE, DEformer and ACE as DEformer's
repository lists them, FFJORD from its table 2, a Gaussian from table 1 of the paper that made the tables.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import lowerbound as lb
from lowerbound.data.flow_tables import FILES, flow_table
from lowerbound.errors import InputError
from lowerbound.tails import mean_of_draws

PUBLISHED = {
    "TraDE (Fakoor et al. 2020)": (0.73, 13.27, -12.01, -9.49, 160.01),
    "DEformer (Alcorn & Nguyen 2021)": (0.541, 13.167, -11.983, -9.323, 157.035),
    "ACE (Strauss & Oliva 2021)": (0.576, 12.201, -15.041, -11.407, 156.400),
    "RQ-NSF, autoregressive (Durkan et al. 2019)": (0.66, 13.09, -14.01, -9.22, 157.31),
    "FFJORD (Grathwohl et al. 2019)": (0.46, 8.59, -14.92, -10.43, 157.40),
    "Gaussian (Papamakarios et al. 2017)": (-7.74, -3.58, -27.93, -37.24, 96.67),
}
"""Nats per row of `FILES`' tables, in their order."""


def measured(name: str, options: argparse.Namespace) -> dict[str, str]:
    """The rows of a run on a table, by what they are."""
    table = flow_table(name, options.folder)
    out = Path(options.out) / name
    out.mkdir(parents=True, exist_ok=True)
    parts = {part: rows.astype(np.float32) for part, rows in table._asdict().items()}
    np.savez(out / "table.npz", **parts)
    dataset = lb.open_dataset(str(out / "table.npz"))
    config = lb.recipe(dataset, minutes=options.minutes)
    run = lb.open_run(lb.train(config, dataset, out / "run").path)
    test = parts["test"][: options.num_examples]
    to_nats = -math.log(2) * test.shape[1]
    found = {"bound (ours)": mean_of_draws(to_nats * lb.score(run, test, seed=options.seed).bits_per_dim)}
    if options.flow:
        density = lb.score_density(run, test[: options.flow], seed=options.seed)
        found["flow (ours)"] = mean_of_draws(density.nats[np.isfinite(density.nats)])
    return {kind: str(figure) for kind, figure in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--tables", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--num-examples", type=int, default=10_000)
    parser.add_argument("--flow", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/flow-tables")
    options = parser.parse_args()
    ours: dict[str, dict[str, str]] = {}
    for name in options.tables:
        try:
            ours[name] = measured(name, options)
        except InputError as error:
            print(f"{name} is left out: {error}")
    rows = {kind: [figures.get(kind, "") for figures in ours.values()] for kind in ("bound (ours)", "flow (ours)")}
    print(f"| nats per test row | {' | '.join(ours)} |\n|---|{'---|' * len(ours)}")
    for kind, figures in PUBLISHED.items():
        of_table = dict(zip(FILES, figures, strict=True))
        rows[kind] = [f"{of_table[name]:g}" for name in ours]
    for kind, texts in rows.items():
        if any(texts):
            print(f"| {kind} | {' | '.join(texts)} |")


if __name__ == "__main__":
    main()
