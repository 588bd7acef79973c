"""Arrays of floats with heavy tails, heaps, units or repeated values: encoded, and back, with the right slope."""

import math
import re

import numpy as np
import pytest
import torch

from lowerbound.blocks import Real, check_values
from lowerbound.data import Affine, DataSpec, describe, open_dataset
from lowerbound.data.codes import OnGrid, PointMasses, Scaled, Warped
from lowerbound.data.codes.reals import real_code
from lowerbound.data.columns import Column
from lowerbound.data.dataset import assemble
from lowerbound.data.encoding import read_encoding
from lowerbound.data.marginals import Marginals
from lowerbound.errors import InputError
from lowerbound.mixed import BlockDecoder

ANY = Column("any", "real", "double")
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=4000)
HEAPS = np.round(2 * NORMAL) + 0.02 * RNG.random(4000)  # whole numbers with a little noise on them


def dataset(*columns, dtype=np.float64):
    return assemble("vectors", np.stack(columns, 1).astype(dtype), layout="ND")


def weather(num=300, dtype=np.float32):
    """Fields of temperature, rain, which there is none of in half of the places, and cloud, recorded in eighths."""
    normal = RNG.normal(size=(3, num, 4, 6))
    rain = np.where(normal[1] > 0, np.exp(normal[0] + normal[1]), 0.0)
    cloud = np.clip(np.round(4 + 2 * normal[2]), 0, 8) / 8
    return np.stack([normal[0], rain, cloud], 1).astype(dtype)


def fields(values):
    return assemble("weather", values, layout="NCHW")


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fields_come_back(dtype):
    values = weather(dtype=dtype)
    values[:, :, 1, 2] = np.nan
    data = fields(values)
    encoding = data.spec.encoding
    assert isinstance(encoding, Marginals)
    assert [type(code) for code in encoding.codes] == [Scaled, PointMasses, OnGrid]
    assert encoding.codes[2].unit == pytest.approx(1 / 8)
    assert data.spec.blocks == (Real(), encoding.codes[1].block, encoding.codes[2].block)
    assert data.shape == (5, 4, 6)
    assert data.spec.raw_shape == (3, 4, 6)
    assert data.spec.num_dims == 72
    x = data.encoded(np.arange(300))
    assert x.shape == (300, 5, 4, 6)
    check_values(x, data.spec.blocks, ~x.isnan())
    assert x[:, :, 1, 2].isnan().all()
    back = encoding.decode(x)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, values, rtol=1e-4, atol=1e-5)
    assert np.array_equal(back[:, 1] == 0, values[:, 1] == 0)
    assert np.array_equal(back[:, 2], values[:, 2], equal_nan=True)
    assert DataSpec.from_dict(data.spec.to_dict()) == data.spec
    assert encoding.observed_entries(~np.isnan(values)).shape == x.shape
    assert not encoding.is_of_levels
    assert BlockDecoder(data.spec.blocks).measure == "probabilities and densities"
    lines = describe(data)
    assert "they are levels" not in lines
    assert "1 of 3 in whole units, 1 of 3 with values of their own probability" in lines
    assert re.search(r"1 +probability of 0 \(.*%\); elsewhere density", lines)
    assert re.search(r"2 +probability of multiples of 0.125, told as a density over 0.125", lines)
    low, high = encoding.value_range
    assert low < -2
    assert high > 3


def test_the_slopes_of_fields_are_those_of_rows():
    values = weather()
    encoding = fields(values).spec.encoding
    x = encoding.encode(values)
    slopes = encoding.log_slopes(x)
    assert slopes.shape == x.shape
    assert not slopes[:, [2, 3]].any()  # of a block at its first entry
    rows = np.moveaxis(values, 1, -1).reshape(-1, 3)
    each = Marginals(encoding.codes, "float32").log_slopes(x.movedim(1, -1).reshape(-1, 5))
    torch.testing.assert_close(slopes, each.reshape(300, 4, 6, 5).movedim(-1, 1))
    torch.testing.assert_close(encoding.log_det(x), slopes.sum((1, 2, 3)))
    assert encoding.by_value(slopes.numpy()).shape == values.shape
    of_units = encoding.by_value(slopes.numpy())[:, 2]
    np.testing.assert_allclose(of_units, math.log(8))  # P / u
    assert len(rows) == 300 * 24


def test_the_noise_in_the_place_of_a_value_is_the_example_s_own():
    values = weather()
    encoding = fields(values).spec.encoding
    x, again = encoding.encode(values), encoding.encode(values[100:200])
    assert torch.equal(x[100:200], again)
    noise = x[:, 3][torch.from_numpy(values[:, 1] == 0)]
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert abs(noise.std() - 1) < 4 / len(noise) ** 0.5


def test_levels_that_are_stored_as_floats_are_on_a_grid():
    levels = RNG.integers(0, 256, (60, 3, 8, 8))
    for scaled in (levels / 255, levels / 127.5 - 1, levels.astype(float)):
        values = scaled.astype(np.float32)
        data = assemble("photographs", values, layout="NCHW")
        assert "stored as integers (images as uint8) they are levels" in describe(data)
        encoding = data.spec.encoding
        assert all(isinstance(code, OnGrid) for code in encoding.codes)
        assert encoding.codes[0].unit == pytest.approx(np.ptp(scaled) / 255)
        np.testing.assert_array_equal(encoding.decode(encoding.encode(values)), values)
        assert not encoding.rounded(values)
        assert encoding.is_of_levels
        assert BlockDecoder(encoding.blocks).measure == "densities"
        off = values.copy()
        off[0, 1, 0, :3] += 0.4 * encoding.codes[1].unit
        assert [(channel.name, num) for channel, _, num in encoding.rounded(off)] == [("channel 1", 3)]


def test_a_grid_holds_all_splits():
    values = np.round(RNG.normal(size=(500, 2)), 1)
    test = np.arange(450, 500)
    assert isinstance(assemble("tenths", values, layout="ND", splits={"test": test}).spec.encoding, Marginals)
    values[470, 1] = 0.123
    codes = assemble("tenths", values, layout="ND", splits={"test": test}).spec.encoding.codes
    assert isinstance(codes[0], OnGrid)
    assert isinstance(codes[1], PointMasses)


def test_all_numbers_may_have_densities(tmp_path):
    np.save(tmp_path / "weather.npy", weather())
    with pytest.warns(UserWarning, match=r"values are repeated in channel 1 .*leave out --densities"):
        data = open_dataset(tmp_path / "weather.npy", densities=True)
    assert isinstance(data.spec.encoding, Affine)
    np.save(tmp_path / "levels.npy", RNG.integers(0, 9, (50, 3)))
    with pytest.raises(InputError, match="--densities has no effect on integers"):
        open_dataset(tmp_path / "levels.npy", densities=True)


def test_what_takes_densities_alone_says_what_to_do():
    spec = fields(weather()).spec
    with pytest.raises(InputError, match=r"channels of levels.*\(1, 2\), which a flow does not take.*--densities"):
        spec.check_alike("a flow")


@pytest.mark.parametrize("rare", [0, 1e-4])
def test_a_channel_that_is_nearly_always_one_value_has_a_code(rare):
    values = weather(2000)
    values[:, 1] = np.where(RNG.random(values[:, 1].shape) < rare, math.pi, 0.0)
    values[0, 1, 0, :3] = np.exp(RNG.normal(size=3))
    data = fields(values)
    code = data.spec.encoding.codes[1]
    assert isinstance(code, PointMasses)
    assert code.values == (0.0,)
    np.testing.assert_allclose(
        data.spec.encoding.decode(data.encoded(np.arange(50))), values[:50], rtol=1e-3, atol=1e-5
    )


def test_wide_vectors_are_looked_at_too():
    values = RNG.normal(size=(400, 600))
    values[:, 77] = np.where(values[:, 77] > 0, values[:, 77], 0)
    encoding = assemble("wide", values, layout="ND").spec.encoding
    assert [k for k, code in enumerate(encoding.codes) if not isinstance(code, Scaled)] == [77]
