"""Imputations of hidden entries, and forecasts, told: their scores beside simple ones, and whether their spread is right."""

from lowerbound.evaluate.forecasts import Forecasts
from lowerbound.evaluate.imputation import INTERVALS, Categories, Imputed, Judgement
from lowerbound.files.records import Measured
from lowerbound.report.description import Description, Finding, change, fine, in_errors, judged, tell
from lowerbound.report.html import Table


@tell.register
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
    best = min(imputed.fillings, key=lambda filling: filling.mean_absolute_error.value)
    ours, theirs = judgement.crps, best.mean_absolute_error
    figures = f"their CRPS is {ours}, that of {best.name} {theirs}"
    useful = _usefulness("Imputations", "simple fillings", "a simple filling", ours, theirs, figures)
    tables, findings = (scores, _calibration(judgement)), (useful, _spread(judgement))
    if imputed.categories is not None:
        ours, theirs = imputed.categories.score, imputed.categories.simple_score
        figures = f"their score is {ours}, that of the shares of the training rows {theirs}"
        shares = "the column's own shares"
        tables += (_categories(imputed.categories),)
        findings += (_usefulness("Draws of categories", shares, shares, ours, theirs, figures),)
    return Description(tables, findings)


@tell.register
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
    useful = _usefulness("Forecasts", "simple ones", "a simple one", judgement.crps, best.crps, figures)
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


def _shares(judgement: Judgement) -> list[tuple[float, Measured]]:
    return list(zip(INTERVALS, judgement.coverage, strict=True))


def _usefulness(draws: str, rivals: str, rival: str, ours: Measured, theirs: Measured, figures: str) -> Finding:
    """Whether draws have a lower score than the best of their simple rivals."""
    if ours.value >= theirs.value:
        return change(f"{draws} are no better than {rival}: {figures}.")
    return fine(f"{draws} are better than {rivals}: {figures}.")


def _spread(judgement: Judgement, what: str = "imputations") -> Finding:
    """Whether the draws spread as they err, by the worse of the intervals."""
    zs = [in_errors(Measured(share.value - level, share.error)) for level, share in _shares(judgement)]
    worst = max(zs, key=abs)
    figures = ", ".join(f"the central {level:.0%} holds {share}" for level, share in _shares(judgement))
    side = "too much" if worst > 0 else "too little"
    return judged(
        abs(worst),
        f"{what.capitalize()} spread {side}: {figures}.",
        f"Perhaps {what} spread {side}: {figures}.",
        f"No sign that {what} spread too little or too much: {figures}.",
    )
