"""What is fitted to the data before a network learns what to add to it: a mixture for rows, a Gaussian for windows, for
images a mixture of their principal components, and for drawings one of their histograms."""

from lowerbound.fitted.histograms import FittedHistograms
from lowerbound.fitted.mixture import FittedMixture, constant
from lowerbound.fitted.subspace import FittedSubspace
from lowerbound.fitted.windows import FittedWindows

__all__ = ["FittedHistograms", "FittedMixture", "FittedSubspace", "FittedWindows", "constant"]
