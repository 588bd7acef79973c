"""Guidance as options: the right denoiser, or what is missing."""

import dataclasses

import pytest
import torch
from training.runs import tiny_config

from lowerbound.cli.guide import GuidanceOptions, conditions, guided
from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance, ClassifierFree, ClassifierGuidance
from lowerbound.run import open_run
from lowerbound.run.autoguided import INTERVAL, SCALE
from lowerbound.run.classifier import write_classifier
from lowerbound.training import train
from lowerbound.training.classifier import train_classifier


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A conditional run with a classifier and early weights, and an unconditional one with neither."""
    made = []
    for conditional in (True, False):
        config, dataset = tiny_config(steps=8, num_evaluations=4 if conditional else 1)
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, conditional=conditional))
        out = tmp_path_factory.mktemp("guide") / "run"
        train(config, dataset, out, say=lambda line: None, show_progress=False)
        made.append(open_run(out))
    write_classifier(made[0], train_classifier(dataset, -8.0, 5.0, steps=1, width=8), 8, {})
    return made


KINDS = {"classifier-free": ClassifierFree, "classifier": ClassifierGuidance, "autoguidance": AutoGuidance}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_guides_as_it_is_told(runs, kind):
    run, options = runs[0], GuidanceOptions(2.0, kind, (-3.0, 2.0))
    made = guided(run, options, conditional=True)
    assert type(made.denoiser) is KINDS[kind]
    assert (made.denoiser.scale, made.denoiser.interval, made.denoiser.denoiser) == (2.0, (-3.0, 2.0), run.denoiser)
    x_t = torch.randn(2, *run.spec.shape)
    assert made.denoiser(x_t, 0.5, run.labels(["3", "7"])).x.isfinite().all()
    assert run.denoiser.no_likelihood is None


def test_images_are_autoguided_unless_told_otherwise(runs):
    for given in (True, False):
        made = guided(runs[0], GuidanceOptions(), conditional=given)
        assert (type(made.denoiser), made.denoiser.scale, made.denoiser.interval) == (AutoGuidance, SCALE, INTERVAL)
        made = guided(runs[0], GuidanceOptions(3.0, "autoguidance"), conditional=given)
        assert (made.denoiser.scale, made.denoiser.interval) == (3.0, INTERVAL)
    assert type(guided(runs[0], GuidanceOptions(3.0), conditional=False).denoiser) is AutoGuidance
    assert guided(runs[0], GuidanceOptions(1.0), conditional=False) is runs[0]


def test_no_guidance_leaves_the_run_as_it_is(runs):
    assert guided(runs[1], GuidanceOptions(), conditional=False) is runs[1]
    assert guided(runs[1], GuidanceOptions(1.0), conditional=False) is runs[1]


@pytest.mark.parametrize(
    ("conditional", "options", "given", "message"),
    [
        (True, GuidanceOptions(guidance_kind="classifier"), True, "no effect without --guidance"),
        (True, GuidanceOptions(guidance_interval=(0.0, 1.0)), True, "no effect without --guidance"),
        (True, GuidanceOptions(2.0, "classifier-free"), False, "give --label or --condition"),
        (True, GuidanceOptions(2.0, "classifier"), False, "give --label or --condition"),
        (False, GuidanceOptions(2.0), True, "trained without conditions: .*--guidance-kind classifier"),
        (False, GuidanceOptions(2.0, "classifier-free"), False, "trained without conditions"),
        (False, GuidanceOptions(2.0), False, r"early\.safetensors is not there"),
        (False, GuidanceOptions(), True, "trained without conditions"),
        (False, GuidanceOptions(2.0, "classifier"), True, "no classifier: train one with `lowerbound classifier"),
        (False, GuidanceOptions(2.0, "autoguidance"), False, r"early\.safetensors is not there"),
        (True, GuidanceOptions(2.0, guidance_interval=(1.0, 0.0)), True, "lower end first"),
    ],
)
def test_what_is_missing_is_said(runs, conditional, options, given, message):
    with pytest.raises(InputError, match=message):
        guided(runs[0 if conditional else 1], options, conditional=given)


def test_a_classifier_guides_an_unconditional_run_to_labels(runs):
    run = runs[1]
    write_classifier(run, train_classifier(run.open_dataset(), -8.0, 5.0, steps=1, width=8), 8, {})
    made = guided(run, GuidanceOptions(1.0, "classifier"), conditional=True)
    labels = conditions(made, ("3", "7"), None, 3)[0]
    assert labels.tolist() == [3, 7, 3]
    assert made.denoiser(torch.randn(3, *run.spec.shape), 0.5, labels).x.isfinite().all()
    (run.folder.path / "classifier.safetensors").unlink()


def test_conditions_are_repeated_over_the_samples(runs, tmp_path):
    run, file = runs[0], tmp_path / "labels.txt"
    file.write_text("5\n0\n")
    assert conditions(run, (), file, 5)[0].tolist() == [5, 0, 5, 0, 5]
    assert conditions(run, (), None, 5)[0] is None
    with pytest.raises(InputError, match="give one of the two"):
        conditions(run, ("3",), file, 5)[0]
