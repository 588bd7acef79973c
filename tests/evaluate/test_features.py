"""Feature spaces: the classifier of the data is trained once and kept; principal components and plain values."""

import dataclasses

import numpy as np
import pytest
import torch

from lowerbound.data import Dataset, open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.evaluate import features as module
from lowerbound.evaluate.features import feature_classifier, feature_space


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "UPDATES", 25)
    monkeypatch.setattr(module, "BATCH", 32)
    monkeypatch.setattr(module, "WIDTH", 4)
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset("digits")


def refuse(*arguments):
    raise AssertionError("trained again")


def test_a_classifier_is_trained_once_and_kept_in_the_data_directory(digits, tmp_path, monkeypatch):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = feature_classifier(digits, tmp_path)
    assert torch.equal(torch.rand(1), expected), "the program's random numbers stay as they were"
    assert first is not None
    assert first.accuracy > 0.2
    (kept,) = (tmp_path / "data").iterdir()
    assert digits.fingerprint() in kept.name
    monkeypatch.setattr(module, "train_feature_classifier", refuse)
    second = feature_classifier(digits, tmp_path)
    assert second is not None
    assert (second.hash, second.accuracy) == (first.hash, first.accuracy)
    x = digits.encoded(digits.test)
    assert torch.equal(first.probabilities(x), second.probabilities(x))


def test_a_damaged_file_is_written_anew_and_weights_are_those_of_the_seed(digits, tmp_path):
    first = feature_classifier(digits, tmp_path)
    (kept,) = (tmp_path / "data").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    second = feature_classifier(digits, tmp_path)
    assert first is not None
    assert second is not None
    assert first.hash == second.hash


def test_where_the_data_directory_cannot_be_written_the_run_s_folder_keeps_it(digits, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path / "file" / "data"))
    folder = tmp_path / "run"
    folder.mkdir()
    assert feature_classifier(digits, folder) is not None
    assert len(list(folder.glob("classifier-*.safetensors"))) == 1
    monkeypatch.setattr(module, "train_feature_classifier", refuse)
    assert feature_classifier(digits, folder) is not None


def test_only_the_training_split_counts(digits, tmp_path):
    assert digits.labels is not None
    first = feature_classifier(digits, tmp_path)
    labels = digits.labels.copy()
    labels[digits.test] = 9 - labels[digits.test]
    (kept,) = (tmp_path / "data").iterdir()
    kept.unlink()
    second = feature_classifier(dataclasses.replace(digits, labels=labels), tmp_path)
    assert first is not None
    assert second is not None
    assert first.hash == second.hash
    assert second.accuracy != first.accuracy
    labels[digits.train] = 9 - labels[digits.train]
    feature_classifier(dataclasses.replace(digits, labels=labels), tmp_path)
    assert len(list((tmp_path / "data").iterdir())) == 2, "other labels, another file"


def test_every_space_has_the_data_s_own_spread(digits, tmp_path):
    classifier = feature_classifier(digits, tmp_path)
    spaces = {
        "classifier": (digits, feature_space(digits, classifier)),
        "principal components": (digits, feature_space(digits, None)),
        "the values themselves": (open_dataset("moons"), feature_space(open_dataset("moons"), classifier)),
    }
    for name, (dataset, space) in spaces.items():
        found = space(dataset.encoded(dataset.train[: module.MAX_EXAMPLES]))
        assert name in str(space)
        assert space.hash in str(space)
        assert found.shape[1] == space.num_features
        assert np.abs(found.mean(0)).max() < 0.05, name
        assert abs(found.var(0).mean() - 1) < 0.02, name
    assert "right on test examples" in str(spaces["classifier"][1])


def test_all_principal_components_keep_distances(digits):
    space = feature_space(digits, None)
    x = digits.encoded(digits.test[:20])
    found, pixels = space(x), x.flatten(1).double().numpy()
    assert (
        np.abs(
            np.linalg.norm(found[1:] - found[0], axis=1) * space.scale - np.linalg.norm(pixels[1:] - pixels[0], axis=1)
        ).max()
        < 1e-4
    )
    assert feature_space(digits, None).hash == space.hash


@pytest.mark.parametrize("shape", [(20,), (2, 30), (3, 9, 5), (1, 4, 5, 3)], ids=str)
def test_every_shape_has_a_classifier(shape, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    values = rng.standard_normal((60, *shape)).astype(np.float32) + labels.reshape(-1, *[1] * len(shape)).astype(
        np.float32
    )
    dataset = assemble("two", values, layout="ND", labels=labels)
    classifier = feature_classifier(dataset, tmp_path)
    assert classifier is not None
    assert np.isfinite(feature_space(dataset, classifier)(dataset.encoded(dataset.test))).all()


def test_without_two_classes_there_is_no_classifier(digits, tmp_path):
    assert feature_classifier(dataclasses.replace(digits, labels=None), tmp_path) is None
    assert digits.labels is not None
    assert feature_classifier(dataclasses.replace(digits, labels=0 * digits.labels), tmp_path) is None
