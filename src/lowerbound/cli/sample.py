"""`lowerbound sample RUN`: draw samples."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from lowerbound.cli.devices import pick_device
from lowerbound.cli.options import parse
from lowerbound.cli.reverse import ReverseVariance, with_variance
from lowerbound.data.arrays import to_layout
from lowerbound.errors import InputError
from lowerbound.files import UNFINISHED, write_file
from lowerbound.generate import DEFAULT_STEPS, generate
from lowerbound.pictures import sample_grid
from lowerbound.run import Run, open_run
from lowerbound.samplers import DDIM, Ancestral, Sampler

SUFFIXES = (".png", ".npy", ".npz")


@dataclass(frozen=True)
class Options:
    """Draw samples from a trained run, each a function of the seed and its number alone.

    Example: lowerbound sample runs/digits -n 64 --sampler ddim --steps 50 --seed 1 -o samples.png
    """

    run: tyro.conf.Positional[Path]
    """The run folder."""
    num_samples: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many samples."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A .png picture, or an .npy or .npz array in the layout, range and type of the data; samples/samples.png in the
    run folder if not given."""
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    """The stepping rule."""
    steps: int = DEFAULT_STEPS
    """Network calls per sample."""
    variance: ReverseVariance = "lower"
    """Of ancestral sampling's reverse steps: the posterior's own, DDPM's beta, the best for this model (measured once on
    training data and kept in the run folder), or the one that the network has learned."""
    eta: float = 0.0
    """Of DDIM: 0 is deterministic, 1 ancestral."""
    label: tuple[str, ...] = ()
    """Class names, repeated over the samples; conditional runs only."""
    seed: int = 0
    """Of all samples."""
    batch_size: int = 64
    """Samples at a time: it changes nothing but speed and memory."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "sample", arguments)
    if options.num_samples < 1 or options.batch_size < 1:
        raise InputError(f"{options.num_samples} samples in batches of {options.batch_size}: both start at 1")
    model = open_run(options.run, pick_device(options.device))
    out = options.out or model.folder.samples / "samples.png"
    if out.suffix not in SUFFIXES:
        raise InputError(f"cannot write samples to {out}: the name must end in {', '.join(SUFFIXES)}")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist: make it first")
    sampler = _sampler(options)
    cond = _condition(model, options.label, options.num_samples)
    model = with_variance(model, options.variance, given=cond is not None)
    batches = -(-options.num_samples // options.batch_size)
    with tqdm(total=batches * (options.steps + 1), desc="sampling", unit="step", disable=None) as bar:
        samples = generate(
            model,
            options.num_samples,
            seed=options.seed,
            sampler=sampler,
            num_steps=options.steps,
            cond=cond,
            batch_size=options.batch_size,
            progress=bar.update,
        )
    _write(model, samples, out)
    print(f"{options.num_samples} samples: {out}")


def _sampler(options: Options) -> Sampler:
    if options.sampler == "ddim":
        if options.variance != "lower":
            raise InputError("--variance has no effect on ddim: use --eta")
        return DDIM(options.eta)
    if options.eta:
        raise InputError("--eta has no effect on ancestral sampling: use --sampler ddim")
    return Ancestral(options.variance)


def _condition(model: Run, names: tuple[str, ...], num_samples: int) -> torch.Tensor | None:
    if not names:
        return None
    labels = model.labels(list(names))
    return labels[torch.arange(num_samples) % len(labels)]


def _write(model: Run, samples: np.ndarray, out: Path) -> None:
    """Write the samples; the file appears whole or not at all."""
    if out.suffix == ".png":
        unfinished = out.with_name(f"{UNFINISHED}{out.name}")
        sample_grid(unfinished, samples, model.data.encoding.value_range)
        unfinished.replace(out)
        return
    content = io.BytesIO()
    array = to_layout(samples, model.data.layout)
    if out.suffix == ".npy":
        np.save(content, array)
    else:
        np.savez_compressed(content, x=array)
    write_file(out, content.getvalue())
