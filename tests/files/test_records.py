"""Records survive JSON, and what is no such record is refused by file, field and value."""

import json
import math
from dataclasses import dataclass
from typing import Literal

import pytest

from lowerbound.errors import InputError
from lowerbound.files.records import Measured, read, read_json, to_json


@dataclass(frozen=True)
class Inner:
    figure: Measured
    word: Literal["one", "two"] = "one"


@dataclass(frozen=True)
class Outer:
    count: int
    share: float
    inner: Inner
    many: tuple[Inner, ...] = ()
    table: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError("a count starts at 0")


WHOLE = Outer(3, 0.5, Inner(Measured(1.0, 0.1), "two"), (Inner(Measured(2, 0.0)),), {"a": 1})


def test_a_record_is_read_as_it_was_written():
    assert read(Outer, json.loads(to_json(WHOLE)), "file") == WHOLE


def test_an_error_that_is_not_known_is_null_in_json_and_nothing_else_may_be():
    text = to_json(Inner(Measured(1.0, math.nan)))
    assert "NaN" not in text
    assert math.isnan(read(Inner, json.loads(text), "file").figure.error)
    with pytest.raises(InputError, match=r"file: figure\[0\] is None"):
        read(Inner, {"figure": [None, 0.1]}, "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, "file: count is 1.5, which is not int"),
        ({"count": True}, "count is True"),
        ({"count": -1}, "file: a count starts at 0"),
        ({"share": math.nan}, "share is nan"),
        ({"share": 10**400}, r"share is 1000*\.\.\.0*, which is not float"),
        ({"inner": [1]}, r"file: inner should be an object, got \[1\]"),
        ({"inner": {}}, r"file: inner\.figure is lacking"),
        ({"inner": {"figure": [1, 2, 3]}}, r"inner\.figure is \[1, 2, 3\]"),
        ({"inner": {"figure": [1, 2], "word": "three"}}, r"inner\.word is 'three', which is not one of one, two"),
        ({"many": [{"figure": [1, "2"]}]}, r"many\[0\]\.figure\[1\] is '2', which is not float"),
        ({"many": {"figure": [1, 2]}}, "many is "),
        ({"table": {"a\x1b[31m": "b"}}, r"table\.a\\x1b\[31m is 'b'"),
        ({"cuont": 1}, "file: unknown name cuont; known are count, share"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    values = {**json.loads(to_json(WHOLE)), **change}
    with pytest.raises(InputError, match=message):
        read(Outer, values, "file")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", '{"count": ' + "9" * 5000 + "}", "\x00"])
def test_a_file_that_is_no_record_is_an_input_error_with_its_name(text, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json"):
        read_json(Outer, path)


def test_only_plain_files_of_some_size_are_read(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        read_json(Outer, tmp_path / "none.json")
    with pytest.raises(InputError, match="is no file"):
        read_json(Outer, tmp_path)
    path = tmp_path / "record.json"
    path.write_text(to_json(WHOLE))
    monkeypatch.setattr("lowerbound.files.records.MOST_BYTES", 10)
    with pytest.raises(InputError, match="at most 10 are read"):
        read_json(Outer, path)
