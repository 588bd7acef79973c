"""One likelihood for each example: the bound in its terms, or the probability flow's density."""

from lowerbound.score.bound import Scores, score
from lowerbound.score.examples import check_examples, conditions
from lowerbound.score.flow import LEAST_TOLERANCE, DensityScores, Flow, score_density
from lowerbound.score.relative import score_relative

__all__ = [
    "LEAST_TOLERANCE",
    "DensityScores",
    "Flow",
    "Scores",
    "check_examples",
    "conditions",
    "score",
    "score_density",
    "score_relative",
]
