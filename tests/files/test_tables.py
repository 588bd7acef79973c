"""Tables: names are texts to every reader, numbers are numbers."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from lowerbound.files.arrow import write_table

_NAMES = [
    "=HYPERLINK(1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "a\x1b[31m.png",
    "a,b",
    'c"d',
    "plain.png",
    "\t=1",
]
_NUMBERS = np.arange(9) - 4.5


@pytest.fixture
def columns():
    return pa.table({"example": np.arange(9) - 4, "name": _NAMES, "nats": _NUMBERS})


def test_a_name_in_a_csv_is_no_formula_and_no_escape(tmp_path, columns):
    write_table(tmp_path / "x.csv", columns)
    content = (tmp_path / "x.csv").read_text()
    assert "\x1b" not in content
    rows = list(csv.DictReader(content.splitlines()))
    shown = [row["name"] for row in rows]
    assert shown == [
        "'=HYPERLINK(1)",
        "'+1+cmd|' /C calc'!A0",
        "'-2+3",
        "'@SUM(A1)",
        r"a\x1b[31m.png",
        "a,b",
        'c"d',
        "plain.png",
        r"\t=1",
    ]
    assert [int(row["example"]) for row in rows] == columns["example"].to_pylist()
    assert [float(row["nats"]) for row in rows] == _NUMBERS.tolist()


@pytest.mark.parametrize(("suffix", "read"), [("parquet", parquet.read_table), ("feather", feather.read_table)])
def test_a_parquet_has_no_formulas_and_no_escapes_either(tmp_path, columns, suffix, read):
    write_table(tmp_path / f"x.{suffix}", columns)
    names = read(tmp_path / f"x.{suffix}").column("name").to_pylist()
    assert names == [name.replace("\x1b", r"\x1b").replace("\t", r"\t") for name in _NAMES]
