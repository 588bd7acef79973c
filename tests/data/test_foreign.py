"""Files that are not read are answered with a line that converts them, and the line works."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from lowerbound.data import open_dataset
from lowerbound.errors import InputError

_VALUES = np.round(np.random.default_rng(0).standard_normal((20, 3)), 3)


def _answer(path):
    with pytest.raises(InputError, match=f"files of type {path.suffix} are not read") as caught:
        open_dataset(str(path))
    return str(caught.value)


def _converted(path):
    """What the line in the message makes of a file; the line is run as it stands, but for the interpreter's name."""
    (line,) = [line for line in _answer(path).splitlines() if line.startswith("  python -c ")]
    python, *rest = shlex.split(line)
    assert python == "python"
    done = subprocess.run([sys.executable, *rest], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return open_dataset(str(path.with_suffix(".npy"))).examples


def _text(delimiter, header="", before="", after=""):
    lines = [before + delimiter.join(f"{value:g}" for value in row) + after for row in _VALUES]
    return header + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", _text(",")),
        ("header.csv", _text(",", "a,b,c\n")),
        ("quoted.csv", _text(",", '"a","b","c"\n')),
        ("two-headers.csv", _text(";", "from a station\na;b;c\n")),
        ("comment.txt", _text(" ", "# a b c\n")),
        ("tabs.tsv", _text("\t", "a\tb\tc\n")),
        ("spaces.txt", _text("   ", before="  ")),
        ("ends.txt", _text(" \t", after=" \t")),
        ("names.csv", _text(",", "day,a,b,c\n", before="monday,")),
        ("last.csv", _text(",", "a,b,c,day\n", after=",monday")),
        ("windows.csv", _text(",", "a,b,c\n").replace("\n", "\r\n")),
        ('it\'s $(a) "file".csv', _text(",")),
        ("umlaut-ä.csv", _text(",")),
    ],
)
def test_the_line_for_a_table_reads_its_numbers(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert np.allclose(_converted(path), _VALUES, rtol=1e-5)


def test_one_column_is_a_table_of_one_feature(tmp_path):
    (tmp_path / "x.txt").write_text("\n".join(map(str, _VALUES[:, 0])))
    assert np.allclose(_converted(tmp_path / "x.txt"), _VALUES[:, :1])


def test_a_long_table_is_looked_at_by_its_start(tmp_path):
    row = ",".join(f"{value:g}" for value in _VALUES[0])
    other = ",".join(f"{value:g}" for value in _VALUES[1])
    (tmp_path / "x.csv").write_text("a,b,c\n" + f"{row}\n{other}\n" * 5000)
    assert _converted(tmp_path / "x.csv").shape == (10_000, 3)


def test_missing_entries_are_told(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,\n4,5\n")
    assert "first remove the rows in which entries are missing" in _answer(tmp_path / "x.csv")


@pytest.mark.parametrize("content", [b"", b"only words\nand words\n", b"\xff\xfe\x00binary"])
def test_a_text_without_numbers_gets_no_line(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    assert "numpy.save" in _answer(tmp_path / "x.txt")
    assert "python -c" not in _answer(tmp_path / "x.txt")


def test_the_line_for_a_tensor_reads_it(tmp_path):
    torch.save(torch.from_numpy(_VALUES), tmp_path / "x.pt")
    assert np.array_equal(_converted(tmp_path / "x.pt"), _VALUES)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.mat", r"scipy\.io\.loadmat"),
        ("x.h5", r"h5py\.File"),
        ("x.hdf5", r"h5py\.File"),
        ("x.parquet", r"pandas\.read_parquet"),
        ("x.png", "the folder or the archive that the images are in"),
        ("x.gz", "unpack it"),
        ("x.pkl", "runs code when opened"),
        ("x.xyz", r"numpy\.save"),
        ("x", r"numpy\.save"),
    ],
)
def test_other_files_are_answered_too(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(InputError, match=f"{name}.*are not read; (.|\n)*{advice}"):
        open_dataset(str(tmp_path / name))
