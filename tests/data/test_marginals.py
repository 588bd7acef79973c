"""Vectors of real numbers with heavy tails or heaps: made about normal, and back, with the right slope."""

import math

import numpy as np
import pytest
import torch

from lowerbound.data import Affine, open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.data.encoding import read_encoding
from lowerbound.data.tables.marginals import ANY, Marginals
from lowerbound.data.tables.reals import Scaled, Warped, real_code
from lowerbound.errors import InputError

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=4000)
HEAPS = np.round(2 * NORMAL) + 0.02 * RNG.random(4000)  # whole numbers with a little noise on them


def dataset(*columns, dtype=np.float64):
    return assemble("vectors", np.stack(columns, 1).astype(dtype), layout="ND")


def test_columns_that_a_network_can_learn_stay_as_they_are():
    smooth = NORMAL, np.where(NORMAL > 0, 3 + RNG.normal(size=4000), NORMAL), RNG.random(4000)
    assert all(isinstance(real_code(values), Scaled) for values in smooth)
    assert isinstance(dataset(*smooth).spec.encoding, Affine)
    assert isinstance(open_dataset("moons").spec.encoding, Affine)


def test_heaps_are_spread_out():
    code = real_code(HEAPS)
    assert isinstance(code, Warped)
    fresh = np.round(2 * RNG.normal(size=2000)) + 0.02 * RNG.random(2000)
    scaled = Warped.fit(HEAPS, 25)
    assert code.log_density(fresh).mean() > scaled.log_density(fresh).mean() + 1
    entropy = -math.log(0.02) - np.log(50 * 0 + 1)
    true = np.mean([math.log(0.5 * (math.erf((k + 0.5) / 8**0.5) - math.erf((k - 0.5) / 8**0.5))) for k in fresh // 1])
    assert code.log_density(fresh).mean() <= true + entropy + 0.01, (
        "no held-out value is told to be likelier than it is"
    )
    assert code.log_density(fresh).mean() > true + entropy - 0.4


def test_more_knots_than_the_data_bear_are_not_taken():
    for seed in range(20):
        values = np.exp(2 * np.random.default_rng(seed).normal(size=300))
        assert len(real_code(values).knots) <= 25


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_come_back(dtype):
    gaps = np.where(RNG.random(4000) < 0.1, np.nan, HEAPS)
    data = dataset(NORMAL, gaps, np.exp(2 * NORMAL), dtype=dtype)
    encoding = data.spec.encoding
    assert isinstance(encoding, Marginals)
    assert [type(code) for code in encoding.codes] == [Scaled, Warped, Warped]
    x = encoding.encode(data.examples)
    back = encoding.decode(x)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, data.examples, rtol=1e-4, atol=1e-5)
    assert np.array_equal(np.isnan(x.numpy()), np.isnan(data.examples))
    assert (abs(x.nanmean(0)) < 0.1).all()
    assert read_encoding(encoding.to_dict()) == encoding
    assert "2 of 3 by quantiles" in encoding.description


def test_the_slopes_are_those_of_the_map():
    encoding = dataset(NORMAL, HEAPS, np.exp(2 * NORMAL)).spec.encoding
    raw = np.stack([NORMAL[:500], HEAPS[:500], np.exp(2 * NORMAL[:500])], 1)
    step = 1e-6 * raw.std(0)
    codes = zip(encoding.codes, raw.T, step, strict=True)
    numeric = np.stack([(code.encode(v + h, ANY) - code.encode(v - h, ANY))[:, 0] / (2 * h) for code, v, h in codes], 1)
    x = encoding.encode(raw)
    slopes = encoding.log_slopes(x)
    assert slopes.shape == (500, 3)
    assert np.median(abs(slopes.numpy() - np.log(numeric)), 0).max() < 1e-3
    torch.testing.assert_close(encoding.log_det(x), slopes.sum(1))
    x[0, 1] = math.nan
    assert encoding.log_det(x)[0] == pytest.approx(float(slopes[0, 0] + slopes[0, 2]))


@pytest.mark.parametrize("share", [0.0005, 0.001, 0.002, 0.02])
def test_a_column_of_nearly_one_value_has_a_code(share):
    for seed in range(3):
        rare = np.random.default_rng(seed).random(4000) < share
        rare[:1] = True
        code = real_code(np.where(rare, 1 + NORMAL**2, 0.0))
        values = np.array([0.0, 0.5, 1.0, 5.0, -1.0])
        np.testing.assert_allclose(code.decode(code.encode(values, ANY)), values, atol=1e-9)
    few = np.where(np.arange(100) == 3, 1.0, 0.0)
    assert np.isfinite(real_code(few).encode(few, ANY)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_no_draw_is_infinite_and_no_value_is_too_far_for_a_density(dtype):
    encoding = dataset(NORMAL, np.exp(2 * NORMAL), dtype=dtype).spec.encoding
    assert isinstance(encoding, Marginals)
    assert np.isfinite(encoding.decode(torch.tensor([[-1e3, -1e3], [8.0, 8.0], [1e30, 1e30]]))).all()
    far = min(float(np.finfo(dtype).max), 1e30)
    x = encoding.encode(np.array([[0, far], [far, -far]], dtype))
    assert x.isfinite().all()
    assert encoding.log_det(x).isfinite().all()
    affine = dataset(NORMAL, NORMAL * 100, dtype=dtype).spec.encoding
    assert isinstance(affine, Affine)
    assert np.isfinite(affine.decode(torch.full((1, 2), 1e36))).all()


def test_a_value_beyond_single_precision_is_refused():
    for columns in ((NORMAL, NORMAL), (NORMAL, HEAPS)):
        with pytest.raises(InputError, match=r"example 1.*standard deviations"):
            dataset(*columns).spec.encoding.encode(np.array([[0.0, 0.0], [1e300, 0.0]]))


def test_a_small_spread_about_a_large_mean_is_no_constant():
    data = dataset(NORMAL, 1.7e9 + 20 * NORMAL)
    x = data.spec.encoding.encode(data.examples)
    assert abs(x[:, 1].std() - 1) < 0.05
    with pytest.raises(InputError, match="channel 1 has the same value"):
        dataset(NORMAL, 1.7e9 + 1e-6 * NORMAL)
