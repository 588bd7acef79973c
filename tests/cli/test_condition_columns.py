"""Runs that are told columns of a table: asked for by tables, and told in what they write."""

import datetime
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv
from pyarrow import parquet as pq

from lowerbound.cli.main import run

NETWORK = ("--network.width", "8", "--network.depth", "1", "--denoiser.components", "2", "--batch-size", "16")
QUICK = ("--steps", "2", "--num-evaluations", "1", "--num-pictures", "0")


def rows(num: int) -> pa.Table:
    rng = np.random.default_rng(0)
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(k)) for k in rng.integers(0, 900, num)]
    return pa.table(
        {
            "size": rng.normal(size=num),
            "kind": [("small", "large")[k] for k in rng.integers(0, 2, num)],
            "year": rng.integers(1990, 2020, num),
            "day": days,
            "weight": rng.normal(size=num),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("conditions")
    csv.write_csv(rows(60), root / "all.csv")
    told = ["--condition-on", "kind", "year", "day"]
    assert run(["train", str(root / "all.csv"), "-o", str(root / "run"), *told, *NETWORK, *QUICK]) == 0
    labelled = ["--condition-on", "kind", "--ignore", "year", "day"]
    assert run(["train", str(root / "all.csv"), "-o", str(root / "labelled"), *labelled, *NETWORK, *QUICK]) == 0
    return root


def draw(folder, name: str, *arguments: str) -> pa.Table:
    out = folder / "samples.csv"
    arguments = ["sample", str(folder / name), "-n", "5", "--steps", "2", "-o", str(out), *arguments]
    assert run(arguments) == 0
    return csv.read_csv(out)


def test_samples_of_rows_of_conditions_have_them_too(folder):
    wanted = rows(60).select(["day", "weight", "kind", "year"]).slice(7, 2)  # in another order, among others
    csv.write_csv(wanted, folder / "wanted.csv")
    drawn = draw(folder, "run", "--condition", str(folder / "wanted.csv"))
    assert drawn.column_names == ["size", "kind", "year", "day", "weight"]  # as they came
    again = wanted.take([0, 1, 0, 1, 0])
    assert all(drawn[name].to_pylist() == again[name].to_pylist() for name in ("kind", "year", "day"))


def test_labels_are_told_as_well(folder):
    assert draw(folder, "labelled", "--label", "large")["kind"].to_pylist() == ["large"] * 5
    csv.write_csv(pa.table({"kind": ["small", "large"]}), folder / "kinds.csv")
    drawn = draw(folder, "labelled", "--condition", str(folder / "kinds.csv"))
    assert drawn["kind"].to_pylist() == ["small", "large", "small", "large", "small"]
    assert draw(folder, "labelled").column_names == ["size", "weight"]


def test_filled_rows_keep_their_condition(folder):
    holes = rows(60).slice(0, 4).set_column(0, "size", pa.array([None, 0.5, None, 1.0]))
    csv.write_csv(holes, folder / "holes.csv")
    out = folder / "filled.csv"
    asked = [str(folder / "run"), str(folder / "holes.csv"), "-o", str(out), "--num-samples", "2", "--steps", "2"]
    assert run(["impute", *asked]) == 0
    filled = csv.read_csv(out)
    assert filled.column_names == [
        "example",
        "imputation",
        "size",
        "kind",
        "year",
        "day",
        "weight",
        "size mean",
        "size std",
    ]
    assert filled["day"].to_pylist() == [day for day in holes["day"].to_pylist() for _ in range(2)]


@pytest.mark.filterwarnings("default")
def test_rows_without_any_condition_are_scored_without(folder, capsys):
    csv.write_csv(rows(60).select(["weight", "size"]), folder / "bare.csv")
    score = [
        "score",
        str(folder / "run"),
        str(folder / "bare.csv"),
        "-o",
        str(folder / "scores.csv"),
        "--num-times",
        "2",
    ]
    assert run(score) == 0
    printed = capsys.readouterr()
    assert "no column kind, year, day, the run's condition: its rows are taken without one" in printed.err
    assert "given no condition" in printed.out


@pytest.mark.parametrize(
    ("columns", "message"),
    [(["kind", "size", "weight"], "no column year .nor day."), (["kind", "year", "day"], "no column size")],
)
def test_rows_that_lack_something_else_are_refused(folder, capsys, columns, message):
    csv.write_csv(rows(60).select(columns), folder / "part.csv")
    arguments = ["score", str(folder / "run"), str(folder / "part.csv"), "-o", str(folder / "s.csv")]
    assert run(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_table_of_conditions_is_refused_by_row_and_column(folder, capsys):
    csv.write_csv(pa.table({"kind": ["small", "huge"], "year": [2000, 2001]}), folder / "bad.csv")
    arguments = ["sample", str(folder / "run"), "-n", "2", "--condition", str(folder / "bad.csv")]
    assert run(arguments) == 2
    assert "no column day" in capsys.readouterr().err
    csv.write_csv(pa.table({"kind": ["small", "huge"]}), folder / "bad.csv")
    assert run([*arguments[:1], str(folder / "labelled"), *arguments[2:]]) == 2
    assert "'huge' is a category" in capsys.readouterr().err


def test_places_that_cannot_be_are_refused(folder, capsys):
    config = folder / "run" / "config.json"
    whole = config.read_text()
    facts = json.loads(whole)
    assert facts["data_facts"]["condition_places"] == [1, 2, 3]
    for places in ([1, 2], [1, 1, 2], [1, 2, 7]):
        facts["data_facts"]["condition_places"] = places
        config.write_text(json.dumps(facts))
        try:
            assert run(["sample", str(folder / "run"), "-n", "1", "--steps", "2", "-o", str(folder / "x.csv")]) != 0
        finally:
            config.write_text(whole)
        assert "condition_places" in capsys.readouterr().err


def test_a_table_of_conditions_is_read_as_it_is_said_to_be(folder, capsys):
    content = "kind;year;day\nsmall;2001;03/02/2021\nlarge;2002;04/02/2021\nlarge;2003;05/02/2021\n"
    (folder / "own.CSV").write_bytes(content.encode("utf-16"))
    said = ["--text-encoding", "utf-16", "--separator", ";", "--date-format", "%d/%m/%Y"]
    drawn = draw(folder, "run", "--condition", str(folder / "own.CSV"), *said)
    assert drawn["year"].to_pylist() == [2001, 2002, 2003, 2001, 2002]
    assert drawn["day"].to_pylist()[:2] == [datetime.date(2021, 2, 3), datetime.date(2021, 2, 4)]
    np.save(folder / "labels.npy", np.array(["small"]))
    pq.write_table(rows(2), folder / "wanted.parquet")
    asked = ["sample", "-n", "2", "--steps", "2", "-o", str(folder / "x.csv")]
    for name, more, message in [
        ("run", ["--condition", str(folder / "wanted.parquet")], "--decimal has no effect on .*wanted.parquet"),
        ("labelled", ["--condition", str(folder / "labels.npy")], "--decimal has no effect on .*labels.npy"),
        ("labelled", [], "--decimal has no effect without --condition"),
    ]:
        assert run([*asked, str(folder / name), *more, "--decimal", ","]) == 2
        assert re.search(message, capsys.readouterr().err)
