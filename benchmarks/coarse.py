"""The coarse of two networks by itself: which one denoises best after so many minutes of one thread's processor time.

    OMP_NUM_THREADS=1 python benchmarks/coarse.py mnist --minutes 4 --networks 48:1,2:1 48:1,1:2

Each network, WIDTH:MULTIPLIERS:BLOCKS, takes nearly all of each batch of a training by the recipe, mixture and weighting
included; the fine one is as small as can be. What is told are squared errors of a validation image, all its entries
together, of the averaged weights, by gamma.
"""

import re
from dataclasses import dataclass, replace

import torch
import tyro
from ledger import processor_time

import lowerbound as lb
from lowerbound.training import Config
from lowerbound.training.trainer import TRAINING_SHARE, Trainer

GAMMAS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
MARKS = (0.25, 0.5, 0.75, 1.0)
"""The parts of the training after which errors are taken."""
SHARE = 0.97
"""Of each batch, for the coarse network."""


@dataclass(frozen=True)
class Options:
    """Train coarse networks, one after the other."""

    data: tyro.conf.Positional[str]
    networks: tuple[str, ...] = ("48:1,2:1", "48:1,1:2")
    """WIDTH:MULTIPLIERS:BLOCKS of each."""
    minutes: float = 4.0
    """Of each training's steps."""
    seed: int = 0
    examples: int = 1000
    """Validation images."""


def configured(dataset: lb.Dataset, network: str, options: Options) -> Config:
    """The recipe, but for the two networks' sizes and shares."""
    config = lb.recipe(dataset, minutes=options.minutes / TRAINING_SHARE)
    if config.coarse.split is None:
        raise SystemExit(f"{options.data} has one network for all noise by its recipe: give larger images")
    if not (found := re.fullmatch(r"(\d+):(\d+(?:,\d+)*):(\d+)", network)):
        raise SystemExit(f"--networks {network}: give WIDTH:MULTIPLIERS:BLOCKS, such as 48:1,2:1")
    width, multipliers, blocks = found.groups()
    return replace(
        config,
        denoiser=replace(config.denoiser, odds=0, spikes=()),
        network=replace(config.network, width=8, pooled=False, lines=False, values=False),
        coarse=replace(
            config.coarse,
            share=SHARE,
            width=int(width),
            multipliers=tuple(map(int, multipliers.split(","))),
            blocks_per_level=int(blocks),
        ),
        training=replace(config.training, seed=options.seed),
    )


@torch.no_grad()
def errors(trainer: Trainer, x: torch.Tensor) -> list[float]:
    """Squared errors of an image by gamma, of the averaged weights."""
    denoiser, average, stream = trainer.trained, trainer.average, lb.Stream(0)
    average.swap()
    denoiser.eval()
    told = []
    for gamma in GAMMAS:
        level = denoiser.schedule.level_at(gamma)
        x_t = level.alpha * x + level.sigma * stream.normal(x)
        guesses = torch.cat([denoiser(part, level).x for part in x_t.split(250)])
        told.append((guesses - x).square().flatten(1).sum(1).mean().item())
    denoiser.train()
    average.swap()
    return told


def main(options: Options) -> None:
    dataset = lb.open_dataset(options.data)
    x = dataset.encoded(dataset.some("validation", options.examples))
    print(f"{'network':<14}{'seconds':>8}{'steps':>7}" + "".join(f"{gamma:>9g}" for gamma in GAMMAS))
    with processor_time():
        for network in options.networks:
            trainer = Trainer(configured(dataset, network, options), dataset)
            trainer.model.train()
            trainer.fit_below()
            num_told = 0
            for record in trainer.records():
                if (num_reached := sum(trainer.progress >= mark for mark in MARKS)) > num_told:
                    num_told = num_reached
                    figures = "".join(f"{error:9.2f}" for error in errors(trainer, x))
                    print(f"{network:<14}{record.seconds:8.0f}{record.step:7d}{figures}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
