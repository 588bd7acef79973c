"""Assembling a data set: its splits, its encoding, its description."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.data import Affine, Levels, describe
from lowerbound.data.dataset import SPLITS, assemble
from lowerbound.errors import InputError


def _floats(num_examples, num_features=2, seed=0):
    return np.random.default_rng(seed).standard_normal((num_examples, num_features))


def test_some_examples_stand_for_their_split_whatever_its_order():
    labels = np.repeat(np.arange(10), 1_000)
    dataset = assemble("in the order of classes", labels[:, None] + 0.5, layout="ND", labels=labels)
    for split in SPLITS:
        few, all_of_it = dataset.some(split, 200), dataset.some(split)
        counts = np.bincount(labels[few], minlength=10)
        assert ((counts - 20) ** 2 / 20).sum() < 28, "chi-squared of nine degrees of freedom, a chance in a thousand"
        assert np.array_equal(few, all_of_it[:200])
        assert len(np.unique(few)) == 200
        assert np.array_equal(np.sort(all_of_it), dataset.indices(split))


@pytest.mark.parametrize(("entries", "count"), [(None, 30), (10**9, 30), (28 * 28 * 7 + 1, 7), (1, 2)])
def test_some_examples_have_no_more_entries_than_are_kept_in_memory(entries, count):
    dataset = assemble(
        "images", np.zeros((100, 28, 28), np.uint8) + np.arange(100, dtype=np.uint8)[:, None, None], layout="NHW"
    )
    few = dataset.some("train", 30, entries)
    assert np.array_equal(few, dataset.some("train")[:count])


@given(num_examples=st.integers(4, 300), given_splits=st.sets(st.sampled_from(SPLITS), max_size=2), data=st.data())
def test_splits_are_disjoint_and_complete(num_examples, given_splits, data):
    if given_splits and "train" not in given_splits:
        size = num_examples - (3 - len(given_splits))
        indices = np.arange(data.draw(st.integers(len(given_splits), size)))
        splits = {name: indices[k :: len(given_splits)] for k, name in enumerate(sorted(given_splits))}
    else:
        order = np.random.default_rng(1).permutation(num_examples)
        splits = dict(
            zip(sorted(given_splits), np.split(order, [1]) if len(given_splits) == 2 else [order], strict=False)
        )
        if len(splits.get("train", range(3))) < 4 - len(splits):
            splits = {}
    dataset = assemble("made", np.arange(num_examples)[:, None] % 7, layout="ND", splits=splits, num_levels=7)
    together = np.concatenate([dataset.indices(split) for split in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(num_examples))
    for split in given_splits & set(splits) - {"train"}:
        assert np.array_equal(dataset.indices(split), splits[split])
    assert all(len(dataset.indices(split)) for split in SPLITS)


def test_splits_are_the_same_every_time_and_about_a_tenth():
    first, second = (assemble("made", _floats(1000, seed=seed), layout="ND") for seed in (0, 1))
    assert (len(first.train), len(first.validation), len(first.test)) == (800, 100, 100)
    assert np.array_equal(first.test, second.test)


def test_validation_takes_5000_at_most():
    dataset = assemble("made", _floats(70_000, 1), layout="ND", splits={"test": np.arange(60_000, 70_000)})
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (55_000, 5_000, 10_000)


def test_normalisation_is_fitted_on_training_examples_only():
    examples = _floats(100)
    examples[90:] += 1000
    dataset = assemble("made", examples, layout="ND", splits={"test": np.arange(90, 100)})
    x = dataset.encoded(dataset.train)
    assert x.mean().abs() < 1e-5
    assert dataset.encoded(dataset.test).min() > 100


@pytest.mark.parametrize(
    ("values", "num_levels", "expected"),
    [
        (np.array([0, 1, 3], "uint8"), None, Levels(256, 0, "uint8")),
        (np.array([0, 1, 3], "uint8"), 4, Levels(4, 0, "uint8")),
        (np.array([0, 1, 3], "uint16"), None, Levels(65_536, 0, "uint16")),
        (np.array([0, 1, 3], ">u2"), None, Levels(65_536, 0, ">u2")),
        (np.array([0, 1, 0], "bool"), None, Levels(2, 0, "bool")),
        (np.array([5, 9, 6], "int64"), None, Levels(5, 5, "int64")),
        (np.array([-2, 1, 0], "int8"), None, Levels(4, -2, "int8")),
        (np.array([-2, 1, 0], "int8"), 10, Levels(10, -2, "int8")),
        (np.array([5, 9, 6], "int32"), 10, Levels(10, 0, "int32")),
    ],
)
def test_levels_follow_from_the_integers(values, num_levels, expected):
    # often enough that each is in every split
    examples = np.repeat(values, 20)[:, None]
    assert assemble("made", examples, layout="ND", num_levels=num_levels).spec.encoding == expected


_TWENTY = {"train": np.arange(16), "validation": np.arange(16, 18), "test": np.arange(18, 20)}


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize(
    ("outlier", "num_levels", "advice"),
    [
        (7, None, "levels of the training split, -2 to 3: give --num-levels of at least 10"),
        (7, 9, "levels of --num-levels 9, -2 to 6: give --num-levels of at least 10"),
        (-5, None, "-2 to 3: add 5 to every value and give --num-levels of at least 9"),
        (90_000, None, "-2 to 3: store them as floats"),
    ],
)
def test_what_a_held_out_split_holds_changes_no_level(split, outlier, num_levels, advice):
    """A level that only the test split has would tell the model of the test split."""
    values = (np.arange(20) % 6 - 2)[:, None]
    fitted = assemble("made", values, layout="ND", splits=_TWENTY, num_levels=num_levels).spec.encoding
    assert (fitted.offset, fitted.num_levels) == (-2, num_levels or 6)
    values[_TWENTY[split][1]] = outlier
    with pytest.raises(InputError, match=f"made: the {split} split holds the value {outlier}, outside.*{advice}"):
        assemble("made", values, layout="ND", splits=_TWENTY, num_levels=num_levels)
    if "num-levels" in advice:
        shift, needed = 5 * ("add" in advice), int(advice.rsplit(maxsplit=1)[1])
        assemble("made", values + shift, layout="ND", splits=_TWENTY, num_levels=needed)
        with pytest.raises(InputError, match="outside"):
            assemble("made", values + shift, layout="ND", splits=_TWENTY, num_levels=needed - 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_are_continuous(dtype):
    dataset = assemble("made", _floats(50).astype(dtype), layout="ND")
    assert isinstance(dataset.spec.encoding, Affine)
    decoded = dataset.spec.encoding.decode(dataset.encoded(dataset.train))
    assert decoded.dtype == np.dtype(dtype)
    assert np.abs(decoded - dataset.examples[dataset.train]).max() < 2e-3


@pytest.mark.parametrize(
    ("examples", "num_levels", "message"),
    [
        (np.array([[0], [1], [9]]), 5, "--num-levels of at least 10"),
        (np.array([[4], [4], [4]]), None, "every value is 4"),
        (np.array([[4], [4], [4]], "uint8"), None, "every value is 4"),
        (np.array([[True], [True], [True]]), None, "every value is 1"),
        (np.arange(0, 90_000, 3)[:, None], None, "store them as floats"),
        (np.array([["2020"], ["2021"], ["2022"]], "M8[D]"), None, "seconds"),
        (np.array([[1], [2], [3]], "uint64") + (1 << 63), None, "subtract an offset"),
        (np.array([[0.0], [1.0], [2.0]]), 5, "values are floats"),
        (np.array([[1j], [2], [3]]), None, "complex"),
        (np.array([["a"], ["b"], ["c"]]), None, "integers, booleans and floats"),
        (np.zeros((2, 1)), None, "at least three"),
        (np.zeros((9, 0)), None, "no axis may be empty"),
    ],
)
def test_what_fits_no_encoding_is_refused(examples, num_levels, message):
    with pytest.raises(InputError, match=message):
        assemble("made", examples, layout="ND", num_levels=num_levels)


def test_a_class_that_only_a_held_out_split_has_is_refused():
    labels = np.array([0, 1] * 9 + [0, 2])
    with pytest.raises(InputError, match="class 2 has no examples in the training split"):
        assemble("made", _floats(20), layout="ND", splits=_TWENTY, labels=labels)
    assert assemble("made", _floats(20), layout="ND", splits=_TWENTY, labels=labels % 2).spec.class_names == ("0", "1")


def test_no_split_may_be_empty():
    with pytest.raises(InputError, match="0 train"):
        assemble("made", _floats(10), layout="ND", splits={"test": np.arange(9)})


def test_a_condition_is_vectors_or_labels_or_nothing():
    labels, vectors = np.arange(10) % 3, np.arange(20, dtype=np.float32).reshape(10, 2)
    indices = np.array([4, 7])
    plain = assemble("made", _floats(10), layout="ND")
    labelled = assemble("made", _floats(10), layout="ND", labels=labels)
    conditioned = assemble("made", _floats(10), layout="ND", conditions=vectors)
    assert plain.cond(indices) is None
    assert torch.equal(labelled.cond(indices), torch.tensor([1, 1]))
    assert labelled.spec.class_names == ("0", "1", "2")
    shift, scale = vectors[conditioned.train].mean(0), vectors[conditioned.train].std(0)
    expected = (torch.tensor([[8.0, 9.0], [14.0, 15.0]]) - torch.from_numpy(shift)) / torch.from_numpy(scale)
    torch.testing.assert_close(conditioned.cond(indices), expected)


def test_the_fingerprint_is_of_the_values():
    examples = _floats(10)
    changed = examples.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    first, same, other = (assemble("made", array, layout="ND") for array in (examples, examples.copy(), changed))
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()
    assert first.fingerprint() == assemble("made", np.asfortranarray(examples), layout="ND").fingerprint()


def test_the_fingerprint_covers_labels_splits_and_conditions():
    examples, order = _floats(30), np.arange(30)
    splits = {"train": order[:20], "validation": order[20:25], "test": order[25:]}

    def made(**changed):
        given = {"labels": order % 3, "conditions": examples.copy(), "class_names": ("a", "b", "c"), "splits": splits}
        return assemble("made", examples, layout="ND", **{**given, **changed})

    moved = {"train": order[:10], "validation": order[20:25], "test": np.r_[10:20, 25:30]}
    swapped = {**splits, "validation": splits["test"], "test": splits["validation"]}
    others = [
        made(labels=(order + 1) % 3),
        made(labels=None, class_names=()),
        made(class_names=("a", "bc", "")),
        made(conditions=None),
        made(conditions=np.nextafter(examples, 9)),
        made(splits=moved),
        made(splits=swapped),
    ]
    found = {dataset.fingerprint() for dataset in (made(), *others)}
    assert len(found) == 1 + len(others)
    narrow = {name: indices.astype(np.int32) for name, indices in splits.items()}
    assert made().has_fingerprint(made(labels=(order % 3).astype(np.int32), splits=narrow).fingerprint())


def test_an_old_fingerprint_is_compared_as_it_was_made():
    examples, vectors = _floats(30), _floats(30)
    dataset = assemble("made", examples, layout="ND", conditions=vectors)
    digest = hashlib.sha256(f"{examples.dtype}{examples.shape}".encode() + examples.tobytes() + vectors.tobytes())
    with pytest.warns(UserWarning, match="nor their splits"):
        assert dataset.has_fingerprint(digest.hexdigest()[:16])
    other = assemble("made", examples + 1, layout="ND", conditions=vectors)
    assert not other.has_fingerprint(digest.hexdigest()[:16])


def test_the_description_says_what_was_understood():
    dataset = assemble("made", (np.arange(60) % 5).reshape(20, 3), layout="ND", labels=np.arange(20) % 2)
    text = describe(dataset)
    for part in ("20 examples of shape (3,)", "5 levels, 0 to 4", "16 train, 2 validation, 2 test", "2: 0, 1"):
        assert part in text
    assert "continuous, stored as float64" in describe(assemble("made", _floats(10), layout="ND"))
