"""The nearest neighbours of a few examples among many, which need not fit into memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int, Num

from lowerbound.errors import InputError
from lowerbound.evaluate.quality import blocks

PART_ENTRIES = 1 << 24
"""Of the references, that are looked at together."""
MOST_PRODUCTS = 1 << 40
"""Of queries, references and entries, that a search may take: a minute or so of one core."""
PRODUCTS_OF_A_PAIR = 64
"""That finding the least of many scores is worth, beside those of the entries."""


@runtime_checkable
class Rows(Protocol):
    """Examples in an order, of which parts are taken."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: Any, /) -> Any:
        """Those of a slice, or of an array of indices."""
        ...


@dataclass(frozen=True, eq=False)
class Mapped:
    """What a function makes of examples, where it is asked for.

    Arguments:
        rows: what the function is given parts of.
        function: from a part of them to as many examples.
    """

    rows: Rows
    function: Callable[[Any], Any]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: Any, /) -> Any:
        return self.function(self.rows[part])


def parts_of(rows: Rows, num_entries: int) -> list[slice]:
    """Slices of them, of at most `PART_ENTRIES` entries each, where an example has `num_entries`."""
    size = max(1, PART_ENTRIES // max(1, num_entries))
    return [slice(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]


def most_searched(num_queries: int, num_entries: int) -> int:
    """Of how many references, of so many entries each, the nearest are found in about a minute."""
    return max(1, MOST_PRODUCTS // (num_queries * (num_entries + PRODUCTS_OF_A_PAIR)))


def nearest(
    queries: Num[np.ndarray, "query dim"],
    references: Rows,
    num: int = 1,
    *,
    exclude_self: bool = False,
    among: Bool[np.ndarray, " reference"] | None = None,
) -> tuple[Float64[np.ndarray, "query {num}"], Int[np.ndarray, "query {num}"]]:
    r"""Root mean square differences per dimension to the nearest references, and which these are, the nearest first.

    $(\|x_i - y_j\|^2 / D)^{1/2}$, in the unit of the values. Products of blocks find the neighbours in single precision; the
    distances are then taken from the values themselves, so that an exact copy has distance 0.

    Arguments:
        queries: (N, D).
        references: M examples, of which a slice is an array (m, D).
        num: how many neighbours of each.
        exclude_self: the two are the same array, and no example is its own neighbour.
        among: which references count, (M,); None: all.

    Raises:
        InputError: if there are fewer than `num` references.
    """
    num_references = len(references) if among is None else int(among.sum())
    if not 1 <= num <= num_references - exclude_self:
        raise InputError(
            f"{num} neighbours among {num_references - exclude_self} examples: give from 1 to as many as there are"
        )
    centre = queries.mean(axis=0, dtype=np.float64)
    distances = np.full((len(queries), num), np.inf)
    indices = np.zeros((len(queries), num), dtype=np.int64)
    for part in parts_of(references, queries.shape[1]):
        numbers = np.arange(part.start, part.stop)
        chosen = slice(None) if among is None else among[part]
        numbers, values = numbers[chosen], references[part][chosen]
        if not len(numbers):
            continue
        centred = (values - centre).astype(np.float32)
        squares = np.einsum("nd,nd->n", centred, centred)
        few = min(num, len(numbers))
        for rows in blocks(len(queries), len(numbers)):
            scores = squares - 2 * ((queries[rows] - centre).astype(np.float32) @ centred.T)
            if exclude_self:
                scores[np.arange(rows.start, rows.stop)[:, None] == numbers] = np.inf
            places = np.argpartition(scores, few - 1, axis=1)[:, :few]
            exact_queries = queries[rows].astype(np.float64)
            exact = np.stack([((exact_queries - values[column]) ** 2).mean(axis=1) for column in places.T], axis=1)
            exact[np.isinf(np.take_along_axis(scores, places, axis=1))] = np.inf
            squared = np.concatenate([distances[rows], exact], axis=1)
            order = squared.argsort(axis=1, kind="stable")[:, :num]
            distances[rows] = np.take_along_axis(squared, order, axis=1)
            indices[rows] = np.take_along_axis(np.concatenate([indices[rows], numbers[places]], axis=1), order, axis=1)
    return np.sqrt(distances), indices
