"""Likelihoods, told: of a model, of its probability flow beside its chain, and of simple models."""

import numpy as np

from lowerbound.evaluate.density import HeldOutDensity
from lowerbound.evaluate.likelihood import Baselines, Likelihood, Trainings
from lowerbound.files.records import Measured
from lowerbound.report.description import SURE, Description, bits_table, tell, undecided
from lowerbound.words.counts import counted

TERMS = {
    "reconstruction": "of the data from the latents next to them",
    "prior": "of the last latents against their prior",
    "level": "of a latent given those above it",
    "diffusion": "of all steps between them",
    "normalisation": "the units of the stored data",
}
"""What the terms of a bound are; of a hierarchy each level is one."""


@tell.register
def tell_likelihood(likelihood: Likelihood) -> Description:
    """The figure and what it is made of."""
    rows = [(f"  {name}", bits, TERMS[name.split()[0]]) for name, bits in likelihood.terms.items()]
    if likelihood.weighted is not None:
        rows.append(("  importance-weighted", likelihood.weighted, likelihood.weighted_kind))
    drawn_from = "" if likelihood.drawn_from is None else f" drawn from {likelihood.drawn_from:,}"
    calls = f", {counted(likelihood.num_calls, 'draw')} each" if rows else ""
    kind = f"{likelihood.kind}, {counted(likelihood.num_examples, 'example')}{drawn_from}{calls}"
    return Description((bits_table([("test", likelihood.total, kind), *rows], main=0),))


@tell.register
def tell_density(density: HeldOutDensity) -> Description:
    """The flow beside the chain, and which of them needs fewer bits."""
    name, count = f"{density.num_examples:,} of test", counted(density.num_examples, "example")
    flow = f"{density.kind}, {density.settings}, {count}, {counted(round(density.num_calls), 'call')} each"
    if density.num_unfinished:
        flow += f"; {density.num_unfinished:,} more not followed to the end and left out"
    refinement = (
        f"at a tenth of the tolerance, mean over the first {density.num_refined}; the solver's own estimate of its "
        f"error is {density.solver_error:.2g}"
    )
    mismatch = "of the flow's figure: N(0, I) at the noise's end instead of what the denoiser has there"
    table = bits_table(
        [
            (f"{name}, flow", density.total, flow),
            (
                f"{name}, chain",
                density.bound,
                f"{density.bound_kind}, {count}, {counted(density.num_times, 'call')} each",
            ),
            ("  flow minus chain", density.difference, f"mean over the same {count}"),
            ("  finer flow minus flow", density.refinement, refinement),
            ("  base density's part", density.mismatch, mismatch),
        ]
    )
    return Description((table,), (undecided(_crossing(density)),))


@tell.register
def tell_trainings(trainings: Trainings) -> Description:
    """The mean over trainings, and each of them."""
    total, count = trainings.total, counted(trainings.num_examples, "example")
    spread = float(np.std([figure.value for figure in trainings.each.values()], ddof=1))
    kind = f"the same {count}; the error holds both; trainings have a standard deviation of {spread:.2g}"
    rows = [(f"  seed {seed}", figure, "") for seed, figure in trainings.each.items()]
    name = f"mean of {total.num_trainings} trainings"
    return Description((bits_table([(name, Measured(total.value, total.error), kind), *rows]),))


@tell.register
def tell_baselines(baselines: Baselines) -> Description:
    """The yardsticks, one a row."""
    return Description((bits_table([(each.name, each.bits, each.kind) for each in baselines.found]),))


def _crossing(density: HeldOutDensity) -> str:
    difference, error = density.difference
    figures = (
        f"{density.kind} {density.total} against {density.bound_kind} {density.bound} bits/dim on the same "
        f"{density.num_examples:,} test examples, a difference of {density.difference}"
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
