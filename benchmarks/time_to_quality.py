"""Bits/dim and Frechet distance after so many minutes, ours beside peers' own training examples:
LOWERBOUND_DATA=... OMP_NUM_THREADS=1 python benchmarks/time_to_quality.py --minutes 1 5 20 --models ours diffusers torchcfm

`ours` is what `lowerbound train mnist --minutes M` does; peers and controls are in `trained_peers.py` (`pip install
diffusers torchcfm smalldiffusion denoising-diffusion-pytorch azula`, those that are asked for). All are judged alike, by
samples of 16 steps of `dpm++sde`, guided by early weights where a run has some, and by the bound of test images.
Rows go into OUT/rows.jsonl as they come; those that are there are not made again, and `--plot` draws them.
"""

import argparse
import contextlib
import itertools
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from ledger import processor_time
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from trained_peers import PEERS, train

import lowerbound as lb
from lowerbound.denoiser import Denoiser
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.machine.device import prepared
from lowerbound.machine.processor import processor
from lowerbound.run import Run
from lowerbound.run.autoguided import for_samples
from lowerbound.training.fit import fitted
from lowerbound.training.folder import RunFolder
from lowerbound.words.rounding import figure_text

SAMPLER = lb.DPMSolverSDE(), 16
"""And its steps: of all rows, whatever the default is on their day."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 5.0, 20.0])
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="minutes are the processor's, of one thread, whatever runs beside it",
    )
    parser.add_argument("--models", nargs="*", choices=("ours", *PEERS), default=["ours"])
    parser.add_argument("--channels", type=int, default=32, help="peers' channels at full resolution")
    parser.add_argument("--batch-size", type=int, default=32, help="peers'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="peers' on a GPU")
    parser.add_argument("--compile", action="store_true", help="ours, on a GPU")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000, help="test examples whose bound is taken")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--plot", type=Path, help="draw all rows of OUT into this file, after the table")
    arguments = parser.parse_args()

    dataset = lb.open_dataset(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "rows.jsonl"
    rows = [Row(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    judge = Judge.of(dataset, feature_space(dataset, feature_classifier(dataset, arguments.out)), arguments.samples)
    floor = judge.floor()
    device = prepared(arguments.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    with processor_time() if arguments.processor_time else contextlib.nullcontext():
        print(f"{machine}, {torch.get_num_threads()} threads; {judge.space}")
        print(f"held-out images: Frechet distance {floor.frechet}, precision {floor.precision}")
        print(
            f"{'model':<18}{'minutes':>8}{'seed':>5}{'images seen':>13}{'bits/dim':>18}{'Frechet':>14}{'precision':>11}"
        )
        for model, seed in itertools.product(arguments.models, arguments.seeds):
            made = {row.minutes: row for row in rows if (row.model, row.seed) == (model, seed)}
            for minutes in arguments.minutes:
                if minutes in made:
                    print(made[minutes])
            missing = [minutes for minutes in arguments.minutes if minutes not in made]
            for minutes, run, num_seen in trained(model, missing, seed, dataset, device, arguments) if missing else ():
                figures = judged(run, dataset, judge, arguments.test)
                row = Row(model, minutes, seed, num_seen, **figures, processor=machine)
                rows.append(row)
                with log.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                print(row, flush=True)
    if arguments.plot is not None:
        plot(rows, arguments.plot)


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    model: str
    minutes: float
    seed: int
    examples_seen: int
    bits: float
    bits_error: float
    frechet: float
    frechet_error: float
    precision: float
    processor: str

    def __str__(self) -> str:
        bits, frechet = figure_text(self.bits, self.bits_error), figure_text(self.frechet, self.frechet_error)
        which = f"{self.model:<18}{self.minutes:>8g}{self.seed:>5}{self.examples_seen:>13,}"
        return f"{which}{bits:>18}{frechet:>14}{self.precision:>11.3f}"


def judged(run: Run, dataset: lb.Dataset, judge: Judge, num_test: int) -> dict[str, float]:
    """Both figures."""
    samples, _ = draw(for_samples(run), dataset, len(judge.held_out), run.diffusion.plan(*SAMPLER))
    quality = judge.quality(dataset.spec.encoding.encode(samples))
    scores = lb.score(run, dataset.examples[dataset.some("test", num_test)], lb.Effort(num_draws=16))
    bits, error = lb.mean_and_error(torch.from_numpy(scores.bits_per_dim))
    return {
        "bits": float(bits),
        "bits_error": float(error),
        "frechet": quality.frechet.value,
        "frechet_error": quality.frechet.error,
        "precision": quality.precision.value,
    }


def trained(
    model: str,
    marks: Sequence[float],
    seed: int,
    dataset: lb.Dataset,
    device: torch.device,
    arguments: argparse.Namespace,
) -> Iterator[tuple[float, Run, int]]:
    """The model after each of so many minutes, and how many images its steps have seen by then: of one training where its
    rate does not depend on their end, and otherwise of one for each."""
    if model == "ours":
        for minutes in marks:
            out = arguments.out / f"ours-{minutes:g}-{seed}"
            yield minutes, *ours(dataset, minutes, seed, out, arguments)
    else:
        peer, size = PEERS[model], (arguments.channels, arguments.batch_size)
        for each in [[minutes] for minutes in marks] if peer.falls else [sorted(marks)]:
            for minutes, denoiser, num_seen in train(peer, dataset, *size, each, seed, device, arguments.precision):
                yield minutes, as_run(denoiser, dataset, arguments.out), num_seen


def ours(dataset: lb.Dataset, minutes: float, seed: int, out: Path, arguments: argparse.Namespace) -> tuple[Run, int]:
    """The recipe's run, and how many images its steps saw."""
    config = fitted(lb.recipe(dataset, minutes=minutes), dataset, arguments.device)
    config = replace(config, training=replace(config.training, seed=seed, compile=arguments.compile))
    lb.train(config, dataset, out, device=arguments.device, say=lambda line: None, show_progress=False)
    run = lb.open_run(out, arguments.device)
    last = run.folder.read_log()[-1]["step"]
    return run, last * config.training.batch_size


def as_run(denoiser: Denoiser, dataset: lb.Dataset, out: Path) -> Run:
    """A denoiser in the place of a run's."""
    return Run(RunFolder(out), lb.recipe(dataset), dataset.spec, lb.Diffusion(denoiser, lb.LevelPosterior(256)), {})


def plot(rows: list[Row], path: Path) -> None:
    """Both figures over the minutes, on logarithmic axes: medians over seeds, and from the lowest to the highest of them."""
    figure = Figure((11, 3.6), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2), ("bits", "frechet"), ("bits/dim (test, bound)", "Fréchet distance"), strict=True
    ):
        for model in sorted({row.model for row in rows}, key=lambda model: (model != "ours", model)):
            minutes = sorted({row.minutes for row in rows if row.model == model})
            found = [
                [getattr(row, name) for row in rows if (row.model, row.minutes) == (model, each)] for each in minutes
            ]
            medians, width = [statistics.median(values) for values in found], 2.5 if model == "ours" else 1.2
            (line,) = axes.loglog(minutes, medians, "o-", label=model, linewidth=width)
            lows, highs = ([pick(values) for values in found] for pick in (min, max))
            axes.vlines(minutes, lows, highs, color=line.get_color(), linewidth=width)
        axes.set(xlabel="minutes of one thread", ylabel=label)
        axes.set_xticks(ticks := sorted({row.minutes for row in rows}), [f"{each:g}" for each in ticks])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3, which="both")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
