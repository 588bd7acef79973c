"""Condition vectors: normalised in one place, by the training split, in training and in use alike."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from training.runs import tiny_config

from lowerbound.data import DataConfig, Standardisation, open_dataset, read_conditions, read_examples
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.run.examples import conditions
from lowerbound.training import train


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Points beside vectors: of large mean, of small spread, and constant."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((60, 3)) * [3.0, 1e-3, 0.0] + [1000.0, 0.0, 0.1]
    path = tmp_path_factory.mktemp("vectors") / "points.npz"
    np.savez(path, x=generator.standard_normal((60, 2)), cond=vectors)
    return path


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    config, _ = tiny_config("moons", steps=2)
    config = dataclasses.replace(config, data=DataConfig(str(source), conditional=True))
    out = tmp_path_factory.mktemp("run") / "run"
    train(config, open_dataset(str(source)), out, say=lambda line: None, show_progress=False)
    return open_run(out)


def test_training_vectors_have_mean_0_and_deviation_1(source):
    dataset = open_dataset(str(source))
    cond = dataset.cond(dataset.train)
    assert cond.dtype == torch.float32
    assert cond.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(cond[:, :2].std(0, correction=0), torch.ones(2), rtol=1e-4, atol=0)
    assert cond[:, 2].abs().max() < 1e-6, "a constant becomes 0"
    held_out = dataset.cond(dataset.test)
    assert held_out.mean(0).abs()[:2].max() > 1e-3, "held-out vectors had no say"


def test_a_run_takes_vectors_as_it_was_trained_with_them(trained, source):
    dataset, examples = trained.open_dataset(), read_examples(DataConfig(str(source)))
    expected = dataset.cond(np.arange(5))
    assert torch.equal(trained.conditions(dataset.conditions[:5]), expected)
    assert torch.equal(conditions(trained, examples, np.arange(5)), expected)
    with_null = dataset.conditions[:5].astype(np.float64)
    with_null[3] = np.nan
    cond = trained.conditions(with_null)
    assert cond[3].isnan().all()
    assert torch.equal(cond[[0, 1, 2, 4]], expected[[0, 1, 2, 4]])
    x_t = torch.randn(5, 2)
    prediction = trained.denoiser(x_t, 0.5, cond).x
    torch.testing.assert_close(prediction[3], trained.denoiser(x_t, 0.5).x[3])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 4)), r"shape \(2, 4\) .*\(N, 3\)"),
        (np.ones(3), r"shape \(3,\)"),
        (np.full((2, 3), "a"), "type <U1"),
        (np.array([[1.0, 2.0, 3.0], [np.nan, 1.0, 1.0]]), r"1 of 2 condition vectors .*number 1"),
        (np.array([[np.inf, 2.0, 3.0]]), "NaN or infinity"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(trained, vectors, message):
    with pytest.raises(InputError, match=message):
        trained.conditions(vectors)


def test_vectors_too_large_to_normalise_are_refused():
    with pytest.raises(InputError, match="too large to be squared"):
        Standardisation.fit(np.array([[1e300], [-1e300]]))
    assert Standardisation.fit(np.full((2, 2), np.nan)) == Standardisation((0.0, 0.0), (1.0, 1.0))


def test_conditions_from_files(trained, tmp_path):
    vectors = trained.open_dataset().conditions[:4]
    np.save(tmp_path / "vectors.npy", vectors)
    assert torch.equal(trained.conditions_from(tmp_path / "vectors.npy"), trained.conditions(vectors))
    labelled = dataclasses.replace(
        trained, spec=dataclasses.replace(trained.spec, vectors=None, class_names=("3", "cat", "a b"))
    )
    (tmp_path / "labels.txt").write_text("cat\n3\n\na b\ncat\n")
    assert labelled.conditions_from(tmp_path / "labels.txt").tolist() == [1, 0, 2, 1]
    np.save(tmp_path / "labels.npy", np.array(["cat", "3"]))
    assert labelled.conditions_from(tmp_path / "labels.npy").tolist() == [1, 0]
    np.save(tmp_path / "numbers.npy", np.array([3, 3]))
    assert labelled.conditions_from(tmp_path / "numbers.npy").tolist() == [0, 0]
    with pytest.raises(InputError, match=r"labels\.txt: .*no labels"):
        trained.conditions_from(tmp_path / "labels.txt")
    with pytest.raises(InputError, match=r"vectors\.npy: .*takes no condition vectors"):
        labelled.conditions_from(tmp_path / "vectors.npy")


def test_files_that_hold_no_conditions(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("objects.npy", "damaged.npy", "binary.txt", "nowhere.npy", "empty.txt"):
        with pytest.raises(InputError, match=name):
            read_conditions(tmp_path / name)


def test_a_run_of_before_the_normalisation_is_refused(trained):
    path = trained.folder.config
    content = path.read_text()
    values = json.loads(content)
    assert len(values["data_facts"].pop("vectors")["shift"]) == 3
    values["data_facts"]["num_condition_features"] = 3
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="condition vectors as they are"):
        open_run(trained.folder.path)
    values["data_facts"]["num_condition_features"] = 0  # one without vectors
    values["data"]["conditional"] = False
    path.write_text(json.dumps(values))
    assert trained.folder.read_config()[1].vectors is None
    path.write_text(content)


def test_other_vectors_are_other_data(trained, source, tmp_path):
    with np.load(source) as arrays:
        np.savez(tmp_path / "other.npz", x=arrays["x"], cond=arrays["cond"][::-1])
    with pytest.raises(InputError, match="does not hold the examples"):
        trained.open_dataset(str(tmp_path / "other.npz"))
