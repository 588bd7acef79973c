"""Scoring inside Ray, Dask and Spark, where they are installed, as docs/scale.md shows it: the scores of one process."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from training.runs import tiny_run

from lowerbound.models import Effort
from lowerbound.scoring import score_batches

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
RNG = np.random.default_rng(0)
TABLE = pa.table({"id": np.arange(60), "width": RNG.normal(size=60), "colour": RNG.choice(["red", "blue"], 60)})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A scorer, a file of rows in several groups, and their scores in one batch."""
    folder = tmp_path_factory.mktemp("engines")
    TABLE.drop_columns("id").to_pandas().to_csv(folder / "table.csv", index=False)
    run = tiny_run(folder / "run", str(folder / "table.csv"), steps=1).path
    scorer = score_batches(run, Effort(4), number="id")
    parquet.write_table(TABLE, folder / "rows.parquet", row_group_size=7)
    return scorer, folder, scorer(TABLE).to_pandas()


def check(folder, expected):
    found = pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet")))).sort_values("id", ignore_index=True)
    assert list(found.columns) == list(expected.columns)
    assert found["id"].tolist() == expected["id"].tolist()
    assert np.abs(found["nats"] - expected["nats"]).max() < 1e-5


def test_dask(work):
    dataframe = pytest.importorskip("dask.dataframe")
    scorer, folder, expected = work
    rows = dataframe.read_parquet(folder / "rows.parquet", split_row_groups=True)
    assert rows.npartitions > 1
    rows.map_partitions(scorer, meta=scorer(rows._meta)).to_parquet(folder / "by-dask")
    check(folder / "by-dask", expected)


def test_ray(work):
    data = pytest.importorskip("ray.data")
    scorer, folder, expected = work
    rows = data.read_parquet(str(folder / "rows.parquet")).map_batches(scorer, batch_format="pyarrow", batch_size=7)
    rows.write_parquet(str(folder / "by-ray"))
    check(folder / "by-ray", expected)


def test_spark(work):
    sql = pytest.importorskip("pyspark.sql")
    types = pytest.importorskip("pyspark.sql.pandas.types")
    scorer, folder, expected = work
    with sql.SparkSession.builder.master("local[2]").getOrCreate() as spark:
        rows = spark.read.parquet(str(folder / "rows.parquet"))
        empty = types.to_arrow_schema(rows.schema).empty_table()
        schema = types.from_arrow_schema(scorer(empty).schema)
        rows.mapInArrow(lambda batches: map(scorer, batches), schema).write.parquet(str(folder / "by-spark"))
    check(folder / "by-spark", expected)
