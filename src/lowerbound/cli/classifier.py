"""`lowerbound classifier RUN`: train a classifier of a run's data, at all of its noise levels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowerbound.cli.device import DeviceName
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import ProcessesOption, RunPath, check_counts, minutes_of, parse
from lowerbound.cli.together import join
from lowerbound.run import open_denoiser
from lowerbound.run.classifier import write_classifier
from lowerbound.training.classifier import accuracies, check_labels, train_classifier
from lowerbound.training.stretch import open_workspace
from lowerbound.words.rounding import share_text

DEFAULT_MINUTES = 1.0
RATIOS = {
    "on clean data": 0.0,
    "under noise of a quarter of the data's spread": 0.25,
    "under noise as wide as the data": 1.0,
    "under noise four times as wide": 4.0,
}
"""The noise levels at which its accuracy is told."""


@dataclass(frozen=True)
class Options:
    """Train a classifier of a run's data, clean and at each noise level of its schedule, to guide samples by.

    It learns from the labels of the run's own training data, whether or not the run itself does, and is kept in the run
    folder as classifier.safetensors, its losses beside it as classifier.log.jsonl; `sample --guidance-kind classifier` is
    guided by it. One that is there is replaced. Interrupted, it goes on when the command is repeated.

    Example: lowerbound classifier runs/digits --minutes 1
    """

    run: RunPath
    minutes: float | None = None
    """Train for this many minutes; for one if neither this nor --steps is given."""
    steps: int | None = None
    """Train for this many steps: the same seed and steps give the same classifier."""
    width: int = 32
    """The number of channels of its network at full resolution."""
    seed: int = 0
    """The random seed of initial weights, data order and noise."""
    restart: bool = False
    """Give up what an interrupted training has learned, and begin again."""
    fall_back: bool = False
    """If the newest checkpoint of an interrupted training is damaged, go on from the one before it."""
    processes: ProcessesOption = 1
    device: DeviceName = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any] | None:
    """Run the verb."""
    options = parse(Options, "classifier", arguments)
    minutes = minutes_of(options, "steps", DEFAULT_MINUTES)
    check_counts(options, "width", "processes")
    processes, device = join("classifier", options.processes, arguments, options.device, run=options.run)
    run = open_denoiser(options.run, device)
    dataset = run.open_dataset()
    dataset.spec.check_complete("a classifier")
    labels = check_labels(dataset)
    settings = {
        "gamma_min": run.denoiser.schedule.gamma_min,
        "gamma_max": run.denoiser.schedule.gamma_max,
        "width": options.width,
        "sigma_data": run.config.denoiser.sigma_data,
        "seed": options.seed,
    }
    path = run.folder.path / "classifier.training"
    going_on = {"restart": options.restart, "fall_back": options.fall_back}
    with open_workspace(path, settings, **going_on, processes=processes) as workspace:
        classifier = train_classifier(
            dataset,
            **settings,
            steps=options.steps,
            minutes=minutes,
            device=device,
            workspace=workspace,
            processes=processes,
        )
        if not processes.is_first:
            return None
        spread = dataset.encoded(dataset.some("train", 1000)).std().item()
        measured = accuracies(classifier, dataset, [ratio * spread for ratio in RATIOS.values()])
        print("held-out accuracy:")
        for noise, (share, error) in zip(RATIOS, measured, strict=True):
            print(f"  {share_text(share, error):>14} {noise}")
        commonest = np.bincount(labels[dataset.validation]).max() / len(dataset.validation)
        print(f"  {commonest:>14.1%} by always naming the commonest class")
        clean_accuracy = f"{measured[0][0]:.4f}"
        metadata = {"clean_accuracy": clean_accuracy, "seed": str(options.seed), "steps": str(options.steps)}
        written = write_classifier(run, classifier, options.width, metadata)
        workspace.folder.log.replace(written.with_suffix(".log.jsonl"))
    print(f"classifier: {written}")
    return {"accuracy": dict(zip(RATIOS, measured, strict=True)), "commonest": commonest, "out": written}
