"""Encodings: back and forth without loss, and the Jacobian that makes densities comparable."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowerbound.data import Affine, Levels, read_encoding
from lowerbound.errors import InputError


@given(num_levels=st.integers(2, 65_536), offset=st.integers(-40_000, 40_000))
def test_every_level_comes_back(num_levels, offset):
    encoding = Levels(num_levels, offset, "int32")
    raw = np.arange(offset, offset + num_levels, dtype=np.int32)[:, None]
    x = encoding.encode(raw)
    assert x.dtype == torch.float32
    assert x.abs().max() < 1
    decoded = encoding.decode(x)
    assert decoded.dtype == raw.dtype
    assert np.array_equal(decoded, raw)


@given(num_levels=st.integers(2, 65_536), fraction=st.floats(-0.49, 0.49))
def test_values_between_levels_round_to_the_nearest(num_levels, fraction):
    encoding = Levels(num_levels, 0, "uint16")
    index = torch.arange(num_levels, dtype=torch.float64)
    between = 2 * (index + 0.5 + fraction) / num_levels - 1
    assert np.array_equal(encoding.decode(between[:, None])[:, 0], np.arange(num_levels))


def test_samples_beyond_the_range_become_the_outermost_levels():
    assert Levels(17).decode(torch.tensor([[-3.0, 3.0]])).tolist() == [[0, 16]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", ">u2", "int64"])
def test_levels_keep_the_stored_type(dtype):
    encoding = Levels(2, 0, str(np.dtype(dtype)))
    raw = np.array([[0, 1], [1, 0]], dtype)
    assert encoding.decode(encoding.encode(raw)).dtype == raw.dtype


@pytest.mark.parametrize("raw", [[[-1]], [[17]], [[0.5]]])
def test_levels_refuse_what_is_none_of_them(raw):
    with pytest.raises(InputError, match="levels"):
        Levels(17, 0, "int32").encode(np.array(raw))


@pytest.mark.parametrize("num_levels", [-1, 0, 1, 65_537])
def test_levels_have_limits(num_levels):
    with pytest.raises(InputError, match=f"{num_levels} levels"):
        Levels(num_levels)


@given(
    raw=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=5, min_side=2, max_side=4),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    seed=st.integers(0, 99),
)
def test_affine_normalises_each_channel_and_comes_back(raw, seed):
    # spread out, so that no channel is constant
    raw = raw + np.random.default_rng(seed).uniform(-1e5, 1e5, raw.shape).astype(np.float32)
    encoding = Affine.fit(raw)
    x = encoding.encode(raw)
    axes = (0, *range(2, raw.ndim))
    assert x.dtype == torch.float32
    assert x.double().mean(axes).abs().max() < 1e-4
    assert (x.double().std(axes, correction=0) - 1).abs().max() < 1e-4
    assert np.abs(encoding.decode(x) - raw).max() <= 1e-6 * np.abs(raw).max()


@pytest.mark.parametrize("shape", [(3,), (2, 5), (3, 2, 4)])
def test_log_det_is_that_of_the_jacobian(shape):
    encoding = Affine(shift=tuple(range(shape[0])), scale=tuple(0.5 + k for k in range(shape[0])), dtype="float64")
    point = np.random.default_rng(0).standard_normal((1, *shape))
    num_dims = math.prod(shape)
    steps = 0.25 * np.eye(num_dims).reshape(num_dims, *shape)
    jacobian = (encoding.encode(point + steps) - encoding.encode(point - steps)).double() / 0.5
    jacobian = jacobian.reshape(num_dims, num_dims)
    x = torch.zeros(2, *shape)
    observed = (torch.arange(num_dims) % 3 != 1).reshape(shape)
    x[1, ~observed] = math.nan
    part = observed.flatten()
    expected = [jacobian.slogdet().logabsdet.item(), jacobian[part][:, part].slogdet().logabsdet.item()]
    assert encoding.log_det(x).tolist() == pytest.approx(expected, abs=1e-5)
    assert Levels(256).log_det(x).tolist() == [0, 0]


@pytest.mark.parametrize("encoding", [Levels(17, -3, "int16"), Affine((0.1, -2.0), (1e-8, 3e9), "float64", True)])
def test_encodings_survive_json(encoding):
    assert read_encoding(json.loads(json.dumps(encoding.to_dict()))) == encoding


@pytest.mark.parametrize(
    "values",
    [{}, {"kind": "wavelet"}, {"kind": "levels"}, {"kind": "affine", "shift": 3, "scale": [1], "dtype": "float32"}],
)
def test_a_damaged_description_is_refused(values):
    with pytest.raises(InputError, match="encoding"):
        read_encoding(values)


def test_affine_knows_its_channels():
    with pytest.raises(InputError, match="3 channels were given where 2 are known"):
        Affine((0.0, 0.0), (1.0, 1.0)).encode(np.zeros((1, 3), np.float32))
