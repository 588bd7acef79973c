"""Tables: names are texts to every reader, numbers are numbers."""

import csv

import numpy as np
import pytest

from lowerbound.tables import write_table

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
    return {"example": np.arange(9) - 4, "name": _NAMES, "nats": _NUMBERS}


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
    assert [int(row["example"]) for row in rows] == columns["example"].tolist()
    assert [float(row["nats"]) for row in rows] == _NUMBERS.tolist()


def test_a_parquet_has_no_formulas_and_no_escapes_either(tmp_path, columns):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `tables`")
    write_table(tmp_path / "x.parquet", columns)
    names = parquet.read_table(tmp_path / "x.parquet").column("name").to_pylist()
    assert names == [name.replace("\x1b", r"\x1b").replace("\t", r"\t") for name in _NAMES]
