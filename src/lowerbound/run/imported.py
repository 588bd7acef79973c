"""A model that was trained elsewhere, by another library or this one, as a run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lowerbound.data import DataConfig, DataSpec, Levels, open_dataset
from lowerbound.errors import InputError
from lowerbound.files.weights import weights_file
from lowerbound.files.whole import check_new, new_folder, write_file
from lowerbound.imports import open_denoiser, stated
from lowerbound.imports.diffusers import weights_in
from lowerbound.imports.files import read_object, read_tensors
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.run.card import copy_model
from lowerbound.run.opened import open_run
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder, configuration

PIPELINE_OF_RUN = ["lowerbound.adapters.diffusers", "DenoiserModel"]
"""The network of a pipeline that was made of a run, as its model_index.json names it."""


def import_model(
    folder: Path | str,
    out: Path | str,
    *,
    data: DataConfig | None = None,
    image_size: tuple[int, int] | None = None,
    class_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
) -> RunFolder:
    """Write a run whose model is one of another library's.

    The folder appears whole or not at all.

    Arguments:
        folder: that the other library wrote.
        out: the run folder, which is not there yet or empty.
        data: what the model was trained on, if there is anything to be known of them but their shape; their splits are then
            taken on trust.
        image_size: (H, W), in the place of the model's own; images of folders are brought to it.
        class_names: of its labels; those of the data, or else their numbers, if empty.
        value_range: what black and white are in the model's data, in the place of its family's own.

    Raises:
        InputError: if the model is of no family that is known, damaged, or not of these data.
    """
    run = RunFolder(out)
    check_new(run.path)
    config = replace(data or DataConfig(""), image_size=image_size)
    dataset = None if data is None else open_dataset(config)
    num_levels = 256 if dataset is None else dataset.spec.num_levels
    if num_levels is None:
        raise InputError(f"{config.source} is of floats or a table: the model is of images, whose values are levels")
    denoiser = open_denoiser(folder, image_size=image_size, value_range=value_range, num_levels=num_levels)
    source = denoiser.source
    num_classes = stated(source).subject(image_size).num_classes
    if dataset is None:
        layout = "NHW" if denoiser.shape[0] == 1 else "NHWC"
        spec = DataSpec(Path(folder).expanduser().resolve().name, denoiser.shape, Levels(num_levels), layout)
    else:
        spec = replace(dataset.spec, fingerprint=dataset.fingerprint())
        if spec.shape != denoiser.shape:
            raise InputError(
                f"the examples of {spec.name} have the shape {spec.shape}, the model's {denoiser.shape}: give other data, "
                "or image_size for images of folders"
            )
    if num_classes or class_names:
        spec = replace(spec, class_names=_class_names(num_classes, class_names, spec))
    _try(denoiser, num_classes, folder)
    with new_folder(run.path) as unfinished:
        written = RunFolder(unfinished)
        written.samples.mkdir()
        metadata = {"weights": f"imported from {source.family}"}
        write_file(written.model, weights_file(dict(denoiser.named_parameters()), metadata))
        written.write_config(Config(replace(config, conditional=num_classes > 0), imported=source), spec)
    return run


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run of this program, be it as a pipeline of diffusers, and no model of another library.

    Raises:
        InputError: if its config.json, be it whose it may, is damaged.
    """
    config = RunFolder(folder).config
    return (config.is_file() and "schema_version" in read_object(config)) or _is_pipeline(folder)


def import_run(folder: Path | str, out: Path | str) -> RunFolder:
    """Copy what a run is used by, its configuration and its weights, and open it.

    Arguments:
        folder: of the run, or of the pipeline that `adapters.diffusers.export_diffusers` made of it.
        out: the run folder, which is not there yet or empty.

    Raises:
        InputError: if there is no run, it is damaged, or there is no place for the copy.
    """
    folder, run = Path(folder).expanduser(), RunFolder(out)
    with new_folder(run.path) as unfinished:
        if _is_pipeline(folder):
            _unpack(folder / "unet", RunFolder(unfinished))
        else:
            copy_model(open_run(folder).folder, unfinished)
    return run


def _is_pipeline(folder: Path) -> bool:
    """Whether a folder holds a pipeline whose network is a run's."""
    index = folder / "model_index.json"
    return index.is_file() and read_object(index).get("unet") == PIPELINE_OF_RUN


def _unpack(network: Path, run: RunFolder) -> None:
    """Make a run of the network of a pipeline, which holds both its configuration and its weights."""
    settings, weights, prefix = read_object(network / "config.json"), weights_in(network), "denoiser."
    configuration(settings.get("run"), str(network / "config.json"))
    tensors = {name.removeprefix(prefix): tensor for name, tensor in read_tensors(weights).items()}
    write_file(run.config, (json.dumps(settings["run"], indent=2) + "\n").encode())
    # trained further there, they would no longer have the figures that were measured of them
    write_file(run.model, weights_file(tensors, {"weights": "of a pipeline of diffusers"}))
    try:
        open_run(run.path)
    except InputError as error:
        raise InputError(str(error).replace(str(run.model), str(weights))) from error


def _class_names(num_classes: int, stated: Sequence[str], spec: DataSpec) -> tuple[str, ...]:
    """A name for each of a model's classes."""
    names = tuple(stated) or spec.class_names or tuple(map(str, range(num_classes)))
    if len(names) != num_classes or len(set(names)) != len(names):
        whose = "were given" if stated else f"are in {spec.name}"
        raise InputError(
            f"the model knows {num_classes} classes, and {len(names)} names {whose}: give class_names, one for each and all "
            "different"
        )
    return names


def _try(denoiser: ForeignDenoiser, num_classes: int, folder: Path | str) -> None:
    """Call a model once, on nothing but zeros at the middle level.

    Raises:
        InputError: if it can't be, or returns no numbers.
    """
    cond = torch.zeros(1, dtype=torch.int64) if num_classes else None
    try:
        with torch.no_grad():
            x = denoiser(torch.zeros(1, *denoiser.shape), 0.5, cond).x
    except InputError:
        raise
    except Exception as error:  # of the other library's, for an image that its network has no place for
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the network in {folder} fails on an image of shape {denoiser.shape} ({reason}): give another image_size"
        ) from error
    if not bool(torch.isfinite(x).all()):
        raise InputError(f"the network in {folder} gave NaN or infinity for an image of zeros")
