"""Numbers of which a share is one and the same value: a probability there, a density elsewhere, and back."""

import json
import math
import re

import numpy as np
import pytest
import torch

from lowerbound.blocks import ONE_HOT, ChoiceOrReal, Real, at_places, check_values, with_noise
from lowerbound.data import DataSpec, Examples, describe
from lowerbound.data.codes import OnGrid
from lowerbound.data.codes.fit import fit_code, frequent
from lowerbound.data.codes.masses import PointMasses
from lowerbound.data.codes.reals import Scaled, Warped
from lowerbound.data.columns import Column
from lowerbound.errors import InputError
from lowerbound.rng import Stream

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(1000)
DRY = RNG.random(1000) < 0.4
RAIN = np.where(DRY, 0.0, np.abs(NORMAL) ** 3)
REAL, OTHER = Column("rain", "real", "double"), Column("wind", "real", "double")


def code_of(values: np.ndarray) -> PointMasses:
    code = fit_code(REAL, np.asarray(values, np.float64))
    assert isinstance(code, PointMasses)
    return code


def weather(**changed) -> Examples:
    return Examples("weather", np.stack([RAIN, NORMAL], 1), "ND", columns=(REAL, OTHER), **changed)


def test_the_others_have_a_code_of_their_own():
    code = code_of(RAIN)
    assert code.values == (0.0,)
    assert code.shares == (DRY.mean(),)
    assert code.block == ChoiceOrReal(code.block.places, code.shares)
    assert -3 <= code.block.places[0] < -2  # as far out as such a value stands
    assert code_of(np.where(DRY, 0.1234567, NORMAL)).block.places[0] == pytest.approx(0.12, abs=0.05)
    assert code.other == fit_code(REAL, RAIN[~DRY])
    assert isinstance(code.other, Warped)
    assert isinstance(code_of(np.where(DRY, -3.0, RNG.random(1000))).other, Scaled)


def test_several_values_may_have_a_probability():
    share = np.where(RNG.random(1000) < 0.1, 1.0, np.where(DRY, 0.0, RNG.random(1000)))
    code = code_of(share)
    assert code.values == (0.0, 1.0)
    assert code.encode(np.array([0.0, 1.0, 0.5]), REAL)[:, :3].tolist() == (ONE_HOT * np.eye(3)).tolist()
    assert "probability of 0 (" in code.text(REAL)
    assert "), 1 (" in code.text(REAL)
    assert "elsewhere density, scaled" in code.text(REAL)


def test_a_frequent_date_is_named_as_one():
    day = Column("day", "date", "timestamp[s]")
    seconds = np.where(DRY, 0.0, 1.6e9 + np.floor(1e7 * np.abs(NORMAL)))
    code = fit_code(day, seconds)
    assert isinstance(code, PointMasses)
    assert code.text(day).startswith("probability of 1970-01-01 00:00:00 (4")
    assert (code.decode(code.encode(seconds, day))[DRY] == 0).all()


@pytest.mark.parametrize(
    "values", [NORMAL, np.where(np.arange(1000) < 19, 0.0, NORMAL), [1.5, 1.5, 1.5, 1.5, *NORMAL[:46]]]
)
def test_a_few_that_are_the_same_have_none(values):
    assert not len(frequent(np.asarray(values))[0])
    assert not isinstance(fit_code(REAL, np.asarray(values)), PointMasses)


def test_values_on_a_grid_have_a_probability_each_already():
    assert isinstance(fit_code(REAL, np.where(DRY, 0.0, NORMAL.round(2))), OnGrid)


def test_where_all_values_are_frequent_another_one_has_a_place_too():
    code = code_of(np.array([0.1, math.pi, math.e])[RNG.integers(0, 3, 300)])
    assert len(code.values) == 3
    assert code.decode(code.encode(np.array([7.7]), REAL)) == pytest.approx([7.7])


def test_values_come_back():
    code = code_of(RAIN)
    x = code.encode(np.array([*RAIN, -5.0, 1e4, math.nan]), REAL)
    assert x.shape == (1003, 3)
    back = code.decode(x)
    np.testing.assert_allclose(back[:-1], [*RAIN, -5.0, 1e4], rtol=1e-6)
    assert (back[:1000][DRY] == 0).all()
    assert np.isnan(x[-1]).all()
    assert np.isnan(back[-1])


def test_a_value_of_its_own_is_drawn_exactly_whatever_stands_beside_it():
    x = np.array([[0.9, 0.3, 2.0], [0.3, 0.9, 2.0]])
    value, other = code_of(RAIN).decode(x)
    assert value == 0.0
    assert other == code_of(RAIN).other.decode(np.array([[2.0]]))


def test_probability_and_density_are_one_together():
    """Of a model that says 0.3 of the value, and N(0, 1) of the number's x, or of the noise in its place."""
    code = code_of(RAIN)
    z = np.linspace(-8, 8, 8001)
    log_normal = -(z**2 + math.log(2 * math.pi)) / 2
    of_value, of_other = (np.column_stack([np.broadcast_to(ONE_HOT * np.eye(2)[k], (len(z), 2)), z]) for k in (0, 1))
    # any noise in the place of the number tells the same probability
    np.testing.assert_allclose(log_normal + code.log_slope(of_value), 0, atol=1e-12)
    at, density = code.decode(of_other), np.exp(log_normal + code.log_slope(of_other))
    assert abs(0.3 + 0.7 * np.trapezoid(density, at) - 1) < 1e-3


def test_the_slope_is_the_slope():
    code, x = code_of(RAIN), np.column_stack([np.zeros(9), np.full(9, ONE_HOT), np.linspace(-1.5, 1.5, 9)])
    ahead, behind = (code.decode(x + np.array([0, 0, step])) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(code.log_slope(x), -np.log((ahead - behind) / 2e-5), rtol=1e-3, atol=1e-3)


def test_noise_stands_for_the_number_and_is_of_the_row_alone():
    dataset = weather().dataset()
    encoding = dataset.spec.encoding
    assert dataset.spec.shape == (4,)
    assert dataset.spec.num_dims == 2
    x = encoding.encode(dataset.examples)
    check_values(x, encoding.blocks)
    noise = x[torch.from_numpy(DRY), 2].double()
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert abs(noise.std() - 1) < 4 / (2 * len(noise)) ** 0.5
    order = RNG.permutation(1000)[:50]
    assert torch.equal(encoding.encode(dataset.examples[order]), x[order])
    np.testing.assert_allclose(encoding.decode(x), dataset.examples, rtol=1e-5, atol=1e-5)
    there = encoding.by_value(torch.ones_like(x).numpy())
    assert there.tolist() == [[3, 1]] * 1000
    assert encoding.observed_entries(np.array([[False, True]])).tolist() == [[False] * 3 + [True]]


def test_noise_is_drawn_anew_where_a_value_stands_and_nowhere_else():
    blocks = (Real(), ChoiceOrReal((5.0, -2.0), (0.2, 0.2)))
    x = torch.tensor(
        [[1.0, ONE_HOT, 0, 0, 5.0], [1.0, 0, ONE_HOT, 0, 6.0], [1.0, 0, 0, ONE_HOT, 7.0], [1.0, *[math.nan] * 4]]
    )
    drawn = with_noise(x, blocks, Stream(0))
    assert torch.equal(drawn[:, :4].nan_to_num(9), x[:, :4].nan_to_num(9))
    assert (drawn[:2, 4] - x[:2, 4] != 0).all()
    assert at_places(x, blocks)[:, 4].nan_to_num(9).tolist() == [5.0, -2.0, 7.0, 9.0]
    assert drawn[2, 4] == 7
    assert drawn[3, 4].isnan()
    assert with_noise(x, (Real(),) * 5, Stream(0)) is x


def test_a_description_names_the_shares_and_is_read_again():
    spec = weather().dataset().spec
    assert re.search(r"probability of 0 \(4\d\.\d%\); elsewhere density", describe(weather().dataset()))
    values = json.loads(json.dumps(spec.to_dict()))
    assert DataSpec.from_dict(values).encoding == spec.encoding
    values["encoding"]["codes"][0]["values"] = [1.0, 0.0]
    with pytest.raises(InputError, match=r"codes\[0\] is"):
        DataSpec.from_dict(values)


def test_a_description_of_before_is_read_where_no_value_had_a_share():
    smooth = Examples("smooth", np.stack([NORMAL, NORMAL**2], 1), "ND", columns=(REAL, OTHER)).dataset().spec
    values = json.loads(json.dumps(smooth.to_dict()))
    for code in values["encoding"]["codes"]:
        code["repeated"] = None
    assert DataSpec.from_dict(values).encoding == smooth.encoding
    values["encoding"]["codes"][0]["repeated"] = {"value": 0.0, "share": 0.4}
    with pytest.raises(InputError, match="a probability of their own: train the run anew"):
        DataSpec.from_dict(values)


def test_all_numbers_of_a_table_may_have_densities():
    with pytest.warns(UserWarning, match=r"values are repeated in channel rain \(4\d% are 0\): "):
        encoding = weather().dataset(densities=True).spec.encoding
    assert all(isinstance(code, Scaled | Warped) for code in encoding.codes)


def test_what_takes_one_kind_of_value_alone_is_told_of_the_column():
    with pytest.raises(InputError, match=r"repeated values \(rain\), which a flow does not take.*--densities"):
        weather().dataset().spec.check_alike("a flow")


@pytest.mark.parametrize(
    ("places", "shares"), [((), ()), ((math.nan,), (0.5,)), ((0.0,), ()), ((0.0, 1.0), (0.6, 0.6)), ((0.0,), (0.0,))]
)
def test_a_block_has_at_least_one_value_with_a_share(places, shares):
    with pytest.raises(InputError, match=r"at least one|1 in all at most"):
        ChoiceOrReal(places, shares)
