"""`lowerbound import MODEL`: a model that was trained elsewhere, as a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.flags import flags
from lowerbound.cli.options import parse
from lowerbound.cli.train import located
from lowerbound.data import DataConfig
from lowerbound.errors import InputError
from lowerbound.files.whole import check_new
from lowerbound.imports import stated
from lowerbound.run import open_run
from lowerbound.run.hub import fetched
from lowerbound.run.imported import import_model, import_run, is_run
from lowerbound.settings import Everyday
from lowerbound.training.folder import RunFolder
from lowerbound.words.printable import printable


@dataclass(frozen=True)
class Options:
    """Make a run of a model that was trained elsewhere, so that every other verb takes it.

    MODEL is a folder, or hf:NAME/REPO on the Hugging Face hub, that holds one of these: a run, as `export --as hub` or `--as
    diffusers` writes it; a pipeline of diffusers, a UNet2DModel or a DiTTransformer2DModel with a scheduler of DDPM's kind,
    of EDM, of flow matching or of a variance exploding score SDE; a checkpoint of ADM, improved diffusion, EDM or
    score_sde_pytorch, without a program in it, beside its settings as JSON: docs/import.md. Weights are copied; no program
    is run.

    Example: lowerbound import ddpm-cifar10-32 -o runs/ddpm
    """

    folder: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="MODEL",
            help="The model's folder, hf:NAME/REPO on the hub, or hf:NAME/REPO@REVISION of one revision.",
        ),
    ]
    out: Annotated[Everyday[Path | None], tyro.conf.arg(aliases=["-o"])] = None
    """The run folder; runs/NAME if not given."""
    data: Everyday[str | None] = None
    """The data that the model was trained on: `evaluate` and `report` then need no other, and take the model's word that it
    has not seen their test split."""
    image_size: Annotated[Everyday[tuple[int, int] | None], tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """The height and width of its images, to which those of folders are cropped and resized; the model's own, and nothing is
    resized, if not given."""
    class_names: tuple[str, ...] = ()
    """The names of its classes in their order; those of the data, or else their numbers, if not given."""
    value_range: tuple[float, float] | None = None
    """The values of black and white in the model's data; -1 and 1, of a variance exploding score SDE 0 and 1, if not
    given."""
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "import", arguments)
    if options.out is not None:
        check_new(RunFolder(options.out).path)  # before anything is fetched
    with fetched(options.folder) as folder:
        out = options.out or Path("runs") / folder.resolve().name
        return _import_run(options, folder, out) if is_run(folder) else _import_model(options, folder, out)


def _import_run(options: Options, folder: Path, out: Path) -> dict[str, Any]:
    """Copy a run of this program."""
    for name, flag in flags(Options).items():
        if name not in ("folder", "out", "json") and getattr(options, name):
            raise InputError(
                f"{flag} has no effect on {options.folder}: it is a run, which says so itself: leave it out"
            )
    run = open_run(import_run(folder, out).path)
    print(f"model     {run.config.model.name} of {printable(run.spec.name)}, {run.num_parameters:,} parameters")
    print(f"examples  {run.spec.shape}, {run.spec.encoding.description}")
    print(f"run       {out}\nnext: lowerbound sample {out}")
    return {"num_parameters": run.num_parameters, "shape": run.spec.shape, "out": out}


def _import_model(options: Options, folder: Path, out: Path) -> dict[str, Any]:
    """Make a run of a model of another library."""
    made = import_model(
        folder,
        out,
        data=None if options.data is None else located(DataConfig(options.data)),
        image_size=options.image_size,
        class_names=options.class_names,
        value_range=options.value_range,
    )
    run = open_run(made.path)
    source, schedule = run.config.imported, run.denoiser.schedule
    assert source is not None
    low, high = source.value_range
    print(f"model     {stated(source).description()}, {run.num_parameters:,} parameters")
    print(f"images    {run.spec.shape}, {run.spec.encoding.description}; {low:g} to {high:g} in the model")
    print(f"noise     gamma from {schedule.gamma_min:.3f} to {schedule.gamma_max:.3f}, {schedule.scaling.name}")
    if run.config.data.conditional:
        print(f"classes   {len(run.spec.class_names)}: give a label to every sample")
    print(f"run       {made.path}\nnext: lowerbound sample {made.path}")
    return {
        "num_parameters": run.num_parameters,
        "shape": run.spec.shape,
        "gamma": (schedule.gamma_min, schedule.gamma_max),
        "scaling": schedule.scaling.name,
        "class_names": run.spec.class_names,
        "out": made.path,
    }
