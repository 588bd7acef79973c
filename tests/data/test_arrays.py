"""Arrays: any layout, type and key convention, back and forth."""

import numpy as np
import pytest

from lowerbound.cli.main import run
from lowerbound.data import Affine, Levels, describe, open_dataset
from lowerbound.data.arrays.archive import read_npz
from lowerbound.data.arrays.examples import LAYOUTS, read_arrays, to_layout
from lowerbound.errors import InputError

_LENGTHS = {"N": 6, "C": 2, "D": 3, "L": 4, "H": 5, "W": 7}


def open_arrays(path, layout=None, num_levels=None):
    return read_arrays(path, layout=layout).dataset(num_levels)


def _values(*shape, dtype="float32", seed=0):
    return (100 * np.random.default_rng(seed).uniform(size=shape)).astype(dtype)


@pytest.fixture
def saved(tmp_path):
    """A function that saves arrays as .npz, or one array as .npy, and returns the path."""

    def save(array=None, **arrays):
        path = tmp_path / ("file.npz" if array is None else "file.npy")
        np.savez(path, **arrays) if array is None else np.save(path, array)
        return path

    return save


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_every_layout_goes_in_and_out(saved, layout, dtype):
    array = _values(*(_LENGTHS[axis] for axis in layout), dtype=dtype)
    dataset = open_arrays(saved(array), layout=layout)
    # channels first, the other axes in their order
    inner = [_LENGTHS[axis] for axis in layout[1:].replace("C", "")]
    channels = [] if layout == "ND" else [_LENGTHS["C"] if "C" in layout else 1]
    assert dataset.shape == (*channels, *inner)
    assert dataset.spec.layout == layout
    decoded = dataset.spec.encoding.decode(dataset.encoded(np.arange(6)))
    assert decoded.dtype == array.dtype
    back = to_layout(decoded, layout)
    assert back.shape == array.shape
    assert np.abs(back - array).max() <= (0 if dtype == "uint8" else 1e-5)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((6, 5), "ND"),
        ((6, 5, 7), "NHW"),
        ((6, 5, 7, 3), "NHWC"),
        ((6, 5, 7, 1), "NHWC"),
        ((6, 5, 3, 4), "NHWC"),
        ((6, 3, 5, 7), "NCHW"),
        ((6, 3, 5, 4), "NCHW"),
        ((6, 8, 5, 7), "NCHW"),
        ((6, 1, 5, 7, 8), "NCDHW"),
    ],
)
def test_the_layout_follows_from_the_axes(saved, shape, layout):
    assert open_arrays(saved(_values(*shape))).spec.layout == layout


def test_channels_are_told_from_pixels(saved):
    array = _values(6, 5, 7, 3)
    dataset = open_dataset(str(saved(array)))
    assert np.array_equal(dataset.examples[:, 2], array[..., 2])
    assert dataset.encoded(np.array([1, 4])).is_contiguous()


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", ">u2", "int64", "float16", "float32", ">f8", "longdouble"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_memory_orders(saved, dtype, order):
    array = np.asarray(_values(20, 3) > 50 if dtype == "bool" else _values(20, 3).astype(dtype), order=order)
    dataset = open_arrays(saved(array))
    assert isinstance(dataset.spec.encoding, Affine if np.dtype(dtype).kind == "f" else Levels)
    decoded = dataset.spec.encoding.decode(dataset.encoded(np.arange(20)))
    assert decoded.dtype == np.dtype(dtype)
    # half a unit of half precision at 100
    assert np.allclose(decoded.astype(float), array.astype(float), rtol=0, atol=0.05)


def test_num_levels_is_passed_on(saved):
    assert open_arrays(saved(_values(9, 2, dtype="int32") % 3), num_levels=17).spec.encoding == Levels(17, 0, "int32")


def test_one_array_under_any_name(saved):
    array = _values(9, 2)
    assert np.array_equal(open_arrays(saved(whatever=array)).examples, array)


def test_labels_are_any_integers_and_conditions_vectors(saved):
    labels = np.array([7, -3, 7, 100, 7, -3])
    vectors = _values(6, 2, dtype="float64")
    dataset = open_arrays(saved(x=_values(6, 4), labels=labels, cond=vectors))
    assert dataset.labels.dtype == np.int64
    assert dataset.spec.class_names == ("-3", "7", "100")
    assert [int(dataset.spec.class_names[k]) for k in dataset.labels] == labels.tolist()
    assert dataset.conditions.dtype == np.float32
    assert np.array_equal(dataset.conditions, vectors.astype(np.float32))


@pytest.mark.parametrize("suffix", ["", "_images"])
@pytest.mark.parametrize("others", [("test",), ("validation",), ("validation", "test"), ("test", "validation")])
def test_splits_by_their_keys(saved, suffix, others):
    parts = {split: _values(10 + k, 3, seed=k) for k, split in enumerate(("train", *others))}
    labels = {split: np.arange(len(part)) % 4 + 1 for split, part in parts.items()}
    dataset = open_arrays(
        saved(
            **{split + suffix: part for split, part in parts.items()}, **{f"{k}_labels": v for k, v in labels.items()}
        )
    )
    for split in others:
        assert np.array_equal(dataset.examples[dataset.indices(split)], parts[split])
        assert np.array_equal(dataset.labels[dataset.indices(split)] + 1, labels[split])
    made = {"test", "validation"} - set(others)
    rest = np.concatenate([dataset.train, *(dataset.indices(split) for split in made)])
    assert np.array_equal(dataset.examples[np.sort(rest)], parts["train"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": (6, 2), "b": (6, 2)},
        {"x": (6, 2), "weights": (6,)},
        {"x": (6, 2), "test": (6, 2)},
        {"test": (6, 2), "validation": (6, 2)},
        {"train": (6, 2), "train_images": (6, 2)},
        {"train": (6, 2), "labels": (6,)},
        {"labels": (6,), "cond": (6, 2)},
    ],
)
def test_unknown_keys_are_listed_with_those_understood(saved, arrays):
    with pytest.raises(InputError) as caught:
        open_arrays(saved(**{key: np.ones(shape, int) for key, shape in arrays.items()}))
    for key in (*arrays, "train_labels", "optionally with labels"):
        assert key in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train": (6, 2), "test": (6, 3)}, "test has shape"),
        ({"x": (6, 2), "labels": (5,)}, "labels has shape"),
        ({"x": (6, 2), "labels": (6, 1)}, "labels of shape"),
        ({"x": (6, 2), "cond": (6,)}, r"cond of shape .* should be \(N, F\)"),
        ({"train": (6, 2), "test": (6, 2), "train_labels": (6,)}, "not for every split"),
        ({"x": ()}, "shape"),
        ({"x": (6,)}, "first axis counts examples"),
        ({"x": (6, 1, 1, 1, 1, 1)}, "first axis counts examples"),
        ({"x": (0, 5)}, "at least three"),
        ({"x": (2, 5)}, "at least three"),
        ({"train": (6, 5), "test": (0, 5)}, "0 test"),
    ],
)
def test_shapes_that_do_not_fit(saved, arrays, message):
    with pytest.raises(InputError, match=message):
        open_arrays(saved(**{key: np.ones(shape, int) for key, shape in arrays.items()}))


def test_types_that_do_not_fit(saved):
    with pytest.raises(InputError, match=r"test has shape .* float64"):
        open_arrays(saved(train=_values(6, 2), test=_values(6, 2, dtype="float64")))
    with pytest.raises(InputError, match="integers"):
        open_arrays(saved(x=_values(6, 2), labels=_values(6)))
    with pytest.raises(InputError, match="finite"):
        open_arrays(saved(x=_values(6, 2), cond=np.full((6, 1), np.nan)))


def test_layouts_that_do_not_fit(saved):
    path = saved(_values(6, 2, 3))
    with pytest.raises(InputError, match=r"unknown --layout 'HWC'.*NCHW"):
        open_arrays(path, layout="HWC")
    with pytest.raises(InputError, match="NCHW has 4 axes"):
        open_arrays(path, layout="NCHW")
    for raw, layout in ((np.ones((6, 2, 3)), "ND"), (np.ones((6, 2, 3, 3)), "NHW"), (np.ones((6, 2)), "NL")):
        with pytest.raises(InputError, match=f"do not fit the layout {layout}"):
            to_layout(raw, layout)


def test_read_npz_gives_all_arrays(saved):
    arrays = {"one": _values(3), "two": np.arange(6).reshape(2, 3)}
    read = read_npz(saved(**arrays))
    assert list(read) == list(arrays)
    for key, array in arrays.items():
        assert np.array_equal(read[key], array)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((6, 5), {}),
        ((6, 64), {"NL": "signals of length 64 in one channel"}),
        ((6, 28, 28), {}),
        ((6, 2, 128), {"NCL": "signals of length 128 in 2 channels, which come first"}),
        ((6, 128, 2), {"NLC": "signals of length 128 in 2 channels, which come last"}),
        ((6, 3, 32, 32), {}),
        ((6, 32, 32, 3), {}),
        ((6, 4, 32, 3), {"NHWC": "images of 4 x 32 in 3 channels, which come last"}),
        (
            (6, 8, 8, 8),
            {"NHWC": "images of 8 x 8 in 8 channels, which come last", "NDHW": "volumes of 8 x 8 x 8 in one channel"},
        ),
        ((6, 1, 8, 8, 8), {}),
        ((6, 8, 8, 8, 3), {"NDHWC": "volumes of 8 x 8 x 8 in 3 channels, which come last"}),
    ],
)
def test_an_array_that_could_be_two_things_is_told_with_the_layouts_that_work(saved, shape, told):
    array = _values(*shape)
    path = saved(array)
    guessed = open_arrays(path)
    lines = [line for line in describe(guessed).splitlines() if line.startswith("layout ")]
    assert len(lines) == bool(told)
    for layout, words in told.items():
        assert f"for {words} give --layout {layout}" in lines[0]
        chosen = open_arrays(path, layout=layout)
        assert chosen.spec.layout == layout
        assert chosen.shape != guessed.shape or not np.array_equal(chosen.examples, guessed.examples)
        # its size and channels are those that the words say
        inner = [str(n) for n in chosen.shape[1:]]
        assert " x ".join(inner) in words
        assert ("one channel" if chosen.shape[0] == 1 else f"{chosen.shape[0]} channels") in words
        assert np.array_equal(to_layout(chosen.examples, layout), array)
        assert "give --layout" not in describe(chosen)


@pytest.mark.parametrize(("shape", "layout"), [((40, 8, 8, 8), "NDHW"), ((40, 2, 32), "NCL"), ((40, 16), "NL")])
def test_an_advised_layout_can_be_trained(saved, shape, layout, capsys):
    path = saved(_values(*shape))
    command = ["train", str(path), "--layout", layout, "--dry-run", "--network.width", "8"]
    assert run([*command, "--network.blocks-per-level", "1", "--batch-size", "4"]) == 0
    assert f"(read as {layout})" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_single_number_or_a_row_of_numbers_is_told_what_is_missing(saved, suffix):
    for value, message in ((np.array(3.0), "first axis"), (np.ones(9), "a second axis of length 1")):
        with pytest.raises(InputError, match=message):
            open_arrays(saved(value) if suffix == "npy" else saved(x=value))


def test_named_fields_are_told_how_to_become_columns(saved):
    with pytest.raises(InputError, match="structured_to_unstructured"):
        open_arrays(saved(np.zeros(9, [("a", "f4"), ("b", "f4")])))
