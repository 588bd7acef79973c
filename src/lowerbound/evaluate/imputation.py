r"""Are imputations right? Entries that are known are hidden, drawn several times, and the draws judged by what was there.

The continuous ranked probability score of K draws $X_k$ for a value x,

$$\mathrm{CRPS} = \frac1K \sum_k |X_k - x| - \frac{1}{2 K (K - 1)} \sum_{j, k} |X_j - X_k| ,$$

is without bias for their number (fair: Ferro 2014), and so is the energy score of an example, the same with Euclidean norms
over its hidden entries and divided by the root of their number, which sees the dependence between them. Both are lowest for
the truth. Where draws and value are of one distribution the value's rank among them is uniform: a central interval between
the order statistics covers it with a known probability, and the spread of the draws is what their mean errs by,
$E (\bar X - x)^2 = (1 + \frac1K) E s^2$ with $s^2$ the draws' variance.

All is in units of each column's standard deviation, so that columns can be averaged; errors are over examples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.part import Figures
from lowerbound.records import Measured
from lowerbound.run import Run
from lowerbound.run.impute import impute

INTERVALS = (0.5, 0.9)
RANK_BINS = 5
MOST_EXAMPLES = 100
NUM_DRAWS, NUM_STEPS = 19, 50
"""Of each example; with 19 draws the intervals between order statistics hold a half and nine tenths of all values."""
NEIGHBOURS = 5


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
class Imputed(Figures):
    """The judgement of a model's imputations, beside simple fillings of the same entries.

    Arguments:
        share: of the entries that were hidden.
        num_examples: how many test examples.
        num_draws: of each.
        judgement: of the model's.
        fillings: simple ones.
    """

    share: float
    num_examples: int
    num_draws: int
    judgement: Judgement
    fillings: tuple[Filling, ...]


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
        return _over_examples(values, hidden)

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
        skill=_root(mean((draws.mean(1) - truth) ** 2)),
        spread=_root(mean((1 + 1 / K) * draws.var(1, ddof=1))),
        mean_absolute_error=mean(np.abs(np.median(draws, 1) - truth)),
    )


def _covered(ordered: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    r"""Whether each value lies in a central interval of a level: between the draws whose ranks are $(K + 1) (1 \mp level) /
    2$, between two of them in proportion."""
    K = ordered.shape[1]
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = np.clip((K + 1) * share - 1, 0, K - 1)
        low = int(place)
        high = min(low + 1, K - 1)
        ends.append(ordered[:, low] + (place - low) * (ordered[:, high] - ordered[:, low]))
    return ((truth >= ends[0]) & (truth <= ends[1])).astype(np.float64)


def _energy(draws: np.ndarray, truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The fair energy score of each example, over the root of the number of its hidden entries."""
    K = draws.shape[1]
    draws, truth = draws * hidden[:, None], truth * hidden
    scores = np.linalg.norm(draws - truth[:, None], axis=2).mean(1)
    for k in range(1, K):  # every pair once
        scores -= np.linalg.norm(draws[:, k, None] - draws[:, :k], axis=2).sum(1) / (K * (K - 1))
    return scores / np.sqrt(hidden.sum(1))


def _over_examples(values: np.ndarray, hidden: np.ndarray) -> Measured:
    """The mean over hidden entries, its error over examples: that of a ratio of two sums over them."""
    sums, counts = (values * hidden).sum(1), hidden.sum(1)
    mean = sums.sum() / counts.sum()
    if len(sums) < 2:
        return Measured(float(mean), float("nan"))
    return Measured(float(mean), float((sums - mean * counts).std(ddof=1) / counts.mean() / len(sums) ** 0.5))


def _root(square: Measured) -> Measured:
    """The root of a mean square."""
    root = square.value**0.5
    return Measured(root, square.error / (2 * root) if root > 0 else 0.0)


def fillings(
    train: Float[np.ndarray, "train column"], truth: Float[np.ndarray, "example column"], hidden: np.ndarray
) -> tuple[Filling, ...]:
    """The column's mean, the mean of the nearest training rows, and regression of each column on the others, in turns.

    Arguments:
        train: rows to learn from, (M, D), NaN where an entry is missing.
        truth: rows whose hidden entries are filled in, (N, D).
        hidden: which these are, (N, D).
    """
    import warnings

    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - without it the next line fails
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    kinds = {
        "mean": SimpleImputer(),
        f"{NEIGHBOURS} nearest neighbours": KNNImputer(n_neighbors=NEIGHBOURS),
        "iterative regression": IterativeImputer(random_state=0),
    }
    found = []
    for name, imputer in kinds.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that regressions in turns have not quite converged is their affair
            filled = imputer.fit(train).transform(np.where(hidden, np.nan, truth))
        errors = np.where(hidden, filled - truth, 0)
        squares, absolute = (_over_examples(values, hidden) for values in (errors**2, np.abs(errors)))
        found.append(Filling(name, _root(squares), absolute))
    return tuple(found)


def hide(shape: tuple[int, int], share: float, seed: int) -> Bool[np.ndarray, "example column"]:
    """Entries at random, one at least of each example and never all.

    Arguments:
        shape: (N, D).
        share: of the entries that are hidden, between 0 and 1.
        seed: of the choice.

    Raises:
        InputError: for a share that is none, or a single column.
    """
    if not 0 < share < 1 or shape[1] < 2:
        raise InputError(
            f"a share of {share} of {shape[1]} columns cannot be hidden: give one between 0 and 1, of two or more"
        )
    order = np.random.default_rng(seed).random(shape)
    places = order.argsort(1).argsort(1)
    return (order < share) & (places < shape[1] - 1) | (places == 0)


def held_out_imputation(
    run: Run, dataset: Dataset, share: float, *, seed: int = 0, progress: Callable[[int], object] = lambda steps: None
) -> Imputed:
    """Hide entries of test rows, draw them, and judge the draws.

    Arguments:
        run: the model.
        dataset: of complete continuous vectors.
        share: of the entries that are hidden.
        seed: of what is hidden and drawn.
        progress: called with 1 after each step of a batch.

    Raises:
        InputError: as `impute` and `hide`.
    """
    train, indices = dataset.examples[dataset.train], dataset.test[:MOST_EXAMPLES]
    raw = dataset.examples[indices]
    hidden = hide(raw.shape, share, seed)
    draws = impute(
        run, raw, ~hidden, num_samples=NUM_DRAWS, num_steps=NUM_STEPS, numbers=indices, seed=seed, progress=progress
    ).samples
    mean, scale = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    x, truth = (draws - mean) / scale, (raw - mean) / scale
    simple = fillings((train[:5000] - mean) / scale, truth, hidden)
    return Imputed(share, len(raw), NUM_DRAWS, judge(x, truth, hidden), simple)
