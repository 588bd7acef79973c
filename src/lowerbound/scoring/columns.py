"""Scores as columns of a table, whose names and types depend on the run and the settings alone, not on the examples."""

import math

import numpy as np

from lowerbound.run import Run
from lowerbound.scoring.bound import Scores, part_names
from lowerbound.scoring.density import CORRECTIONS, DensityScores
from lowerbound.words.counts import counted
from lowerbound.words.rounding import nine_digits


def kind_of(scores: Scores | DensityScores) -> str:
    """What the numbers are and how they were computed, in words."""
    if isinstance(scores, DensityScores):
        return f"{scores.kind}, {scores.settings}"
    return f"{scores.kind}, {counted(scores.num_calls, 'call')}"


def score_columns(run: Run, scores: Scores | DensityScores) -> dict[str, np.ndarray]:
    """The figures of each example by their names, to the digits of single precision, the parts that they were divided in,
    and in words what they are.

    Arguments:
        run: that was scored with.
        scores: of its examples.
    """
    if isinstance(scores, DensityScores):
        names = ("nats", "bits_per_dim", "standard_error", "interval_95", "solver_error", "base_mismatch", "refinement")
        names = (names if len(scores.refinement) else names[:-1]) + CORRECTIONS
        columns = {name: getattr(scores, name) for name in names if getattr(scores, name) is not None}
        columns |= {"calls": scores.num_calls, "flag": np.array(scores.flags)}
    else:
        names = ["nats", "bits_per_dim", "reconstruction", "prior", "diffusion", "diffusion_error", "interval_95"]
        if run.spec.encoding.num_levels is None:
            names.insert(5, "normalisation")
        columns = {name: getattr(scores, name) for name in names}
        parts = scores.entries if scores.bands is None else scores.bands
        if parts is not None:
            divided = parts.reshape(len(parts), math.prod(parts.shape[1:])).T
            columns |= {f"nats[{name}]": column for name, column in zip(part_names(run, scores), divided, strict=True)}
    columns = {name: nine_digits(column) if column.dtype.kind == "f" else column for name, column in columns.items()}
    return {**columns, "kind": np.full(len(scores.nats), kind_of(scores))}
