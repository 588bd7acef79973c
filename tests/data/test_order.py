"""The order of training examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.data import batch_indices, check_batch_size
from lowerbound.data.order import _permutation
from lowerbound.errors import InputError


@given(num_examples=st.integers(1, 60), seed=st.integers(-3, 2**64), data=st.data())
def test_every_epoch_is_a_permutation_of_its_own(num_examples, seed, data):
    batch_size = data.draw(st.integers(1, num_examples))
    num_epochs = 3
    batches = [
        batch_indices(seed, step, batch_size, num_examples)
        for step in range(-(-num_epochs * num_examples // batch_size))
    ]
    assert {len(batch) for batch in batches} == {batch_size}
    epochs = np.concatenate(batches)[: num_epochs * num_examples].reshape(num_epochs, num_examples)
    assert np.array_equal(np.sort(epochs, 1), np.tile(np.arange(num_examples), (num_epochs, 1)))
    if num_examples > 20:
        assert not np.array_equal(epochs[0], epochs[1])


@given(steps=st.permutations(range(12)), seed=st.integers(0, 5))
def test_a_batch_depends_on_seed_and_step_alone(steps, seed):
    expected = [batch_indices(seed, step, 7, 20) for step in range(12)]
    _permutation.cache_clear()
    for step in steps:
        assert np.array_equal(batch_indices(seed, step, 7, 20), expected[step]), step


def test_seeds_give_different_orders():
    assert not np.array_equal(batch_indices(0, 0, 50, 100), batch_indices(1, 0, 50, 100))


def test_a_batch_larger_than_the_data_is_refused():
    check_batch_size(10, 10)
    with pytest.raises(InputError, match=r"--batch-size is 11, .* give 10 at most"):
        check_batch_size(11, 10)
    with pytest.raises(InputError, match="--batch-size is 11"):
        batch_indices(0, 0, 11, 10)
