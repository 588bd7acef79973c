"""Entropy coding of discrete data with a run's model, without loss: bits per dimension as bits on a disk."""

from lowerbound.codec.coding import NUM_STEPS, compress, decompress
from lowerbound.codec.file import Compressed

__all__ = ["NUM_STEPS", "Compressed", "compress", "decompress"]
