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
    evaluation_folder,
    keep_files,
    model_hash,
    read_evaluation,
    write_evaluation,
)
from lowerbound.evaluate.likelihood_parts import likelihood_parts
from lowerbound.evaluate.other import folder_name
from lowerbound.evaluate.part import Pace, Part, Progress, Stage
from lowerbound.evaluate.sample_parts import sample_parts
from lowerbound.evaluate.settings import Settings
from lowerbound.evaluate.subject import Subject
from lowerbound.evaluate.trade_off import check_conditional
from lowerbound.run import Run
from lowerbound.training.parallel.processes import ALONE, LostProcessError, Processes

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
    processes: Processes = ALONE,
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
        processes: that work together on bound, flow and samples, each with its share, and get the same evaluation; all else
            is found, and everything kept, by the first one.
        follow: told, in the first process, of each part as it begins and as it is there.
        stage: shows progress.

    Raises:
        InputError: for settings that the run can't have, or if no part at all could be found.
    """
    settings = settings or Settings()
    if settings.scales:
        check_conditional(run)
    folder, pace = evaluation_folder(run, None if own else folder_name(dataset)), Pace()
    subject = Subject(run, dataset, settings, folder, own, pace, processes)
    subject.probe()
    parts = {part.name: part for part in (*likelihood_parts(subject), *sample_parts(subject))}
    planned = tuple(name for name in KINDS if name in parts)
    fresh = Evaluation(model_hash(run), run.metadata, dataset.spec.name, dataset.fingerprint(), own, planned, {})
    keys = {name: parts[name].key(fresh.identity) for name in planned}
    # a quick look takes whatever is there of these weights: it is no worse than what it would find
    wanted = {} if settings.anew else dict.fromkeys(keys) if settings.quick else keys
    evaluation = processes.by_first(lambda: _begin(folder, fresh, wanted, in_place=not settings.quick))
    for name in planned:
        part, outcome, seconds = parts[name], evaluation.parts.get(name), None
        if not processes.is_first:
            if outcome is None and part.is_shared:
                _help(part)
            continue
        if outcome is None:
            sharing = processes.count if part.is_shared else 1
            cost = pace.seconds_for(part.cost)
            follow(Begun(part, None if cost is None else cost / sharing))
            began = time.perf_counter()
            with stage(part.title, part.units) as progress:
                outcome = _outcome(part, keys[name], folder, progress, sharing)
            seconds = time.perf_counter() - began
            if outcome.missing is None:
                pace.add(part.cost, seconds * sharing)
            evaluation = evaluation.having(name, outcome)
            write_evaluation(folder, evaluation)
        follow(Done(outcome, seconds))
    return processes.by_first(lambda: _checked(evaluation))


def _checked(evaluation: Evaluation) -> Evaluation:
    """An evaluation in which there is something."""
    if not evaluation.figures:
        reasons = "; ".join(str(outcome.missing) for outcome in evaluation.parts.values())
        raise InputError(f"nothing could be evaluated: {reasons}")
    return evaluation


def _begin(folder: Path, fresh: Evaluation, wanted: Mapping[str, str | None], *, in_place: bool) -> Evaluation:
    """An evaluation with what is kept of before, written down, so that an interruption shows what it lacks.

    Arguments:
        folder: of the evaluation.
        fresh: of this model and these data, with all that is asked for and nothing found.
        wanted: the keys that parts which are kept must have, by name; None: any key.
        in_place: whether what is asked for now takes the place of what was asked for before and is not there yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before = read_evaluation(folder) or fresh
    except InputError:
        before = fresh  # damaged, or of another version: it is written anew
    reused, planned = {}, set(fresh.planned)
    if before.identity == fresh.identity:
        for name, outcome in before.parts.items():
            is_wanted = name not in planned or wanted.get(name, "") in (None, outcome.key)
            if is_wanted and _is_whole(folder, outcome):
                reused[name] = outcome
        planned |= set(reused) if in_place else {*reused, *before.unfinished}
    evaluation = replace(fresh, planned=tuple(name for name in KINDS if name in planned), parts=reused)
    write_evaluation(folder, evaluation)
    for name, outcome in before.parts.items():
        for file in outcome.files if name not in reused else ():
            (folder / file.name).unlink(missing_ok=True)
    return evaluation


def _is_whole(folder: Path, outcome: Outcome) -> bool:
    """Whether a part was found, and its files are there and its own."""
    try:
        return outcome.missing is None and all(file.path(folder) for file in outcome.files)
    except (InputError, OSError):
        return False


def _help(part: Part) -> None:
    """Do this process's share of a part, whose figures are the first one's to keep."""
    if part.missing is not None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            part.compute(Path(scratch), lambda units: None)
        except LostProcessError:
            raise
        except InputError:  # all of them have it, and the first one writes it down
            return


def _outcome(part: Part, key: str, folder: Path, progress: Progress, sharing: int = 1) -> Outcome:
    """What becomes of a part, its files in the evaluation's folder.

    Arguments:
        part: to be found.
        key: by which it is known again.
        folder: of the evaluation.
        progress: shown of all processes.
        sharing: how many processes work on it. Then only a mistake that is common to all of them leaves it out.
    """
    if part.missing is not None:
        return Outcome(key, part.title, missing=part.missing)
    left_out = LEFT_OUT if sharing == 1 else InputError
    with tempfile.TemporaryDirectory() as scratch:
        try:
            figures = part.compute(Path(scratch), lambda units: progress(units * sharing))
        except LostProcessError:
            raise
        except left_out as error:
            return Outcome(key, part.title, missing=str(error) or type(error).__name__)
        return Outcome(key, part.title, figures, files=keep_files(folder, Path(scratch), part.files))
