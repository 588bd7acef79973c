"""How often an audit of a right density says that it is wrong; and what it says of estimators that people use.

Usage: python benchmarks/audits.py [--num-audits 200]
       python benchmarks/audits.py --estimators [--run runs/moons]

Each right density comes with all that an audit can be given: the density itself as its own bound, with noise, as the finer
figure, with less noise than a tolerance, and as the truth, where chance is hardest on a check; test and training points; and
draws that are averaged. A table of masses comes with its support.

Of estimators it prints a table with seconds of processor time: kernel densities of three widths and a mixture of
scikit-learn, a spline flow of zuko, all fitted to 2,000 points of two moons, and a run if one is given. Test
points that they were not fitted to stand beside them. With --posteriors the same of posteriors of sbi and BayesFlow, of two
parameters in a box or of normal ones, by observations of them with noise; each library that is installed. With --family each
kind of model of ours, or of --kinds, trained for --minutes, or for as many --steps, on --data.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import beta
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import distributions

import lowerbound as lb
from lowerbound.auditing import Audit, audit
from lowerbound.auditing.subject import as_subject
from lowerbound.errors import InputError
from lowerbound.files.whole import write_file
from lowerbound.models import RELATIVES
from lowerbound.report.audit import audit_page
from lowerbound.run import open_run

KINDS = ("diffusion", "score", "energy", *RELATIVES)


class Estimated:
    """A table of masses of which each look is an estimate, with the error that it states."""

    def __init__(self, table: distributions.Distribution, seed: int):
        self.table, self.rng = table, np.random.default_rng(seed)

    def score_samples(self, x: np.ndarray, return_std: bool = False) -> tuple[np.ndarray, np.ndarray]:
        log_p = self.table.log_prob(torch.from_numpy(x)).numpy()
        errors = np.full(len(x), 0.1)
        return log_p + errors * self.rng.standard_normal(len(x)), errors


def subject(seed: int) -> tuple[Any, dict[str, Any]]:
    """A right density or table of masses, and what an audit of it is given."""
    rng = np.random.default_rng(seed)
    if seed % 6 == 5:
        num_columns, num_levels = int(rng.integers(1, 5)), int(rng.integers(2, 6))
        masses = torch.from_numpy(rng.dirichlet(np.ones(num_levels), num_columns))
        table = distributions.Independent(distributions.Categorical(masses), 1)
        support = np.stack(np.unravel_index(np.arange(num_levels**num_columns), [num_levels] * num_columns), 1)
        return (table if seed % 12 == 5 else Estimated(table, seed)), {"support": support}
    model = density(seed)
    known = as_subject(model)
    assert known.sample is not None

    def noisy(size: float) -> Callable[[torch.Tensor], np.ndarray]:
        return lambda x: known.log_prob(x.numpy())[0] + size * rng.standard_normal(len(x))

    return model, {
        "bound": noisy(0.5),
        "finer": noisy(1e-5),
        "truth": model,
        "data": known.sample(1000, seed + 1000),
        "train": known.sample(1000, seed + 2000),
        "draws": lambda x: rng.gamma(2.0, size=(len(x), 16)),
    }


def density(seed: int):
    """A right density: a Gaussian, Student's t, a mixture, a kernel density or an untrained spline flow."""
    rng = np.random.default_rng(seed)
    num_dims = int(rng.integers(1, 9))
    root = torch.from_numpy(np.eye(num_dims) + 0.4 * rng.standard_normal((num_dims, num_dims)))
    mean = torch.from_numpy(3 * rng.standard_normal(num_dims))
    match seed % 5:
        case 0:
            return distributions.MultivariateNormal(mean, root @ root.T)
        case 1:
            base = distributions.Independent(distributions.StudentT(torch.full((num_dims,), 6.0).double(), mean), 1)
            return distributions.TransformedDistribution(base, distributions.AffineTransform(0.0, 2.0, event_dim=1))
        case 2:
            points = np.concatenate(
                [rng.standard_normal((150, num_dims)), 4 + 0.5 * rng.standard_normal((150, num_dims))]
            )
            return GaussianMixture(2, random_state=seed).fit(points)
        case 3:
            return KernelDensity(bandwidth=0.4).fit(rng.standard_normal((200, min(num_dims, 3))))
        case _:
            import zuko

            torch.manual_seed(seed)
            return zuko.flows.NSF(max(num_dims, 2), transforms=2)


def estimators(points: np.ndarray):
    """Estimators fitted to points, by their names."""
    import zuko

    for width in (0.02, 0.1, 0.5):
        yield f"scikit-learn KDE, width {width:g}", KernelDensity(bandwidth=width).fit(points)
    yield "scikit-learn mixture of 10", GaussianMixture(10, random_state=0).fit(points)
    torch.manual_seed(0)
    flow, x = zuko.flows.NSF(2, transforms=3), torch.from_numpy(points).float()
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    for _ in range(300):
        loss = -flow().log_prob(x[torch.randint(len(x), (256,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    yield "zuko NSF, 300 steps", flow


def posteriors():
    """Posteriors fitted to simulations, by their names, and the observation to condition on (None: it is their own)."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(-2, 2, (2000, 2)).astype(np.float32)
    x = theta + 0.3 * rng.standard_normal(theta.shape).astype(np.float32)
    near_edge, inside = torch.tensor([1.8, 0.0]), torch.tensor([0.0, 0.0])
    try:
        from sbi.inference import FMPE, NPE
        from sbi.utils import BoxUniform
    except ImportError:
        print("sbi is not installed: pip install sbi")
    else:
        torch.manual_seed(0)
        prior = BoxUniform(-2 * torch.ones(2), 2 * torch.ones(2))
        for kind in (NPE, FMPE):
            trainer = kind(prior).append_simulations(torch.from_numpy(theta), torch.from_numpy(x))
            with redirect_stdout(sys.stderr):
                estimator = trainer.train(max_num_epochs=20)
            posterior = trainer.build_posterior(estimator)
            name = kind.__name__.removesuffix("_C")
            if kind is NPE:
                yield f"sbi {name}'s estimator, {type(estimator).__name__}", estimator, near_edge
            yield f"sbi {name}, {type(posterior).__name__}, x given at each call", posterior, near_edge
            if kind is NPE:
                yield "the same, set_default_x(x)", posterior.set_default_x(near_edge), None
                yield "the same, set_default_x of another x after it", posterior.set_default_x(inside), None
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import bayesflow
    except ImportError:
        print("bayesflow is not installed: pip install bayesflow")
    else:
        adapter = bayesflow.Adapter().rename("theta", "inference_variables").rename("x", "inference_conditions")
        network = bayesflow.networks.CouplingFlow(depth=2)
        workflow = bayesflow.BasicWorkflow(inference_network=network, adapter=adapter)
        with torch.enable_grad():
            workflow.fit_offline({"theta": theta, "x": x}, epochs=5, batch_size=100, verbose=0)
        yield "BayesFlow CouplingFlow", workflow.approximator, {"x": near_edge.numpy()[None]}


def audit_posteriors() -> None:
    """Print the table."""
    print("| posterior | verdict | not passed | log of the integral, by importance sampling |\n|---|---|---|---|")
    for name, model, given in posteriors():
        print_row(name, audit(model, given=given, num_draws=2000, num_samples=1000))


def audit_family(kinds: list[str], data: str, minutes: float, steps: int | None, out: str, pages: Path | None) -> None:
    """Train each kind of model, audit it, and print the table; each audit's page goes into a folder, if one is given."""
    dataset = lb.open_dataset(data)
    print("| model | passed | failed | can't tell | what it says |\n|---|---|---|---|---|")
    for kind in kinds:
        folder = Path(out) / kind
        try:
            config = lb.recipe(dataset, model=kind, minutes=minutes)
            if steps is not None:
                config = replace(config, training=replace(config.training, minutes=None, steps=steps))
            path = lb.train(config, dataset, folder, show_progress=False).path
            found = audit(lb.open_run(path), dataset.examples[dataset.test], num_draws=1000, num_samples=500)
        except InputError as error:
            print(f"| {kind} | | | | refused: {error} |", flush=True)
            continue
        if pages is not None:
            write_file(pages / f"{kind}.html", audit_page(found).encode())
        counts = Counter(check.verdict for check in found.checks)
        said = "; ".join(f"{check.name}: {check.finding}" for check in found.checks if check.verdict != "pass")
        row = [str(counts[verdict]) for verdict in ("pass", "fail", "can't tell")]
        print(
            f"| {kind} | {' | '.join(row)} | {said or found['normalisation by importance sampling'].finding} |",
            flush=True,
        )


def print_row(name: str, found: Audit, *more: str) -> None:
    """What an audit found, in a line of a table."""
    left = ", ".join(f"{check.name} ({check.verdict})" for check in found.checks if check.verdict != "pass")
    integral = found["normalisation by importance sampling"]
    known = integral.error == integral.error
    figure = f"{integral.statistic:+.4f} ± {integral.error:.4f}" if known else integral.finding
    print(f"| {' | '.join((name, found.verdict, left or 'none', figure, *more))} |", flush=True)


def audit_estimators(run: str | None) -> None:
    """Print the table."""
    points = make_moons(4000, noise=0.1, random_state=0)[0]
    train, test = points[:2000], points[2000:]
    print(
        "| estimator | verdict | not passed | log of the integral, by importance sampling | seconds |\n|---|---|---|---|---|"
    )
    subjects = [*estimators(train), *([] if run is None else [(f"run {run}", open_run(run))])]
    for name, model in subjects:
        settings = {"num_draws": 1000, "num_samples": 500} if run is not None and name.startswith("run") else {}
        began = time.process_time()
        found = audit(model, test, train=train, **settings)
        seconds = time.process_time() - began
        print_row(name, found, f"{seconds:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-audits", type=int, default=200)
    parser.add_argument("--estimators", action="store_true")
    parser.add_argument("--run")
    parser.add_argument("--posteriors", action="store_true")
    parser.add_argument("--family", action="store_true")
    parser.add_argument("--data", default="moons")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--out", default="runs/audits")
    parser.add_argument("--pages", type=Path, help="a folder for the page of each kind, such as docs/static/audits")
    options = parser.parse_args()
    if options.estimators:
        audit_estimators(options.run)
        return
    if options.family:
        audit_family(options.kinds, options.data, options.minutes, options.steps, options.out, options.pages)
        return
    if options.posteriors:
        audit_posteriors()
        return
    num_audits, began = options.num_audits, time.process_time()
    failed, verdicts = Counter(), Counter()
    num_alarms = 0
    for seed in range(num_audits):
        model, given = subject(seed)
        found = audit(model, seed=seed, **given)
        num_alarms += found.verdict == "fail"
        for check in found.checks:
            verdicts[check.name, check.verdict] += 1
            if check.verdict == "fail":
                failed[check.name] += 1
                print(f"seed {seed}: {found.name}, {found.num_dims} dimensions: {check.name}: {check.finding}")
    low = np.nan_to_num(beta.ppf(0.025, num_alarms, num_audits - num_alarms + 1))
    high = beta.ppf(0.975, num_alarms + 1, num_audits - num_alarms)
    seconds = time.process_time() - began
    print(
        f"{num_alarms} false alarms in {num_audits} audits of right densities (95 %: {low:.2%} to {high:.2%}), "
        f"{seconds:.0f} s of processor time"
    )
    for (name, verdict), count in sorted(verdicts.items()):
        print(f"  {name:<42} {verdict:<10} {count}")


if __name__ == "__main__":
    main()
