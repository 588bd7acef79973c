"""One likelihood for each example: the bound in its terms, or the probability flow's density."""

from lowerbound.scoring.bound import AS_ADVISED, Scores, score
from lowerbound.scoring.flow import LEAST_TOLERANCE, DensityScores, Flow, score_density

__all__ = [
    "AS_ADVISED",
    "LEAST_TOLERANCE",
    "DensityScores",
    "Flow",
    "Scores",
    "score",
    "score_density",
]
