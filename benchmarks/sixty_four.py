"""64 samples as `lowerbound sample` draws them, beside diffusers' DPM-Solver++ in 20 calls: seconds, and how good they are.

    OMP_NUM_THREADS=1 python benchmarks/sixty_four.py runs/mnist

Diffusers' scheduler steps twice: around the run's own denoiser, of a thousand levels of the run's schedule, so that the same
model is drawn from in both ways; and around the network of its training example, whose weights are of no account to the
seconds (how good that example's samples are after a training stands in `time_to_quality.py`). All are timed in turn, round
after round; Frechet distances are of more samples, against training images, as `lowerbound evaluate` has them.

Needs diffusers (`pip install -e '.[bench]'`).
"""

import math
from dataclasses import dataclass

import torch
import tyro
from diffusers import DPMSolverMultistepScheduler
from overhead import median_seconds
from torch import Tensor
from trained_peers import of_diffusers

from lowerbound import Denoiser, Stream, generate, open_run
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge
from lowerbound.machine.processor import processor
from lowerbound.run.autoguided import for_samples
from lowerbound.run.generate import network_calls

SHOWN = 64
NUM_LEVELS = 1000
AT_ONCE = 256
"""Samples of many that their scheduler steps together."""


@dataclass(frozen=True)
class Options:
    """Draw from a run of images in both ways."""

    run: tyro.conf.Positional[str]
    calls: int = 20
    """Of their scheduler."""
    samples: int = 1000
    """Of which each way is judged, at most as many as there are held-out images."""
    channels: int = 32
    """Of their example's network at full resolution."""
    rounds: int = 5


@torch.no_grad()
def theirs(denoiser: Denoiser, num_calls: int, num_samples: int, seed: int = 0) -> Tensor:
    """x, drawn by their scheduler with its own settings, but for the levels and for being told x."""
    levels = denoiser.schedule.levels(torch.linspace(0, 1, NUM_LEVELS, dtype=torch.float64))
    kept = torch.tensor([level.gamma for level in levels], dtype=torch.float64).neg().sigmoid()
    betas = 1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    scheduler = DPMSolverMultistepScheduler(trained_betas=betas.tolist(), prediction_type="sample")
    scheduler.set_timesteps(num_calls)
    x = Stream(seed).normal(torch.empty(num_samples, *denoiser.shape))
    for step in scheduler.timesteps:
        level = levels[int(step)]
        x_t = math.hypot(level.alpha, level.sigma) * x  # theirs preserve the variance, a run's schedule may not
        x = scheduler.step(denoiser(x_t, level).x, step, x).prev_sample
    return x


def main(options: Options) -> None:
    run = open_run(options.run)
    dataset = run.open_dataset()
    guided = for_samples(run)
    example = of_diffusers(dataset.shape, options.channels).eval()
    with network_calls(guided.denoiser) as calls:
        generate(guided, SHOWN)
    ways = {
        f"the run, as drawn by default, {sum(calls) / SHOWN:g} calls": lambda: generate(guided, SHOWN),
        f"the run, DPM-Solver++, {options.calls} calls": lambda: theirs(run.denoiser, options.calls, SHOWN),
        f"their network, DPM-Solver++, {options.calls} calls": lambda: theirs(example, options.calls, SHOWN),
    }
    seconds = median_seconds(ways, 1, options.rounds)

    space = feature_space(dataset, feature_classifier(dataset, run.folder.path))
    judge = Judge.of(dataset, space, options.samples)
    num = len(judge.held_out)
    batches = [theirs(run.denoiser, options.calls, AT_ONCE, seed) for seed in range(-(-num // AT_ONCE))]
    encode = dataset.spec.encoding.encode
    drawn = [encode(generate(guided, num)), encode(run.decode(torch.cat(batches)[:num])), None]
    print(f"{processor()}, {torch.get_num_threads()} threads; {judge.space}")
    print(f"as many held-out images: Frechet distance {judge.floor().frechet}, precision {judge.floor().precision}")
    print(f"{'':<44} {'seconds for 64':>15} {'Frechet distance':>18} {'precision':>17}")
    for name, x in zip(ways, drawn, strict=True):
        figures = ""
        if x is not None:
            quality = judge.quality(x)
            figures = f" {quality.frechet!s:>18} {quality.precision!s:>17}"
        print(f"{name:<44} {seconds[name]:>15.2f}{figures}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
