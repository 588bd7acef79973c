"""What a configuration trains, and how, in two lines with the reasons."""

from lowerbound.training.build import draws_by_importance
from lowerbound.training.config import Config

OBJECTIVES = {
    "elbo": "on the bound itself",
    "balanced": "on the bound, with more weight on noise that can be seen",
    "sigmoid": "on noise that can be seen, for samples more than for the bound",
}
"""Those that recipes choose, in words."""


def reasons(config: Config) -> tuple[str, str]:
    """The model and its training.

    Arguments:
        config: of a run.
    """
    return _model(config), _training(config)


def _model(config: Config) -> str:
    network, coarse, denoiser = config.network, config.coarse, config.denoiser
    if not config.model.is_denoiser or config.model.is_grown:
        return f"{config.model.name}, with its own settings"
    if network.kind == "mlp":
        below = "; it adds to a fitted mixture, which has the outline already" if denoiser.components else ""
        return f"network of {network.depth} layers of {network.width}{below}"
    fine = f"U-Net of {network.width} channels at {_count(len(network.multipliers), 'resolution')}"
    if coarse.split is None:
        return fine
    dense = " and a fully connected block" if coarse.dense else ""
    return (
        f"{fine} for noise below gamma = {coarse.split:g}, where the bits are; another of {coarse.width} channels behind "
        f"patches of {coarse.patch} a side{dense} above, where the outlines are"
    )


def _training(config: Config) -> str:
    training = config.training
    of = OBJECTIVES.get(training.objective, f"by {training.objective}")
    if not config.model.is_denoiser or config.model.is_grown:
        of = "on its own loss"
    times = ", times drawn where the loss is large" if draws_by_importance(config) else ""
    share = "" if config.coarse.split is None else f", {config.coarse.share:.0%} of each batch for the second network"
    decay = f", weight decay {training.weight_decay:g} since examples are few" if training.weight_decay else ""
    return (
        f"{of}{times}{share}; {training.optimizer} at a rate of {training.learning_rate:g}, batches of "
        f"{training.batch_size}{decay}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
