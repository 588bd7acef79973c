"""Rows and fields whose values are of several kinds: how they are denoised, decoded and dequantised, block by block."""

from lowerbound.mixed.decoder import BlockDecoder
from lowerbound.mixed.denoiser import BlockDenoiser
from lowerbound.mixed.dequantizer import BlockDequantizer

__all__ = ["BlockDecoder", "BlockDenoiser", "BlockDequantizer"]
