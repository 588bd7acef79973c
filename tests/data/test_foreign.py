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


def test_the_line_for_a_tensor_reads_it(tmp_path):
    torch.save(torch.from_numpy(_VALUES), tmp_path / "x.pt")
    assert np.array_equal(_converted(tmp_path / "x.pt"), _VALUES)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.mat", r"scipy\.io\.loadmat"),
        ("x.h5", r"h5py\.File"),
        ("x.hdf5", r"h5py\.File"),
        ("x.xlsx", r"save the sheet as \.csv"),
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
