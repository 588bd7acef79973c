"""The classifier of a run: as good as the best one where that is known, kept in the run folder, and refused with reasons."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from training.runs import tiny_run

from lowerbound.cli.main import run as command
from lowerbound.data import open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.run.classifier import open_classifier, write_classifier
from lowerbound.schedule import Level
from lowerbound.training.classifier import accuracies, train_classifier

CENTRE, WIDTH = 1.0, 0.5


@pytest.fixture(scope="module")
def two_classes():
    """Two classes in the plane, N(-+CENTRE, WIDTH^2) along its first axis and alike along the second."""
    generator = np.random.default_rng(0)
    labels = np.arange(6000) % 2
    examples = generator.standard_normal((6000, 2)) * [WIDTH, 1.0] + (2 * labels - 1)[:, None] * [CENTRE, 0.0]
    return assemble("made", examples.astype(np.float32), layout="ND", labels=labels)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tiny_run(tmp_path_factory.mktemp("classifier") / "digits", steps=2)
    return open_run(folder.path)


def test_it_comes_near_the_best_classifier_and_its_slope(two_classes):
    classifier = train_classifier(two_classes, -8.0, 4.0, steps=500)
    scale = two_classes.spec.encoding.scale[0]
    centre, width = CENTRE / scale, WIDTH / scale
    ratios = [0.0, 0.5, 1.0, 2.0]
    for ratio, (share, _) in zip(ratios, accuracies(classifier, two_classes, ratios), strict=True):
        best = 0.5 * (1 + math.erf(centre / math.sqrt(2 * (width**2 + ratio**2))))
        assert abs(share - best) < 4 * math.sqrt(best * (1 - best) / 600), ratio
    # log p(1 | x_t) / p(0 | x_t) = 2 m x_t / (s^2 + r^2) at alpha = 1
    for ratio in (0.5, 1.0, 2.0):
        x_t = torch.linspace(-0.5, 0.5, 5)[:, None] * torch.tensor([1.0, 0.0])
        x_t.requires_grad_()
        logits = classifier(x_t, Level(0.5, 2 * math.log(ratio), 1.0, ratio))
        slope = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x_t)[0].mean(0)
        expected = 2 * centre / (width**2 + ratio**2)
        assert slope[0].item() == pytest.approx(expected, rel=0.25), ratio
        assert abs(slope[1].item()) < 0.15 * expected


def test_the_same_seed_and_steps_give_the_same_weights(two_classes):
    def weights(seed):
        torch.rand(seed + 1)  # what the caller draws does not matter
        return train_classifier(two_classes, -8.0, 4.0, steps=3, width=8, seed=seed).state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_it_is_kept_with_the_run(trained, capsys):
    path = str(trained.folder.path)
    with pytest.raises(InputError, match=r"has no classifier: train one with `lowerbound classifier"):
        open_classifier(trained)
    assert command(["classifier", path, "--steps", "3", "--width", "8", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "held-out accuracy" in printed
    assert "on clean data" in printed
    dataset = trained.open_dataset()
    ends = trained.denoiser.schedule.gamma_min, trained.denoiser.schedule.gamma_max
    same = train_classifier(dataset, *ends, steps=3, width=8, seed=1)
    opened, x = open_classifier(trained), dataset.encoded(dataset.validation[:5])
    assert torch.equal(opened(x), same(x))
    assert (opened.gamma_min, opened.gamma_max) == ends
    assert not any(p.requires_grad for p in opened.parameters())
    assert not list(trained.folder.path.glob(".unfinished*"))


def test_a_classifier_of_other_data_or_a_damaged_one_is_refused(trained):
    path = trained.folder.path / "classifier.safetensors"
    classifier = train_classifier(trained.open_dataset(), -8.0, 5.0, steps=1, width=8)
    for facts in ({"fingerprint": "0"}, {"class_names": tuple("abcdefghij")}):
        other = dataclasses.replace(trained, spec=dataclasses.replace(trained.spec, **facts))
        write_classifier(other, classifier, 8, {})
        with pytest.raises(InputError, match="other data than the run's"):
            open_classifier(trained)
    write_classifier(trained, classifier, 8, {})
    content = path.read_bytes()
    for damaged in (b"", content[:100], b"\x00" * len(content), content.replace(b"gamma_min", b"gamma_mix")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged .*train it anew"):
            open_classifier(trained)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--steps", "0"], "--steps is 0: give 1 or more"),
    (["--minutes", "-1"], "--minutes is -1.0: it must be positive"),
    (["--steps", "1", "--minutes", "1"], "give one of the two"),
    (["--steps", "1", "--width", "0"], "--width is 0: give 1 or more"),
])  # fmt: skip
def test_impossible_options(trained, arguments, message, capsys):
    assert command(["classifier", str(trained.folder.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_data_without_labels_are_refused(tmp_path, capsys):
    folder = tiny_run(tmp_path / "run", "checkerboard", steps=1)
    assert command(["classifier", str(folder.path), "--steps", "1"]) == 2
    assert "has no labels" in capsys.readouterr().err
    dataset = open_dataset("digits")
    with pytest.raises(InputError, match="one class"):
        train_classifier(dataclasses.replace(dataset, labels=0 * dataset.labels), -8.0, 5.0, steps=1)
