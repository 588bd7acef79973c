"""What an evaluation says before all else: one sentence of figures, and the findings, the most serious first."""

import math

from lowerbound.baselines import Baseline, weakness
from lowerbound.evaluate.folder import Evaluation
from lowerbound.evaluate.likelihood import Likelihood
from lowerbound.evaluate.yardsticks import Baselines
from lowerbound.records import Measured
from lowerbound.report.finding import SURE, Finding, Severity, most_serious_first
from lowerbound.report.parts import told
from lowerbound.rounding import figure_text

OF_SAMPLES = ("quality", "distances", "classes")
"""The parts that say how the samples stand."""


def headline(evaluation: Evaluation) -> str:
    """Bits/dim, exact or a bound, against the best baseline; and how the samples stand: one sentence."""
    found = evaluation.figures
    likelihood, baselines = found.get("likelihood"), found.get("baselines")
    parts = []
    if isinstance(likelihood, Likelihood):
        own = "held-out examples" if evaluation.own else f"examples of {evaluation.data}"
        text = f"{figure_text(*likelihood.total)} bits/dim, {likelihood.kind}, on {likelihood.num_examples:,} {own}"
        if isinstance(baselines, Baselines):
            difference, error = _difference(likelihood.total, baselines.best)
            side = "more" if difference > 0 else "fewer"
            text += f", {figure_text(abs(difference), error)} {side} than the best baseline ({baselines.best.name})"
        parts.append(text)
    else:
        left_out = evaluation.parts.get("likelihood")
        parts.append("bits/dim not yet known" if left_out is None else f"no likelihood ({left_out.missing})")
    of_samples = [finding for name in OF_SAMPLES if name in found for finding in told(found[name]).findings]
    if of_samples:
        worst = most_serious_first(of_samples)[0]
        verdict = worst.text.split(":")[0]
        fine = worst.severity is Severity.FINE
        parts.append("samples are not told apart from the data" if fine else verdict[:1].lower() + verdict[1:])
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def findings(evaluation: Evaluation) -> list[Finding]:
    """All that the figures say, the most serious first."""
    found = evaluation.figures
    said = [finding for figures in found.values() for finding in told(figures).findings]
    likelihood, baselines = found.get("likelihood"), found.get("baselines")
    if isinstance(likelihood, Likelihood) and isinstance(baselines, Baselines):
        said.insert(0, against_baseline(likelihood.total, baselines.best))
    elif evaluation.own and (weak := weakness(evaluation.weights)) is not None:  # as training has measured it
        said.insert(0, Finding(Severity.SERIOUS, f"{weak[:1].upper()}{weak[1:]}."))
    return most_serious_first(said)


def against_baseline(bits: Measured, baseline: Baseline) -> Finding:
    """Whether a model needs fewer bits than the best baseline.

    Arguments:
        bits: of the model, per dimension.
        baseline: the best one, on the same examples or their like; the errors are taken as independent, which makes the
            difference's too large where the examples are the same.
    """
    difference, error = _difference(bits, baseline)
    figures = (
        f"{figure_text(*bits)} against {figure_text(baseline.bits_per_dim, baseline.standard_error)} bits/dim of the "
        f"{baseline.name}, a difference of {figure_text(difference, error)}"
    )
    if difference > SURE * error:
        return Finding(
            Severity.SERIOUS,
            f"Worse than a baseline: {figures}. Train longer; if that does not help, look at the other findings.",
        )
    if difference < -SURE * error:
        return Finding(Severity.FINE, f"Better than the best baseline: {figures}.")
    severity = Severity.CHANGE if difference > 0 else Severity.OPEN
    return Finding(
        severity, f"Not told apart from the best baseline: {figures}. Train longer, or evaluate more examples."
    )


def _difference(bits: Measured, baseline: Baseline) -> Measured:
    return Measured(bits.value - baseline.bits_per_dim, math.hypot(bits.error, baseline.standard_error))
