"""The headline and the order of findings follow from the figures."""

import dataclasses

import pytest

from lowerbound.baselines import Baseline
from lowerbound.evaluate.folder import Evaluation, Outcome
from lowerbound.evaluate.judge import SampleQuality
from lowerbound.evaluate.likelihood import Baselines, Likelihood, Trainings
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trainings import OverTrainings
from lowerbound.files.records import Measured
from lowerbound.report.description import Severity
from lowerbound.report.glossary import GLOSSARY, glossary
from lowerbound.report.headline import against_baseline, findings, headline
from lowerbound.report.page import by_severity

BOUND = Likelihood(Measured(1.5, 0.02), "bound (continuous time)", {}, 100, 8)
BASELINES = Baselines((Baseline("mixture", 2.0, 0.02, "exact", 100), Baseline("histogram", 3.0, 0.02, "exact", 100)))


def quality(frechet: tuple[float, float], precision: tuple[float, float]) -> SampleQuality:
    def of(frechet, precision):
        rest = dict.fromkeys(("kernel", "recall", "density", "coverage"), Measured(0.9, 0.02))
        frechet, precision = Measured(*frechet), Measured(*precision)
        return Quality(frechet=frechet, precision=precision, **rest, num_samples=100, num_references=100)

    return SampleQuality(of(frechet, precision), of((1.94, 0.85), (0.9, 0.02)), "features", "ddim", 10.0)


def evaluation(**parts: Figures | str) -> Evaluation:
    """With figures by the names of parts, or with the reason why there are none."""
    outcomes = {
        name: Outcome("key", name, missing=found) if isinstance(found, str) else Outcome("key", name, found)
        for name, found in parts.items()
    }
    return Evaluation("model", {}, "digits", "data", True, (), outcomes)


def test_the_headline_says_bits_what_they_are_and_against_what_and_how_samples_stand():
    found = headline(evaluation(likelihood=BOUND, baselines=BASELINES, quality=quality((4.34, 0.59), (0.5, 0.02))))
    assert found == (
        "1.500 ± 0.020 bits/dim, bound (continuous time), on 100 held-out examples, 0.500 ± 0.028 fewer than the best "
        "baseline (mixture); samples that are like no data."
    )
    found = headline(evaluation(likelihood=BOUND, quality=quality((1.9, 0.59), (0.9, 0.02))))
    assert "baseline" not in found
    assert found.endswith("; samples are not told apart from the data.")
    assert headline(evaluation(likelihood="a game has none")) == "No likelihood (a game has none)."
    assert headline(evaluation()) == "Bits/dim not yet known."


def test_the_headline_is_of_all_trainings_where_there_are_several():
    """Its difference to a baseline holds the luck of training, as the finding's does."""
    trainings = Trainings(OverTrainings(1.6, 0.3, 2.0, 3), {"0": Measured(1.5, 0.02)}, 100)
    found = headline(evaluation(likelihood=BOUND, baselines=BASELINES, trainings=trainings))
    assert found == (
        "1.60 ± 0.30 bits/dim, mean of 3 trainings, bound (continuous time), on 100 held-out examples, 0.40 ± 0.30 fewer "
        "than the best baseline (mixture)."
    )


def test_the_most_serious_finding_comes_first():
    worse = Baselines((Baseline("mixture", 1.0, 0.02, "exact", 100),))
    found = findings(evaluation(likelihood=BOUND, baselines=worse, quality=quality((4.34, 0.59), (0.5, 0.02))))
    assert [each.severity for each in found] == [Severity.SERIOUS, Severity.SERIOUS, Severity.CHANGE, Severity.FINE]
    assert found[0].text.startswith(
        "Worse than a baseline: 1.500 ± 0.020 against 1.000 ± 0.020 bits/dim of the mixture"
    )
    assert found[1].text.startswith("Samples that are like no data")
    assert found[2].text.startswith("Samples perhaps differ from the data")


def test_findings_are_in_groups_that_matter_equally():
    worse = Baselines((Baseline("mixture", 1.0, 0.02, "exact", 100),))
    groups = by_severity(
        findings(evaluation(likelihood=BOUND, baselines=worse, quality=quality((4.34, 0.59), (0.5, 0.02))))
    )
    assert [(group.heading, group.style, len(group.sentences)) for group in groups] == [
        ("To be mended first", "serious", 2),
        ("Worth a change", "change", 1),
        ("Fine", "fine", 1),
    ]


def test_the_glossary_explains_what_occurs_and_nothing_else():
    words = [
        word for word, _ in glossary(["1.5 bits/dim, a bound on 9 held-out examples", "probable (p = 0.2)", "Lazy"])
    ]
    assert words == ["bits/dim", "bound", "p", "held-out"]
    assert glossary([]) == ()
    assert glossary(["two bounds and unbounded"]) == (("bound", GLOSSARY["bound"]),)


def test_without_baselines_what_training_measured_is_told():
    weights = {"held_out_bits_per_dim": "2.5", "baseline_bits_per_dim": "2.0", "baseline": "histogram"}
    weak = dataclasses.replace(evaluation(likelihood=BOUND), weights=weights)
    (found,) = findings(weak)
    assert found.severity is Severity.SERIOUS
    assert found.text.startswith("This model has not learned much: 2.500 bits/dim")
    told = findings(dataclasses.replace(evaluation(likelihood=BOUND, baselines=BASELINES), weights=weights))
    assert not any("has not learned" in each.text for each in told), "where they are, the test examples decide"
    assert findings(dataclasses.replace(weak, own=False)) == []


@pytest.mark.parametrize(
    ("bits", "severity", "start"),
    [
        (2.0, Severity.FINE, "Better than the best baseline"),
        (1.51, Severity.OPEN, "Not told apart from the best baseline"),
        (1.49, Severity.CHANGE, "Not told apart from the best baseline"),
        (1.0, Severity.SERIOUS, "Worse than a baseline"),
    ],
)
def test_the_best_baseline_is_stood_beside(bits, severity, start):
    found = against_baseline(OverTrainings.of(BOUND.total), Baseline("mixture", bits, 0.02, "exact", 100))
    assert found.severity is severity
    assert found.text.startswith(f"{start}: ")
    assert "of the mixture" in found.text


def test_what_is_better_than_a_baseline_in_one_training_must_be_so_over_trainings():
    baseline = Baseline("mixture", 2.0, 0.02, "exact", 100)
    alone, three = (OverTrainings(1.8, 0.03, freedom, num) for freedom, num in ((1e9, 1), (2.0, 3)))
    better, open_question = against_baseline(alone, baseline).text, against_baseline(three, baseline).text
    assert better.startswith("Better than the best baseline")
    assert better.endswith("in this one training.")
    assert open_question.startswith("Not told apart from the best baseline")
    assert "over 3 trainings" in open_question
