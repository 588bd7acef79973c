"""What a configuration trains, and how, in two lines with the reasons."""

from lowerbound.training.build import draws_by_importance
from lowerbound.training.config import Config
from lowerbound.words.counts import counted

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
    network, coarse, model = config.network, config.coarse, config.model
    if model.is_grown:
        return "forest on a fitted Gaussian, which has the outline already"
    if not model.is_denoiser:
        odds = ", levels with odds by how often they came before" if model.odds else ""
        return f"{model.name}, with its own settings{odds}"
    kind = "" if model.name == "diffusion" else f"{model.name}: "
    if network.kind == "mlp":
        fitted = "Gaussian of few factors" if config.denoiser.factors else "mixture"
        below = f"; it adds to a fitted {fitted}, which has the outline already" if config.denoiser.components else ""
        return f"{kind}network of {counted(network.depth, 'layer')} of {network.width}{below}"
    if network.kind == "transformer":
        below = "; it adds to what was fitted before it" if config.denoiser.components else ""
        return f"{kind}transformer of {counted(network.depth, 'layer')} over tokens of {network.width}{below}"
    fine = f"{kind}U-Net of {network.width} channels at {counted(len(network.multipliers), 'resolution')}"
    shown = [f"{counted(len(config.denoiser.spikes), 'frequent level')} apart"] if config.denoiser.spikes else []
    shown += ["entries compared along each axis"] if network.lines else []
    shown += ["odds of the levels that an example's kind has"] if config.denoiser.odds else []
    fine += f" with {', '.join(shown[:-1])}{' and ' if shown[:-1] else ''}{shown[-1]}" if shown else ""
    if config.denoiser.components:
        return f"{fine}; it adds to a fitted Gaussian of whole windows, which forecasts already"
    if coarse.split is None:
        return fine + _dense(network.dense)
    above = f"another of {coarse.width} channels behind patches of {coarse.patch} a side{_dense(coarse.dense)} above"
    above += ", upon a mixture of principal components" if coarse.components else ""
    below = f"{fine}{_dense(network.dense)} for noise below gamma = {coarse.split:g}"
    return f"{below}, where the bits are; {above}, where the outlines are"


def _training(config: Config) -> str:
    training = config.training
    if config.model.is_grown:
        return "on the bound itself, tree by tree in bands of noise"
    of = OBJECTIVES.get(training.objective, f"by {training.objective}")
    if not config.model.is_denoiser:
        of = "on its own loss"
    times = ", times drawn where the loss is large" if draws_by_importance(config) else ""
    share = "" if config.coarse.split is None else f", {config.coarse.share:.0%} of each batch for the second network"
    decay = f", weight decay {training.weight_decay:g} against learning by heart" if training.weight_decay else ""
    changed = f", {training.augment:.0%} of the examples changed" if training.augment else ""
    return (
        f"{of}{times}{share}{changed}; {training.optimizer} at a rate of {training.learning_rate:g}, batches of "
        f"{training.batch_size}{decay}"
    )


def _dense(num_units: int) -> str:
    return " and a fully connected block" if num_units else ""
