"""The objectives by their names: what a configuration asks for, as a `models.diffusion.Objective`."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lowerbound import objective, score_matching
from lowerbound.errors import InputError
from lowerbound.likelihood import Elbo
from lowerbound.models import Objective
from lowerbound.schedule import LearnedGamma, Schedule, Tabulated
from lowerbound.theory import derivations, hybrid, textbook
from lowerbound.training.config import Config

WEIGHTINGS = {"balanced": objective.balanced(), "simple": objective.simple, "min-snr": objective.min_snr()}
"""Of the integral over time; that of the others is the bound's."""
CHAIN_BOUNDS: dict[str, Callable[..., Elbo]] = {
    "form-a": partial(derivations.form_a, whole_path=False),
    "form-b": partial(derivations.form_b, whole_path=False),
    "two-sample": derivations.two_sample,
    "one-sample": derivations.one_sample,
    "t-sample": derivations.t_sample,
}
"""Estimates of the bound over a chain."""
CHAIN_LOSSES: dict[str, Callable[..., Tensor]] = {
    "hybrid": hybrid,
    "textbook-two-sample": textbook.textbook_two_sample,
    "textbook-one-sample": textbook.textbook_one_sample,
    "textbook-t-sample": textbook.textbook_t_sample,
}
"""Losses over a chain that are not bounds."""
INTEGRALS: dict[str, Callable[..., Tensor]] = {
    "explicit": score_matching.explicit_loss,
    "sliced": score_matching.sliced_loss,
}
"""Other estimates of the integral over time than `objective.loss`, of the same expectation."""
WHOLE_PATHS = ("t-sample", "textbook-t-sample")
"""Those that take all steps of an example's path; the others take one step of each."""


def build_objective(config: Config, schedule: Schedule) -> Objective:
    """The objective of a configuration; a table of betas is its own chain."""
    training = config.training
    if isinstance(schedule, LearnedGamma):
        if training.objective not in ("elbo", "balanced"):
            raise InputError(
                f"a learned schedule is trained by --objective elbo or balanced, not by {training.objective}: choose "
                "another --schedule.name"
            )
        if training.times != "antithetic":
            raise InputError("a learned schedule already spreads times by the loss's size: leave --times antithetic")
    chain = torch.linspace(0, 1, config.schedule.num_steps + 1, dtype=torch.float64)
    if isinstance(schedule, Tabulated):
        chain = schedule.times
    name = training.objective
    built = Objective(
        name,
        objective.edm(config.denoiser.sigma_data) if name == "edm" else WEIGHTINGS.get(name, objective.elbo),
        INTEGRALS.get(name, objective.loss),
        chain,
        training.reverse,
        CHAIN_BOUNDS.get(name),
        CHAIN_LOSSES.get(name),
        contains_bound=name == "balanced",
        takes_whole_paths=name in WHOLE_PATHS,
    )
    if training.times != "antithetic" and built.takes_whole_paths:
        raise InputError(f"--times {training.times} has no effect on --objective {name}, which takes all steps")
    if training.reverse != "lower" and (built.is_continuous or not built.is_bound):
        raise InputError(f"--reverse {training.reverse} has no effect on --objective {name}")
    learns_variance = training.reverse == "learned" or name == "hybrid"
    if learns_variance and config.denoiser.variance != "learned":
        raise InputError(f"--objective {name} trains a reverse variance: add --denoiser.variance learned")
    return built
