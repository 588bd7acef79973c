"""`lowerbound compress RUN DATA`: discrete data as a code of a run's model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import DataName, RunPath, check_counts, parse
from lowerbound.cli.reading import DataReading
from lowerbound.codec import Compressed, compress
from lowerbound.data import Reading
from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.files.whole import check_folder, write_file
from lowerbound.models import Effort
from lowerbound.run import open_run
from lowerbound.run.examples import check_examples, read_for
from lowerbound.scoring import score
from lowerbound.settings import Everyday
from lowerbound.words.counts import counted
from lowerbound.words.rounding import figure_text

NUM_DRAWS = 16
"""Of a chain's steps, by which the bound of each example is estimated."""


@dataclass(frozen=True)
class Options:
    """Compress images and other arrays of whole numbers by a run's model, without loss, and say how many bits they take
    beside the model's bound.

    A diffusion model, or a hierarchy of latents, codes by bits-back, an autoregressive model directly.

    Example: lowerbound compress runs/digits digits --split test -o digits.lb
    """

    run: RunPath
    data: DataName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The .lb file to write."""
    split: Everyday[Literal["train", "validation", "test"] | None] = None
    """Compress one split, as training makes it; all examples if not given."""
    num_steps: Everyday[int | None] = None
    """The number of steps of a diffusion model's chain: more take longer and fewer bits; 150 if not given."""
    batch_size: int | None = None
    """The largest number of examples coded at a time; if not given 64, or fewer that are large: a chain, which borrows bits
    for each of them, begins with one, and grows as it has earned enough."""
    reading: DataReading = field(default_factory=Reading)
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "compress", arguments)
    check_counts(options, "num_steps", "batch_size")
    if options.out.suffix != ".lb":
        raise InputError(f"--out {options.out}: give a name that ends in .lb")
    check_folder(options.out)
    run = open_run(options.run, pick_device(options.device))
    examples = read_for(run, options.data, options.reading)
    raw = np.ascontiguousarray(examples.values[examples.indices(options.split)])
    check_examples(run, raw, examples.name)
    with tqdm(total=len(raw), desc="compressing", unit="example", disable=None) as bar:
        settings = {"num_steps": options.num_steps, "batch_size": options.batch_size, "layout": examples.layout}
        compressed = compress(run, raw, **settings, progress=bar.update)
    write_file(options.out, compressed.to_bytes())
    steps = compressed.num_steps
    chain = Effort(min(NUM_DRAWS, steps), steps, times=compressed.times) if steps else Effort()
    scores = score(run, raw, chain)
    on_disk, bound = 8 * compressed.num_bytes / raw.size, Measured.of(scores.bits_per_dim)
    print("\n".join(comparison(raw, compressed, on_disk, bound, scores.kind)))
    if (run.config.data.image_size and examples.files) or run.config.data.crop:
        size = " x ".join(map(str, run.spec.raw_shape[1:]))
        print(f"what decompress gives back are images cut or resized to {size}, as the run's were, and not the files")
    if (background := options.reading.background or run.config.data.background) and examples.files:
        print(f"what decompress gives back has no transparent pixels: they are laid upon {background}")
    print(f"{counted(len(raw), 'example')} in {compressed.num_bytes:,} bytes: {options.out}")
    return {
        "bits_per_dim": on_disk,
        "bound": bound,
        "kind": scores.kind,
        "num_bytes": compressed.num_bytes,
        "num_header_bytes": compressed.num_header_bytes,
        "num_plain": compressed.num_plain,
        "num_examples": len(raw),
        "out": options.out,
    }


def comparison(raw: np.ndarray, compressed: Compressed, on_disk: float, bound: Measured, kind: str) -> list[str]:
    """What the file takes beside the bound, a line each."""
    excess = on_disk / bound.value - 1
    lines = [
        f"{figure_text(on_disk, None)} bits/dim on disk, {8 * compressed.num_header_bytes / raw.size:.4f} of them "
        f"the header's {compressed.num_header_bytes} bytes",
        f"{bound} bits/dim, {kind}: the file is {abs(excess):.1%} {'above' if excess > 0 else 'below'} it",
    ]
    if compressed.num_plain == len(raw):
        lines.append(
            "all examples are kept by LZMA, without the model: they are too few to lend a chain the bits it begins with"
        )
    elif compressed.num_plain:
        lines.append(
            f"the first {compressed.num_plain} of {len(raw):,} examples are kept by LZMA, without the model: they are the "
            "bits that the chain begins with"
        )
    return lines
