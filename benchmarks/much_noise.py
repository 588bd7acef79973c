"""Where samples of images go wrong: what is lost on the way from each noise level on, and who denoises best there.

Held-out images under noise of a level are denoised in the run's own steps and judged like samples: what those of one level
lose beside those of a lower one is lost in between. Beside it stand the squared errors of an image that the run's denoiser
makes, the mixture of principal components that a coarse network stands upon, and one Gaussian with all of the covariance.

    python benchmarks/much_noise.py runs/mnist
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro

import lowerbound as lb
from lowerbound.denoiser import FittedSubspace
from lowerbound.evaluate.features import feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge
from lowerbound.run import Run
from lowerbound.samplers import sample
from lowerbound.schedule import Level
from lowerbound.training.config import CoarseConfig
from lowerbound.training.recipes import COARSE_COMPONENTS, FURTHER_AXES
from lowerbound.training.subspaces import MOST_EXAMPLES, fit_subspace

GAMMAS = (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0)


@torch.no_grad()
def restored(run: Run, x: torch.Tensor, level: Level) -> np.ndarray:
    """Images under noise of a level, which the run takes away in those of its steps that are below it."""
    plan = run.model.plan()
    times = torch.cat([plan.times.new_tensor([level.t]), plan.times[plan.times < level.t - 1e-3]])
    parts = []
    for first in range(0, len(x), 100):
        part = x[first : first + 100]
        noise = lb.PerSample(range(first, first + len(part)))
        x_t = level.alpha * part + level.sigma * noise.normal(part)
        parts.append(run.decode(sample(run.denoiser, plan.sampler, x_t, times, noise)))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Options:
    """Restore images from noise, and denoise them by a mixture and a Gaussian too."""

    run: tyro.conf.Positional[str]
    examples: int = 1000
    """Held-out images that are restored."""


def main(options: Options) -> None:
    run = lb.open_run(options.run)
    schedule, dataset = run.denoiser.schedule, run.open_dataset()
    space = feature_space(dataset, feature_classifier(dataset, run.folder.path))
    judge = Judge.of(dataset, space, options.examples)
    x = dataset.encoded(dataset.some("validation", options.examples))
    train = dataset.encoded(dataset.some("train", MOST_EXAMPLES)).flatten(1).double()
    size = CoarseConfig.axes, COARSE_COMPONENTS, FURTHER_AXES
    subspace = FittedSubspace(train.shape[1], *size).fit(*fit_subspace(dataset, *size, seed=0)).eval()
    gaussian = lb.Gaussian(train.mean(0), torch.cov(train.T) + 1e-4 * torch.eye(train.shape[1]), schedule)
    print(f"{judge.space}; the images themselves: Frechet distance {judge.quality(x).frechet}")
    print(f"{'gamma':>6} {'Frechet distance':>18} {'precision':>16} {'run':>8} {'mixture':>8} {'Gaussian':>8}")
    for gamma in GAMMAS:
        level = schedule.level_at(gamma)
        quality = judge.quality(dataset.spec.encoding.encode(restored(run, x, level)))
        x_t = level.alpha * x + level.sigma * lb.Stream(0).normal(x)
        with torch.no_grad():
            flat = gaussian(x_t.flatten(1).double(), level).x.reshape(x.shape)
            guesses = run.denoiser(x_t, level).x, subspace.x(x_t, level), flat
        errors = [((guess - x) ** 2).flatten(1).sum(1).mean().item() for guess in guesses]
        figures = " ".join(f"{error:8.2f}" for error in errors)
        print(f"{gamma:6g} {quality.frechet!s:>18} {quality.precision!s:>16} {figures}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
