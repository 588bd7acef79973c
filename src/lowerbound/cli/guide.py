"""What samples are asked for, as options of several verbs: conditions, and guidance towards them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Reading
from lowerbound.data.tables.condition_vectors import condition_values
from lowerbound.errors import InputError, flag
from lowerbound.guidance import AutoGuidance, ClassifierFree, ClassifierGuidance
from lowerbound.run import Run, check_levels
from lowerbound.run.autoguided import INTERVAL, autoguided, for_samples
from lowerbound.run.classifier import open_classifier
from lowerbound.settings import Everyday

GuidanceKind = Literal["classifier-free", "classifier", "autoguidance"]


@dataclass(frozen=True)
class GuidanceOptions:
    """Guidance settings."""

    guidance: Everyday[float | None] = None
    """The guidance scale: for classifier-free and autoguidance 1 is none; for classifier 0 is none and 1 is Bayes' rule. The
    larger it is, the more typical the samples and the less varied. If not given, images are drawn by autoguidance at 2, all
    else without guidance."""
    guidance_kind: GuidanceKind | None = None
    """The kind of guidance: classifier-free, by the model itself without its condition; classifier, by the run's classifier
    (see `lowerbound classifier`); or autoguidance, away from the model as it was early in its training, which needs no
    condition. If not given, classifier-free where there is a condition, and autoguidance where there is none."""
    guidance_interval: tuple[float, float] | None = None
    """Guide only at noise levels gamma between these two numbers. If not given, autoguidance where the signal is stronger
    than the noise, at gamma below 0, and the other kinds at all levels."""


def guided(run: Run, options: GuidanceOptions, *, conditional: bool) -> Run:
    """The run with its denoiser guided as the options say.

    Arguments:
        run: the model.
        options: the guidance.
        conditional: whether the samples are given conditions.

    Raises:
        InputError: for options without effect, or guidance that lacks something: a condition, a conditional model, a
            classifier, early weights.
    """
    scale, interval = options.guidance, options.guidance_interval
    kind = options.guidance_kind or ("classifier-free" if conditional else "autoguidance")
    if scale is None:
        if options != GuidanceOptions():
            raise InputError("--guidance-kind and --guidance-interval have no effect without --guidance: give a scale")
        check_conditional(run, conditional)
        return for_samples(run)
    check_levels(run, "guidance")
    if kind != "autoguidance" and not conditional:
        check_conditional(run, kind == "classifier-free")
        raise InputError(
            "guidance needs a condition to guide to: give --label or --condition, or --guidance-kind autoguidance"
        )
    if kind == "classifier":
        if run.spec.vectors is not None and run.config.data.conditional:
            raise InputError("a classifier guides to labels, and this run takes condition vectors: use classifier-free")
        return run.around(ClassifierGuidance(run.denoiser, open_classifier(run), scale, interval))
    check_conditional(run, conditional)
    if kind == "classifier-free":
        return run.around(ClassifierFree(run.denoiser, scale, interval))
    return run if scale == AutoGuidance.neutral else autoguided(run, scale, interval or INTERVAL)


def check_conditional(run: Run, conditional: bool) -> None:
    """Refuse a condition for a model that takes none, by an InputError."""
    if conditional and not run.config.data.conditional:
        remedy = " or, as its data have labels, use --guidance-kind classifier" if run.spec.class_names else ""
        raise InputError(
            f"the run in {run.folder.path} was trained without conditions: train with --conditional on labelled data{remedy}"
        )


def conditions(
    run: Run, labels: tuple[str, ...], file: Path | None, num_samples: int, reading: Reading | None = None
) -> tuple[Tensor | None, np.ndarray | None]:
    """A condition for each sample, from class names or a file, repeated in their order, and the rows of the columns that it
    is made of, of a run that has such; None if neither is given.

    Raises:
        InputError: if both are given, or are not what the run takes, or `reading`, what is said of the file, has no effect.
    """
    if file is None and reading is not None and reading.changed:
        raise InputError(
            f"{flag(next(iter(reading.changed)))} has no effect without --condition: it says how that is read"
        )
    if labels and file is not None:
        raise InputError("--label and --condition were both given: give one of the two")
    if not labels and file is None:
        return None, None
    values = np.array(labels, dtype=np.str_) if file is None else run.read_conditions(file, reading)
    cond = run.given(values, "" if file is None else f"{file}: ")
    numbers, columns = np.arange(num_samples) % len(cond), run.spec.condition_columns
    rows = condition_values(cond.numpy() if cond.ndim == 1 else values, columns)[numbers] if columns else None
    return cond[torch.from_numpy(numbers)], rows
