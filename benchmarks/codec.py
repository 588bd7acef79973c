"""Bits per dimension on disk: a run's code beside its bound, PNG, lossless WebP and JPEG XL, LZMA, bzip2 and zstd.

Usage: python benchmarks/codec.py RUN DATA [--num-examples 1000] [--num-steps 150] [--batch-size 64] [--split test]
       [--num-flips 0] [--past-checksum 0]

PNG, WebP and JPEG XL (whose lossless mode comes from FLIF) hold 8 bits a pixel, and are given all images as one tall one,
which spares them a header for each. JPEG XL and zstd are left out, and it is said, where pillow-jxl-plugin and zstandard are
not installed. With more examples than there are some occur several times, which other codes profit from, so that these are
left out: exactness over 10,000 images takes few network calls with

    python benchmarks/codec.py RUN digits --num-examples 10000 --num-steps 2

The examples are decoded again and compared; then bytes of the file are changed, one at a time, all of them or --num-flips,
and each change must be noticed. That is the file's checksum, which is read before anything is decoded. With --past-checksum
N as many files are decoded whose code was changed and whose checksum made to fit: each must end in an error.

What is above the bound is told in its parts: the header; the first examples, beside what they would take under the model;
and the rest, which is the grid of the latents, their few draws, and padding. An example costs a network call for each step
to code and as many to decode, shared by a batch.
"""

import argparse
import bz2
import importlib
import io
import lzma
import struct
import time
import zlib

import numpy as np
from PIL import Image

from lowerbound.codec import Compressed, compress, decompress
from lowerbound.codec.coding import LZMA
from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.models import Effort
from lowerbound.run import Run, open_run
from lowerbound.run.examples import read_for
from lowerbound.scoring import score

RNG = np.random.default_rng(0)


def others(raw: np.ndarray) -> dict[str, int]:
    """Bytes of other codes of images (N, C, H, W), or of any integers."""
    content = raw.tobytes()
    sizes = {"LZMA": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)), "bzip2": len(bz2.compress(content))}
    try:
        sizes["zstd"] = len(importlib.import_module("zstandard").ZstdCompressor(level=22).compress(content))
    except ImportError:
        print("zstd: left out, since zstandard is not installed (pip install zstandard)")
    if raw.ndim == 4 and raw.shape[1] in (1, 3) and raw.dtype == np.uint8:
        tall = np.moveaxis(raw, 1, -1).reshape(-1, raw.shape[3], raw.shape[1])
        kinds: dict[str, tuple[dict[str, object], int]] = {
            "PNG": ({"optimize": True}, 1 << 30),
            "WebP": ({"lossless": True}, 16_383),
        }
        try:
            importlib.import_module("pillow_jxl")
        except ImportError:
            print("JPEG XL: left out, since pillow-jxl-plugin is not installed (pip install pillow-jxl-plugin)")
        else:
            kinds["JXL"] = ({"lossless": True, "effort": 9}, 1 << 30)
        for kind, (settings, longest) in kinds.items():
            sizes[kind] = 0
            rows = longest // raw.shape[2] * raw.shape[2]
            for first in range(0, len(tall), rows):
                picture = io.BytesIO()
                part = tall[first : first + rows]
                Image.fromarray(part.squeeze(-1) if raw.shape[1] == 1 else part).save(picture, kind.lower(), **settings)
                sizes[kind] += len(picture.getvalue())
    return sizes


def check_flips(content: bytes, num_flips: int | None, rng: np.random.Generator) -> str:
    """Change bytes of a file, one at a time, all of them or so many: none may pass for the file."""
    places = np.arange(len(content)) if num_flips is None else rng.permutation(len(content))[:num_flips]
    for place in places.tolist():
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        try:
            Compressed.from_bytes(bytes(changed), "it")
        except InputError:
            continue
        raise SystemExit(f"a change of byte {place} was not noticed")
    return f"{len(places):,} changes of a byte, each noticed"


def check_past_checksum(run: Run, content: bytes, num_files: int, rng: np.random.Generator) -> str:
    """Change a word of the code and make the checksum fit: decoding must end in an error."""
    start = len(content) - 4 * len(Compressed.from_bytes(content, "it").words)
    for place in rng.integers(start, len(content), num_files).tolist():
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        changed[3:7] = struct.pack("<I", zlib.crc32(changed[7:]))
        try:
            decompress(run, Compressed.from_bytes(bytes(changed), "it"))
        except InputError:
            continue
        raise SystemExit(f"a change of byte {place} with a checksum that fits was decoded")
    return f"{num_files:,} changes with a checksum that fits, each an error"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--split", default="test")
    parser.add_argument("--num-examples", type=int, default=1000)
    parser.add_argument("--num-steps", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--num-flips", type=int, help="how many bytes are changed; all if not given")
    parser.add_argument("--past-checksum", type=int, default=0, help="files that are changed with a checksum that fits")
    parser.add_argument("--num-times", type=int, default=16, help="network calls for the bound of an example")
    options = parser.parse_args()
    run = open_run(options.run)
    examples = read_for(run, options.data)
    indices = examples.indices(options.split)
    if is_repeated := options.num_examples > len(indices):
        indices = np.concatenate([indices, RNG.choice(indices, options.num_examples - len(indices))])
    raw = np.ascontiguousarray(examples.values[indices[: options.num_examples]])
    start = time.process_time()
    compressed = compress(run, raw, num_steps=options.num_steps, batch_size=options.batch_size)
    middle = time.process_time()
    content = compressed.to_bytes()
    decoded = decompress(run, Compressed.from_bytes(content, "it"))
    end = time.process_time()
    if not (decoded == raw).all() or decoded.dtype != raw.dtype:
        raise SystemExit("the examples did not come back")
    print(f"{len(raw):,} examples came back to the last bit; {check_flips(content, options.num_flips, RNG)}")
    if options.past_checksum:
        print(check_past_checksum(run, content, options.past_checksum, RNG))
    efforts = {"bound in continuous time": Effort(options.num_times)} if run.is_denoiser else {}
    if compressed.num_steps:
        steps = compressed.num_steps
        draws = min(steps, max(options.num_times, 64 if steps <= 64 else 0))
        effort = Effort(draws, steps, times=compressed.times)
        efforts = {f"bound of the chain of {steps} steps": effort, **efforts}
    efforts = efforts or {"log likelihood, or bound": Effort()}
    bounds = {name: score(run, raw, effort).bits_per_dim for name, effort in efforts.items()}
    for name, bits in bounds.items():
        print(f"{Measured.of(bits)!s:>16}  {name}")
    plain, batch, per_example = compressed.num_plain, compressed.batch_size, raw[0].size
    bits = per_example * next(iter(bounds.values()))
    first = 8 * len(lzma.compress(raw[:plain].tobytes(), lzma.FORMAT_RAW, filters=LZMA)) if plain else 0
    excess = 8 * len(content) - bits.sum()
    parts = {"header": 8 * compressed.num_header_bytes, f"first {plain} examples": first - bits[:plain].sum()}
    parts["grid, draws and padding"] = excess - sum(parts.values())
    print(f"{excess / bits.sum():16.2%}  above the chain's bound, or the likelihood:")
    for name, share in parts.items():
        print(f"{share / bits.sum():16.2%}    {name}")
    ours = f"lowerbound ({plain} of {len(raw)} in plain, batches of up to {batch})"
    sizes = {ours: compressed.num_bytes, **({} if is_repeated else others(raw))}
    for name, size in sizes.items():
        print(f"{8 * size / raw.size:16.4f}  {name}: {size:,} bytes")
    seconds = [(after - before) / len(raw) for before, after in ((start, middle), (middle, end))]
    print(f"{seconds[0]:.3f} s of processor time to code an example, {seconds[1]:.3f} to decode it")


if __name__ == "__main__":
    main()
