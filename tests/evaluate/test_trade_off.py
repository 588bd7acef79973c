"""Quality of a run's samples: the best possible denoiser is cleared, few calls and strong guidance are found."""

import dataclasses
import json

import numpy as np
import pytest
from known import mixture_run

from lowerbound.data import Dataset
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.evaluate.features import feature_space
from lowerbound.evaluate.finding import Severity
from lowerbound.evaluate.judge import FIGURES, Judge, SampleQuality, draw
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trade_off import (
    HEADER,
    Point,
    by_calls,
    by_scale,
    draw_calls,
    draw_scales,
    plan_of_calls,
    rows,
)
from lowerbound.records import read, to_json
from lowerbound.run import Run
from lowerbound.samplers import SAMPLERS

NUM = 300


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.evaluate.quality.NUM_SPLITS", 10)
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
    found = SampleQuality(judge.quality(samples), floor, str(judge.space), "ddim", num_calls)
    assert [finding.text.split(":")[0] for finding in found.findings()] == [
        "Not told apart from held-out data by the Frechet distance",
        "No samples seen that are like no data",
        "No data seen that no sample is like",
    ]
    assert len(found.rows()) == len(FIGURES)
    assert "the values themselves" in found.caption
    assert "100 calls" in found.caption
    assert read(SampleQuality, json.loads(to_json(found)), "quality") == found

    one = dataset.examples[np.full(NUM, dataset.train[0])]
    collapsed = [str(each) for each in SampleQuality(judge.quality(one), floor, "", "", 1.0).findings()]
    assert collapsed[0].startswith("Samples differ from the data")
    assert collapsed[2].startswith("Data that no sample is like")
    wide = dataset.spec.encoding.decode(3 * dataset.encoded(dataset.train[:NUM]))
    found = SampleQuality(judge.quality(wide), floor, "", "", 1.0).findings()[1]
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
    alike = dict.fromkeys(("kernel", "precision", "recall", "density", "coverage"), (0.9, 0.02))
    counts = {"num_samples": 100, "num_references": 100}
    found = SampleQuality(
        Quality(frechet=samples, **alike, **counts), Quality(frechet=held_out, **alike, **counts), "", "", 1.0
    )
    assert found.findings()[0].severity is severity
    assert found.findings()[0].text.startswith(start)


def test_more_calls_are_better_and_are_counted(known, tmp_path):
    run, _, judge = known
    chosen = {name: SAMPLERS[name] for name in ("ddim", "heun")}
    points = by_calls(run, judge, chosen, [4, 21, 4], num_samples=NUM)
    assert [(point.sampler, point.num_calls) for point in points] == [
        ("ddim", 4.0),
        ("ddim", 21.0),
        ("heun", 3.0),
        ("heun", 21.0),
    ]
    few, many = points[0].quality.frechet, points[1].quality.frechet
    assert few[0] - many[0] > 3 * np.hypot(few[1], many[1])
    table = rows(points, judge.floor())
    assert {len(row) for row in table} == {len(HEADER)}
    assert table[-1][0] == "held-out examples"
    assert draw_calls(tmp_path / "calls.png", points, judge.floor()).stat().st_size > 5000
    assert read(Point, json.loads(to_json(points[0])), "point") == points[0]


@pytest.mark.parametrize("num_calls", range(1, 12))
def test_a_plan_never_takes_more_calls_than_allowed(known, num_calls):
    for name in ("ddim", "heun"):
        found = plan_of_calls(known[0], SAMPLERS[name], num_calls).num_calls
        assert num_calls - SAMPLERS[name].calls_per_step < found <= num_calls, name


def test_guidance_trades_variety_for_fidelity(known, tmp_path):
    """A denoiser of data that are narrower by the scale stands for guidance."""
    run, dataset, judge = known
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, conditional=True))

    def denoiser_of(scale):
        x = dataset.encoded(dataset.train)
        return Gaussian(x.mean(0), x.T.cov() / scale**2, run.denoiser.schedule)

    settings = {"sampler": "ddim", "plan": run.diffusion.plan(SAMPLERS["ddim"], 20)}
    points = by_scale(
        dataclasses.replace(run, config=config), judge, denoiser_of, [4.0, 1.0], num_samples=NUM, **settings
    )
    assert [point.scale for point in points] == [1.0, 4.0]
    assert points[1].quality.coverage[0] < points[0].quality.coverage[0]
    assert draw_scales(tmp_path / "scales.png", points, judge.floor()).stat().st_size > 5000
    with pytest.raises(InputError, match="--conditional"):
        by_scale(run, judge, denoiser_of, [1.0], num_samples=NUM, **settings)


def test_there_are_as_many_samples_as_held_out_examples(known):
    _, dataset, _ = known
    few = dataclasses.replace(dataset, test=dataset.test[:30], validation=dataset.validation[:20])
    judge = Judge.of(few, feature_space(few, None), NUM)
    assert judge.floor().num_samples == 50
    found = judge.quality(dataset.examples[:NUM])
    assert isinstance(found, Quality)
    assert (found.num_samples, found.num_references) == (50, 1000)


def test_no_calls_are_refused(known):
    with pytest.raises(InputError, match="at least one call"):
        plan_of_calls(known[0], SAMPLERS["ddim"], 0)
