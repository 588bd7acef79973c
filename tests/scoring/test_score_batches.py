"""Scores of batches, as engines call for them."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from training.runs import tiny_run

from lowerbound.data.tables.frames import from_dataframe
from lowerbound.errors import InputError
from lowerbound.models import Effort
from lowerbound.run import open_run
from lowerbound.scoring import score, score_batches, score_columns

EFFORT = Effort(4)
RNG = np.random.default_rng(0)
TABLE = pa.table(
    {
        "id": np.arange(40),
        "width": RNG.normal(size=40),
        "prior": RNG.integers(0, 9, 40),
        "colour": RNG.choice(["red", "blue"], 40),
    }
)


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A run of the table but its ids."""
    folder = tmp_path_factory.mktemp("table")
    TABLE.drop_columns("id").to_pandas().to_csv(folder / "table.csv", index=False)
    return tiny_run(folder / "run", str(folder / "table.csv"), steps=1).path


def test_batches_have_the_scores_that_examples_have_by_their_numbers(table_run):
    run = open_run(table_run)
    raw = from_dataframe(TABLE.drop_columns("id"), run.spec).values
    expected = score_columns(run, score(run, raw, EFFORT, seed=3, by="column"))
    scorer = score_batches(table_run, EFFORT, number="id", seed=3, by="column")
    scored = pa.Table.from_batches([scorer(batch) for batch in TABLE.to_batches(max_chunksize=7)])
    assert scored.column_names[:5] == [*TABLE.column_names, "nats"]
    assert scored.column_names[-4:] == ["nats[width]", "nats[prior]", "nats[colour]", "kind"]
    assert scored.select(TABLE.column_names).equals(TABLE)
    for name, column in expected.items():
        found = scored["prior_" if name == "prior" else name]  # the table's own
        if name == "kind":
            assert found.to_pylist() == column.tolist()
        else:
            assert np.abs(found.to_numpy() - column).max() < 1e-5


def test_a_row_has_one_score_in_any_batch_and_in_any_process(table_run):
    scorer = pickle.loads(pickle.dumps(score_batches(table_run, EFFORT)))
    whole = scorer(TABLE)["nats"].to_numpy()
    shuffled = np.random.default_rng(1).permutation(40)
    again = np.empty(40)
    for chosen in np.array_split(shuffled, 5):
        again[chosen] = scorer(TABLE.take(chosen))["nats"].to_numpy()
    assert np.abs(again - whole).max() < 1e-5
    assert np.abs(score_batches(table_run, EFFORT, seed=1)(TABLE)["nats"].to_numpy() - whole).max() > 1e-3


@pytest.mark.parametrize("by", [None, "column", "noise"])
def test_what_comes_back_is_of_the_kind_that_was_given(table_run, by):
    scorer = score_batches(table_run, EFFORT, by=by)
    table = scorer(TABLE)
    frame = TABLE.to_pandas().set_index(np.arange(100, 140))
    scored = scorer(frame)
    assert isinstance(scored, pd.DataFrame)
    assert scored.index.equals(frame.index)
    assert scored["nats"].tolist() == table["nats"].to_pylist()
    (batch,) = TABLE.to_batches()
    assert isinstance(scorer(batch), pa.RecordBatch)
    assert scorer(batch).schema.equals(table.schema)
    assert scorer(batch.slice(0, 0)).schema.equals(table.schema)
    nothing = scorer(frame[:0])
    assert len(nothing) == 0
    assert nothing.dtypes.equals(scored.dtypes)


def test_examples_that_are_no_rows_of_a_table_come_as_lists(tmp_path):
    path = tiny_run(tmp_path / "run", steps=1).path
    run = open_run(path)
    images = np.random.default_rng(0).integers(0, 17, (5, 1, 8, 8)).astype(np.uint8)
    expected = score(run, images, EFFORT).nats
    scorer = score_batches(path, EFFORT, values="pixels", number="id")
    lists = pa.table({"id": range(5), "pixels": images.reshape(5, -1).tolist()})
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    for batch in (lists, lists.set_column(1, "pixels", tensors)):
        assert np.abs(scorer(batch)["nats"].to_numpy() - expected).max() < 1e-4
    with pytest.raises(InputError, match="pixels of a batch has 315 entries of 5 examples"):
        scorer(pa.table({"id": range(5), "pixels": images.reshape(5, -1)[:, 1:].tolist()}))
    with pytest.raises(InputError, match="no table: give `values`"):
        score_batches(path)


def test_what_does_not_fit_is_refused(table_run, tmp_path):
    with pytest.raises(InputError, match="there is no run"):
        score_batches(tmp_path)
    with pytest.raises(InputError, match="leave out `values`"):
        score_batches(table_run, values="width")
    with pytest.raises(InputError, match="by is 'row'"):
        score_batches(table_run, by="row")
    with pytest.raises(InputError, match="a batch of type dict"):
        score_batches(table_run)({"width": np.zeros(3)})
    with pytest.raises(InputError, match="a batch has no column n: it has id, width"):
        score_batches(table_run, number="n")(TABLE)
    with pytest.raises(InputError, match=r"the column id of a batch holds -1 to 38 in int64"):
        score_batches(table_run, number="id")(TABLE.set_column(0, "id", pa.array(np.arange(40) - 1)))
    with pytest.raises(InputError, match="green"):
        score_batches(table_run)(TABLE.set_column(3, "colour", pa.array(["green"] * 40)))
