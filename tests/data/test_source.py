"""From what a user names to a data set, and what is said if there is none."""

import os

import numpy as np
import pytest
from PIL import Image

from lowerbound.cli.main import run
from lowerbound.data import open_dataset
from lowerbound.errors import InputError


@pytest.fixture
def array_file(tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, np.arange(40).reshape(20, 2) % 9)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    for k in range(4):
        Image.new("L", (3, 2), k).save(tmp_path / f"{k}.png")
    return str(tmp_path)


def test_a_name_a_folder_and_a_file_are_opened(array_file, folder):
    assert open_dataset("digits").shape == (1, 8, 8)
    assert open_dataset(array_file, num_levels=20).spec.encoding.num_levels == 20
    assert open_dataset(array_file, layout="NL").shape == (1, 2)


def test_a_folder_is_opened_with_its_settings(folder):
    assert open_dataset(folder).shape == (1, 2, 3)
    assert open_dataset(folder, image_size=(4, 5), skip_bad_files=True).shape == (1, 4, 5)


@pytest.mark.parametrize(("typo", "meant"), [("digts", "digits"), ("mixtures", "mixture"), ("swissroll", "swiss-roll")])
def test_a_typo_is_understood(typo, meant):
    with pytest.raises(InputError, match=f"did you mean {meant}"):
        open_dataset(typo)


def test_an_unknown_source_lists_the_known():
    with pytest.raises(InputError, match=r"no data called 'birds'\. Known names: digits.*\.npz"):
        open_dataset("birds")


def test_a_path_to_nothing_is_told_with_what_is_there(tmp_path):
    (tmp_path / "fields.npy").touch()
    with pytest.raises(InputError, match=r"no file or folder .*/feilds\.npy: did you mean .*/fields\.npy\?"):
        open_dataset(str(tmp_path / "feilds.npy"))
    with pytest.raises(InputError, match="there is no file or folder /no/such, seen from /"):
        open_dataset("/no/such")


def test_a_run_is_no_folder_of_images(tmp_path):
    for name in ("config.json", "log.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="is the folder of a run, and no data"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize(
    "setting", [{"layout": "ND"}, {"num_levels": 17}, {"image_size": (8, 8)}, {"skip_bad_files": True}]
)
def test_a_named_set_takes_no_settings(setting):
    with pytest.raises(InputError, match=f"--{next(iter(setting)).replace('_', '-')} has no effect on digits"):
        open_dataset("digits", **setting)


def test_settings_of_another_kind_of_source_are_refused(array_file, folder):
    with pytest.raises(
        InputError, match=r"--image-size has no effect .*--layout, --crop, --num-levels and --densities would"
    ):
        open_dataset(array_file, image_size=(2, 2))
    with pytest.raises(
        InputError,
        match=r"--layout has no effect .*"
        r"--image-size, --crop, --background, --skip-bad-files, --labels and --num-levels would",
    ):
        open_dataset(folder, layout="NHW")


def test_what_is_no_file_is_said_to_be_there(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match=r"pipe\.csv is neither a file nor a folder"):
        open_dataset(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    with pytest.raises(InputError, match=r"link\.csv is a link to nowhere\.csv, which there is not"):
        open_dataset(tmp_path / "link.csv")


def test_the_end_of_a_line_in_a_name_ends_no_line_of_the_message(tmp_path, capsys):
    path = tmp_path / "two\nlines.csv"
    path.write_text("a,b\n")
    assert run(["train", str(path), "--dry-run"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/two\\nlines.csv holds a line of names and no rows: give --header no if it is a row"
    ]
