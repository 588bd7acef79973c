"""Bad arrays are refused by name and reason; nothing is ever unpickled."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.data import batch_indices, check_batch_size, describe, open_dataset
from lowerbound.data.arrays.examples import read_arrays
from lowerbound.errors import InputError


def open_arrays(path, layout=None, num_levels=None):
    return read_arrays(path, layout=layout).dataset(num_levels)


class _Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pkl", "x.pt", "pickled.npy", "pickled.npz", "torch.npz"])
def test_nothing_is_ever_unpickled(tmp_path, name):
    path, trap = tmp_path / name, tmp_path / "trap"
    objects = np.array([_Bomb(trap)] * 4, dtype=object)
    match name:
        case "x.npy":
            np.save(path, objects)
        case "x.npz":
            np.savez(path, x=objects)
        case "x.pt" | "torch.npz":
            torch.save({"x": _Bomb(trap)}, path)
        case _:
            path.write_bytes(pickle.dumps(_Bomb(trap)))
    with pytest.raises(InputError, match=name):
        open_arrays(path)
    assert not trap.exists()


def test_objects_are_refused_with_what_to_do(tmp_path):
    np.savez(tmp_path / "x.npz", names=np.array([None, "a"], dtype=object))
    with pytest.raises(InputError, match=r"x\.npz: names holds Python objects.* float32"):
        open_arrays(tmp_path / "x.npz")
    with pytest.raises(InputError, match="runs code when opened"):
        open_arrays(tmp_path / "x.pkl")


def _npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(400.0).reshape(100, 4), labels=np.arange(100))
    return buffer.getvalue()


def _npy(array=None):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(400.0).reshape(100, 4) if array is None else array)
    return buffer.getvalue()


def _npz_of(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", content)
    return buffer.getvalue()


_HUGE = _npy().replace(b"(100, 4), ", b"(1" + b"0" * 15 + b", 4), ").replace(b" " * 15, b"", 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.npy", b""),
        ("empty.npz", b""),
        ("cut.npy", _npy()[:-1]),
        ("header.npy", _npy()[:40]),
        ("magic.npy", b"\x92" + _npy()[1:]),
        ("version.npy", _npy()[:6] + b"\x09" + _npy()[7:]),
        ("huge.npy", _HUGE),
        ("cut.npz", _npz()[:-40]),
        ("half.npz", _npz()[:300]),
        ("magic.npz", b"text" + _npz()[4:]),
        ("text.npz", b"PK and nothing more"),
        ("cut-inside.npz", _npz_of(_npy()[:-1])),
        ("huge-inside.npz", _npz_of(_HUGE)),
        ("flipped.npz", _npz()[:150] + bytes([_npz()[150] ^ 255]) + _npz()[151:]),
        ("no-arrays.npz", _npz_of(b"text")),
        ("values.mat", b"MATLAB"),
    ],
)
def test_damaged_arrays_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        open_dataset(str(tmp_path / name))


def test_the_damaged_key_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("train.npy", _npy())
        archive.writestr("test.npy", _npy()[:-8])
    with pytest.raises(InputError, match=r"x\.npz: test is damaged or cut off"):
        open_arrays(tmp_path / "x.npz")


@given(start=st.integers(0, 2000), noise=st.binary(min_size=1, max_size=30), suffix=st.sampled_from(["npy", "npz"]))
def test_any_damage_is_an_input_error_or_none(tmp_path_factory, start, noise, suffix):
    content = _npz() if suffix == "npz" else _npy()
    start %= len(content)
    path = tmp_path_factory.getbasetemp() / f"noise.{suffix}"
    path.write_bytes(content[:start] + noise + content[start + len(noise) :])
    try:
        outcome = describe(open_arrays(path))
    except InputError as error:
        outcome = str(error)
    assert str(path) in outcome


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    array = np.random.default_rng(0).standard_normal((20, 3))
    array[[4, 17], 1] = value
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy: 2 of 20 examples .*\(example 4, 17\)"):
        open_arrays(tmp_path / "x.npy")


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_channel_is_named(tmp_path, value):
    array = np.random.default_rng(0).standard_normal((20, 3))
    array[:, 2] = value
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy: channel 2 has the same value"):
        open_arrays(tmp_path / "x.npy")


def test_one_example_is_too_few(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 3)))
    with pytest.raises(InputError, match=r"x\.npy: 1 example of .*at least three"):
        open_arrays(tmp_path / "x.npy")


def test_a_data_set_smaller_than_the_batch_is_an_error_at_start(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((20, 3)))
    dataset = open_arrays(tmp_path / "x.npy")
    with pytest.raises(InputError, match="only 16 training examples"):
        check_batch_size(64, len(dataset.train))
    with pytest.raises(InputError, match="only 16 training examples"):
        batch_indices(0, 0, 64, len(dataset.train))
