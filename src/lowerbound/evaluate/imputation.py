r"""Are imputations right? Entries that are known are hidden, drawn several times, and the draws judged by what was there.

The continuous ranked probability score of K draws $X_k$ for a value x,

$$\mathrm{CRPS} = \frac1K \sum_k |X_k - x| - \frac{1}{2 K (K - 1)} \sum_{j, k} |X_j - X_k| ,$$

is without bias for their number (fair: Ferro 2014), and so is the energy score of an example, the same with Euclidean norms
over its hidden entries and divided by the root of their number, which sees the dependence between them. Both are lowest for
the truth. Where draws and value are of one distribution the value's rank among them is uniform: a central interval between
the order statistics covers it with a known probability, and the spread of the draws is what their mean errs by,
$E (\bar X - x)^2 = (1 + \frac1K) E s^2$ with $s^2$ the draws' variance.

All is in units of each column's standard deviation, so that columns can be averaged; errors are over examples.

Categories have no such distance, and are judged apart by the same score with the distance 1 of any two that differ:
$P(X \ne x) - \frac12 P(X \ne X')$, half of Brier's score over all categories, and lowest for the truth as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures
from lowerbound.files.records import Measured
from lowerbound.run import Run
from lowerbound.run.impute import impute

INTERVALS = (0.5, 0.9)
RANK_BINS = 5
MOST_EXAMPLES = 100
NUM_DRAWS, NUM_STEPS = 19, 50
"""Of each example; with 19 draws the intervals between order statistics hold a half and nine tenths of all values."""
NEIGHBOURS = 5
MOST_TRAINING = 5000
"""Rows that simple fillings learn from."""


@dataclass(frozen=True)
class Judgement:
    """What draws of hidden entries are worth.

    Arguments:
        crps: the mean over hidden entries.
        energy: the energy score of an example's hidden entries together.
        coverage: for each of `INTERVALS`, the share of values within it; as many are to be expected as it says.
        ranks: the share of values in each fifth of the ranks, which is 1/5 if draws and values are of one distribution.
        skill: the root mean square error of the draws' mean.
        spread: what it would be by the draws' own variance.
        mean_absolute_error: of the draws' median.
    """

    crps: Measured
    energy: Measured
    coverage: tuple[Measured, ...]
    ranks: tuple[float, ...]
    skill: Measured
    spread: Measured
    mean_absolute_error: Measured


@dataclass(frozen=True)
class Filling:
    """A way to fill in entries once, without a spread.

    Arguments:
        name: of it.
        root_mean_square_error, mean_absolute_error: the latter is its CRPS as well.
    """

    name: str
    root_mean_square_error: Measured
    mean_absolute_error: Measured


@dataclass(frozen=True)
class Categories:
    """What draws of hidden categories are worth, beside what is known of a column without its row.

    Arguments:
        score: the mean over hidden entries (formula in the module's docstring).
        right: the share of them whose most frequent draw is what was there.
        simple_score, simple_right: the same of the shares of the training rows, and of the commonest category.
    """

    score: Measured
    right: Measured
    simple_score: Measured
    simple_right: Measured


@dataclass(frozen=True)
class Imputed(Figures):
    """The judgement of a model's imputations, beside simple fillings of the same entries.

    Arguments:
        share: of the entries that were hidden.
        num_examples: how many test examples.
        num_draws: of each.
        judgement: of the model's, of numbers.
        fillings: simple ones, of numbers.
        categories: of hidden categories; None where no column has any.
    """

    share: float
    num_examples: int
    num_draws: int
    judgement: Judgement
    fillings: tuple[Filling, ...]
    categories: Categories | None = None


def crps(
    draws: Float[np.ndarray, "example draw *shape"], truth: Float[np.ndarray, "example *shape"]
) -> Float64[np.ndarray, "example *shape"]:
    """The fair CRPS of each entry (formula in the module's docstring), in the values' own unit.

    Arguments:
        draws: (N, K, *shape); of a single one the absolute error.
        truth: (N, *shape).
    """
    draws, truth = draws.astype(np.float64), truth.astype(np.float64)
    K = draws.shape[1]
    scores = np.abs(draws - truth[:, None]).mean(1)
    if K > 1:  # sorted, the k-th draw is above k - 1 others
        weights = (2 * np.arange(K) - K + 1).reshape(-1, *[1] * (truth.ndim - 1))
        scores -= (weights * np.sort(draws, 1)).sum(1) / (K * (K - 1))
    return scores


def judge(
    draws: Float[np.ndarray, "example draw column"],
    truth: Float[np.ndarray, "example column"],
    hidden: Bool[np.ndarray, "example column"],
) -> Judgement:
    """What draws of hidden entries are worth.

    Arguments:
        draws: (N, K, D), in units in which columns may be averaged.
        truth: (N, D).
        hidden: which of the entries were drawn, (N, D).

    Raises:
        InputError: for fewer than two draws, or where nothing is hidden.
    """
    K = draws.shape[1]
    if K < 2 or not hidden.any():
        raise InputError(f"{K} draws of {hidden.sum()} hidden entries: at least two draws of one entry are needed")
    draws, truth = draws.astype(np.float64), truth.astype(np.float64)
    chosen = hidden.any(1)
    draws, truth, hidden = draws[chosen], truth[chosen], hidden[chosen]

    def mean(values: np.ndarray) -> Measured:
        return over_examples(values, hidden)

    below, ties = (draws < truth[:, None]).sum(1), (draws == truth[:, None]).sum(1)
    # a value that equals draws has any of their places
    rank = below + np.random.default_rng(0).integers(0, ties + 1)
    places = (rank + 0.5) / (K + 1)
    covered = tuple(mean(_covered(np.sort(draws, 1), truth, level)) for level in INTERVALS)
    counts = np.histogram(places[hidden], np.linspace(0, 1, RANK_BINS + 1))[0]
    return Judgement(
        crps=mean(crps(draws, truth)),
        energy=Measured.of(_energy(draws, truth, hidden)),
        coverage=covered,
        ranks=tuple((counts / counts.sum()).tolist()),
        skill=mean((draws.mean(1) - truth) ** 2).root(),
        spread=mean((1 + 1 / K) * draws.var(1, ddof=1)).root(),
        mean_absolute_error=mean(np.abs(np.median(draws, 1) - truth)),
    )


def _covered(ordered: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    r"""Whether each value lies in a central interval of a level: between the draws whose ranks are $(K + 1) (1 \mp level) /
    2$, between two of them in proportion."""
    K = ordered.shape[1]
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        rank = np.clip((K + 1) * share - 1, 0, K - 1)
        low = int(rank)
        high = min(low + 1, K - 1)
        ends.append(ordered[:, low] + (rank - low) * (ordered[:, high] - ordered[:, low]))
    return ((truth >= ends[0]) & (truth <= ends[1])).astype(np.float64)


def _energy(draws: np.ndarray, truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The fair energy score of each example, over the root of the number of its hidden entries."""
    K = draws.shape[1]
    draws, truth = draws * hidden[:, None], truth * hidden
    scores = np.linalg.norm(draws - truth[:, None], axis=2).mean(1)
    for k in range(1, K):  # every pair once
        scores -= np.linalg.norm(draws[:, k, None] - draws[:, :k], axis=2).sum(1) / (K * (K - 1))
    return scores / np.sqrt(hidden.sum(1))


def over_examples(values: Float[np.ndarray, "example *shape"], hidden: Bool[np.ndarray, "example *shape"]) -> Measured:
    """The mean over hidden entries, its error over the examples that have any: that of a ratio of two sums over them.

    Arguments:
        values: of each entry, (N, *shape).
        hidden: which entries count, (N, *shape).
    """
    values, hidden = (each[hidden.reshape(len(hidden), -1).any(1)] for each in (values, hidden))
    values, hidden = values.reshape(len(values), -1), hidden.reshape(len(hidden), -1)
    sums, counts = (values * hidden).sum(1), hidden.sum(1)
    mean = sums.sum() / counts.sum()
    if len(sums) < 2:
        return Measured(float(mean), float("nan"))
    return Measured(float(mean), float((sums - mean * counts).std(ddof=1) / counts.mean() / len(sums) ** 0.5))


def judge_categories(
    draws: Float[np.ndarray, "example draw column"],
    truth: Float[np.ndarray, "example column"],
    hidden: Bool[np.ndarray, "example column"],
    train: Float[np.ndarray, "train column"],
) -> Categories:
    """What draws of hidden categories are worth.

    Arguments:
        draws: numbers of categories, (N, K, D).
        truth: (N, D).
        hidden: which of the entries were drawn, (N, D).
        train: rows by which the shares of the categories are known, (M, D), NaN where an entry is missing.
    """
    scores, right, simple_scores, simple_right = (np.zeros(truth.shape) for _ in range(4))
    K = draws.shape[1]
    for j in range(truth.shape[1]):
        known = train[~np.isnan(train[:, j]), j].astype(np.int64)
        num = 1 + int(max(known.max(initial=0), draws[..., j].max(), np.nanmax(truth[:, j], initial=0)))
        kinds = np.arange(num)
        counts = (draws[..., j, None] == kinds).sum(1)  # (N, num)
        is_true = truth[:, j, None] == kinds
        pairs = 1 - (counts * (counts - 1)).sum(1) / (K * (K - 1))
        scores[:, j] = 1 - (counts * is_true).sum(1) / K - pairs / 2
        right[:, j] = counts.argmax(1) == truth[:, j]
        shares = np.bincount(known, minlength=num) / max(1, len(known))
        simple_scores[:, j] = 1 - (shares * is_true).sum(1) - (1 - (shares**2).sum()) / 2
        simple_right[:, j] = shares.argmax() == truth[:, j]
    return Categories(*(over_examples(values, hidden) for values in (scores, right, simple_scores, simple_right)))


def fillings(
    train: Float[np.ndarray, "train column"],
    truth: Float[np.ndarray, "example column"],
    hidden: np.ndarray,
    beside: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Filling, ...]:
    """The column's mean, the mean of the nearest training rows, and regression of each column on the others, in turns.

    Arguments:
        train: rows to learn from, (M, D), NaN where an entry is missing.
        truth: rows whose hidden entries are filled in, (N, D).
        hidden: which these are, (N, D).
        beside: what else is known of both, (M, E) and (N, E), NaN where it is not.
    """
    import warnings

    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - without it the next line fails
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    kinds = {
        "mean": SimpleImputer(),
        f"{NEIGHBOURS} nearest neighbours": KNNImputer(n_neighbors=NEIGHBOURS),
        "iterative regression": IterativeImputer(random_state=0),
    }
    seen = np.where(hidden, np.nan, truth)
    learned, incomplete = (
        (train, seen) if beside is None else (np.hstack([train, beside[0]]), np.hstack([seen, beside[1]]))
    )
    results = []
    for name, imputer in kinds.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that regressions in turns have not quite converged is their affair
            filled = imputer.fit(learned).transform(incomplete)[:, : truth.shape[1]]
        errors = np.where(hidden, filled - truth, 0)
        squares, absolute = (over_examples(values, hidden) for values in (errors**2, np.abs(errors)))
        results.append(Filling(name, squares.root(), absolute))
    return tuple(results)


def hide(
    shape: tuple[int, int], share: float, seed: int, observed: Bool[np.ndarray, "example column"] | None = None
) -> Bool[np.ndarray, "example column"]:
    """Entries at random, one at least of each example and never all; of one with a single entry none.

    Arguments:
        shape: (N, D).
        share: of the entries that are hidden, between 0 and 1.
        seed: of the choice.
        observed: which entries there are to hide, (N, D); all if None.

    Raises:
        InputError: for a share that is none, or a single column.
    """
    if not 0 < share < 1 or shape[1] < 2:
        raise InputError(
            f"a share of {share} of {shape[1]} columns cannot be hidden: give one between 0 and 1, of two or more"
        )
    order = np.random.default_rng(seed).random(shape)
    if observed is not None:
        order[~observed] = np.inf
    places, num_there = order.argsort(1).argsort(1), np.isfinite(order).sum(1, keepdims=True)
    return ((order < share) | (places == 0)) & (places < num_there - 1)


def held_out_imputation(
    run: Run, dataset: Dataset, share: float, *, seed: int = 0, progress: Callable[[int], object] = lambda steps: None
) -> Imputed:
    """Hide entries of test rows, draw them, and judge the draws.

    Arguments:
        run: the model.
        dataset: of vectors, or a table of which some columns are numbers; entries that are missing stay so.
        share: of the entries that are hidden.
        seed: of what is hidden and drawn.
        progress: called with 1 after each step of a batch.

    Raises:
        InputError: as `impute` and `hide`.
    """
    train, indices = dataset.examples[dataset.some("train", MOST_TRAINING)], dataset.some("test", MOST_EXAMPLES)
    raw = dataset.examples[indices]
    observed = ~np.isnan(raw)
    hidden = hide(raw.shape, share, seed, observed)
    draws = impute(
        run,
        raw,
        observed & ~hidden,
        num_samples=NUM_DRAWS,
        num_steps=NUM_STEPS,
        numbers=indices,
        seed=seed,
        progress=progress,
    ).samples
    named = np.array([bool(column.categories) for column in dataset.spec.columns] or [False] * raw.shape[1])
    numbers, hidden_numbers = train[:, ~named], hidden[:, ~named]
    mean, scale = (of(numbers, axis=0, dtype=np.float64) for of in (np.nanmean, np.nanstd))
    x, truth = (draws[..., ~named] - mean) / scale, (raw[:, ~named] - mean) / scale
    beside = categories = None
    if named.any():
        known = np.where(hidden, np.nan, raw)
        beside = _indicators(train[:, named], train[:, named]), _indicators(known[:, named], train[:, named])
        if hidden[:, named].any():
            categories = judge_categories(draws[..., named], raw[:, named], hidden[:, named], train[:, named])
    simple = fillings((numbers - mean) / scale, truth, hidden_numbers, beside)
    judgement = judge(np.where(hidden_numbers[:, None], x, 0), np.where(hidden_numbers, truth, 0), hidden_numbers)
    return Imputed(share, len(raw), NUM_DRAWS, judgement, simple, categories)


def _indicators(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    """A column for each category that training rows have, 1 where it is there; NaN where none is known."""
    kinds = [np.unique(column[~np.isnan(column)]) for column in train.T]
    each = [np.where(np.isnan(rows[:, [j]]), np.nan, rows[:, [j]] == kinds[j]) for j in range(rows.shape[1])]
    return np.concatenate(each, 1)
