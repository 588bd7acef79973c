"""Bits per dimension on disk: a run's code beside its bound, PNG, lossless WebP, LZMA, bzip2, and zstd if it is installed.

Usage: python benchmarks/codec.py RUN DATA [--num-examples 1000] [--num-steps 250] [--batch-size 4]

PNG and WebP hold 8 bits a pixel, and are given all images as one tall picture, which spares them a header for each.
"""

import argparse
import bz2
import importlib
import io
import lzma
import time

import numpy as np
from PIL import Image

from lowerbound.codec import Compressed, compress, decompress
from lowerbound.models import Effort
from lowerbound.records import Measured
from lowerbound.run import open_run
from lowerbound.run.examples import read_for
from lowerbound.scoring import score


def others(raw: np.ndarray) -> dict[str, int]:
    """Bytes of other codes of images (N, C, H, W), or of any integers."""
    content = raw.tobytes()
    sizes = {"LZMA": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)), "bzip2": len(bz2.compress(content))}
    try:
        sizes["zstd"] = len(importlib.import_module("zstandard").ZstdCompressor(level=22).compress(content))
    except ImportError:
        print("zstd: left out, since zstandard is not installed")
    if raw.ndim == 4 and raw.shape[1] in (1, 3) and raw.dtype == np.uint8:
        tall = np.moveaxis(raw, 1, -1).reshape(-1, raw.shape[3], raw.shape[1])
        for kind, settings, longest in (("PNG", {"optimize": True}, 1 << 30), ("WebP", {"lossless": True}, 16_383)):
            size = 0
            rows = longest // raw.shape[2] * raw.shape[2]
            for first in range(0, len(tall), rows):
                picture = io.BytesIO()
                Image.fromarray(tall[first : first + rows].squeeze(-1) if raw.shape[1] == 1 else tall).save(
                    picture, kind.lower(), **settings
                )
                size += len(picture.getvalue())
            sizes[kind] = size
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--split", default="test")
    parser.add_argument("--num-examples", type=int, default=1000)
    parser.add_argument("--num-steps", type=int)
    parser.add_argument("--batch-size", type=int)
    options = parser.parse_args()
    run = open_run(options.run)
    examples = read_for(run, options.data)
    raw = np.ascontiguousarray(examples.values[examples.indices(options.split)[: options.num_examples]])
    start = time.perf_counter()
    compressed = compress(run, raw, num_steps=options.num_steps, batch_size=options.batch_size)
    middle = time.perf_counter()
    decoded = decompress(run, Compressed.from_bytes(compressed.to_bytes(), "it"))
    end = time.perf_counter()
    if not (decoded == raw).all():
        raise SystemExit("the examples did not come back")
    efforts = {"bound in continuous time": Effort()} if run.is_denoiser else {}
    if compressed.num_steps:
        steps = compressed.num_steps
        efforts = {f"bound of the chain of {steps} steps": Effort(steps and min(steps, 64), steps), **efforts}
    efforts = efforts or {"log likelihood, or bound": Effort()}
    for name, effort in efforts.items():
        print(f"{Measured.of(score(run, raw, effort).bits_per_dim)!s:>16}  {name}")
    plain, batch = compressed.num_plain, compressed.batch_size
    sizes = {f"lowerbound ({plain} of {len(raw)} in plain, batches of {batch})": compressed.num_bytes, **others(raw)}
    for name, size in sizes.items():
        print(f"{8 * size / raw.size:16.4f}  {name}: {size:,} bytes")
    print(f"{(middle - start) / len(raw):.3f} s to code an example, {(end - middle) / len(raw):.3f} s to decode it")


if __name__ == "__main__":
    main()
