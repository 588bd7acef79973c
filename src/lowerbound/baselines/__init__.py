"""Likelihood yardsticks: what simple models reach, in bits per dimension, on the same held-out data.

Every yardstick is fitted on the training split, its one free setting is chosen on the validation split, and its figure
is read off the test split. Discrete data of levels k = 0 .. K-1 is scored in two ways. The histogram is a probability
mass, hence exact. A density p over the dequantised values y = k + u, u uniform on the unit cube, bounds the mass by
Jensen's inequality, $-\\log P(k) \\le E_u[-\\log p(k + u)]$ with $P(k) = \\int p(k + u) du$ (Theis, van den Oord &
Bethge 2016, section 3.1), because a level has width 1 and no further constant enters. Continuous data is scored by its
density in the units it was given in.
"""

from lowerbound.baselines.columns import independent_columns
from lowerbound.baselines.correlated import gaussian, gaussian_copula
from lowerbound.baselines.factors import factor_analysis
from lowerbound.baselines.independent import histogram, independent_gaussian
from lowerbound.baselines.mixture import best_mixture, gaussian_mixture
from lowerbound.baselines.splits import Baseline, Splits
from lowerbound.baselines.yardsticks import baselines, of_dataset, weakness, yardstick

__all__ = [
    "Baseline",
    "Splits",
    "baselines",
    "best_mixture",
    "factor_analysis",
    "gaussian",
    "gaussian_copula",
    "gaussian_mixture",
    "histogram",
    "independent_columns",
    "independent_gaussian",
    "of_dataset",
    "weakness",
    "yardstick",
]
