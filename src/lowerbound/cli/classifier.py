"""`lowerbound classifier RUN`: train a classifier of a run's data, at all of its noise levels."""

from dataclasses import dataclass

import torch

from lowerbound.cli.devices import DeviceName, pick_device
from lowerbound.cli.flags import check_counts, check_minutes
from lowerbound.cli.options import RunPath, parse
from lowerbound.errors import InputError
from lowerbound.run import open_denoiser
from lowerbound.run.classifier import write_classifier
from lowerbound.training.classifier import accuracies, check_labels, train_classifier
from lowerbound.training.stretch import open_workspace

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
    device: DeviceName = "auto"


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "classifier", arguments)
    if options.minutes is not None and options.steps is not None:
        raise InputError("--minutes and --steps were both given: give one of the two")
    check_counts(options, "steps", "width")
    check_minutes(options.minutes)
    minutes = DEFAULT_MINUTES if options.minutes is None and options.steps is None else options.minutes
    device = pick_device(options.device)
    model = open_denoiser(options.run, device)
    dataset = model.open_dataset()
    dataset.spec.check_complete("a classifier")
    check_labels(dataset)
    schedule = model.denoiser.schedule
    settings = {
        "gamma_min": schedule.gamma_min,
        "gamma_max": schedule.gamma_max,
        "width": options.width,
        "sigma_data": model.config.denoiser.sigma_data,
        "seed": options.seed,
    }
    path = model.folder.path / "classifier.training"
    with open_workspace(path, settings, restart=options.restart, fall_back=options.fall_back) as workspace:
        classifier = train_classifier(
            dataset, **settings, steps=options.steps, minutes=minutes, device=device, workspace=workspace
        )
        spread = dataset.encoded(dataset.train[:1000]).std().item()
        found = accuracies(classifier, dataset, [ratio * spread for ratio in RATIOS.values()])
        print("held-out accuracy:")
        for words, (share, error) in zip(RATIOS, found, strict=True):
            print(f"  {share:6.1%} ± {error:.1%} {words}")
        most = torch.bincount(torch.from_numpy(check_labels(dataset)[dataset.validation])).max().item()
        print(f"  {most / len(dataset.validation):6.1%} by always naming the commonest class")
        told = {"clean_accuracy": f"{found[0][0]:.4f}", "seed": str(options.seed), "steps": str(options.steps)}
        written = write_classifier(model, classifier, options.width, told)
        workspace.folder.log.replace(written.with_suffix(".log.jsonl"))
    print(f"classifier: {written}")
