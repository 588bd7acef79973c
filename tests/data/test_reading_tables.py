"""Tables are read as what they are, and come out in the names, types and order that they came in."""

import datetime
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from lowerbound.cli.main import run
from lowerbound.data import DataConfig, describe, open_dataset, read_examples
from lowerbound.data.directory import data_directory
from lowerbound.data.memory import file_of
from lowerbound.data.tables.examples import read_table
from lowerbound.data.tables.frames import from_dataframe, imputed_table, to_dataframe, to_table
from lowerbound.data.tables.text_types import MISSING
from lowerbound.errors import InputError
from lowerbound.files.arrow import write_table
from lowerbound.run import open_run

_RNG = np.random.default_rng(0)
_NUM = 24
_TABLE = pa.table(
    {
        "size": pa.array([None if k == 5 else round(float(x), 3) for k, x in enumerate(_RNG.standard_normal(_NUM))]),
        "count": pa.array(_RNG.integers(-3, 4, _NUM)),
        "kind": pa.array(["y", 'a "b", c', "x"] * 8),
        "when": pa.array([datetime.datetime(2020, 1 + k % 12, 2, k, 30) for k in range(_NUM)], pa.timestamp("s")),
        "sure": pa.array(["no", "yes", "yes", "no"] * 6),
    }
)
"""A column of each kind, as texts have them."""
_KINDS = ["real", "integer", "categorical", "date", "boolean"]


def _kinds(dataset):
    return [column.kind for column in dataset.spec.columns]


def _written(path, table=_TABLE):
    if path.suffix == ".arrow":
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        write_table(path, table)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".feather", ".arrow"])
def test_every_kind_of_file_gives_the_same_rows_and_gives_them_back(tmp_path, suffix):
    dataset = open_dataset(_written(tmp_path / f"x{suffix}"))
    assert _kinds(dataset) == _KINDS
    assert np.array_equal(dataset.examples, open_dataset(_TABLE).examples, equal_nan=True)
    assert np.isnan(dataset.examples[5, 0])
    assert dataset.spec.columns[2].categories == ('a "b", c', "x", "y")
    table = to_table(dataset.spec, dataset.examples)
    assert table.column_names == _TABLE.column_names
    assert table.to_pylist() == _TABLE.to_pylist()


@pytest.mark.parametrize(
    ("first", "others"),
    [
        ("a;b;c", ["1,5;x;2", "-2,25;y;3", "1.300,5;x;4", "NA;y;5"]),
        ("a\tb\tc", ["1.5\tx\t2", "-2.25\ty\t3", "1,300.5\tx\t4", "\ty\t5"]),
        ("a|b|c", ["1.5|x|2", "-2.25|y|3", "1300.5|x|4", "?|y|5"]),
        ("a , b , c", ["1.5, x, 2", "-2.25, y, 3", "1300.5, x, 4", "null, y, 5"]),
        ('"a","b","c"', ['"1.5","x","2"', '"-2.25","y","3"', '"1,300.5","x","4"', '"","y","5"']),
        ("  a  b  c", ["  1.5 x\t2", " -2.25  y 3 ", "1300.5 x 4", "NA y 5"]),
        ("# from a station\n# a b c", ["1.5 x 2", "-2.25 y 3", "1300.5 x 4", "NaN y 5"]),
        ('"a" "b" "c"', ['1.5 "x" 2', '-2.25 "y" 3', '1300.5 "x" 4', 'NA "y" 5']),
        ("a;b;c", ["1,5;x;2", "-2,25;y;3", "1\u00a0300,5;x;4", "-;y;5"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_decimal_marks_and_thousands_are_recognised(tmp_path, first, others, end):
    path = tmp_path / "x.txt"
    path.write_text(end.join([first, *others, ""]), newline="", encoding="utf-8")
    examples = read_table(path, DataConfig(str(path)))
    assert [column.name for column in examples.columns] == ["a", "b", "c"]
    expected = [[1.5, 0, 2], [-2.25, 1, 3], [1300.5, 0, 4], [math.nan, 1, 5]]
    assert np.array_equal(examples.values, expected, equal_nan=True)


def test_how_a_text_was_read_is_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a;b\n" + "".join(f"{k},5;{k * k % 7}\n" for k in range(20)) + "n.a.;3\n")
    told = describe(open_dataset(str(path), missing=("n.a.",)))
    assert "separator ';', decimal comma, header of 2 names, missing entries written n.a." in told
    path.write_text("".join(f"{k}.5,{k * k % 7}\n" for k in range(20)))
    assert "separator ',', decimal point, no header, 2 columns" in describe(open_dataset(str(path)))


@pytest.mark.parametrize(
    ("days", "is_told"), [(range(12), True), ([*range(11), 40], True), ([*range(11), 5], False), (range(9), False)]
)
def test_rows_in_the_order_of_time_are_told_to_be_no_series(days, is_told):
    dates = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=day) for day in days]
    table = pa.table({"load": _RNG.standard_normal(len(dates)), "when": pa.array(dates, pa.timestamp("s"))})
    dataset = open_dataset(table)
    text = "rows follow one another in when, and each is learned as if it stood alone: with --window they are series"
    assert (text in describe(dataset)) == is_told
    assert text not in describe(open_dataset(table, spec=dataset.spec))


@pytest.mark.parametrize(
    ("text", "form", "second"),
    [
        ("2020-03-0{}", "%Y-%m-%d", datetime.datetime(2020, 3, 2)),
        ("2020-03-0{} 12:30", "%Y-%m-%d %H:%M", datetime.datetime(2020, 3, 2, 12, 30)),
        ("2020-03-0{}T12:30:05.250000Z", "%Y-%m-%dT%H:%M:%S.%fZ", datetime.datetime(2020, 3, 2, 12, 30, 5, 250_000)),
        ("0{}.03.2020", "%d.%m.%Y", datetime.datetime(2020, 3, 2)),
        ("2{}/03/2020", "%d/%m/%Y", datetime.datetime(2020, 3, 22)),
        ("03/2{}/2020", "%m/%d/%Y", datetime.datetime(2020, 3, 22)),
        ("1969/03/0{}", "%Y/%m/%d", datetime.datetime(1969, 3, 2)),
    ],
)
def test_dates_are_read_and_written_as_they_came(tmp_path, text, form, second):
    path, dates = tmp_path / "x.csv", [text.format(day) for day in range(1, 10)]
    path.write_text("\n".join(["when,a", *(f"{date},{k % 4}.5" for k, date in enumerate(dates))]))
    dataset = open_dataset(str(path))
    assert dataset.spec.columns[0].kind == "date"
    assert dataset.spec.columns[0].format == form
    assert dataset.examples[1, 0] == second.replace(tzinfo=datetime.UTC).timestamp()
    assert to_table(dataset.spec, dataset.examples, as_text=True)["when"].to_pylist() == dates


def test_a_form_that_is_given_tells_days_from_months(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("when,a\n" + "".join(f"0{k}/05/2020,{k % 4}.5\n" for k in range(1, 10)))
    dataset = open_dataset(str(path), date_format="%d/%m/%Y")
    assert dataset.examples[1, 0] - dataset.examples[0, 0] == 86400


_TYPED = {
    "float": pa.array([1.5, 2.5, None, 0.25] * 4, pa.float32()),
    "small": pa.array([1, 2, None, 7] * 4, pa.uint8()),
    "price": pa.array(["1.50", "2.25", None, "-3.10"] * 4).cast(pa.decimal128(8, 2)),
    "day": pa.array([10, 20, None, 40] * 4, pa.date32()),
    "moment": pa.array([10, 20, None, 40] * 4, pa.timestamp("us", "Europe/Berlin")),
    "flag": pa.array([True, False, None, True] * 4),
    "text": pa.array(["p", "q", None, "p"] * 4, pa.large_string()),
    "view": pa.array(["p", "q", None, "p"] * 4, pa.string_view()),
    "said": pa.array(["yes", "no", None, "yes"] * 4, pa.string_view()),
    "level": pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1] * 4, pa.int32()), ["low", "high"]),
}


@pytest.mark.parametrize("name", _TYPED)
def test_types_of_files_and_frames_come_back(name):
    table = pa.table({name: _TYPED[name], "y": np.arange(16.0) ** 2})
    examples = from_dataframe(table)
    assert np.isnan(examples.values[2, 0])
    dataset = examples.dataset()
    back = to_dataframe(dataset.spec, examples.values)
    assert back.schema.field(name).type == table.schema.field(name).type
    assert back.to_pylist() == table.to_pylist()


def test_views_of_texts_are_written_as_texts_are(tmp_path):
    """As polars writes them."""
    names = ["=1", "a,b", None, "=1"] * 4
    tables = [
        pa.table({"name": pa.array(names, kind), "y": np.arange(16.0)}) for kind in (pa.string_view(), pa.string())
    ]
    for number, table in enumerate(tables):
        write_table(tmp_path / f"{number}.csv", table)
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "1.csv").read_text()
    write_table(tmp_path / "x.feather", tables[0])
    assert feather.read_table(tmp_path / "x.feather")["name"].to_pylist() == names


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_dataframe_gives_what_its_file_gives_and_comes_back_as_one(tmp_path, library):
    module = pytest.importorskip(library)
    frame = _TABLE.to_pandas() if library == "pandas" else module.from_arrow(_TABLE)
    dataset = open_dataset(frame)
    assert _kinds(dataset) == _KINDS
    back = to_dataframe(dataset.spec, dataset.examples, frame)
    assert type(back) is type(frame)
    assert np.array_equal(open_dataset(back).examples, dataset.examples, equal_nan=True)


def test_columns_are_chosen_left_out_and_made_conditions(tmp_path):
    path = _written(tmp_path / "x.csv")
    names = lambda **settings: [c.name for c in open_dataset(path, **settings).spec.columns]  # noqa: E731
    assert names(columns=("kind", "size")) == ["kind", "size"]
    assert names(ignore=("kind", "when")) == ["size", "count", "sure"]
    labelled = open_dataset(path, condition_on=("kind",))
    assert labelled.spec.class_names == ('a "b", c', "x", "y")
    assert [labelled.spec.class_names[k] for k in labelled.labels[:3]] == ["y", 'a "b", c', "x"]
    assert "kind" not in [c.name for c in labelled.spec.columns]
    numeric = open_dataset(path, condition_on=("count", "kind"))
    assert numeric.conditions.shape == (_NUM, 4)
    assert np.array_equal(numeric.conditions[:, 0], _TABLE["count"].to_numpy())
    assert numeric.conditions[0, 1:].tolist() == [0, 0, 1]
    named = read_table(tmp_path / "x.csv", DataConfig(path, categorical=("count",))).columns[1]
    assert named.kind == "categorical"
    assert list(named.categories) == sorted(named.categories, key=int)
    with pytest.raises(InputError, match="column size: an entry is missing in a condition"):
        open_dataset(path, condition_on=("size",))


def test_a_table_for_a_run_is_read_by_names(tmp_path):
    spec = open_dataset(_written(tmp_path / "x.csv")).spec
    config = DataConfig(str(tmp_path / "y.csv"))
    shuffled = _TABLE.select(["sure", "when", "kind", "count", "size"]).append_column("more", [["text"] * _NUM])
    _written(tmp_path / "y.csv", shuffled)
    with pytest.warns(UserWarning, match=r"y\.csv: left out, as the run does not know them: more"):
        examples = read_examples(config, spec)
    assert np.array_equal(examples.values, open_dataset(_TABLE).examples, equal_nan=True)
    one = _TABLE.slice(7, 1)
    _written(tmp_path / "y.csv", one)
    assert np.array_equal(read_examples(config, spec).values, open_dataset(_TABLE).examples[7:8])
    _written(tmp_path / "y.csv", _TABLE.drop_columns(["when"]))
    with pytest.raises(InputError, match=r"y\.csv has no column when, which the run knows"):
        read_examples(config, spec)
    _written(tmp_path / "y.csv", _TABLE.set_column(2, "kind", [["x"] * 3 + ["w"] * 21]))
    with pytest.raises(InputError, match=r"y\.csv, line 5, column kind: 'w' is a category that"):
        read_examples(config, spec)
    _written(tmp_path / "y.csv", _TABLE.set_column(1, "count", [[2.5] * 24]))
    with pytest.raises(InputError, match=r"y\.csv, line 2, column count: 2.5 is no whole number"):
        read_examples(config, spec)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_larger_than_memory_goes_to_a_file(tmp_path, monkeypatch, suffix):
    path = _written(tmp_path / f"x{suffix}")
    expected = open_dataset(path).examples
    monkeypatch.setenv("LOWERBOUND_MEMORY", "1e-9")
    dataset = open_dataset(path)
    assert file_of(dataset.examples) is not None
    assert np.array_equal(dataset.examples, expected, equal_nan=True)
    assert "in a temporary file in" in describe(dataset)


def test_long_texts_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.data.tables.text._BLOCK", 1 << 12)
    monkeypatch.setattr("lowerbound.data.tables.dialect._PIECE", 1000)
    values = np.random.default_rng(0).standard_normal((3000, 2)).round(4)
    rows = [f'{x},"a ""b""\n{k % 3}",{y}' for k, (x, y) in enumerate(values)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["u,v,w", *rows]))
    dataset = open_dataset(str(path))
    assert np.array_equal(dataset.examples[:, [0, 2]], values)
    assert np.array_equal(dataset.examples[:, 1], np.arange(3000) % 3)
    path.write_text("\n".join(["u,v,w", *rows, "1,x"]))
    with pytest.raises(InputError, match="line 6,002 has 2 entries"):
        open_dataset(str(path))


def test_several_imputations_stand_above_one_another():
    spec = open_dataset(_TABLE).spec
    rows = open_dataset(_TABLE).examples[[3, 8]]
    samples, known = np.stack([rows, rows], 1), np.ones(rows.shape, bool)
    table = imputed_table(spec, samples, known, np.array([3, 8]))
    assert table.column_names == ["example", "imputation", *_TABLE.column_names]
    assert table["example"].to_pylist() == [3, 3, 8, 8]
    assert table["imputation"].to_pylist() == [0, 1, 0, 1]
    assert imputed_table(spec, samples[:, :1], known, np.array([3, 8])).column_names == _TABLE.column_names


def test_filled_entries_have_their_mean_and_spread_and_known_ones_none():
    days = pa.array([datetime.datetime(2026, 1, 1 + k) for k in range(4)])
    columns = {"age": [1.5, 2.0, 3.25, 4.0], "site": list("abab"), "day": days, "known": [1.0, 2.0, 3.0, 4.5]}
    dataset = open_dataset(pa.table({name: pa.concat_arrays([pa.array(each)] * 6) for name, each in columns.items()}))
    samples = np.repeat(dataset.examples[:2, None], 3, 1)
    samples[1, :, 0] = 1.0, 2.0, 6.0
    samples[0, :, 1] = 0, 1, 1
    samples[1, :, 2] = samples[0, 0, 2] + 86_400 * np.array([0, 1, 2])
    observed = np.array([[True, False, True, True], [False, True, False, True]])
    table = imputed_table(dataset.spec, samples, observed, np.arange(2))
    assert table.column_names[6:] == ["age mean", "age std", "site share", "day mean", "day std"]
    assert table["age mean"].to_pylist() == [None] * 3 + [3.0] * 3
    assert table["age std"].to_pylist() == [None] * 3 + [pytest.approx(7**0.5)] * 3
    assert table["site share"].to_pylist() == [pytest.approx(share) for share in (1 / 3, 2 / 3, 2 / 3)] + [None] * 3
    assert table["day mean"].to_pylist()[3:] == [datetime.datetime(2026, 1, 2)] * 3
    assert table["day std"].to_pylist() == [None] * 3 + [1.0] * 3


def test_from_a_csv_to_samples_scores_and_filled_gaps(tmp_path):
    """The command line, as a new user goes through it."""
    source, folder = tmp_path / "x.csv", tmp_path / "run"
    rng = np.random.default_rng(1)
    big = pa.concat_tables([_TABLE] * 4).set_column(0, "size", [rng.standard_normal(96).round(3)])
    big = big.set_column(1, "count", [[None if k == 7 else k % 5 for k in range(96)]])
    _written(source, big)
    assert run(["train", str(source), "--out", str(folder), "--steps", "3", "--batch-size", "8"]) == 0
    assert [column.kind for column in open_run(folder).spec.columns] == _KINDS
    for out in ("s.csv", "s.parquet", "s.feather", "s.tsv"):
        assert run(["sample", str(folder), "-n", "3", "--steps", "2", "-o", str(tmp_path / out)]) == 0
    assert parquet.read_table(tmp_path / "s.parquet").schema.names == _TABLE.column_names
    assert (
        feather.read_table(tmp_path / "s.feather").to_pylist() == parquet.read_table(tmp_path / "s.parquet").to_pylist()
    )
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "size,count,kind,when,sure"
    filled = tmp_path / "filled.csv"
    assert run(["impute", str(folder), str(source), "--steps", "2", "-o", str(filled)]) == 0
    before, after = source.read_text().splitlines(), filled.read_text().splitlines()
    assert [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [8]
    assert run(["score", str(folder), str(source), "--num-times", "2", "-o", str(tmp_path / "scores.csv")]) == 0
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 97


@pytest.mark.parametrize(
    ("name", "shape", "first", "note"),
    [
        ("uci-power-plant.txt", (9568, 5), "real", "separator tab, decimal point, no header, 5 columns"),
        ("uci-concrete.txt", (1030, 9), "real", "separator tab, decimal point, no header, 9 columns"),
        ("uci-wine-quality-red.txt", (1599, 12), "real", "separator blanks, decimal point, no header, 12 columns"),
        ("etth1.csv", (17_420, 8), "date", "separator ',', decimal point, header of 8 names"),
    ],
)
def test_real_tables_are_read_right(name, shape, first, note):
    path = data_directory() / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the data directory")
    examples = read_table(path, DataConfig(str(path)))
    assert examples.values.shape == shape
    assert np.isfinite(examples.values).all()
    assert examples.columns[0].kind == first
    assert note in examples.notes[0]
    if name == "etth1.csv":
        assert [column.name for column in examples.columns] == [
            "date",
            "HUFL",
            "HULL",
            "MUFL",
            "MULL",
            "LUFL",
            "LULL",
            "OT",
        ]
        assert (np.diff(examples.values[:, 0]) == 3600).all()
    if name == "uci-wine-quality-red.txt":
        assert examples.columns[-1].kind == "integer"
        assert set(examples.values[:, -1]) == {3, 4, 5, 6, 7, 8}
    if name == "uci-concrete.txt":
        assert examples.columns[7].kind == "integer"  # days


def test_the_page_on_tables_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(snippet, "tables.md", "exec"), {})
    assert "categorical" in capsys.readouterr().out


def test_the_page_on_tables_names_every_mark_of_a_missing_entry():
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    (listed,) = re.findall(r"are empty ones and (.*?) and a lone point", page)
    assert {*listed.replace(" and", ",").split(", ")} == {*MISSING} - {"", "."}


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "\ufeffsep=;\n"])
@pytest.mark.parametrize("head", ["a;b\n", ""])
def test_a_first_line_that_names_the_separator_is_no_row(tmp_path, first, head):
    path = tmp_path / "excel.csv"
    rows = [f"{k},5;{k**2},25" for k in range(20)]
    path.write_text(first + head + "\n".join(rows), "utf-8")
    data = open_dataset(path)
    assert [column.name for column in data.spec.columns] == (["a", "b"] if head else ["column_1", "column_2"])
    np.testing.assert_allclose(data.examples, [[k + 0.5, k**2 + 0.25] for k in range(20)])
    path.write_text(first + head + "\n".join([*rows, "oops;1,5"]), "utf-8")
    with pytest.raises(InputError, match=rf"line {22 + bool(head)}, column {'a' if head else 'column_1'}"):
        open_dataset(path)
