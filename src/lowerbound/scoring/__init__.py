"""One likelihood for each example: the bound in its terms, or the probability flow's density."""

from lowerbound.scoring.bound import AS_ADVISED, Scores, fit_threads_to, part_names, score
from lowerbound.scoring.flow import DensityScores, Flow, FlowSettings, score_density

__all__ = [
    "AS_ADVISED",
    "DensityScores",
    "Flow",
    "FlowSettings",
    "Scores",
    "fit_threads_to",
    "part_names",
    "score",
    "score_density",
]
