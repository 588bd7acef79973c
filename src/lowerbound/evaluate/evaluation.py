"""The evaluation of a run: part by part, each printed and kept as soon as it is known, in the run's own folder."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.folder import (
    KINDS,
    Evaluation,
    Outcome,
    drop_files,
    evaluation_folder,
    keep_files,
    model_hash,
    read_evaluation,
    write_evaluation,
)
from lowerbound.evaluate.likelihood_parts import likelihood_parts
from lowerbound.evaluate.other import folder_name
from lowerbound.evaluate.part import Pace, Part, Stage
from lowerbound.evaluate.sample_parts import SampleParts
from lowerbound.evaluate.settings import Settings
from lowerbound.evaluate.subject import Subject
from lowerbound.run import Run

LEFT_OUT = (InputError, MemoryError, torch.OutOfMemoryError, np.linalg.LinAlgError)
"""What a part may fail by without taking the others along."""


@dataclass(frozen=True)
class Begun:
    """A part is about to be found.

    Arguments:
        part: it.
        seconds: about how many it will take, where that is known.
    """

    part: Part
    seconds: float | None


@dataclass(frozen=True)
class Done:
    """A part is there.

    Arguments:
        outcome: of it.
        seconds: that it took; None: it was kept from before.
    """

    outcome: Outcome
    seconds: float | None


def evaluate(
    run: Run,
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    own: bool = True,
    anew: bool = False,
    follow: Callable[[Begun | Done], object] = lambda event: None,
    stage: Stage = lambda name, total: nullcontext(lambda units: None),
) -> Evaluation:
    """Evaluate a run on the test split of its data, or on all of other data, and keep what is found in its folder.

    A part that is there already, of the same weights, data and settings, is not found again.

    Arguments:
        run: the model.
        dataset: its data, or others of the same kind.
        settings: what is asked for.
        own: whether the data are its own.
        anew: find all parts again.
        follow: told of each part as it begins and as it is there.
        stage: shows progress.

    Raises:
        InputError: for settings that the run can't have, or if no part at all could be found.
    """
    settings = settings or Settings()
    if settings.scales and not run.config.data.conditional:
        raise InputError(f"guidance needs a condition: the run in {run.folder.path} has none; train with --conditional")
    folder, pace = evaluation_folder(run, None if own else folder_name(dataset)), Pace()
    subject = Subject(run, dataset, settings, folder, own, pace)
    subject.probe()
    order = list(KINDS)
    parts = sorted([*likelihood_parts(subject), *SampleParts(subject)], key=lambda part: order.index(part.name))
    folder.mkdir(parents=True, exist_ok=True)
    planned = tuple(part.name for part in parts)
    evaluation = Evaluation(model_hash(run), run.metadata, dataset.spec.name, dataset.fingerprint(), own, planned)
    keys = {part.name: part.key(evaluation.identity) for part in parts}
    # a quick look takes whatever is there of these weights: it is no worse than what it would find
    wanted = {} if anew else dict.fromkeys(keys) if settings.quick else keys
    evaluation = _begin(folder, evaluation, wanted, in_place=not settings.quick)
    for part in parts:
        outcome, took = evaluation.parts.get(part.name), None
        if outcome is None:
            follow(Begun(part, pace.seconds_for(part.cost)))
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as drawn, stage(part.title, part.units) as progress:
                outcome = _outcome(part, keys[part.name], Path(drawn), progress)
                took = time.perf_counter() - began
                if outcome.missing is None:
                    outcome = replace(outcome, files=keep_files(folder, Path(drawn), part.files))
                    pace.add(part.cost, took)
            evaluation = evaluation.having(part.name, outcome)
            write_evaluation(folder, evaluation)
        follow(Done(outcome, took))
    if not evaluation.figures:
        raise InputError(
            "nothing could be evaluated: " + "; ".join(str(each.missing) for each in evaluation.parts.values())
        )
    return evaluation


def _begin(folder: Path, fresh: Evaluation, wanted: Mapping[str, str | None], *, in_place: bool) -> Evaluation:
    """An evaluation with what is kept of before, written down, so that an interruption shows what it lacks.

    Arguments:
        folder: of the evaluation.
        fresh: of this model and these data, with all that is asked for and nothing found.
        wanted: the keys that parts which are kept must have, by name; None: any key.
        in_place: whether what is asked for now takes the place of what was asked for before and is not there yet.
    """
    try:
        before = read_evaluation(folder) or fresh
    except InputError:
        before = fresh  # damaged, or of another version: it is written anew
    kept, planned = {}, set(fresh.planned)
    if before.identity == fresh.identity:
        kept = {
            name: outcome
            for name, outcome in before.parts.items()
            if (name not in planned or wanted.get(name, "") in (None, outcome.key)) and _is_whole(folder, outcome)
        }
        planned |= set(kept) if in_place else {*kept, *before.unfinished}
    found = replace(fresh, planned=tuple(name for name in KINDS if name in planned), parts=kept)
    write_evaluation(folder, found)
    drop_files(folder, (file for name, outcome in before.parts.items() if name not in kept for file in outcome.files))
    return found


def _is_whole(folder: Path, outcome: Outcome) -> bool:
    """Whether a part was found, and its files are there and its own."""
    if outcome.missing is not None:
        return False
    try:
        return all(file.path(folder) for file in outcome.files)
    except (InputError, OSError):
        return False


def _outcome(part: Part, key: str, drawn: Path, progress: Callable[[int], object]) -> Outcome:
    """What becomes of a part."""
    if part.missing is not None:
        return Outcome(key, part.title, missing=part.missing)
    try:
        return Outcome(key, part.title, part.compute(drawn, progress))
    except LEFT_OUT as error:
        return Outcome(key, part.title, missing=str(error) or type(error).__name__)
