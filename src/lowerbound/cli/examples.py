"""The examples that a verb is given, read as the data of its run are."""

import numpy as np
from torch import Tensor

from lowerbound.data import Examples, read_examples
from lowerbound.errors import InputError
from lowerbound.run import Run
from lowerbound.run.examples import conditions


def read_for(run: Run, source: str, split: str | None) -> tuple[Examples, np.ndarray]:
    """What a source holds, and the numbers of the examples of a split of it; of all of them if None."""
    data = run.config.data
    examples = read_examples(
        source, layout=run.spec.layout, image_size=data.image_size, skip_bad_files=data.skip_bad_files
    )
    return examples, examples.indices(split)


def conditions_of(run: Run, examples: Examples, indices: np.ndarray, label: str | None) -> Tensor | None:
    """A condition for each example: its own where there is one, or one class for all.

    Raises:
        InputError: if the run takes no labels, or does not know the class.
    """
    if label is None:
        return conditions(run, examples, indices)
    if not run.config.data.conditional or run.spec.num_condition_features:
        raise InputError(
            f"--label {label}: the run in {run.folder.path} takes no labels: train with --conditional on labelled data"
        )
    return run.labels([label]).expand(len(indices))
