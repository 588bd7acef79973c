"""The baselines on held-out data, beside which a model stands."""

from dataclasses import dataclass

from lowerbound.baselines import Baseline, baselines, flat
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures


@dataclass(frozen=True)
class Baselines(Figures):
    """The yardsticks of a data set, in order of capacity."""

    found: tuple[Baseline, ...]

    def __post_init__(self) -> None:
        if not self.found:
            raise InputError("no baseline")

    @property
    def best(self) -> Baseline:
        """The one that needs the fewest bits."""
        return min(self.found, key=lambda each: each.bits_per_dim)


def held_out_baselines(dataset: Dataset, num_examples: int | None = None) -> Baselines:
    """Every yardstick of a data set that it allows.

    Arguments:
        dataset: the data.
        num_examples: of the test split, from its start; all by default.

    Raises:
        InputError: as `baselines`.
    """
    splits = (flat(dataset, indices) for indices in (dataset.train, dataset.validation, dataset.test[:num_examples]))
    return Baselines(tuple(baselines(*splits, num_levels=dataset.spec.encoding.num_levels)))
