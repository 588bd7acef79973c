"""Quality of a run's samples: the best possible denoiser is cleared, few calls and strong guidance are found."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from known import mixture_run

from lowerbound.data import Dataset
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.evaluate.features import feature_space
from lowerbound.evaluate.judge import Judge, SampleQuality, draw
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trade_off import (
    Point,
    Trial,
    draw_calls,
    draw_scales,
    plan_of_calls,
    trade_off,
    trials_of_calls,
    trials_of_scales,
)
from lowerbound.files.records import Measured, read, to_json
from lowerbound.report.description import Severity
from lowerbound.report.quality import FIGURES, HEADER, tell_quality, tell_trade_off
from lowerbound.run import Run
from lowerbound.sampling import SAMPLERS

NUM = 300


def encoded(judge: Judge, samples: np.ndarray) -> torch.Tensor:
    return judge.dataset.spec.encoding.encode(samples)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.evaluate.judge.NUM_REFERENCES", 1000)
        yield


@pytest.fixture(scope="module")
def known(tmp_path_factory, quick) -> tuple[Run, Dataset, Judge]:
    run, dataset = mixture_run(tmp_path_factory.mktemp("known"))
    return run, dataset, Judge.of(dataset, feature_space(dataset, None), NUM)


def test_the_best_denoiser_is_cleared_and_another_is_not(known):
    run, dataset, judge = known
    floor, plan = judge.floor(), run.diffusion.plan(SAMPLERS["ddim"], 100)
    samples, num_calls = draw(run, dataset, NUM, plan)
    assert num_calls == 100
    found = SampleQuality(judge.quality(encoded(judge, samples)), floor, str(judge.space), "ddim", num_calls)
    said = tell_quality(found)
    assert [finding.text.split(":")[0] for finding in said.findings] == [
        "Not told apart from held-out data by the Frechet distance",
        "No samples seen that are like no data",
        "No data seen that no sample is like",
    ]
    (table,) = said.tables
    assert len(table.rows) == len(FIGURES)
    assert "the values themselves" in table.caption
    assert "100 calls" in table.caption
    assert read(SampleQuality, json.loads(to_json(found)), "quality") == found

    one = dataset.encoded(np.full(NUM, dataset.train[0]))
    collapsed = [str(each) for each in tell_quality(SampleQuality(judge.quality(one), floor, "", "", 1.0)).findings]
    assert collapsed[0].startswith("Samples differ from the data")
    assert collapsed[2].startswith("Data that no sample is like")
    wide = 3 * dataset.encoded(dataset.train[:NUM])
    found = tell_quality(SampleQuality(judge.quality(wide), floor, "", "", 1.0)).findings[1]
    assert found.text.startswith("Samples that are like no data")
    assert found.severity is Severity.SERIOUS


@pytest.mark.parametrize(
    ("samples", "held_out", "severity", "start"),
    [
        ((4.34, 0.59), (1.94, 0.85), Severity.CHANGE, "Samples perhaps differ from the data"),
        ((4.94, 0.50), (1.94, 0.50), Severity.SERIOUS, "Samples differ from the data"),
        ((2.10, 0.40), (1.94, 0.85), Severity.FINE, "Not told apart from held-out data"),
    ],
)
def test_the_verdict_on_a_distance_follows_from_its_error(samples, held_out, severity, start):
    alike = dict.fromkeys(("kernel", "precision", "recall", "density", "coverage"), Measured(0.9, 0.02))
    counts = {"num_samples": 100, "num_references": 100}
    found = SampleQuality(
        *(Quality(frechet=Measured(*each), **alike, **counts) for each in (samples, held_out)), "", "", 1.0
    )
    first = tell_quality(found).findings[0]
    assert first.severity is severity
    assert first.text.startswith(start)


def test_more_calls_are_better_and_are_counted(known, tmp_path):
    run, _, judge = known
    chosen = {name: SAMPLERS[name] for name in ("ddim", "heun")}
    found = trade_off(run, judge, trials_of_calls(run, chosen, [4, 21, 4]), NUM)
    points = found.points
    assert [(point.sampler, point.num_calls) for point in points] == [
        ("ddim", 4.0),
        ("ddim", 21.0),
        ("heun", 3.0),
        ("heun", 21.0),
    ]
    few, many = points[0].quality.frechet, points[1].quality.frechet
    assert few[0] - many[0] > 3 * np.hypot(few[1], many[1])
    (table,) = tell_trade_off(found).tables
    assert table.header == (*HEADER, *FIGURES.values())
    assert [row[0] for row in table.rows] == ["ddim", "ddim", "heun", "heun", "held-out examples"]
    assert draw_calls(tmp_path / "calls.png", found).stat().st_size > 5000
    assert read(Point, json.loads(to_json(points[0])), "point") == points[0]


@pytest.mark.parametrize("num_calls", range(1, 12))
def test_a_plan_never_takes_more_calls_than_allowed(known, num_calls):
    for name in ("ddim", "heun"):
        found = plan_of_calls(known[0], SAMPLERS[name], num_calls).num_calls
        assert num_calls - SAMPLERS[name].calls_per_step < found <= num_calls, name


def test_guidance_trades_variety_for_fidelity(known, tmp_path):
    """A denoiser of data that are narrower by the scale stands for guidance."""
    run, dataset, judge = known
    plan = run.diffusion.plan(SAMPLERS["ddim"], 20)

    def guided(scale):
        x = dataset.encoded(dataset.train)
        return Gaussian(x.mean(0), x.T.cov() / scale**2, run.denoiser.schedule)

    trials = [Trial("ddim", plan, scale, guided(scale)) for scale in (1.0, 4.0)]
    found = trade_off(run, judge, trials, NUM)
    weak, strong = found.points
    assert (weak.scale, strong.scale) == (1.0, 4.0)
    assert strong.quality.coverage.value < weak.quality.coverage.value
    assert draw_scales(tmp_path / "scales.png", found).stat().st_size > 5000


def test_scales_of_guidance_are_those_of_a_conditional_run_in_order(known):
    run, _, _ = known
    with pytest.raises(InputError, match="--conditional"):
        trials_of_scales(run, [1.0])
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, conditional=True))
    trials = trials_of_scales(dataclasses.replace(run, config=config), [4.0, 1.0, 4.0])
    assert [trial.scale for trial in trials] == [1.0, 4.0]
    assert [trial.denoiser.scale for trial in trials] == [1.0, 4.0]


def test_there_are_as_many_samples_as_held_out_examples(known):
    _, dataset, _ = known
    few = dataclasses.replace(dataset, test=dataset.test[:30], validation=dataset.validation[:20])
    judge = Judge.of(few, feature_space(few, None), NUM)
    assert judge.floor().num_samples == 50
    found = judge.quality(dataset.encoded(np.arange(NUM)))
    assert isinstance(found, Quality)
    assert (found.num_samples, found.num_references) == (50, 1000)


def test_no_calls_are_refused(known):
    with pytest.raises(InputError, match="at least one call"):
        plan_of_calls(known[0], SAMPLERS["ddim"], 0)
