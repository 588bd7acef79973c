"""Bad tables are refused by file, line, column and what mends it; nothing is dropped or coerced in silence."""

import gzip
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from lowerbound.data import DataConfig, Reading, describe, open_dataset, read_examples
from lowerbound.errors import InputError


def _rows(*extra, num=20, separator=",", header="a,b,c"):
    """A good table, with further lines behind it."""
    rng = np.random.default_rng(0)
    lines = [f"{x:.3f},{k % 5},{'xyz'[k % 3]}" for k, x in enumerate(rng.standard_normal(num))]
    return "\n".join([header, *lines, *extra, ""]).replace(",", separator)


BAD_TEXTS = {
    # what is written, what the message says
    "a row too long": (_rows("1,2,x,4"), r"line 22 has 4 entries where 3 columns are: .*--separator .*--skip-bad-rows"),
    "a row too short": (_rows("1,2"), r"line 22 has 2 entries where 3 columns are"),
    "a short row behind empty lines": (_rows("", "", "1,2"), r"line 24 has 2 entries"),
    "a short row behind a line break in an entry": (_rows('1,2,"x\ny"', "1,2"), r"line 24 has 2 entries"),
    "a word among numbers": (
        _rows("broken,2,x"),
        r"line 22, column a: 'broken' is no number, but 20 others of the column are: .*"
        r"--missing 'broken' .*--categorical a .*--ignore a",
    ),
    "a unit behind a number": (_rows("1.5 kg,2,x"), r"line 22, column a: '1.5 kg' is no number"),
    "a number in another notation": (_rows('"1,5",2,x'), r"line 22, column a: '1,5' is no number.*--decimal ,"),
    "numbers among words": (_rows("1,2,7"), r"line 2, column c: 'x' is no number, but 1 other of the column is"),
    "a column all missing": (_rows(num=0, header="a,b") + "1,\n2,NA\n3,?\n", r"column b holds nothing.*--ignore b"),
    "a constant column": ("a,b\n1,5\n2,5\n3,5\n", r"column b has the same value, 5, in every row.*--ignore b"),
    "a constant word": ("a,b\n1,x\n2,x\n3,x\n", r"column b has the same value, 'x', in every row.*--ignore b"),
    "one row": ("a,b\n1,2\n", r"a single row: at least three"),
    "two rows": ("a,b\n1,2\n2,3\n", r"2 examples of shape \(2,\); at least three"),
    "names twice": (_rows(header="a,b,a"), r"columns 1 and 3 have the same name, a: rename .*--ignore a"),
    "no name": (_rows(header=",b,c"), r"column 1 has no name: .*--ignore ''"),
    "NUL bytes": (_rows("1,\0,x"), r"line 22 holds a NUL byte"),
    "infinity": (_rows("inf,2,x"), r"line 22, column a: inf is infinite.*--missing 'inf'.*--ignore a"),
    "a number that is too large": (_rows("1e400,2,x"), r"line 22, column a: 1e400 is infinite, or too large"),
    "digits that are lost": (
        _rows(*[f"1,{2**53 + 1},x"]),
        r"line 22, column b: .*all digits of 9007199254740993.*--ignore b",
    ),
    "thousands or decimals": (
        'a,b\n"1,234",2\n"2,345",3\n"3,456",4\n',
        r"line 2, column a: 1,234 may be 1234 or 1.234.*--decimal",
    ),
    "cut in a quotation": (_rows('1,2,"x'), r"line 22: a quotation mark opens and never closes: the file is cut off"),
    "cut far behind the quotation": (_rows('1,2,"x', "1,2,x", "1,2,x"), r"line 22: a quotation mark opens and never"),
    "a mark within an entry": (_rows('1,2,5" x'), r"line 22: a quotation mark within an entry"),
    "a mark behind an entry": (_rows('1,2,"x"y'), r"line 22: a quotation mark within an entry"),
    "nothing": ("", r"is empty"),
    "blank lines": ("\n\n\n", r"holds no rows"),
    "a header alone": ("a,b,c\n", r"a line of names and no rows"),
    "names and numbers in the first line": (
        "year,2019,b\n1,2,3\n4,5,6\n7,8,9\n",
        r"line 1: 'year' stands above .*--header yes",
    ),
    "free texts": (
        "a,b\n" + "".join(f"{k % 7},comment number {k} on it\n" for k in range(20)),
        r"column b holds 20 different texts in 20 rows, such as 'comment.*--ignore b; .*--categorical b",
    ),
    "sums of money": (
        "a,b\n" + "".join(f"${k}.50,{k % 7}\n" for k in range(20)),
        r"column a holds 20 different texts .*if they are numbers, write them without \$; .*--categorical a",
    ),
    "the numbers of the rows": (
        "id,b\n" + "".join(f"{k},{k % 7}\n" for k in range(20)),
        r"column id counts the rows, from 0 to 19: .*--ignore id; .*--columns",
    ),
    "days or months": (
        "a,b\n01/02/2020,1\n03/04/2020,2\n05/06/2020,3\n",
        r"line 2, column a: 01/02/2020 may be .*--date-format",
    ),
    "a day that is none": (
        "a,b\n28.02.2021,1\n31.02.2021,2\n01.03.2021,3\n",
        r"line 3, column a: '31.02.2021' is no date",
    ),
    "a word among dates": (
        "a,b\n2020-01-02,1\nlater,2\n2020-01-03,3\n",
        r"line 3, column a: 'later' is no date.*--missing",
    ),
    "a row without anything": (_rows("NA,,?"), r"line 22: every entry is missing.*--skip-bad-rows"),
    "a single row to train on": (_rows(num=3), r"column a has a single value in the training split.*--ignore a"),
}


@pytest.mark.parametrize("fault", BAD_TEXTS)
def test_a_bad_text_is_refused_with_what_mends_it(tmp_path, fault):
    content, message = BAD_TEXTS[fault]
    path = tmp_path / "bad.csv"
    path.write_text(content, newline="")
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(str(path))
    assert str(path) in str(caught.value)


def test_the_order_of_bytes_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbf" + _rows().encode())
    dataset = open_dataset(str(path))
    assert [column.name for column in dataset.spec.columns] == ["a", "b", "c"]
    assert "byte-order mark" in dataset.notes[0]
    path.write_bytes(_rows().encode("utf-16"))
    assert np.array_equal(open_dataset(str(path)).examples, dataset.examples)


def test_another_encoding_is_asked_for_and_read(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(_rows().replace("x", "é").encode("latin-1"))
    with pytest.raises(InputError, match=r"x\.csv, line 2 is no text in utf-8 \(byte 0xe9\): give --text-encoding"):
        open_dataset(str(path))
    dataset = open_dataset(str(path), text_encoding="latin-1")
    assert dataset.spec.columns[2].categories == ("y", "z", "é")
    with pytest.raises(InputError, match="--text-encoding klingon is none that is known"):
        open_dataset(str(path), text_encoding="klingon")


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_packed_table_is_to_be_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(_rows().encode()))
    with pytest.raises(InputError, match=f"{name}.*unpack it"):
        open_dataset(str(tmp_path / name))


def test_escapes_in_names_are_seen_and_do_nothing(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(_rows("word,2,x", header="a\x1b[2J,b,c"))
    with pytest.raises(InputError, match=r"column a\\x1b\[2J: 'word'"):
        open_dataset(str(path))
    path.write_text(_rows("1.5,2,z\u202e", "1.5,2,z\u202e", header="a\x1b[2J,b,c"))
    columns = open_dataset(str(path)).spec.columns
    assert columns[0].name == r"a\x1b[2J"
    assert columns[2].categories == ("x", "y", "z", r"z\u202e")


def test_hundreds_of_columns_are_read(tmp_path):
    path, values = tmp_path / "wide.csv", np.random.default_rng(0).standard_normal((6, 300)).round(4)
    header = ",".join(f"c{k}" for k in range(300))
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in values)]))
    dataset = open_dataset(str(path), ignore=("c1",))
    assert np.array_equal(dataset.examples, np.delete(values, 1, 1))


BAD_COLUMNS = {
    "lists": (pa.array([[1], [2], [3]]), r"column x is of type list<.*which is not read: .*--ignore x"),
    "records": (pa.array([{"p": 1}] * 3), r"column x is of type struct<.*--ignore x"),
    "bytes": (pa.array([b"a", b"b", b"c"]), r"column x is of type binary.*--ignore x"),
    "durations": (pa.array([1, 2, 3], pa.duration("s")), r"column x is of type duration.*--ignore x"),
    "times of day": (pa.array([1, 2, 3], pa.time32("s")), r"column x is of type time32.*--ignore x"),
    "nothing": (pa.nulls(3), r"column x holds nothing: all 12"),
    "NaN alone": (pa.array([np.nan] * 3), r"column x holds nothing: all 12"),
    "infinity": (pa.array([1.0, np.inf, 2.0]), r"row 2, column x: inf is infinite: .*--ignore x"),
    "long integers": (
        pa.array([1, 2**60 + 1, 3]),
        r"row 2, column x: 1152921504606846977 has more digits than.*--ignore x",
    ),
    "long decimals": (
        pa.array(["1", "1234567890123456789.5", "3"]).cast(pa.decimal128(30, 1)),
        r"row 2, column x: 1234567890123456789.5 has more digits",
    ),
    "nanoseconds": (
        pa.array([0, 1, 2], pa.timestamp("ns")),
        r"row 2, column x: .*has more digits than double precision",
    ),
    "one truth": (pa.array([True, True, None]), r"column x has the same value, True, in every row"),
    "one category": (pa.array(["q", "q", None]).dictionary_encode(), r"column x has the same value, 'q'"),
}


@pytest.mark.parametrize("fault", BAD_COLUMNS)
@pytest.mark.parametrize("suffix", [".parquet", ".feather", "frame"])
def test_a_bad_column_is_refused_by_name(tmp_path, fault, suffix):
    column, message = BAD_COLUMNS[fault]
    y = np.random.default_rng(0).standard_normal(12)
    table = pa.table({"x": pa.concat_arrays([column] * 4), "y": y})
    path = tmp_path / f"bad{suffix}"
    if suffix == "frame":
        source = table
    else:
        source = str(path)
        (parquet.write_table if suffix == ".parquet" else feather.write_feather)(table, path)
    with pytest.raises(InputError, match=message):
        open_dataset(source)
    assert open_dataset(source, ignore=("x",)).spec.columns[0].name == "y"


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    path = tmp_path / f"x{suffix}"
    table = pa.table({"x": np.arange(400.0) ** 2, "y": [1.5, 2.5] * 200})
    (parquet.write_table if suffix == ".parquet" else feather.write_feather)(table, path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-40], "text": b"a,b\n1,2\n", "empty": b""}[damage])
    with pytest.raises(InputError, match=re.escape(f"{path} is ")):
        open_dataset(str(path))


def test_rows_left_out_on_demand_are_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(_rows("1,2,x,4", "1,2", "1.25,2,x"))
    with pytest.warns(UserWarning, match=r"2 rows of another number of entries left out \(line 22 and others\)"):
        dataset = open_dataset(str(path), skip_bad_rows=True)
    assert len(dataset.examples) == 21
    path.write_text(_rows("1,2,x,4", "1.25,2,word", "1.25,2,7"))
    with pytest.raises(InputError, match="line 2, column c"):
        open_dataset(str(path), skip_bad_rows=True)
    path.write_text(_rows("1,2,x,4", "word,2,x"))
    with pytest.raises(InputError, match="line 23, column a"):
        open_dataset(str(path), skip_bad_rows=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ignore": ("d",)}, r"--ignore d: .*x\.csv has no such column; its columns are a, b, c"),
        ({"columns": ("aa",)}, r"--columns aa: .*no such column, did you mean a\?; its columns are a, b, c"),
        ({"columns": ("a", "d")}, r"--columns d: .*has no such column"),
        ({"categorical": ("d",)}, r"--categorical d: .*has no such column"),
        ({"condition_on": ("d",)}, r"--condition-on d: .*has no such column"),
        ({"ignore": ("a", "b", "c")}, r"no column is left: name some with --columns"),
        ({"condition_on": ("a", "b", "c")}, r"every column is one of --condition-on"),
        ({"columns": ("a",), "ignore": ("a",)}, r"--columns and --ignore both name a"),
        ({"separator": "::"}, r"--separator is '::': it is one character, tab or blanks"),
        ({"layout": "ND"}, r"--layout has no effect"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, settings, message):
    (tmp_path / "x.csv").write_text(_rows())
    with pytest.raises(InputError, match=message):
        open_dataset(str(tmp_path / "x.csv"), **settings)


def test_what_is_no_dataframe_is_refused():
    with pytest.raises(InputError, match="data of type dict: give a dataframe"):
        open_dataset({"a": [1, 2, 3]})


def test_a_column_of_mixed_types_in_a_dataframe_is_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, 2.5, 3.5], "b": [1, "two", 3.5]})
    with pytest.raises(InputError, match=r"several types.*column b"):
        open_dataset(frame)


def test_rows_without_anything_are_left_out_when_told_and_counted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(_rows(",,", "0.5,1,x", "NA,,?", "0.25,2"))
    ragged, empty = r"1 row of another number of entries left out \(line 25\)", "2 rows left out, every entry missing"
    with pytest.warns(UserWarning, match=ragged), pytest.warns(UserWarning, match=empty):
        dataset = open_dataset(str(path), skip_bad_rows=True)
    assert len(dataset.examples) == 21
    assert list(dataset.examples[20]) == [0.5, 1.0, 0.0]
    numbers = [None if k == 3 else k % 7 / 2 for k in range(20)]
    parquet.write_table(pa.table({"a": numbers, "b": numbers[:10] + [None] * 10}), tmp_path / "x.parquet")
    with pytest.warns(UserWarning, match="1 row left out, every entry missing"):
        assert len(open_dataset(str(tmp_path / "x.parquet"), skip_bad_rows=True).examples) == 19


def _known(tmp_path):
    """How a table is read for a model that knows columns a, recorded to 0.5, and b, of the levels 0 to 4."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"{k % 7 / 2},{k % 5}\n" for k in range(40)))
    return path, open_dataset(str(path)).spec


def test_a_value_that_training_has_not_seen_is_refused_with_its_line(tmp_path):
    path, spec = _known(tmp_path)
    path.write_text("a,b\n1.5,2\n2.5,99\n")
    with pytest.raises(InputError, match=r"x\.csv, line 3: column b holds 99, where only 5 levels, 0 to 4 are known"):
        read_examples(DataConfig(str(path)), spec)


def test_a_value_between_those_of_training_is_told_of(tmp_path):
    path, spec = _known(tmp_path)
    path.write_text("a,b\n1.5,2\n2.6,3\n")
    with pytest.warns(
        UserWarning, match=r"column a: 1 value lies between the multiples of 0\.5 of training, and is taken"
    ):
        read_examples(DataConfig(str(path)), spec)


def test_a_file_that_a_run_reads_may_be_written_otherwise(tmp_path):
    path, spec = _known(tmp_path)
    path.write_text("a;b\n1,5;2\n-999;3\n2,5;1\n")
    config = DataConfig(str(path))
    values = read_examples(config, spec, Reading(missing=("-999",), decimal=",")).values
    assert np.array_equal(values, [[1.5, 2], [np.nan, 3], [2.5, 1]], equal_nan=True)
    parquet.write_table(pa.table({"a": [0.5], "b": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"--missing has no effect on .*x\.parquet"):
        read_examples(DataConfig(str(tmp_path / "x.parquet")), spec, Reading(missing=("-999",)))


def test_a_table_of_many_columns_is_described_in_few_lines(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 300))
    described = describe(open_dataset(pa.table({f"c{k}": values[:, k] for k in range(300)})))
    assert "... and 280 real columns more" in described
    assert len(described.splitlines()) < 30
