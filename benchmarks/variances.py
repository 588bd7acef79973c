r"""Fixed, measured and learned reverse variances, and two sequences of noise levels: python benchmarks/variances.py

Three networks are trained on the digits for equally many steps: on $L_{simple}$ with DDPM's linear betas, on $L_{hybrid}$
with a learned reverse variance and the same betas (Nichol & Dhariwal 2021), and on $L_{simple}$ with a geometric sequence of
noise scales between the same two levels. Then, for chains of T of the 1000 levels:

- bits/dim of the test examples under each reverse variance, and by how much that differs from `lower`: the same latents
  enter both, so the difference has a far smaller standard error than either;
- samples of T network calls: a classifier's confidence relative to that on test examples ("confidence"), and the median
  distance to the nearest training example relative to that of test examples ("distance"); real data have 1 in both.

Standard errors are over test examples or samples; what another seed of the training changes is not in them.
"""

import argparse
import json
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lowerbound import (
    Ancestral,
    Dataset,
    PerSample,
    Run,
    elbo,
    generate,
    mean_and_error,
    open_dataset,
    open_run,
    recipe,
    train,
)
from lowerbound.evaluate.classes import classes
from lowerbound.evaluate.copies import audit
from lowerbound.evaluate.features import FeatureClassifier, feature_classifier
from lowerbound.run.variance import with_analytic_variance
from lowerbound.schedule import Tabulated, betas, from_betas
from lowerbound.training import Config
from lowerbound.training.config import DataConfig, DenoiserConfig, ScheduleConfig

FIXED = ("lower", "upper", "analytic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=0.75, help="of training the first network; the others: its steps"
    )
    parser.add_argument("--steps", type=int, help="of training each, instead of --minutes")
    parser.add_argument(
        "--chains", type=int, nargs="+", default=[10, 50, 250, 1000], help="T, the levels of the chains"
    )
    parser.add_argument(
        "--longest", type=int, default=1000, help="samples are drawn in chains of at most so many steps"
    )
    parser.add_argument("--calls", type=int, default=100, help="network calls per test example and chain, at most")
    parser.add_argument("--examples", type=int, help="test examples; all if not given")
    parser.add_argument("--samples", type=int, default=150, help="samples for each figure of quality")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the examples are small
    began = time.perf_counter()
    dataset = open_dataset("digits")
    with tempfile.TemporaryDirectory() as folder:
        configs = configurations(dataset, arguments.seed)
        runs, steps = {}, arguments.steps
        for name, config in configs.items():
            length = {"minutes": arguments.minutes} if steps is None else {"minutes": None, "steps": steps}
            whole = replace(config, training=replace(config.training, **length))
            out = train(whole, dataset, Path(folder) / name, say=lambda line: None, show_progress=False)
            steps = steps or json.loads(out.log.read_text().splitlines()[-1])["step"]
            runs[name] = with_analytic_variance(open_run(out.path), dataset=dataset, say=lambda line: None)
        print(f"digits, {steps} steps of training each, {time.perf_counter() - began:.0f} s so far")
        measure = Measurement(dataset, arguments)
        variances(measure, runs)
        sequences(measure, runs)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


def configurations(dataset: Dataset, seed: int) -> dict[str, Config]:
    """The three networks: simple, hybrid, geometric."""
    base = recipe(dataset, DataConfig("digits"))
    table = from_betas(betas.linear())
    training = replace(base.training, objective="simple", num_evaluations=1, num_pictures=1, seed=seed)
    simple = replace(base, schedule=ScheduleConfig("ddpm"), denoiser=DenoiserConfig(target="eps"), training=training)
    return {
        "simple": simple,
        "hybrid": replace(
            simple,
            denoiser=DenoiserConfig(target="eps", variance="learned"),
            training=replace(training, objective="hybrid"),
        ),
        "geometric": replace(
            simple, schedule=ScheduleConfig("geometric", gamma_min=table.gamma_min, gamma_max=table.gamma_max)
        ),
    }


def variances(measure: "Measurement", runs: dict[str, Run]) -> None:
    """The first table: what the reverse variance does, network by network."""
    print("\nreverse variances; linear betas, bits/dim of the bound")
    print(
        f"{'T':>5} {'network':>10} {'variance':>9} {'bits/dim':>16} {'less lower':>18} {'confidence':>15} {'distance':>15}"
    )
    for num_levels in measure.chains:
        for name, kinds in (("simple", FIXED), ("hybrid", (*FIXED, "learned"))):
            lower = measure.bits(runs[name], num_levels, "lower")
            for kind in kinds:
                bits = lower if kind == "lower" else measure.bits(runs[name], num_levels, kind)
                # the fixed variances are sampled with the network that was trained for them
                drawn = name == "simple" or kind == "learned"
                figures = measure.quality(runs[name], num_levels, kind) if drawn else ("", "")
                less = "" if kind == "lower" else with_error(*mean_and_error(bits - lower), sign="+")
                row = f"{num_levels:>5} {name:>10} {kind:>9} {with_error(*mean_and_error(bits)):>16} {less:>18}"
                print(row + "".join(f" {figure:>15}" for figure in figures), flush=True)


def sequences(measure: "Measurement", runs: dict[str, Run]) -> None:
    """The second table: linear betas against a geometric sequence of noise scales, both trained on L_simple."""
    print(
        "\nsequences of noise levels from the same first to the same last; bits/dim of the bound ('inf': continuous time)"
    )
    header = f"{'T':>5} {'sequence':>10} {'lower':>16} {'analytic':>16} {'confidence':>15} {'distance':>15}"
    print(header + "  (samples with the analytic variance)")
    for num_levels in (*measure.chains, None):
        for name, sequence in (("simple", "linear"), ("geometric", "geometric")):
            kinds = ("lower",) if num_levels is None else ("lower", "analytic")
            bits = [with_error(*mean_and_error(measure.bits(runs[name], num_levels, kind))) for kind in kinds]
            figures = ("", "") if num_levels is None else measure.quality(runs[name], num_levels, "analytic")
            columns = [f"{figure:>16}" for figure in (*bits, "")[:2]] + [f"{figure:>15}" for figure in figures]
            print(f"{num_levels or 'inf':>5} {sequence:>10} " + " ".join(columns), flush=True)


class Measurement:
    """Bits/dim and quality of runs on the same data, with the same noise."""

    def __init__(self, dataset: Dataset, arguments: argparse.Namespace):
        self.dataset = dataset
        self.chains: list[int] = arguments.chains
        self.longest: int = arguments.longest
        self.num_calls: int = arguments.calls
        self.num_samples: int = arguments.samples
        self.seed: int = arguments.seed
        self.test = dataset.some("test", arguments.examples)
        self.known: dict[tuple, tuple[str, str]] = {}

    @torch.no_grad()
    def bits(self, run: Run, num_levels: int | None, kind: str) -> torch.Tensor:
        """Bits/dim of each test example over a chain, or in continuous time."""
        assert run.diffusion.decoder is not None
        noise = PerSample([(self.seed << 32) + int(i) for i in self.test])
        num_times = self.num_calls if num_levels is None else min(self.num_calls, num_levels - 1)
        chain = None if num_levels is None else respaced(run, num_levels)
        x = self.dataset.encoded(self.test)
        bound = elbo(run.denoiser, run.diffusion.decoder, x, chain, noise=noise, num_times=num_times, reverse=kind)
        return bound.bits_per_dim.double()

    def quality(self, run: Run, num_levels: int, kind: str) -> tuple[str, str]:
        """Confidence and distance of samples, relative to test examples, with standard errors."""
        if num_levels > self.longest:
            return "", ""
        key = (run.folder.path, num_levels, kind)
        if key not in self.known:
            plan = run.diffusion.plan(Ancestral(kind), num_levels, "time")
            samples = generate(run, self.num_samples, plan, batch_size=100, seed=self.seed)
            self.known[key] = self._compare(samples, feature_classifier(self.dataset, run.folder.path))
        return self.known[key]

    def _compare(self, samples: np.ndarray, classifier: FeatureClassifier | None) -> tuple[str, str]:
        dataset = self.dataset
        train, test = dataset.train, dataset.test
        assert dataset.labels is not None
        assert classifier is not None
        drawn, known, held_out = (
            dataset.spec.encoding.encode(values).flatten(1).numpy()
            for values in (samples, dataset.examples[train], dataset.examples[test])
        )
        on_samples, on_held_out = (
            classifier.probabilities(values).numpy()
            for values in (dataset.spec.encoding.encode(samples), dataset.encoded(test))
        )
        found = classes(on_samples, on_held_out, dataset.labels[test], dataset.labels[train], dataset.spec.class_names)
        near = audit(drawn, held_out, known)
        mine, real = near.samples, near.held_out
        ratio = mine.median / real.median
        error = ratio * math.hypot(mine.median_error / mine.median, real.median_error / real.median)
        return with_error(found.ratio, found.ratio_error), with_error(ratio, error)


def respaced(run: Run, num_levels: int) -> torch.Tensor:
    """The times of so many levels, evenly spread; of a table, levels that it has."""
    schedule = run.denoiser.schedule
    times = torch.linspace(0, 1, num_levels, dtype=torch.float64)
    if not isinstance(schedule, Tabulated):
        return times
    return schedule.times[(times * (len(schedule.times) - 1)).round().long()]


def with_error(mean: float, error: float, sign: str = "") -> str:
    return f"{mean:{sign}.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
