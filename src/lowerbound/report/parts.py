"""What each kind of figures says: the one place that knows which function tells which record."""

from collections.abc import Callable
from typing import Any

from lowerbound.errors import InputError
from lowerbound.evaluate.audited import Audited
from lowerbound.evaluate.classes import Classes
from lowerbound.evaluate.columns import Columns
from lowerbound.evaluate.copies import Neighbours
from lowerbound.evaluate.density import HeldOutDensity
from lowerbound.evaluate.diagnosis import Diagnosis
from lowerbound.evaluate.features import Features
from lowerbound.evaluate.forecasts import Forecasts
from lowerbound.evaluate.imputation import Imputed
from lowerbound.evaluate.judge import SampleQuality, Samples
from lowerbound.evaluate.likelihood import Baselines, Likelihood, Trainings
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.trade_off import TradeOff
from lowerbound.report.audited import tell_audited
from lowerbound.report.classes import tell_classes
from lowerbound.report.columns import tell_columns
from lowerbound.report.description import Description
from lowerbound.report.diagnosis import tell_diagnosis
from lowerbound.report.distances import tell_neighbours
from lowerbound.report.imputation import tell_forecasts, tell_imputed
from lowerbound.report.likelihood import tell_baselines, tell_density, tell_likelihood, tell_trainings
from lowerbound.report.quality import tell_quality, tell_samples, tell_trade_off

TELL: dict[type[Figures], Callable[[Any], Description]] = {
    Figures: lambda figures: Description(),
    Likelihood: tell_likelihood,
    Audited: tell_audited,
    Trainings: tell_trainings,
    Baselines: tell_baselines,
    HeldOutDensity: tell_density,
    Diagnosis: tell_diagnosis,
    Features: lambda features: Description(remark=f"samples are compared in {features.space}"),
    Samples: tell_samples,
    SampleQuality: tell_quality,
    TradeOff: tell_trade_off,
    Neighbours: tell_neighbours,
    Columns: tell_columns,
    Imputed: tell_imputed,
    Forecasts: tell_forecasts,
    Classes: tell_classes,
}


def description(figures: Figures) -> Description:
    """What figures say.

    Raises:
        InputError: if they contradict each other, as only those of a file that was changed do.
    """
    try:
        return TELL[type(figures)](figures)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise InputError(
            f"the figures contradict each other: {error}; lowerbound evaluate --anew finds them again"
        ) from error
