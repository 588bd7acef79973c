"""Data sets: one source per file behind one interface."""

from lowerbound.data.bundled import mixture_parameters
from lowerbound.data.conditions import read_conditions
from lowerbound.data.config import DataConfig, Reading
from lowerbound.data.dataset import Dataset, Examples
from lowerbound.data.description import describe
from lowerbound.data.encoding import Affine, Encoding, Levels, read_encoding
from lowerbound.data.order import batch_indices, check_batch_size
from lowerbound.data.source import NAMED, is_path, open_dataset, read_as, read_examples
from lowerbound.data.spec import DataSpec
from lowerbound.data.vectors import Standardisation

__all__ = [
    "NAMED",
    "Affine",
    "DataConfig",
    "DataSpec",
    "Dataset",
    "Encoding",
    "Examples",
    "Levels",
    "Reading",
    "Standardisation",
    "batch_indices",
    "check_batch_size",
    "describe",
    "is_path",
    "mixture_parameters",
    "open_dataset",
    "read_as",
    "read_conditions",
    "read_encoding",
    "read_examples",
]
