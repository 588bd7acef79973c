"""The objectives by their names, all but what a run's configuration adds: see `build.build_objective`."""

from functools import partial

from lowerbound import objective, score_matching
from lowerbound.models import Objective
from lowerbound.models.diffusion import CONTRASTIVE
from lowerbound.theory import derivations, hybrid, textbook

VISIBLE = -2.0
"""The gamma from which on noise hides what can be seen: where a sigmoid weighting has half of its largest weight."""
OBJECTIVES = {
    each.name: each
    for each in (
        Objective("elbo"),
        Objective("balanced", objective.balanced(), contains_bound=True),
        Objective("sigmoid", objective.sigmoid(VISIBLE)),
        Objective("simple", objective.simple),
        Objective("min-snr", objective.min_snr()),
        Objective("edm"),  # weighted by the data's standard deviation
        Objective("hybrid", chain_loss=hybrid),
        Objective("form-a", chain_bound=partial(derivations.form_a, whole_path=False)),
        Objective("form-b", chain_bound=partial(derivations.form_b, whole_path=False)),
        Objective("t-sample", chain_bound=derivations.t_sample, takes_whole_paths=True),
        Objective("two-sample", chain_bound=derivations.two_sample),
        Objective("one-sample", chain_bound=derivations.one_sample),
        Objective("textbook-t-sample", chain_loss=textbook.textbook_t_sample, takes_whole_paths=True),
        Objective("textbook-two-sample", chain_loss=textbook.textbook_two_sample),
        Objective("textbook-one-sample", chain_loss=textbook.textbook_one_sample),
        Objective("sliced", integral=score_matching.sliced_loss),
        Objective("explicit", integral=score_matching.explicit_loss),
        *map(Objective, CONTRASTIVE),
    )
}
"""Integrals over time, weighted or estimated otherwise; bounds over a chain, losses over one; draws of an energy's own."""
