"""Series that can't be read are refused with the row and the column that are at fault, and the flag that helps."""

import pytest

from lowerbound.data import DataConfig, open_dataset
from lowerbound.errors import InputError

HEAD = "date,a,b\n"


def hours(*numbers: int, values: str = "{k},{k}.5") -> str:
    """Rows at hours of a day."""
    return "".join(f"2024-01-01 {number:02}:00:00,{values.format(k=k)}\n" for k, number in enumerate(numbers))


DAY = hours(*range(24))


@pytest.mark.parametrize(
    ("content", "settings", "reason"),
    [
        (DAY, {"window": 30}, r"window of 30 steps .*longer than the series, of 24 rows: give a shorter --window"),
        (DAY, {"window": 20, "horizon": 5}, r"\(--window 20 and --horizon 5\)"),
        (hours(0), {"window": 1}, "every row has the same time"),
        (
            DAY,
            {"window": 10},
            r"10 train, 0 validation, 0 test windows of 10 steps \(--window 10\), and at least one example is needed in "
            r"each; .*80, 10 and 10 % .*shorter --window, other lengths by --split-steps",
        ),
        (
            hours(0, 1, 3, 2, 4),
            {"window": 2},
            r"line 5, 2024-01-01 02:00:00, is earlier than the row before.*--irregular missing",
        ),
        (hours(0, 1, 1, 2), {"window": 2}, r"line 3, .*line 4, .*have the same time.*--irregular mean.*--series-id"),
        (hours(0, 1, 2, 5, 6), {"window": 2}, r"line 5, .*3 steps of 1 hour after the row before.*--irregular missing"),
        (
            hours(0, 1, 2, 3) + "2024-01-01 03:30:10,4,4\n",
            {"window": 2, "irregular": "missing"},
            r"line 6, 2024-01-01 03:30:10, is no whole number of steps of 1 hour",
        ),
        (DAY + "2024-01-02 00:00:00,word,1\n", {"window": 2}, r"line 26, column a: 'word' is no number"),
        (hours(*range(24), values="x{k},1"), {"window": 2}, r"column a holds no numbers.*--ignore a"),
        (DAY + ",1,2\n", {"window": 2}, "line 26 has no time"),
        (DAY, {"window": 2, "time": "when"}, "--time when: there is no such column; there are date, a, b"),
        (DAY, {"window": 2, "series_id": "who"}, "--series-id who: there is no such column"),
        (DAY, {"window": 2, "covariates": ("year",)}, "--covariates year: .*nor is it one of hour, weekday, month"),
        (DAY, {"window": 2, "columns": ("c",)}, "--columns c: there is no such column"),
        (hours(*range(24), values="{k},"), {"window": 2}, "channel b holds nothing but NaN"),
        (hours(*range(24), values="{k},7"), {"window": 2}, "channel b has the same value, 7"),
        (hours(*range(24), values=","), {"window": 2}, "every window holds nothing but missing values"),
        (
            DAY + "2024-01-02 00:00:00,1,\n",
            {"window": 2, "covariates": ("b",)},
            "covariate b is not known at 2024-01-02",
        ),
        (DAY, {"window": 2, "categorical": ("a",)}, "--categorical has no effect"),
        (DAY, {"window": 2, "num_levels": 4}, "--num-levels has no effect"),
        (DAY, {"window": 2, "split_steps": (20, 1, 3)}, "at least one example is needed in each"),
        (DAY + "2024-01-02 00:00:00,1e39,1\n", {"window": 2}, "line 26, column a: infinite, or too large for single"),
        (DAY, {"horizon": 4}, "--horizon has no effect"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and "\n" not in value else "",
)
def test_a_bad_series_says_what_is_wrong_and_what_to_do(tmp_path, content, settings, reason):
    path = tmp_path / "x.csv"
    path.write_text(HEAD + content)
    with pytest.raises(InputError, match=reason):
        open_dataset(str(path), **settings)


def test_without_times_nothing_is_irregular(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a\n" + "".join(f"{k}\n" for k in range(30)))
    with pytest.raises(InputError, match="--irregular missing has no effect without times"):
        open_dataset(str(path), window=2, irregular="missing")
    with pytest.raises(InputError, match="--covariates hour is of the calendar, and the times are no dates"):
        open_dataset(str(path), window=2, covariates=("hour",))
    assert len(open_dataset(str(path), window=2).examples) == 29


@pytest.mark.parametrize("settings", [{"window": 0}, {"stride": 0}, {"horizon": -1}, {"split_steps": (1, 0, 1)}])
def test_impossible_settings(settings):
    with pytest.raises(InputError, match="at least"):
        DataConfig("x.csv", **settings)
