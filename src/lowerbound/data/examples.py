"""Examples as they are stored, before an encoding is fitted or a split made: one is enough."""

from dataclasses import dataclass, field

import numpy as np

from lowerbound.brief import Brief
from lowerbound.data.dataset import SPLITS, Dataset, assemble, complete_splits
from lowerbound.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Examples(Brief):
    """What a source holds.

    Arguments:
        name: the source.
        values: as stored, (N, *shape), channels first.
        layout: the order of axes that they came in.
        splits: indices by the names of `SPLITS`, as far as the source itself has them.
        labels: (N,) class indices, or None.
        class_names: a name for each class.
        conditions: (N, F) float32 vectors, or None.
        files: of a folder, each example's path in it, fit to be printed; empty otherwise.
        otherwise: if the layout was guessed and could be another, how they are read and how to have the other.
    """

    name: str
    values: np.ndarray
    layout: str
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    conditions: np.ndarray | None = None
    files: tuple[str, ...] = ()
    otherwise: str = ""

    @classmethod
    def of(cls, dataset: Dataset) -> "Examples":
        """The examples of a data set, with the splits that it has."""
        return cls(
            name=dataset.spec.name,
            values=dataset.examples,
            layout=dataset.spec.layout,
            splits={split: dataset.indices(split) for split in SPLITS},
            labels=dataset.labels,
            class_names=dataset.spec.class_names,
            conditions=dataset.conditions,
        )

    def dataset(self, num_levels: int | None = None) -> Dataset:
        """The data set to train on: its encoding fitted, missing splits made (see `assemble`)."""
        return assemble(
            self.name,
            self.values,
            layout=self.layout,
            splits=self.splits,
            num_levels=num_levels,
            labels=self.labels,
            class_names=self.class_names,
            conditions=self.conditions,
            otherwise=self.otherwise,
        )

    def indices(self, split: str | None = None) -> np.ndarray:
        """All indices, or those of a split as training makes it.

        Raises:
            InputError: if there are none.
        """
        num_examples = len(self.values)
        indices = np.arange(num_examples) if split is None else complete_splits(self.splits, num_examples)[split]
        if not len(indices):
            raise InputError(f"{self.name} has no examples{'' if split is None else f' in its {split} split'}")
        return indices
