"""`lowerbound train DATA`: train a model, or go on with a run."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import tyro

from lowerbound.cli.device import DeviceName
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import ProcessesOption, check_counts, parse
from lowerbound.cli.together import join
from lowerbound.data import NAMED, DataConfig, Dataset, describe, is_path, open_dataset
from lowerbound.errors import InputError
from lowerbound.machine.device import peak_memory
from lowerbound.run.overview import Overview, overview
from lowerbound.settings import Everyday
from lowerbound.training import recipe, train
from lowerbound.training.build import build_model
from lowerbound.training.config import (
    CoarseConfig,
    Config,
    DecoderConfig,
    DenoiserConfig,
    ModelConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainingConfig,
)
from lowerbound.training.cost import step_cost
from lowerbound.training.fit import fitted
from lowerbound.training.folder import RunFolder
from lowerbound.training.reasons import reasons
from lowerbound.training.resume import check_own, check_settings
from lowerbound.training.trackers import TrackerName
from lowerbound.training.trainer import Trainer
from lowerbound.words.counts import counted

DEFAULT_MINUTES = 10.0
SECTIONS = tuple(field.name for field in dataclasses.fields(Config) if field.name != "imported")
"""Of the configuration, each of which is an option with options of its own."""
Section = TypeVar("Section", CoarseConfig, DenoiserConfig, ModelConfig)


@dataclass(frozen=True)
class Options:
    """Train a diffusion model, or another with --model, on DATA, or go on with the run in its folder.

    DATA is digits, mnist, binary-mnist, moons, swiss-roll, checkerboard, mixture, hf:NAME, a folder or
    an archive of images, a table (.csv, .txt, .parquet, ...), or an .npy, .npz, TIFF, NetCDF or Zarr file.
    What is not given is chosen to suit the data; --dry-run shows it.

    Example: lowerbound train digits --minutes 3 --out runs/digits
    """

    data: tyro.conf.OmitArgPrefixes[DataConfig]
    out: Annotated[Everyday[Path | None], tyro.conf.arg(aliases=["-o"])] = None
    """The run folder; runs/NAME if not given, beside DATA if that is the folder that you are in."""
    device: Everyday[DeviceName] = "auto"
    processes: ProcessesOption = 1
    restart: bool = False
    """Set aside what the run in its folder has learned, and begin it again at step 0."""
    fall_back: bool = False
    """If the newest checkpoint is damaged, go on from the one before it; the damaged one is renamed."""
    track: TrackerName | None = None
    """Send the log's figures to TensorBoard, MLflow or Weights & Biases as well; TensorBoard's are in RUN/tensorboard."""
    dry_run: Everyday[bool] = False
    """Show the data, the configuration, the size of the network and the cost of a step, and stop."""
    json: JsonOption = False
    model: ModelConfig = field(default_factory=ModelConfig)
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = field(default_factory=TrainingConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    coarse: CoarseConfig = field(default_factory=CoarseConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


def main(arguments: list[str]) -> Overview | dict[str, Any] | None:
    """Run the verb."""
    options = parse(Options, "train", arguments)
    check_counts(options, "processes")
    processes, device = join("train", options.processes, arguments, options.device)
    say = print if processes.is_first else lambda line: None
    dataset = open_dataset(options.data)
    out = run_folder(options.data.source, options.out)
    RunFolder(out).check()
    say(describe(dataset))
    advised = processes.by_first(lambda: _advised(options, dataset, out, device))
    # the same arguments again, over what is advised for these data
    sections: dict[str, Any] = {name: getattr(advised, name) for name in SECTIONS}
    untimed = dataclasses.replace(advised.training, minutes=None, steps=None)
    options = parse(Options, "train", arguments, Options(**(sections | {"training": untimed})))
    settings = options.training
    if settings.steps is None and settings.minutes is None:
        settings = dataclasses.replace(settings, minutes=advised.training.minutes, steps=advised.training.steps)
    sections = _with_effect(options, advised)
    config = Config(**(sections | {"data": located(options.data), "training": settings}))
    if options.dry_run:
        return _show(config, dataset, out, str(device)) if processes.is_first else None
    if (folder := RunFolder(out)).exists:
        processes.by_first(lambda: check_settings(folder, config))  # before the run is spoken of
    together = f", {processes.count} processes" if processes.count > 1 else ""
    model, training = reasons(config)
    say(f"model     {model}\ntrained   {training}\nrun       {out} on {device}{together}")
    ways = {"restart": options.restart, "fall_back": options.fall_back, "track": options.track}
    folder = train(config, dataset, out, device=device, **ways)
    say(f"done: {folder.model}\nnext: lowerbound evaluate {out}")
    return overview(folder.path) if processes.is_first else None


def _with_effect(options: Options, advised: Config) -> dict[str, Any]:
    """The sections of a configuration, without what was advised for something that another choice has replaced."""
    sections: dict[str, Any] = {name: getattr(options, name) for name in SECTIONS}
    if options.coarse.split is None or options.denoiser.variance == "learned":
        sections["coarse"] = _as_given(options.coarse, advised.coarse, vars(advised.coarse))
    if options.denoiser.target != advised.denoiser.target:
        sections["denoiser"] = _as_given(
            options.denoiser, advised.denoiser, ("components", "factors", "spread", "odds")
        )
    elif options.denoiser.components != advised.denoiser.components:
        sections["denoiser"] = _as_given(options.denoiser, advised.denoiser, ("factors",))
    if options.model.decoder not in (advised.model.decoder, "categorical"):
        sections["model"] = _as_given(options.model, advised.model, ("odds",))
    return sections


def _as_given(settings: Section, advised: Section, names: Iterable[str]) -> Section:
    """Settings without those of some names that were advised and not given: of what has been replaced."""
    defaults = type(settings)()
    unasked = {name: getattr(defaults, name) for name in names if getattr(settings, name) == getattr(advised, name)}
    return dataclasses.replace(settings, **unasked)


def run_folder(source: str, out: Path | None) -> Path:
    """Where a run of these data goes: where it was asked to, or runs/NAME, here or, if here is inside the data, beside them.

    Raises:
        InputError: if it was asked to go inside a folder of data, to whose examples its pictures would belong the next time.
    """
    data = Path(source).expanduser().resolve()
    is_folder = source not in NAMED and data.is_dir()
    if out is None:
        out = Path("runs") / ((data.name if is_folder else data.stem) or "data")
        if is_folder and _is_inside(out, data):
            out = data.parent / out
    if is_folder and _is_inside(out, data):
        raise InputError(
            f"the run folder {out} would lie inside the data, {data}, and its pictures be taken for examples: choose one "
            "outside with --out"
        )
    return out


def _is_inside(path: Path, folder: Path) -> bool:
    return path.expanduser().resolve().is_relative_to(folder)


def _advised(options: Options, dataset: Dataset, out: Path, device: torch.device) -> Config:
    """The settings of the run that is there, or the recipe for the data, made to fit the minutes on this machine."""
    folder = RunFolder(out)
    kind = None if options.network.kind == NetworkConfig.kind else options.network.kind
    if folder.exists:
        config, _ = folder.read_config()
        check_own(folder, config)
        if config.model.name == options.model.name and kind in (None, config.network.kind):
            return dataclasses.replace(config, data=options.data)
    minutes = options.training.minutes or DEFAULT_MINUTES
    advised = recipe(dataset, options.data, minutes, options.model.name, options.training.purpose, kind)
    if options.training.steps is not None:
        return advised
    return fitted(advised, dataset, device, say=print)


def located(data: DataConfig) -> DataConfig:
    """The same with a whole path, so that a run finds its files again from wherever it is used."""
    source = _whole(data.source) if is_path(data.source) else data.source
    return dataclasses.replace(data, source=source, labels=None if data.labels is None else _whole(data.labels))


def _whole(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _show(config: Config, dataset: Dataset, out: Path, device: str) -> dict[str, Any]:
    """Print the configuration and what a step of it costs, or how large a forest can be."""
    print(f"run       {out} on {device}{' (exists)' if (out / 'config.json').exists() else ''}")
    if config.model.is_grown:
        parameters = sum(p.numel() for p in build_model(config, dataset.spec).trained.parameters())
        print(f"forest    {parameters:,} numbers at most")
        facts = {"num_parameters": parameters}
    else:
        facts = _timed(config, dataset, device)
    print(json.dumps(config.to_dict(), indent=2))
    return {**facts, "config": config.to_dict(), "out": out}


def _timed(config: Config, dataset: Dataset, device: str) -> dict[str, Any]:
    """Print the size of the network, and how long a step takes."""
    trainer = Trainer(config, dataset, device)
    parameters = sum(p.numel() for p in trainer.trained.parameters() if p.requires_grad)
    batch, cost = config.training.batch_size, step_cost(trainer)
    seconds = cost.of(batch)
    print(f"network   {parameters:,} parameters")
    if (components := config.denoiser.components) and dataset.spec.series is not None:
        print("Gaussian  of whole windows, fitted first; the network adds to it")
    elif config.denoiser.factors:
        print(
            f"Gaussian  of at most {counted(config.denoiser.factors, 'factor')}, fitted first; the network adds to it"
        )
    elif components:
        print(f"mixture   of at most {components} components and its tails, fitted first; the network adds to it")
    measured = "" if batch in cost.gradients else f", reckoned from {max(cost.gradients)} of them"
    print(f"cost      {seconds:.3f} s per step of {batch} examples, {batch / seconds:.1f} examples/s{measured}")
    if (memory := peak_memory(trainer.device)) is not None:
        print(f"memory    {memory / 2**30:.2f} GiB of the device's at most")
    return {"num_parameters": parameters, "seconds_per_step": seconds}
