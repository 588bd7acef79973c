r"""Are samples of vectors like the data? Column by column, pair by pair, as something to learn from, and as a whole.

- **Columns.** The Wasserstein distance of a column's samples to its test values, $\int |F - G| dx$, in standard deviations
  of the column; beside it that of as many training rows to the same test values, which is what chance leaves.
- **Pairs.** The root mean square difference of the columns' rank correlations, beside the same of training rows.
- **Utility.** Each column is predicted from all others by a forest of trees, grown once on samples and once on as many
  training rows, and tested on test rows: the ratio of the mean squares of its errors, averaged over the columns, is 1 for
  samples that teach as much. One column alone, whichever it is, would mislead.
- **Categories** are columns too: 1 where a row has the category and 0 where it has not, for those that training rows have
  most often. None is predicted from the others of its own column.
- **Two samples.** Trees tell samples from test rows, each example judged by trees that were grown without it: the area under
  their curve is a half where they cannot (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests").

The errors of the first two are over draws of the samples, by halves as in `quality`; that of the utility is over columns;
that of the area is DeLong's, with the examples taken as independent, which folds make nearly true. How near samples are to
training rows, and whether they are copies, is told by `copies`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lowerbound.errors import InputError
from lowerbound.evaluate.copies import Ranks
from lowerbound.evaluate.part import Figures
from lowerbound.files.records import Measured

NUM_SPLITS = 20
NUM_TREES, FOLDS = 100, 5
MOST_ROWS = 1000
"""Of each kind that trees are grown on."""
MOST_COLUMNS = 64
MOST_CATEGORIES = 8
"""Of a column."""
FEWEST = 20


@dataclass(frozen=True)
class Columns(Figures):
    """Samples beside training rows, both against test rows.

    Arguments:
        names: of the columns.
        distances: of each column's samples.
        chance: of as many training rows.
        correlations: the root mean square difference of rank correlations; None of a single column.
        chance_correlations: of training rows.
        utility: the ratio of squared errors, 1 for samples that teach as much as the data; None of a single column.
        told_apart: the area under the curve of trees that tell samples from test rows.
        num_samples, num_test: how many of each.
    """

    names: tuple[str, ...]
    distances: tuple[Measured, ...]
    chance: tuple[Measured, ...]
    correlations: Measured | None
    chance_correlations: Measured | None
    utility: Measured | None
    told_apart: Ranks
    num_samples: int
    num_test: int

    @property
    def worst(self) -> int:
        """The column whose samples are the farthest beyond chance."""
        pairs = zip(self.distances, self.chance, strict=True)
        return int(np.argmax([ours.value - theirs.value for ours, theirs in pairs]))


def columns(
    samples: Float[np.ndarray, "sample column"],
    test: Float[np.ndarray, "test column"],
    train: Float[np.ndarray, "train column"],
    names: Sequence[str],
    seed: int = 0,
    sources: Sequence[int] | np.ndarray | None = None,
) -> Columns:
    """Compare samples with test rows, and training rows with them.

    Arguments:
        samples, test, train: rows in units in which columns may be compared, (N, D), (M, D) and (L, D), in random order.
        names: of the columns.
        seed: of the splits and the trees.
        sources: the number of what each column was made of, (D,); of one source none is predicted from another. None: each
            is of its own.

    Raises:
        InputError: for fewer than `FEWEST` rows of a kind, no columns, or more than `MOST_COLUMNS`.
    """
    if min(map(len, (samples, test, train))) < FEWEST:
        counts = f"{len(samples)} samples, {len(test)} test rows and {len(train)} training rows"
        raise InputError(f"{counts}: columns are compared of {FEWEST} or more of each")
    num_columns = test.shape[1]
    if not 1 <= num_columns <= MOST_COLUMNS:
        raise InputError(f"{num_columns} columns of numbers: one to {MOST_COLUMNS} are compared one by one")
    rows = np.random.default_rng(seed).permutation(len(train))[: len(samples)]
    references = train[np.resize(rows, len(samples))] if len(rows) < len(samples) else train[rows]
    sources = np.arange(num_columns) if sources is None else np.asarray(sources)
    several = len(np.unique(sources)) > 1
    return Columns(
        tuple(names),
        _distances(samples, test, seed),
        _distances(references, test, seed),
        _correlations(samples, test, seed) if several else None,
        _correlations(references, test, seed) if several else None,
        _utility(samples[:MOST_ROWS], references[:MOST_ROWS], test[:MOST_ROWS], sources, seed) if several else None,
        _told_apart(samples[:MOST_ROWS], test[:MOST_ROWS], seed),
        len(samples),
        len(test),
    )


def _halves(num: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(num) for _ in range(NUM_SPLITS))
    return [(order[: num // 2], order[num // 2 :]) for order in orders]


def _with_error(figure_of: Callable[[np.ndarray], float], samples: np.ndarray, seed: int) -> Measured:
    """A figure of samples, and its error: of halves a quarter of their squared difference, as variances fall as 1 / N."""
    halves = [(figure_of(samples[first]), figure_of(samples[second])) for first, second in _halves(len(samples), seed)]
    squares = [(first - second) ** 2 for first, second in halves]
    return Measured(float(figure_of(samples)), (sum(squares) / len(squares) / 4) ** 0.5)


def _distances(samples: np.ndarray, test: np.ndarray, seed: int) -> tuple[Measured, ...]:
    from scipy.stats import wasserstein_distance

    return tuple(
        _with_error(lambda values, against=theirs: float(wasserstein_distance(values, against)), ours, seed)
        for ours, theirs in zip(samples.T, test.T, strict=True)
    )


def _correlations(samples: np.ndarray, test: np.ndarray, seed: int) -> Measured:
    from scipy.stats import rankdata

    pairs = np.triu_indices(test.shape[1], 1)

    def ranks(values: np.ndarray) -> np.ndarray:
        # a column that does not vary correlates with nothing
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(np.corrcoef(rankdata(values, axis=0), rowvar=False))[pairs]

    expected = ranks(test)
    return _with_error(lambda values: float(((ranks(values) - expected) ** 2).mean() ** 0.5), samples, seed)


def with_categories(
    rows: Float[np.ndarray, "row column"], commonest: Sequence[np.ndarray | None]
) -> Float[np.ndarray, "row entry"]:
    """Rows with columns of zeros and ones in the place of numbers of categories.

    Arguments:
        rows: (N, D).
        commonest: of each column, those categories that have a column each; None of numbers.
    """
    pairs = zip(rows.T, commonest, strict=True)
    return np.column_stack(
        [values[:, None] == kinds if kinds is not None else values[:, None] for values, kinds in pairs]
    )


def commonest_categories(values: Float[np.ndarray, " row"]) -> np.ndarray:
    """The categories that a column has most often, at most `MOST_CATEGORIES`; of two the second, which says all."""
    kinds, counts = np.unique(values, return_counts=True)
    return kinds[1:] if len(kinds) == 2 else kinds[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]]


def _utility(samples: np.ndarray, train: np.ndarray, test: np.ndarray, sources: np.ndarray, seed: int) -> Measured:
    from sklearn.ensemble import ExtraTreesRegressor

    ratios = []
    for column in range(test.shape[1]):
        others = sources != sources[column]
        squares = []
        for rows in (samples, train):
            trees = ExtraTreesRegressor(NUM_TREES, min_samples_leaf=3, random_state=seed)
            predicted = trees.fit(rows[:, others], rows[:, column]).predict(test[:, others])
            squares.append(((predicted - test[:, column]) ** 2).mean())
        ratios.append(squares[0] / max(squares[1], 1e-12))
    return Measured.of(np.array(ratios))


def _told_apart(samples: np.ndarray, test: np.ndarray, seed: int) -> Ranks:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    num = min(len(samples), len(test))
    rows, kind = np.concatenate([samples[:num], test[:num]]), np.repeat([0, 1], num)
    trees = ExtraTreesClassifier(NUM_TREES, min_samples_leaf=3, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    probability = np.asarray(cross_val_predict(trees, rows, kind, cv=folds, method="predict_proba"))[:, 1]
    return Ranks.of(probability[kind == 0], probability[kind == 1])
