"""`lowerbound score --shard` and `lowerbound merge` as a user meets them."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lowerbound.cli import score as score_verb
from lowerbound.cli.main import run
from lowerbound.files import whole as files
from lowerbound.files.weights import weights_file
from lowerbound.files.whole import UNFINISHED
from lowerbound.run import open_run

SETTINGS = ["--num-times", "2", "--batch-size", "8"]


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Points in the plane, 61 of them."""
    path = tmp_path_factory.mktemp("points") / "points.npy"
    np.save(path, np.random.default_rng(0).normal(size=(61, 2)).astype(np.float32))
    return path


def score(trained, data, out, *arguments) -> int:
    return run(["score", str(trained), str(data), "-o", str(out), *SETTINGS, *map(str, arguments)])


@pytest.fixture(scope="module")
def three_parts(trained_moons, points, tmp_path_factory):
    """A folder with a table in three parts."""
    folder = tmp_path_factory.mktemp("parts")
    for number in (3, 1, 2):
        assert score(trained_moons, points, folder / "s.parquet", "--shard", f"{number}/3") == 0
    return folder


@pytest.fixture
def parts(three_parts, tmp_path):
    """A copy of them."""
    shutil.copytree(three_parts, tmp_path / "parts")
    return tmp_path / "parts" / "s.parquet"


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        ("csv", SETTINGS),
        ("parquet", SETTINGS),
        ("csv", ["--batch-size", "16", "--ode", "--max-calls", "90", "--tolerance", "0.1"]),
        ("parquet", [*SETTINGS, "--by", "column", "--num-steps", "4"]),
    ],
)
def test_joined_parts_are_the_table_without_parts_to_the_last_digit(
    trained_moons, points, tmp_path, suffix, settings, capsys
):
    arguments = ["score", str(trained_moons), str(points), *settings, "-o"]
    whole, joined = tmp_path / f"whole.{suffix}", tmp_path / f"joined.{suffix}"
    assert run([*arguments, str(whole)]) == 0
    for number in (3, 1, 2):
        assert run([*arguments, str(joined), "--shard", f"{number}/3"]) == 0
    assert not joined.exists()
    assert run(["merge", str(joined)]) == 0
    assert joined.read_bytes() == whole.read_bytes()
    assert "61 scores of 3 parts" in capsys.readouterr().out


def test_a_part_that_is_there_is_not_made_again(trained_moons, points, parts, monkeypatch, capsys):
    monkeypatch.setattr(score_verb, "_scores", None)
    assert score(trained_moons, points, parts, "--shard", "2/3") == 0
    assert "part 2/3 is there already, 24 scores" in capsys.readouterr().out


def test_a_job_that_is_stopped_leaves_no_part_and_is_repeated(trained_moons, points, parts, monkeypatch):
    part = parts.with_name("s.parquet.part-2-of-3")
    content = part.read_bytes()
    part.unlink()

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_synchronised", stopped)
        assert score(trained_moons, points, parts, "--shard", "2/3") == 130
    assert not part.exists()
    assert not list(parts.parent.glob(f"{UNFINISHED}*"))
    assert run(["merge", str(parts)]) == 2
    assert score(trained_moons, points, parts, "--shard", "2/3") == 0
    assert part.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--seed", "1"], "--seed is 0, not 1"), (["--num-steps", "5"], "--num-steps is None, not 5")],
)
def test_a_part_of_other_settings_is_refused(trained_moons, points, parts, capsys, arguments, told):
    assert score(trained_moons, points, parts, "--shard", "2/3", *arguments) == 2
    assert f"s.parquet.part-2-of-3 is there already and is of something else ({told}" in capsys.readouterr().err


def test_a_part_of_other_data_or_weights_is_refused(trained_moons, points, parts, tmp_path, capsys):
    np.save(tmp_path / "other.npy", np.load(points) + np.float32(1))
    assert score(trained_moons, tmp_path / "other.npy", parts, "--shard", "2/3") == 2
    assert "something else (data is" in capsys.readouterr().err
    shutil.copytree(trained_moons, tmp_path / "run")
    other = open_run(trained_moons)
    weights = {name: 2 * parameter for name, parameter in other.model.trained.named_parameters()}
    (tmp_path / "run" / "model.safetensors").write_bytes(weights_file(weights, {"step": "7"}))
    assert score(tmp_path / "run", points, parts, "--shard", "2/3") == 2
    assert "something else (weights is" in capsys.readouterr().err


def test_parts_that_do_not_belong_together_are_named(trained_moons, points, parts, capsys):
    one, two, three = (parts.with_name(f"s.parquet.part-{number}-of-3") for number in (1, 2, 3))
    good = two.read_bytes()

    def told() -> str:
        assert run(["merge", str(parts)]) == 2
        assert not parts.exists()
        return capsys.readouterr().err

    two.unlink()
    assert "of 3 parts of" in (error := told())
    assert "are missing: s.parquet.part-2-of-3" in error
    two.write_bytes(one.read_bytes())  # doubled
    assert "part-2-of-3 is not of the same table as s.parquet.part-1-of-3 (part is 1/3, not 2/3" in told()
    two.write_bytes(good[:-50])
    assert "part-2-of-3 is no part of a table, or damaged" in told()
    parquet.write_table(pa.table({"x": [1]}), two)
    assert "part-2-of-3 is no part of a table, or damaged" in told()
    two.unlink()
    assert score(trained_moons, points, parts, "--shard", "2/3", "--seed", "7") == 0
    assert "part-2-of-3 is not of the same table as s.parquet.part-1-of-3 (seed is 7, not 0)" in told()
    two.write_bytes(good)
    assert score(trained_moons, points, parts, "--shard", "1/2") == 0
    assert "parts of several divisions of" in (error := told())
    assert "s.parquet.part-1-of-2 and s.parquet.part-" in error
    for number in (1, 2):
        parts.with_name(f"s.parquet.part-{number}-of-2").unlink(missing_ok=True)
    # rows that are lacking at the end
    table = parquet.read_table(three)
    facts = json.loads(table.schema.metadata[b"part"])
    shorter = table.slice(0, 5).replace_schema_metadata({b"part": json.dumps({**facts, "end_row": 45})})
    parquet.write_table(shorter, three)
    assert "ends at row 45 of 61" in told()


@pytest.mark.parametrize(
    ("shard", "told"),
    [
        ("0/4", "--shard is 0/4: the first of four parts is 1/4"),
        ("5/4", "--shard is 5/4"),
        ("2", "--shard is '2': give the number of a part"),
        ("1/9", "61 examples are 8 batches of 8"),
    ],
)
def test_parts_that_do_not_exist_are_refused(trained_moons, points, tmp_path, capsys, shard, told):
    assert score(trained_moons, points, tmp_path / "s.csv", "--shard", shard) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_parts_there_is_nothing_to_join(tmp_path, capsys):
    assert run(["merge", str(tmp_path / "s.csv")]) == 2
    assert "there are no parts of" in capsys.readouterr().err


def test_scores_that_are_not_finite_are_told_each_time(trained_moons, points, tmp_path, monkeypatch, capsys):
    original = score_verb._scores

    def broken(*arguments):
        scores = original(*arguments)
        scores.bits_per_dim[0] = np.inf
        return scores

    monkeypatch.setattr(score_verb, "_scores", broken)
    out = tmp_path / "s.csv"
    for _ in range(2):
        assert score(trained_moons, points, out, "--shard", "1/1") == 2
        assert "1 of 61 scores are not finite (example 0)" in capsys.readouterr().err
    assert run(["merge", str(out)]) == 2
    assert "1 of 61 scores are not finite (example 0)" in capsys.readouterr().err
