"""One likelihood for each example: the bound in its terms, or the probability flow's density."""

from lowerbound.scoring.batches import score_batches
from lowerbound.scoring.bound import AS_ADVISED, Scores, fit_threads_to, part_names, score
from lowerbound.scoring.columns import kind_of, score_columns
from lowerbound.scoring.density import DensityScores, flow_batch_size, score_density
from lowerbound.scoring.flow import Flow, FlowSettings

__all__ = [
    "AS_ADVISED",
    "DensityScores",
    "Flow",
    "FlowSettings",
    "Scores",
    "fit_threads_to",
    "flow_batch_size",
    "kind_of",
    "part_names",
    "score",
    "score_batches",
    "score_columns",
    "score_density",
]
