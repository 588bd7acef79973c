"""Tables of mixed columns: each by its code, there and back, with the slope that turns its density into the stored one."""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import torch

from lowerbound.blocks import ONE_HOT, Choice, Grid, Real
from lowerbound.data import Dataset, DataSpec, Examples, describe
from lowerbound.data.codes import OneHot, OnGrid
from lowerbound.data.codes.fit import fit_code
from lowerbound.data.codes.reals import MOST_SEARCHED, Scaled, Warped
from lowerbound.data.columns import Column
from lowerbound.data.tables.encoding import Columns
from lowerbound.errors import InputError

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(1000)
REAL, INTEGER = Column("a", "real", "double"), Column("b", "integer", "int64")
CITY = Column("city", "categorical", "string", ("Rome", "Oslo", "Lima"))
COLUMNS = (
    CITY,
    REAL,
    Column("flag", "boolean", "bool", ("False", "True")),
    INTEGER,
    Column("day", "date", "date32[day]"),
)


def table(num_rows: int = 200, share_missing: float = 0.2) -> Examples:
    rng = np.random.default_rng(1)
    columns = (
        rng.integers(0, 3, num_rows),
        rng.standard_normal(num_rows),
        rng.integers(0, 2, num_rows),
        rng.integers(-3, 4, num_rows),
        86_400.0 * rng.integers(18_000, 19_000, num_rows),
    )
    values = np.stack(columns, 1).astype(np.float64)
    values[rng.random(values.shape) < share_missing] = np.nan
    values[np.isnan(values).all(1), 1] = 0.0
    return Examples("table", values, "ND", columns=COLUMNS)


def code_of(column: Column, values: np.ndarray):
    return fit_code(column, np.asarray(values, np.float64))


@pytest.mark.parametrize(
    ("column", "values", "kind", "block"),
    [
        (REAL, NORMAL, Scaled, Real()),
        (REAL, np.exp(2 * NORMAL), Warped, Real()),
        (CITY, [0, 1, 2], OneHot, Choice(3)),
        (INTEGER, np.arange(10), OnGrid, 10),
        (INTEGER, np.arange(300), OnGrid, None),
        (INTEGER, 1e6 * NORMAL.round(6), Scaled, Real()),
        (REAL, NORMAL.round(2), OnGrid, None),
        (REAL, np.float32(NORMAL.round(2)), Scaled, Real()),
        (dataclasses.replace(REAL, dtype="float"), np.float32(NORMAL.round(2)), OnGrid, None),
        (REAL, np.rint(20 * NORMAL) / 60, OnGrid, None),
        (Column("day", "date", "date32[day]"), 86_400 * np.arange(50.0), OnGrid, None),
    ],
)
def test_a_column_gets_the_code_that_its_values_ask_for(column, values, kind, block):
    code = code_of(column, values)
    assert isinstance(code, kind)
    if isinstance(code.block, Grid):
        assert code.block.num_levels == block
    else:
        assert code.block == block


@pytest.mark.parametrize(
    "values",
    [NORMAL, np.exp(2 * NORMAL), np.where(NORMAL > 0, NORMAL**3, 0), NORMAL.round(2), RNG.standard_cauchy(1000)],
)
def test_values_come_back(values):
    code = code_of(REAL, values)
    far = np.concatenate([values, [values.max() + 50.0, values.min() - 50.0, math.nan]])
    back = code.decode(code.encode(far, REAL))
    assert np.isnan(back[-1])
    np.testing.assert_allclose(back[:-1], far[:-1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("values", [NORMAL, np.exp(2 * NORMAL), RNG.standard_cauchy(1000), NORMAL**3])
def test_the_slope_is_the_slope(values):
    code = code_of(REAL, values)
    spread = np.quantile(values, 0.75) - np.quantile(values, 0.25)
    at = np.linspace(np.quantile(values, 0.01) - 3 * spread, np.quantile(values, 0.99) + 3 * spread, 997)
    step = 1e-6 * spread
    numeric = (code.encode(at + step, REAL) - code.encode(at - step, REAL))[:, 0] / (2 * step)
    np.testing.assert_allclose(np.exp(code.log_slope(code.encode(at, REAL))), numeric, rtol=1e-4)
    assert (np.diff(code.encode(at, REAL)[:, 0]) > 0).all()


def test_a_normal_density_through_the_spline_integrates_to_one():
    code = code_of(REAL, np.exp(2 * NORMAL))
    x = np.linspace(-8, 8, 4001)[:, None]
    at = code.decode(x)
    density = np.exp(-(x[:, 0] ** 2) / 2 + code.log_slope(x)) / math.sqrt(2 * math.pi)
    assert abs(np.trapezoid(density, at) - 1) < 1e-3


def test_heavy_tails_are_drawn_in_to_about_normal():
    for values in (np.exp(2 * NORMAL), RNG.standard_cauchy(2000), NORMAL**3):
        x = code_of(REAL, values).encode(values, REAL)[:, 0]
        assert abs(x.mean()) < 0.1
        assert 0.8 < x.std() < 1.2
        assert np.abs(x).max() < 15


def test_what_is_recorded_to_a_unit_is_told_as_a_density_over_it():
    code = code_of(REAL, NORMAL.round(2))
    assert code.unit == 0.01
    assert code.log_slope(np.zeros((3, 1))).tolist() == [-math.log(0.01)] * 3
    assert code_of(INTEGER, np.arange(9)).log_slope(np.zeros((2, 1))).tolist() == [0, 0]


def test_a_table_goes_there_and_back():
    dataset = table().dataset()
    encoding = dataset.spec.encoding
    assert dataset.spec.shape == dataset.shape == (8,)
    assert dataset.spec.raw_shape == (5,)
    assert dataset.spec.num_dims == 5
    x = encoding.encode(dataset.examples)
    missing = np.isnan(dataset.examples)
    assert torch.equal(x.isnan(), torch.from_numpy(missing[:, [0, 0, 0, 1, 2, 2, 3, 4]]))
    back = encoding.decode(x)
    np.testing.assert_allclose(back[~missing], dataset.examples[~missing], rtol=1e-6, atol=1e-6)
    assert dataset.num_observed.tolist() == (~missing).sum(1).tolist()
    assert encoding.observed_entries(~missing).tolist() == (~x.isnan()).tolist()
    assert torch.isfinite(encoding.encode(np.asarray(encoding.filling)[None])).all()


def test_whatever_a_model_gives_is_a_row():
    dataset = table().dataset()
    rows = dataset.spec.encoding.decode(5 * torch.randn(500, 8))
    assert np.isin(rows[:, 0], (0, 1, 2)).all()
    assert np.isin(rows[:, 2], (0, 1)).all()
    assert np.isin(rows[:, 3], np.arange(-3, 4)).all()
    assert (rows[:, 4] % 86_400 == 0).all()


def test_the_log_determinant_is_of_what_is_there():
    dataset = table().dataset()
    scaled, day = dataset.spec.encoding.codes[1], dataset.spec.encoding.codes[4]
    there = (~np.isnan(dataset.examples)).astype(float)
    expected = -there[:, 1] * math.log(scaled.scale) - there[:, 4] * math.log(day.unit)
    np.testing.assert_allclose(dataset.spec.encoding.log_det(dataset.encoded(np.arange(200))).numpy(), expected)


def test_a_description_is_read_again_and_a_damaged_one_refused():
    spec = table().dataset().spec
    values = json.loads(json.dumps(spec.to_dict()))
    assert DataSpec.from_dict(values).encoding == spec.encoding
    values["shape"] = [7]
    with pytest.raises(InputError, match="8 entries"):
        DataSpec.from_dict(values)


def test_columns_are_part_of_the_fingerprint():
    values = np.stack([NORMAL, NORMAL], 1)
    names = [Dataset.fingerprint(Examples("t", values, "ND", columns=pair).dataset()) for pair in _pairs()]
    assert len(set(names)) == 2
    again = Examples.of(table().dataset())
    assert again.columns == COLUMNS
    assert again.dataset().fingerprint() == table().dataset().fingerprint()


def _pairs():
    other = dataclasses.replace(REAL, name="c")
    return (REAL, other), (other, REAL)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 3.0, "column city holds category number 3, where 3 .Rome, Oslo, Lima. are known: leave out"),
        (0, 0.5, "column city holds category number 0.5"),
        (3, 4.0, "column b holds 4, where only 7 levels, -3 to 3 are known: leave out"),
        (3, 0.5, "column b holds 0.5, where only 7 levels"),
        (1, math.inf, "infinity"),
    ],
)
def test_a_value_that_has_no_place_is_refused_by_its_column(place, value, message):
    encoding = table().dataset().spec.encoding
    row = np.array([[0.0, 0.0, 0.0, 0.0, 0.0]])
    encoding.encode(row)
    row[0, place] = value
    with pytest.raises(InputError, match=message):
        encoding.encode(row)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(50, 7.0), "column a has the same value, 7, in every row"),
        (np.full(50, math.nan), "column a is empty in the training split"),
        (np.linspace(-1e300, 1e300, 50), "column a holds values too large"),
        (np.where(np.arange(50) == 3, math.inf, 1.0), "infinity"),
    ],
)
def test_a_column_that_has_no_code_is_refused_by_its_name(values, message):
    rows = Examples("t", np.stack([values, NORMAL[:50]], 1), "ND", columns=(REAL, dataclasses.replace(REAL, name="c")))
    with pytest.raises(InputError, match=message):
        rows.dataset()


def test_a_level_that_training_has_not_takes_the_ends_away_and_a_category_is_told_of():
    values = np.stack([np.arange(100.0) % 5, np.arange(100.0) % 2], 1)
    splits = {"train": np.arange(80), "validation": np.arange(80, 90), "test": np.arange(90, 100)}
    columns = (INTEGER, CITY)
    values[95] = 77, 2
    with pytest.warns(UserWarning, match="column city has 1 categories that no training row has .Lima."):
        encoding = Examples("t", values, "ND", splits, columns=columns).dataset().spec.encoding
    assert encoding.codes[0].num_levels is None
    assert encoding.encode(values)[95, 1:].tolist() == pytest.approx([0, 0, ONE_HOT])


def test_a_complete_table_of_numbers_has_nothing_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = table(share_missing=0).dataset()
    assert not dataset.spec.has_missing
    text = describe(dataset)
    for line in ("city", "categorical", "probability of 3 categories", "7 levels, -3 to 3", "density, scaled"):
        assert line in text
    with pytest.raises(InputError, match="NaN"):
        dataset.spec.encoding.encode(np.full((1, 5), math.nan))


def test_columns_that_are_not_theirs_are_refused():
    with pytest.raises(InputError, match="2 columns for values of shape"):
        Examples("t", np.zeros((9, 3)), "ND", columns=(REAL, INTEGER)).dataset()
    with pytest.raises(InputError, match="5 values are known"):
        table().dataset().spec.encoding.encode(np.zeros((2, 4)))
    assert isinstance(table().dataset().spec.encoding, Columns)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("unit", [0.01, 0.5, 1 / 3])
def test_draws_of_numbers_recorded_to_a_fine_unit_are_multiples_of_it(heavy, unit):
    rng = np.random.default_rng(0)
    values = 1000 * unit * (np.exp(2 * rng.standard_normal(400)) if heavy else 20 + rng.standard_normal(400))
    values = np.rint(values / unit) * unit
    code = code_of(REAL, values)
    assert isinstance(code, Warped if heavy else Scaled)
    np.testing.assert_allclose(code.decode(code.encode(values, REAL)), values, rtol=1e-14, atol=1e-11)
    drawn = code.decode(rng.standard_normal((500, 1)))
    assert np.abs(drawn / unit - np.rint(drawn / unit)).max() < 1e-6
    if unit == 0.01:
        assert all(len(str(value).partition(".")[2]) <= 2 for value in drawn.tolist())
    assert np.isfinite(code.decode(np.array([[3e38], [-3e38]]))).all()


def test_what_was_recorded_to_no_unit_is_not_rounded():
    code = code_of(REAL, NORMAL[:100])
    assert isinstance(code, Scaled)
    assert code.recorded is None
    assert code.decode(np.array([[0.123456789]]))[0] == pytest.approx(code.shift + 0.123456789 * code.scale, rel=1e-15)


@pytest.mark.parametrize(("num_columns", "kind"), [(3, Warped), (MOST_SEARCHED + 1, Scaled)])
def test_heaps_are_looked_for_in_tables_that_are_not_too_wide(num_columns, kind):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, num_columns))
    values[:, 0] = np.round(2 * values[:, 0]) + 0.02 * rng.random(400)
    columns = tuple(Column(str(place), "real", "double") for place in range(num_columns))
    assert isinstance(Columns.fit(values, columns, {"train": np.arange(400)}).codes[0], kind)
