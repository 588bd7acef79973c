"""Floats with NaN are examples with missing entries; what is there is encoded as if nothing were missing."""

import json

import numpy as np
import pytest
import torch

from lowerbound.data import DataSpec, describe
from lowerbound.data.dataset import assemble
from lowerbound.errors import InputError


def with_gaps(shape=(60, 4), share=0.3) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = 5 + 3 * rng.standard_normal(shape)
    values[1:][rng.random((shape[0] - 1, *shape[1:])) < share] = np.nan
    return values


def data(values: np.ndarray, layout: str = "ND"):
    return assemble("gaps", values, layout=layout)


def test_what_is_there_is_encoded_and_comes_back():
    dataset = data(with_gaps())
    values = dataset.examples
    x = dataset.encoded(np.arange(60))
    assert dataset.spec.has_missing
    observed = dataset.spec.observed(x)
    assert observed is not None
    assert np.array_equal(observed.numpy(), ~np.isnan(values))
    train = x[dataset.train].double()
    assert train.nanmean(0).abs().max() < 1e-6
    assert ((train.square().nanmean(0)) - 1).abs().max() < 1e-5
    np.testing.assert_allclose(dataset.spec.encoding.decode(x), values, rtol=1e-5)
    assert np.array_equal(dataset.num_observed, (~np.isnan(values)).sum(1))
    line = next(line for line in describe(dataset).splitlines() if line.startswith("missing"))
    assert f"{np.isnan(values).mean():.1%} of the entries" in line
    assert f"{(~np.isnan(values).any(1)).sum()} of 60 examples are complete" in line


def test_complete_data_stay_what_they_were():
    values = np.random.default_rng(0).standard_normal((30, 1, 2, 4))
    dataset = data(values, "NCHW")
    assert not dataset.spec.has_missing
    assert dataset.spec.observed(dataset.encoded(np.arange(3))) is None
    assert (dataset.num_observed == 8).all()
    assert "has_missing" not in dataset.spec.encoding.to_dict()
    assert "missing" not in describe(dataset)
    with pytest.raises(InputError, match="NaN or infinity"):
        dataset.spec.encoding.encode(np.full((1, 1, 2, 4), np.nan))
    # of levels nothing can be missing
    assert not assemble("levels", np.arange(60, dtype=np.uint8).reshape(30, 2), layout="ND").spec.has_missing


def test_a_run_remembers_that_entries_may_be_missing():
    for dataset in (data(with_gaps()), data(np.random.default_rng(0).standard_normal((30, 2)))):
        stored = json.loads(json.dumps(dataset.spec.to_dict()))
        again = DataSpec.from_dict(stored)
        assert again.encoding == dataset.spec.encoding
        assert again.has_missing == dataset.spec.has_missing


def test_a_gap_in_a_held_out_example_alone_counts():
    dataset = data(np.random.default_rng(0).standard_normal((30, 2)))
    values = dataset.examples.copy()
    values[dataset.test[0], 1] = np.nan
    again = data(values)
    assert again.spec.has_missing
    assert again.spec.encoding.encode(values[dataset.test[:1]]).isnan().tolist() == [[False, True]]


def test_what_holds_nothing_is_refused_by_its_number():
    for rows in ([7], [7, 20]):
        values = with_gaps()
        values[rows] = np.nan
        names = ", ".join(map(str, rows))
        with pytest.raises(InputError, match=rf"gaps: {len(rows)} of 60 .*nothing but NaN \(example {names}\): leave"):
            data(values)
    values = with_gaps((60, 3, 5))
    values[:, 1] = np.nan
    with pytest.raises(InputError, match=r"gaps: channel 1 holds nothing but NaN .*leave out .*\(1\)"):
        data(values, "NCL")
    values = with_gaps()
    values[3, 2] = np.inf
    with pytest.raises(InputError, match=r"1 of 60 examples hold infinity \(example 3\)"):
        data(values)


def test_entries_too_large_to_be_squared_are_refused_beside_gaps():
    values = with_gaps()
    values[:, 0] = np.where(np.isnan(values[:, 0]), np.nan, 1e200 * np.arange(60))
    with pytest.raises(InputError, match=r"too large to be squared"):
        data(values)


def test_the_log_determinant_counts_what_is_there():
    dataset = data(with_gaps((60, 2, 3)), "NCL")
    x = dataset.encoded(np.arange(60))
    scale = torch.tensor(dataset.spec.encoding.scale).double()
    expected = -((~x.isnan()) * scale.log()[:, None]).sum((1, 2))
    torch.testing.assert_close(dataset.spec.encoding.log_det(x), expected)
