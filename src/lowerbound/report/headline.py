"""What an evaluation says before all else: one sentence of figures, and the findings, the most serious first."""

from lowerbound.baselines import Baseline, weakness
from lowerbound.evaluate.folder import Evaluation
from lowerbound.evaluate.likelihood import Baselines, Likelihood, Trainings
from lowerbound.evaluate.trainings import OverTrainings
from lowerbound.files.records import Measured
from lowerbound.report.description import SURE, Finding, Severity, change, fine, serious, undecided
from lowerbound.report.parts import description

OF_SAMPLES = ("quality", "distances", "classes")
"""The parts that say how the samples stand."""


def headline(evaluation: Evaluation) -> str:
    """Bits/dim, exact or a bound, against the best baseline; and how the samples stand: one sentence."""
    figures = evaluation.figures
    likelihood, baselines = figures.get("likelihood"), figures.get("baselines")
    if isinstance(likelihood, Likelihood):
        examples = "held-out examples" if evaluation.own else f"examples of {evaluation.data}"
        bits = _of_all_trainings(evaluation, likelihood)
        trained = "" if bits.is_of_one_training else f"mean of {bits.num_trainings} trainings, "
        text = f"{bits} bits/dim, {trained}{likelihood.kind}, on {likelihood.num_examples:,} {examples}"
        if isinstance(baselines, Baselines):
            difference = bits - baselines.best.bits
            side = "more" if difference.value > 0 else "fewer"
            text += f", {Measured(abs(difference.value), difference.error)} {side} than the best baseline "
            text += f"({baselines.best.name})"
    else:
        left_out = evaluation.parts.get("likelihood")
        text = "bits/dim not yet known" if left_out is None else f"no likelihood ({left_out.missing})"
    of_samples = [finding for name in OF_SAMPLES if name in figures for finding in description(figures[name]).findings]
    if of_samples:
        worst = max(of_samples, key=lambda finding: finding.severity)
        verdict = worst.text.split(":")[0]
        is_fine = worst.severity is Severity.FINE
        verdict = "samples are not told apart from the data" if is_fine else verdict[:1].lower() + verdict[1:]
        text = f"{text}; {verdict}"
    return f"{text[:1].upper()}{text[1:]}."


def findings(evaluation: Evaluation) -> list[Finding]:
    """All that the figures say, the most serious first."""
    figures = evaluation.figures
    sentences = [finding for each in figures.values() for finding in description(each).findings]
    likelihood, baselines = figures.get("likelihood"), figures.get("baselines")
    if isinstance(likelihood, Likelihood) and isinstance(baselines, Baselines):
        sentences.insert(0, against_baseline(_of_all_trainings(evaluation, likelihood), baselines.best))
    elif evaluation.own and (weak := weakness(evaluation.weights)) is not None:  # as training has measured it
        sentences.insert(0, serious(f"{weak[:1].upper()}{weak[1:]}."))
    return sorted(sentences, key=lambda finding: finding.severity, reverse=True)


def _of_all_trainings(evaluation: Evaluation, likelihood: Likelihood) -> OverTrainings:
    """Bits/dim over the trainings of the run's configuration, or of the run's own where there are no others."""
    trainings = evaluation.figures.get("trainings")
    return trainings.total if isinstance(trainings, Trainings) else OverTrainings.of(likelihood.total)


def against_baseline(bits: OverTrainings, baseline: Baseline) -> Finding:
    """Whether a model needs fewer bits than the best baseline.

    Arguments:
        bits: of the model, per dimension; of one training, the claim is of that one.
        baseline: the best one, on the same examples or their like; the errors are taken as independent, which makes the
            difference's too large where the examples are the same.
    """
    difference = bits - baseline.bits
    trained = "in this one training" if bits.is_of_one_training else f"over {bits.num_trainings} trainings"
    figures = f"{bits} against {baseline.bits} bits/dim of the {baseline.name}, a difference of {difference} {trained}"
    if difference.value > difference.quantile(SURE):
        return serious(
            f"Worse than a baseline: {figures}. Train longer; if that does not help, look at the other findings."
        )
    if difference.value < -difference.quantile(SURE):
        return fine(f"Better than the best baseline: {figures}.")
    finding = change if difference.value > 0 else undecided
    return finding(f"Not told apart from the best baseline: {figures}. Train longer, or evaluate more examples.")
