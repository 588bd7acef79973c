"""`lowerbound export RUN`: a run's model in files that other programs read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.run import open_run
from lowerbound.run.card import export_hub
from lowerbound.run.exported import export_diffusers, export_onnx

WRITERS = {"onnx": export_onnx, "diffusers": export_diffusers, "hub": export_hub}


@dataclass(frozen=True)
class Options:
    """Write a run's model in files that other programs read.

    ONNX is one file that takes noisy examples and their noise levels and returns the mean of the data given them, beside a
    model.json that says what the numbers mean. A run that was imported from diffusers becomes a pipeline of diffusers again.
    For the hub, its files stand beside a card that says its bits/dim and whether they are a bound; nothing is sent anywhere.

    Example: lowerbound export runs/digits --as onnx -o digits-onnx
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="The run folder.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder to write, which is not there yet or empty."""
    kind: Annotated[Literal["onnx", "diffusers", "hub"], tyro.conf.arg(name="as")]
    """The kind of files: ONNX, a pipeline of diffusers, or a repository of the Hugging Face hub, to upload."""
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "export", arguments)
    out = WRITERS[options.kind](open_run(options.run), options.out)
    files = sorted(path.name for path in out.iterdir())
    print(f"{options.kind:<9} {out}: {', '.join(files)}")
    return {"kind": options.kind, "out": out, "files": files}
