"""Independent columns of a table, or channels of fields, each as its kind is."""

import numpy as np
import torch

from lowerbound.baselines.splits import EXACT, Baseline
from lowerbound.blocks import Block, Choice, ChoiceOrReal, Grid, Real
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.likelihood.decoder import log_interval


def independent_columns(dataset: Dataset, train: np.ndarray, test: np.ndarray) -> Baseline:
    """Independent columns of a table, each by its block: a real number by a Gaussian of its x, a grid without ends by that
    Gaussian's mass on each place, levels and categories by their frequencies, $(n_k + 1) / (N + K)$, and what is one of some
    values or a number by the one and the other. The positions of a channel of fields are alike. What is missing does not
    count.

    dataset: with blocks.
    train, test: the numbers of the examples that it is fitted to and scored on.

    Raises InputError for fewer than two examples of either.
    """
    if min(len(train), len(test)) < 2:
        raise InputError(f"{len(train)} examples to fit columns to and {len(test)} to score: both need at least 2")
    blocks, encoding = dataset.spec.blocks, dataset.spec.encoding
    assert blocks is not None
    encoded = dataset.encoded(test)
    seen, x = (_rows(each) for each in (dataset.encoded(train), encoded))
    log_prob, entry = np.zeros(len(x)), 0
    for block in blocks:
        entries = slice(entry, entry + block.width)
        entry += block.width
        is_present = ~np.isnan(x[:, entries.start])
        fitted, scored = seen[~np.isnan(seen[:, entries.start]), entries], x[is_present, entries]
        log_prob[is_present] += _log_prob_of_block(block, fitted, scored)
    nats = -encoding.log_det(encoded).numpy() - log_prob.reshape(len(test), -1).sum(1)
    bits = nats / (dataset.num_observed[test] * np.log(2))
    name = "independent columns" if encoded.ndim == 2 else "independent channels"
    return Baseline(name, *Measured.of(bits), EXACT, len(bits))


def _rows(x: torch.Tensor) -> np.ndarray:
    """Examples, (N, D, *spatial), as a row for each position, (N P, D), in double precision."""
    return np.moveaxis(x.double().numpy(), 1, -1).reshape(-1, x.shape[1])


def _log_prob_of_block(block: Block, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Log probabilities, or densities of x, of one block."""
    if isinstance(block, ChoiceOrReal):
        kinds, number = Choice(block.num_values + 1), slice(block.num_values + 1, None)
        seen_one, is_one = (x[:, block.num_values] > 0 for x in (fitted, scored))
        of_numbers = -(scored[:, -1] ** 2 + np.log(2 * np.pi)) / 2  # of the noise in the place of one, as it is
        if seen_one.sum() > 1:
            of_numbers[is_one] = _log_prob_of_block(Real(), fitted[seen_one, number], scored[is_one, number])
        return _log_prob_of_block(kinds, fitted[:, :-1], scored[:, :-1]) + of_numbers
    num = block.width if isinstance(block, Choice) else block.num_levels if isinstance(block, Grid) else None
    if num is not None:
        assert isinstance(block, Choice | Grid)
        kinds = [_number(block, values) for values in (fitted, scored)]
        counts = np.bincount(kinds[0], minlength=num)
        return np.log((counts + 1) / (len(fitted) + num))[kinds[1]]
    mean, std = fitted.mean(), fitted.std()
    if isinstance(block, Grid):
        # a spread that no grid has is one of its bins
        std = max(std, block.spacing / 12**0.5)
        ends = [torch.from_numpy((scored[:, 0] + side * block.spacing / 2 - mean) / std) for side in (-1, 1)]
        return log_interval(*ends).numpy()
    return -0.5 * (((scored[:, 0] - mean) / std) ** 2 + np.log(2 * np.pi)) - np.log(std)


def _number(block: Choice | Grid, x: np.ndarray) -> np.ndarray:
    """Which category or level it is."""
    if isinstance(block, Choice):
        return x.argmax(1)
    return np.rint((x[:, 0] - block.origin) / block.spacing).astype(np.int64)
