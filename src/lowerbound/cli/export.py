"""`lowerbound export RUN`: a run's model in files that other programs read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.data.extras import extra
from lowerbound.run import Run, open_run
from lowerbound.run.card import export_hub
from lowerbound.run.exported import export_onnx
from lowerbound.run.hub import is_on_hub, sent


def export_diffusers(run: Run, out: Path) -> Path:
    """Write a pipeline of diffusers, by `adapters.diffusers`, which needs that library."""
    return extra("lowerbound.adapters.diffusers", "diffusers", "a pipeline of diffusers").export_diffusers(run, out)


WRITERS = {"onnx": export_onnx, "diffusers": export_diffusers, "hub": export_hub}


@dataclass(frozen=True)
class Options:
    """Write a run's model in files that other programs read.

    ONNX is one file that takes noisy examples, their noise levels and what they are conditioned on, and returns the mean of
    the data given them, beside a model.json that says what the numbers mean. A pipeline of diffusers draws images by that
    library's pipelines and schedulers, which call the run's network (`import lowerbound.adapters.diffusers` first); a run
    that was imported from diffusers becomes what it was. For the hub, its files stand beside a card that says its bits/dim
    and whether they are a bound. `import` makes a run of the last two again. Nothing is sent anywhere unless -o names a
    repository there, hf:NAME/REPO: then any kind of files is, and a repository that is new is private.

    Example: lowerbound export runs/digits --as onnx -o digits-onnx
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="The run folder.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder to write, which is not there yet or empty; or hf:NAME/REPO, a repository of the Hugging Face hub."""
    kind: Annotated[Literal["onnx", "diffusers", "hub"], tyro.conf.arg(name="as")]
    """The kind of files: ONNX; a pipeline of diffusers; or a run as the hub holds one, plain safetensors and JSON."""
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "export", arguments)
    run = open_run(options.run)
    with sent(options.out) as folder:
        WRITERS[options.kind](run, folder)
        files = sorted(path.name for path in folder.iterdir())
    print(f"{options.kind:<9} {options.out}: {', '.join(files)}")
    if is_on_hub(options.out):
        print(f"next: lowerbound import {options.out}, wherever the model is used")
    return {"kind": options.kind, "out": options.out, "files": files}
