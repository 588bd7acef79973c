"""Imputations of hidden entries, and forecasts, told: their scores beside simple ones, and whether their spread is right."""

from lowerbound.evaluate.forecasts import Forecasts
from lowerbound.evaluate.imputation import INTERVALS, Categories, Imputed, Judgement
from lowerbound.records import Measured
from lowerbound.report.description import Description, Finding, Severity, change, fine, in_errors
from lowerbound.report.html import Table


def tell_imputed(imputed: Imputed) -> Description:
    """A table of scores, one of calibration, and a sentence each on the two."""
    judgement = imputed.judgement
    rows = [("the model", str(judgement.crps), str(judgement.skill), str(judgement.mean_absolute_error))]
    for filling in imputed.fillings:
        absolute_error = str(filling.mean_absolute_error)  # of a point it is the CRPS as well
        rows.append((filling.name, absolute_error, str(filling.root_mean_square_error), absolute_error))
    caption = (
        f"{imputed.share:.0%} of the entries of {imputed.num_examples:,} test rows, hidden and drawn {imputed.num_draws} "
        "times, in standard deviations of their columns"
    )
    scores = Table(caption, ("", "CRPS", "RMSE of the mean", "MAE of the median"), tuple(rows))
    tables, findings = (scores, _calibration(judgement)), (_usefulness(imputed), _spread(judgement))
    if imputed.categories is not None:
        tables += (_categories(imputed.categories),)
        findings += (_usefulness_of_categories(imputed.categories),)
    return Description(tables, findings)


def tell_forecasts(forecasts: Forecasts) -> Description:
    """A table of scores beside those of simple forecasts, one of calibration, and a sentence each on the two."""
    judgement = forecasts.judgement
    rows = [("the model", str(judgement.crps), str(judgement.skill))]
    rows += [(rival.name, str(rival.crps), str(rival.root_mean_square_error)) for rival in forecasts.rivals]
    caption = (
        f"{forecasts.horizon} steps given the {forecasts.history} before, of {forecasts.num_windows:,} test windows, "
        f"{forecasts.num_draws} draws each, in standard deviations of the channels"
    )
    scores = Table(caption, ("", "CRPS", "RMSE of the mean"), tuple(rows))
    best = min(forecasts.rivals, key=lambda rival: rival.crps.value)
    figures = f"their CRPS is {judgement.crps}, that of {best.name} {best.crps}"
    useful = fine(f"Forecasts are better than simple ones: {figures}.")
    if judgement.crps.value >= best.crps.value:
        useful = change(f"Forecasts are no better than a simple one: {figures}.")
    return Description((scores, _calibration(judgement)), (useful, _spread(judgement, "forecasts")))


def _calibration(judgement: Judgement) -> Table:
    return Table(
        "Calibration of the draws",
        ("", "found", "if right"),
        (
            *((f"values in the central {level:.0%}", str(share), f"{level:g}") for level, share in _shares(judgement)),
            ("root mean square error of the mean", str(judgement.skill), f"{judgement.spread} by the spread"),
            ("values in each fifth of the ranks", ", ".join(f"{share:.3f}" for share in judgement.ranks), "0.2 each"),
            ("energy score of all that is drawn of a row", str(judgement.energy), ""),
        ),
    )


def _categories(categories: Categories) -> Table:
    return Table(
        "Hidden categories: the score is P(X ≠ x) - P(X ≠ X') / 2 of draws X, lower is better",
        ("", "score", "most frequent is right"),
        (
            ("the model", str(categories.score), str(categories.right)),
            ("shares of the training rows", str(categories.simple_score), str(categories.simple_right)),
        ),
    )


def _usefulness_of_categories(categories: Categories) -> Finding:
    figures = f"their score is {categories.score}, that of the shares of the training rows {categories.simple_score}"
    if categories.score.value >= categories.simple_score.value:
        return change(f"Draws of categories are no better than the column's own shares: {figures}.")
    return fine(f"Draws of categories are better than the column's own shares: {figures}.")


def _shares(judgement: Judgement) -> list[tuple[float, Measured]]:
    return list(zip(INTERVALS, judgement.coverage, strict=True))


def _usefulness(imputed: Imputed) -> Finding:
    """Whether the draws are better than the best simple filling, by CRPS."""
    best = min(imputed.fillings, key=lambda filling: filling.mean_absolute_error.value)
    figures = f"their CRPS is {imputed.judgement.crps}, that of {best.name} {best.mean_absolute_error}"
    if imputed.judgement.crps.value >= best.mean_absolute_error.value:
        return change(f"Imputations are no better than a simple filling: {figures}.")
    return fine(f"Imputations are better than simple fillings: {figures}.")


def _spread(judgement: Judgement, what: str = "imputations") -> Finding:
    """Whether the draws spread as they err, by the worse of the intervals."""
    zs = [in_errors(Measured(share.value - level, share.error)) for level, share in _shares(judgement)]
    worst = max(zs, key=abs)
    figures = ", ".join(f"the central {level:.0%} holds {share}" for level, share in _shares(judgement))
    severity = Severity.of(abs(worst))
    if severity is Severity.FINE:
        return Finding(severity, f"No sign that {what} spread too little or too much: {figures}.")
    side = "too much" if worst > 0 else "too little"
    doubt = f"Perhaps {what} spread" if severity is Severity.CHANGE else f"{what.capitalize()} spread"
    return Finding(severity, f"{doubt} {side}: {figures}.")
