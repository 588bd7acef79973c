"""Likelihoods, told: of a model, of its probability flow beside its chain, and of simple models."""

from lowerbound.evaluate.density import HeldOutDensity
from lowerbound.evaluate.likelihood import Likelihood
from lowerbound.evaluate.yardsticks import Baselines
from lowerbound.report.finding import SURE, Finding, Severity
from lowerbound.report.told import Told, bits_table
from lowerbound.rounding import figure_text

TERMS = {
    "reconstruction": "of the data from the latents next to them",
    "prior": "of the last latents against their prior",
    "level": "of a latent given those above it",
    "diffusion": "of all steps between them",
    "normalisation": "the units of the stored data",
}
"""What the terms of a bound are; of a hierarchy each level is one."""


def tell_likelihood(found: Likelihood) -> Told:
    """The figure and what it is made of."""
    drawn_from = "" if found.drawn_from is None else f" drawn from {found.drawn_from:,}"
    terms = [(name, bits, TERMS[name.split()[0]]) for name, bits in found.terms.items()]
    if found.weighted is not None:
        terms.append(("importance-weighted", found.weighted, found.weighted_kind))
    calls = f", {found.num_calls} draw{'s' * (found.num_calls > 1)} each" if terms else ""
    rows = [("test", figure_text(*found.total), f"{found.kind}, {examples(found.num_examples)}{drawn_from}{calls}")]
    rows += [(f"  {name}", figure_text(*bits), kind) for name, bits, kind in terms]
    return Told((bits_table(rows, main=0),))


def examples(num: int) -> str:
    """How many, in words."""
    return f"{num:,} example{'s' * (num > 1)}"


def tell_density(found: HeldOutDensity) -> Told:
    """The flow beside the chain, and which of them needs fewer bits."""
    name, count = f"first {found.num_examples:,} of test", examples(found.num_examples)
    left_out = f"; {found.num_unfinished:,} more not followed to the end and left out" if found.num_unfinished else ""
    rows = [
        (
            f"{name}, flow",
            figure_text(*found.total),
            f"{found.kind}, {found.settings}, {count}, {found.num_calls:.0f} calls each{left_out}",
        ),
        (f"{name}, chain", figure_text(*found.bound), f"{found.bound_kind}, {count}, {found.num_times} calls each"),
        ("  flow minus chain", figure_text(*found.difference), f"mean over the same {count}"),
        (
            "  finer flow minus flow",
            figure_text(*found.refinement),
            f"at a tenth of the tolerance, mean over the first {found.num_refined}; the solver's own estimate of its "
            f"error is {found.solver_error:.2g}",
        ),
        (
            "  base density's part",
            figure_text(*found.mismatch),
            "of the flow's figure: N(0, I) at the noise's end instead of what the denoiser has there",
        ),
    ]
    return Told((bits_table(rows),), (Finding(Severity.OPEN, _crossing(found)),))


def _crossing(found: HeldOutDensity) -> str:
    difference, error = found.difference
    figures = (
        f"{found.kind} {figure_text(*found.total)} against {found.bound_kind} {figure_text(*found.bound)} bits/dim on the "
        f"same {found.num_examples:,} test examples, a difference of {figure_text(difference, error)}"
    )
    if not abs(difference) > SURE * error:
        return f"Flow and chain do not differ by more than the error: {figures}."
    if difference < 0:
        return f"The flow needs fewer bits than the chain: {figures}. They are two models of one network."
    return (
        f"The flow needs more bits than the chain: {figures}. With the best denoiser of continuous data it could not; "
        "a network's errors add up along the flow, while the chain's bound is what training lowers. The two are "
        "different models, and the chain is the better one here."
    )


def tell_baselines(found: Baselines) -> Told:
    """The yardsticks, one a row."""
    rows = [(each.name, figure_text(each.bits_per_dim, each.standard_error), each.kind) for each in found.found]
    return Told((bits_table(rows),))
