"""A table of series on the way of a new user: trained, sampled, scored, forecast, filled, evaluated, reported."""

import csv

import numpy as np
import pytest

from lowerbound.cli.main import run
from lowerbound.evaluate import sample_parts

TINY = ["--steps", "12", "--batch-size", "16", "--network.width", "8", "--network.blocks-per-level", "1"]
FEW = ["--num-evaluations", "2", "--num-pictures", "1"]
# a day's values come back each day
pytestmark = pytest.mark.filterwarnings("ignore:values are repeated")
STEPS = ["--steps", "2", "--num-samples", "3"]


def write(path, rows) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["date", "load", "heat"], *rows])
    return str(path)


def read(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rows(first: int, num: int) -> list[list]:
    """A sine and a cosine of a day, hour by hour."""
    times = np.datetime64("2024-01-01T00:00") + np.arange(first, first + num) * np.timedelta64(1, "h")
    angle = 2 * np.pi * np.arange(first, first + num) / 24
    return [
        [str(time).replace("T", " "), f"{np.sin(a):.6f}", f"{10 + np.cos(a):.6f}"]
        for time, a in zip(times, angle, strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two channels, given the hour."""
    root = tmp_path_factory.mktemp("series")
    table = write(root / "sine.csv", rows(0, 480))
    cut = ["--window", "12", "--horizon", "6", "--stride", "2", "--covariates", "hour"]
    assert run(["train", table, "-o", str(root / "run"), *cut, *TINY, *FEW]) == 0
    return root


def test_a_forecast_goes_on_in_time(folder, tmp_path, capsys):
    out = tmp_path / "ahead.csv"
    history = write(tmp_path / "last.csv", rows(100, 30))
    assert run(["forecast", str(folder / "run"), history, "-o", str(out), "--horizon", "8", *STEPS]) == 0
    assert "3 samples of 8 steps of 1 hour" in capsys.readouterr().out
    found = read(out)
    times = list(dict.fromkeys(row["date"] for row in found))
    assert times == [f"{row[0]}:00" for row in rows(130, 8)]
    kinds = [row["draw"] for row in found[:8]]
    assert kinds == [
        *(f"quantile {level}" for level in (0.05, 0.25, 0.5, 0.75, 0.95)),
        *(f"sample {k}" for k in range(3)),
    ]
    for first in range(0, len(found), 8):
        samples = [float(row["load"]) for row in found[first + 5 : first + 8]]
        assert float(found[first + 2]["load"]) == pytest.approx(np.median(samples), abs=1e-6)
    picture = tmp_path / "ahead.png"
    assert run(["forecast", str(folder / "run"), history, "-o", str(picture), *STEPS]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_gaps_are_filled_and_the_rest_stays(folder, tmp_path):
    table = rows(0, 60)
    for place in (3, 20, 21, 22, 59):
        table[place][1] = ""
    del table[40]
    broken = write(tmp_path / "broken.csv", table)
    out = tmp_path / "filled.csv"
    assert run(["impute", str(folder / "run"), broken, "-o", str(out), *STEPS]) == 2  # a row is lacking
    with_gap = rows(0, 60)
    for place in (3, 20, 21, 22, 59):
        with_gap[place][1] = ""
    assert run(["impute", str(folder / "run"), write(tmp_path / "gaps.csv", with_gap), "-o", str(out), *STEPS]) == 0
    found = read(out)
    assert [row["date"] for row in found] == [f"{row[0]}:00" for row in with_gap]
    for row, given in zip(found, with_gap, strict=True):
        assert (float(row["load std"]) > 0) == (given[1] == "")
        assert float(row["heat std"]) == 0
        assert float(row["heat"]) == pytest.approx(float(given[2]), rel=1e-6)
        if given[1]:
            assert float(row["load"]) == pytest.approx(float(given[1]), abs=1e-6)
    draws = tmp_path / "draws.npz"
    arguments = ["--method", "replacement", "-o", str(draws), *STEPS]
    assert run(["impute", str(folder / "run"), str(tmp_path / "gaps.csv"), *arguments]) == 0
    with np.load(draws) as archive:
        assert archive["samples"].shape == (3, 60, 2)
        assert archive["observed"].sum() == 115


def test_every_other_verb_takes_such_a_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sample_parts, "JUDGED_WINDOWS", 4)
    name = str(folder / "run")
    assert run(["sample", name, "-n", "2", "--steps", "2", "-o", str(tmp_path / "x.npy")]) == 0
    assert np.load(tmp_path / "x.npy").shape == (2, 2, 18)
    assert run(["sample", name, "-n", "2", "--steps", "2", "-o", str(tmp_path / "x.gif")]) == 0
    scores = str(tmp_path / "scores.csv")
    assert run(["score", name, str(folder / "sine.csv"), "--num-times", "2", "-o", scores]) == 0
    assert len(read(scores)) == 232
    few = ["--num-samples", "20", "--num-times", "2", "--ode-examples", "2", "--tolerance", "0.1"]
    assert run(["evaluate", name, *few]) == 0
    assert run(["report", name]) == 0
    report = (folder / "run" / "report.html").read_text()
    assert "Forecasts of held-out windows" in report
    assert "linear, Gaussian residuals" in report
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["forecast", "{}/run", "{}/sine.csv", "-o", "{}/x.txt"],
            "the name must end in .csv, .tsv, .parquet, .feather",
        ),
        (["forecast", "{}/run", "{}/sine.csv", "-o", "{}/x.csv", "--horizon", "0"], "--horizon is 0"),
        (["forecast", "{}/run", "{}/sine.csv", "-o", "{}/x.csv", "--quantiles", "2"], "--quantiles has 2"),
        (["forecast", "{}/run", "{}/other.csv", "-o", "{}/x.csv"], "no column heat, a channel that the run knows"),
        (["forecast", "{}/run", "{}/days.csv", "-o", "{}/x.csv"], "its rows are 1 day apart, and those"),
        (["forecast", "{}/moons", "{}/sine.csv", "-o", "{}/x.csv"], "is not of series"),
        (["impute", "{}/run", "{}/sine.csv", "-o", "{}/x.csv"], "nothing is missing"),
        (["impute", "{}/run", "{}/sine.csv", "-o", "{}/x.csv", "--split", "test"], "--split has no effect on series"),
        (["impute", "{}/moons", "{}/two.npy", "-o", "{}/x.npz", "--method", "network"], "is not given what is known"),
        (["impute", "{}/moons", "{}/two.npy", "-o", "{}/x.csv"], "as it is no table: give an .npz file"),
    ],
    ids=lambda value: "" if isinstance(value, list) else value,
)
def test_what_does_not_fit_is_said(folder, trained_moons, arguments, reason, capsys):
    if not (folder / "moons").exists():
        (folder / "moons").symlink_to(trained_moons)
        np.save(folder / "two.npy", np.array([[0.5, np.nan]], np.float32))
        write(folder / "days.csv", [[f"2024-01-{day:02}", day, 1] for day in range(1, 29)])
        (folder / "other.csv").write_text("date,load\n2024-01-01,1\n2024-01-02,2\n")
    assert run([each.format(folder) for each in arguments]) == 2
    assert reason in capsys.readouterr().err
