"""Rows of a table, series and single vectors as the studio shows them."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from lowerbound.data.tables.frames import from_dataframe, to_table
from lowerbound.pictures.path import denoising_strip
from lowerbound.pictures.standing import by_entry
from lowerbound.run.impute import Imputations
from lowerbound.web.draw import rows
from lowerbound.web.edit import filled_columns
from lowerbound.web.example import cells, names_of
from lowerbound.web.recipe import Recipe, read_recipe, write_rows
from lowerbound.web.shelf import Opened

GRAPES = pa.table({"proline": [1065.5, 735.0, None] * 8, "grape": ["Barolo", "Barbera", "Barolo"] * 8})


@pytest.fixture
def wine():
    """What a panel knows of a run on a table with a category and a gap."""
    examples = from_dataframe(GRAPES)
    opened = object.__new__(Opened)
    object.__setattr__(opened, "run", SimpleNamespace(spec=examples.dataset().spec))
    return opened, examples.values


def test_a_category_is_shown_by_its_name(wine):
    opened, raw = wine
    assert names_of(opened) == ["proline", "grape"]
    assert cells(opened, raw[:3]) == [["1065.5", "Barolo"], ["735", "Barbera"], ["missing", "Barolo"]]


def test_samples_of_a_table_are_shown_as_rows_with_all_columns(wine):
    opened, raw = wine
    shown = rows(opened, raw[:12])
    assert "The first 10 of 12 rows" in shown
    assert '<th scope="col">grape</th>' in shown
    assert shown.count("<td>Barbera</td>") == sum(name == "Barbera" for _, name in cells(opened, raw[:10])) > 0
    assert "The samples as rows" in rows(opened, raw[:2])


def test_a_file_of_rows_names_categories_and_keeps_its_recipe(wine, tmp_path):
    opened, raw = wine
    recipe, path = Recipe("wine", seed=3), tmp_path / "samples.csv"
    path.write_bytes(write_rows(to_table(opened.run.spec, raw[:2], as_text=True), recipe))
    assert read_recipe(path) == recipe
    assert path.read_text().splitlines()[1:] == ["proline,grape", "1065.5,Barolo", "735,Barbera"]


def test_what_was_filled_in_is_told_as_the_column_is_written():
    """Dates as dates, with a spread in days; numbers to the digits that their spread leaves; categories counted."""
    days = np.datetime64("2020-01-01") + np.arange(24)
    table = pa.table(
        {"born": days, "grape": ["Barolo", "Barbera", "Barolo"] * 8, "proline": np.linspace(700.0, 900, 24)}
    )
    examples = from_dataframe(table)
    opened = object.__new__(Opened)
    object.__setattr__(opened, "run", SimpleNamespace(spec=examples.dataset().spec))
    draws = examples.values[:3].astype(np.float64)
    made = Imputations(draws[None], np.zeros((1, 3), bool))
    shown = filled_columns(opened, made, np.arange(3))
    assert "<td>born</td><td>2020-01-02 ± 1 days</td><td>2020-01-01, 2020-01-02, 2020-01-03</td>" in shown
    assert "<td>grape</td><td>Barolo: 2 of 3, Barbera: 1 of 3</td>" in shown
    assert "<td>proline</td><td>708.7 ± 8.7</td>" in shown
    assert "born" not in filled_columns(opened, made, np.array([1]))


def test_a_single_vector_is_seen_on_its_way(tmp_path):
    # its own states span no frame: without one of the data, all but the last would lie at the frames' edges
    states = [(t, np.array([[0.5 - 3 * t, 0.5 + 3 * t]])) for t in (0.0, 0.1)]
    frame = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    with Image.open(denoising_strip(tmp_path / "way.png", states, (0, 1), 1, frame, ["a", "b"])) as image:
        colours = np.asarray(image.convert("RGB")).astype(int)
    orange = (colours[..., 0] - colours[..., 2]) > 100
    columns = np.flatnonzero(orange.any(0))
    assert columns[0] < orange.shape[1] / 2 < columns[-1]


def test_what_the_entries_of_a_series_add_is_drawn_for_all_positions(tmp_path):
    late = np.zeros((2, 100))
    late[1, 80:] = 1.0
    pictures = [by_entry(tmp_path / f"{k}.png", values, ("load", "price")) for k, values in enumerate((late, 0 * late))]
    drawn = [np.asarray(Image.open(path).convert("L")) for path in pictures]
    assert drawn[0].shape != drawn[1].shape or (drawn[0] != drawn[1]).any()
