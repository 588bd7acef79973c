"""`lowerbound decompress FILE`: the data that `lowerbound compress` was given."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.cli.writing import check_out, write_samples
from lowerbound.codec import Compressed, decompress
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.settings import Everyday
from lowerbound.words.counts import counted

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class Options:
    """Write the data that a file of `lowerbound compress` holds, value for value, in their own type and layout.

    A file that was changed, another model, and a machine whose network gives other numbers are noticed.

    Example: lowerbound decompress digits.lb -o digits.npy
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE", help="The .lb file.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The .npy or .npz file to write, or a folder for one picture each."""
    run: Everyday[Path | None] = None
    """The run folder, if it is no longer where it was."""
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "decompress", arguments)
    compressed = Compressed.from_bytes(options.file.read_bytes(), str(options.file))
    folder = options.run or Path(compressed.run)
    if not folder.is_dir():
        raise InputError(f"{options.file} was made by the run {folder}, which is not there: give its folder by --run")
    run = open_run(folder, pick_device(options.device))
    spec = replace(run.spec, layout=compressed.layout)
    check_out(options.out, spec, SUFFIXES)
    with tqdm(total=compressed.num_examples, desc="decompressing", unit="example", disable=None) as bar:
        raw = decompress(run, compressed, progress=bar.update)
    write_samples(spec, raw, options.out)
    print(f"{counted(len(raw), 'example')}: {options.out}")
    return {"num_examples": len(raw), "out": options.out}
