r"""Any entries of a table given the others: python benchmarks/conditionals.py runs/conditionals --minutes 2 --seeds 3

The tables are those of tables.py, dequantised and scaled alike, and two whose answer is known: rows of a correlated Gaussian
in five dimensions and of a mixture of three Gaussians in four. The network is trained on parts of half of the rows too
(--hidden 0.5); the mixture, whose components the validation rows choose, has every conditional in closed form. At 10, 30 and
50 % of the entries of test rows hidden, one at least and never all, the table has

- log p(hidden | seen) in nats per hidden entry: of the network the bound on the row less the bound on what is seen of it, a
  difference of two bounds, and itself none; exact of the mixture and, where it is known, of the truth. "less the reference"
  is the mean difference, row by row, from the truth or, where that is not known, from the mixture: what the network gains;
- draws of what is hidden, 19 for each row: their CRPS, the share of values within their central intervals of 50 and 90 %,
  the RMSE of their mean and the energy score, all in standard deviations of the training rows; beside them those drawn
  from the mixture (and the truth) exactly, and the fillings by the column's mean, the mean of the five nearest rows and
  iterative regression, whose CRPS is their mean absolute error.

Each table says itself whether the network is within two standard errors (the larger of that over rows and that over seeds)
of a known truth, or else best or within one of the best; of CRPS the errors of the truth and of the best, which draws of the
network that are far out can't make large. Minutes are a processor's. Each figure is written to figures.jsonl
in the folder as soon as it is known; the same command again goes on from there, and with the run that was being trained.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from ledger import DONE, Ledger, Pooled, print_table, processor_time
from missing import correlated_gaussian
from tables import ROWS_AT_ONCE, SETS, dequantised, recording_unit, split, trained

import lowerbound as lb
from lowerbound.baselines import best_mixture
from lowerbound.evaluate.imputation import NUM_DRAWS, NUM_STEPS, Filling, Judgement, fillings, hide, judge
from lowerbound.files.records import Measured
from lowerbound.run.impute import impute

SHARES = (0.1, 0.3, 0.5)
HIDDEN = 0.5
NUM_ROWS = 2000
"""Of the made tables."""


def mixture() -> lb.GaussianMixture:
    """Three heaps in four dimensions, each correlated in its own way."""
    draws = np.random.default_rng(7)
    roots = draws.normal(size=(3, 4, 4)) / 2
    covariances = torch.from_numpy(roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(4))
    means = torch.from_numpy(draws.normal(size=(3, 4)) * 2)
    return lb.GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, covariances, lb.LinearGamma())


KNOWN = {"gaussian": correlated_gaussian, "mixture": mixture}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for figures and runs")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training, processor time")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--sets", nargs="*", default=[*KNOWN, *SETS], choices=[*KNOWN, *SETS])
    parser.add_argument("--calls", type=int, default=256, help="of the network for each bound on a test row")
    parser.add_argument("--rows", type=int, default=200, help="of the test set, at most")
    arguments = parser.parse_args()
    ledger = Ledger(arguments.folder, minutes=arguments.minutes, calls=arguments.calls, rows=arguments.rows)
    for name in arguments.sets:  # a file that is not there is met before hours of training
        opened(name, 0)
    with processor_time():
        for name in arguments.sets:
            for seed in range(arguments.seeds):
                parts, truth = opened(name, seed)
                measure(
                    ledger,
                    (name, f"seed {seed}"),
                    {**parts, "test": parts["test"][: arguments.rows]},
                    truth,
                    seed,
                    arguments,
                )
            summary(ledger, name)


def summary(ledger: Ledger, title: str) -> None:
    """Print a table of a set for each share of hidden entries, and how the network compares with what is exact."""
    figures = ledger.pooled(title)
    for share in (f"{share:.0%}" for share in SHARES):
        methods = dict.fromkeys(kind[1] for kind in figures if kind[0] == share)
        found = {name: {kind[2]: figures[kind] for kind in figures if kind[:2] == (share, name)} for name in methods}
        if not found:
            continue
        measures = list(dict.fromkeys(measure for each in found.values() for measure in each))
        cells = {method: [str(each.get(measure, "")) for measure in measures] for method, each in found.items()}
        print_table(f"{title}, {share} hidden", measures, cells)
        print(_against_the_reference(found), flush=True)


def _against_the_reference(found: dict[str, dict[str, Pooled]]) -> str:
    """Whether the network's density and draws are those of the truth, or, where that is not known, behind the best."""
    network, reference = found["network"], "truth" if "truth" in found else "mixture"
    gain, crps = network[f"log p less the {reference}'s"], network["CRPS"]
    if reference == "truth":
        truth = found["truth"]["CRPS"]
        apart = crps.mean - truth.mean
        is_right = abs(gain.mean) <= 2 * gain.error and abs(apart) <= 2 * truth.error
        aim = f"within two standard errors of the truth: {'met' if is_right else 'missed'}"
        return f"aim, {aim}: log p {gain.mean:+.3f} ± {gain.error:.3f}, CRPS {apart:+.3f} ± {truth.error:.3f}"
    best = min(found, key=lambda method: found[method]["CRPS"].mean)
    apart, error = crps.mean - found[best]["CRPS"].mean, found[best]["CRPS"].error
    is_best = gain.mean >= -gain.error and apart <= error
    return (
        f"aim, best or within one standard error: {'met' if is_best else 'missed'}: log p {gain.mean:+.3f} ± "
        f"{gain.error:.3f} beside the mixture's, CRPS {apart:+.3f} ± {error:.3f} beside the best, which is {best}"
    )


def opened(name: str, seed: int) -> tuple[dict[str, np.ndarray], lb.GaussianMixture | None]:
    """The splits of a set, scaled by its training rows, and what they are drawn from if that is known."""
    if name not in KNOWN:
        table = SETS[name]()
        return split(dequantised(table, [recording_unit(column) for column in table.T], seed), seed), None
    truth = KNOWN[name]()
    rows = truth.sample(NUM_ROWS, lb.Stream(seed)).numpy()
    parts, train = (
        split(rows, seed),
        rows[np.random.default_rng(1000 + seed).permutation(NUM_ROWS)][2 * (NUM_ROWS // 10) :],
    )
    shift, scale = (torch.from_numpy(each) for each in (train.mean(0), train.std(0)))
    means, covariances = (truth.means - shift) / scale, truth.covariances / (scale[:, None] * scale)
    return parts, lb.GaussianMixture(truth.weights, means, covariances, truth.schedule)


def measure(
    ledger: Ledger,
    names: tuple[str, str],
    parts: dict[str, np.ndarray],
    truth: lb.GaussianMixture | None,
    seed: int,
    arguments: argparse.Namespace,
) -> None:
    """All figures of a set and a seed that are not there yet."""
    if all(not ledger.lacks(*names, f"{share:.0%}", DONE) for share in SHARES):
        return
    test, num_dims = parts["test"], parts["test"].shape[1]
    found = best_mixture(parts["train"], parts["validation"], seed)
    arrays = (torch.from_numpy(each) for each in (found.weights_, found.means_, found.covariances_))
    exact = {"mixture": lb.GaussianMixture(*arrays, lb.LinearGamma())}
    if truth is not None:
        exact = {"truth": truth, **exact}
    run = trained(
        parts, arguments.folder / "-".join(names).replace(" ", "-"), "diffusion", arguments.minutes, seed, HIDDEN
    )
    assert run is not None
    effort = lb.Effort(arguments.calls)
    whole = lb.score(run, test, effort, batch_size=ROWS_AT_ONCE).bits_per_dim
    for share in SHARES:
        head = (*names, f"{share:.0%}")
        if not ledger.lacks(*head, DONE):
            continue
        hidden = hide(test.shape, share, seed)
        num_hidden = hidden.sum(1)
        # the same times and noise as those of the whole rows
        seen = lb.score(run, np.where(hidden, np.nan, test), effort, batch_size=ROWS_AT_ONCE).bits_per_dim
        nats = {"network": math.log(2) * (seen * (~hidden).sum(1) - whole * num_dims)}
        drawn = {"network": impute(run, test, ~hidden, num_samples=NUM_DRAWS, num_steps=NUM_STEPS, seed=seed).samples}
        for name, density in exact.items():
            x, observed = torch.from_numpy(test), torch.from_numpy(~hidden)
            marginal = density.log_marginal(x, lb.schedule.CLEAN, observed)
            nats[name] = (density.log_prob(x) - marginal).numpy()
            drawn[name] = exact_draws(density, test, hidden, seed)
        reference = next(iter(exact))
        for name, each in nats.items():
            ledger.add((*head, name, "log p"), Measured.of(each / num_hidden))
            if name != reference:
                ledger.add(
                    (*head, name, f"log p less the {reference}'s"), Measured.of((each - nats[reference]) / num_hidden)
                )
        for name, draws in drawn.items():
            of_draws(ledger, (*head, name), judge(draws, test, hidden))
        for filling in fillings(parts["train"], test, hidden):
            of_filling(ledger, (*head, filling.name), filling)
        ledger.add((*head, DONE), Measured(1.0, 0.0))


def exact_draws(density: lb.GaussianMixture, rows: np.ndarray, hidden: np.ndarray, seed: int) -> np.ndarray:
    """Rows with their hidden entries drawn from a mixture given the others, (N, K, D)."""
    identity, drawn = torch.eye(rows.shape[1], dtype=torch.float64), []
    for number, (row, missing) in enumerate(zip(torch.from_numpy(rows), torch.from_numpy(hidden), strict=True)):
        left = density.posterior(identity[~missing], row[~missing], 0.0)
        each = left.sample(NUM_DRAWS, lb.Stream((seed << 32) + number))
        drawn.append(torch.where(missing, each, row).numpy())
    return np.stack(drawn)


def of_draws(ledger: Ledger, head: tuple[str, ...], judgement: Judgement) -> None:
    """What draws of what is hidden are worth."""
    half, most = judgement.coverage
    figures = {
        "CRPS": judgement.crps,
        "RMSE": judgement.skill,
        "energy": judgement.energy,
        "in 50 %": half,
        "in 90 %": most,
    }
    for name, figure in figures.items():
        ledger.add((*head, name), figure)


def of_filling(ledger: Ledger, head: tuple[str, ...], filling: Filling) -> None:
    """What a filling is worth."""
    ledger.add((*head, "CRPS"), filling.mean_absolute_error)
    ledger.add((*head, "RMSE"), filling.root_mean_square_error)


if __name__ == "__main__":
    main()
