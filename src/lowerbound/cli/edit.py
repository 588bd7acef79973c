"""`lowerbound edit RUN DATA`: variations of examples, examples between them, and how well they come back from noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import DataName, RunPath, check_counts, parse
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.reading import DataReading
from lowerbound.cli.reverse import with_variance
from lowerbound.cli.sampler import FlatSampler, SamplerOptions
from lowerbound.cli.writing import SUFFIXES, check_out, write_samples
from lowerbound.data import Reading
from lowerbound.denoiser import Denoiser
from lowerbound.edit import RoundTrip, decode, round_trip, time_of_strength, turn, vary
from lowerbound.errors import InputError
from lowerbound.rng import PerSample
from lowerbound.run import Run, check_levels, open_denoiser
from lowerbound.run.examples import check_examples, conditions, read_for
from lowerbound.settings import Everyday
from lowerbound.words.counts import counted


@dataclass(frozen=True)
class Options:
    """Vary examples, interpolate between each two in turn, or take them to noise and back.

    Variations are noised by --strength and sampled down again. The other two follow the probability flow to noise and back,
    and print how far the examples come back from where they were. DATA is whatever `train` takes, read as the run's own
    data.

    Example: lowerbound edit runs/digits digits --mode variations --examples 0 5 7 --strength 0.4 -o variations.png
    """

    run: RunPath
    data: DataName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write: a .png picture, an example and what was made of it in each row, or an .npy or .npz array of the
    same in the layout, range and type of the data."""
    mode: Everyday[Literal["variations", "interpolation", "round-trip"]] = "variations"
    """Make variations of each example, examples between each two in turn, or follow each to noise and back."""
    examples: Everyday[tuple[int, ...]] = ()
    """The numbers of the examples to edit; the first --num-examples of the split if not given."""
    split: Everyday[Literal["train", "validation", "test"] | None] = None
    """Count examples within this split, as training makes it; among all examples if not given."""
    num_examples: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 8
    """The number of examples to edit, where --examples does not name them."""
    num_samples: Everyday[int] = 7
    """The number of variations of each example, or of examples between each two."""
    strength: Everyday[float] = 0.5
    """For variations: the amount of noise, from 0, the example itself, to 1, nothing of it left; between them equally spaced
    in gamma where there is something to see."""
    label: Everyday[str | None] = None
    """A class name in the place of the examples' own; conditional runs only."""
    sampling: FlatSampler = field(default_factory=SamplerOptions)
    """For variations: the sampler. --steps is for the whole way from noise; those below --strength are taken."""
    flow_tolerance: float = 1e-4
    """For interpolation and round-trip: the error allowed in a step along the flow, in units of the encoded data."""
    batch_size: int = 64
    """The number of examples at a time; it changes speed and memory only."""
    reading: DataReading = field(default_factory=Reading)
    seed: Everyday[int] = 0
    """The random seed; what is made of an example depends only on the seed and the example's number."""
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "edit", arguments)
    _check(options)
    options.sampling.stepping_rule()  # refuses what does not fit before anything is measured
    run = open_denoiser(options.run, pick_device(options.device))
    check_levels(run, "editing")
    check_out(options.out, run.spec)
    editing = Editing(run, options)
    modes = {"variations": editing.variations, "interpolation": editing.interpolation, "round-trip": editing.round_trip}
    rows, figures, summary = modes[options.mode]()
    write_samples(run.spec, rows.reshape(-1, *rows.shape[2:]), options.out, columns=rows.shape[1])
    print(summary)
    print(f"{counted(len(rows), 'row')} of {rows.shape[1]}: {options.out}")
    say_weakness(run)
    return {**figures, "num_rows": len(rows), "out": options.out}


def _check(options: Options) -> None:
    check_counts(options, "num_examples", "num_samples", "batch_size")
    if not 0 <= options.strength <= 1:
        raise InputError(
            f"--strength is {options.strength}: it lies between 0, the example itself, and 1, nothing but noise"
        )
    if options.num_samples > 4096:
        raise InputError(f"--num-samples is {options.num_samples}: it is at most 4096 for each example")
    if options.out.suffix not in SUFFIXES:
        raise InputError(f"cannot write to {options.out}: the name must end in {', '.join(SUFFIXES)}")


Edited = tuple[np.ndarray, dict[str, float], str]
"""What was made of examples, its figures, and these as a sentence."""


class Editing:
    """Examples of a run's data as they are stored, with their conditions and numbers, and what can be done with them."""

    def __init__(self, run: Run, options: Options):
        examples = read_for(run, options.data, options.reading)
        indices = examples.indices(options.split)
        chosen = options.examples or range(min(options.num_examples, len(indices)))
        for number in chosen:
            if not 0 <= number < len(indices):
                split = "" if options.split is None else f" in its {options.split} split"
                raise InputError(f"example {number}: {examples.name} has the examples 0 to {len(indices) - 1}{split}")
        self.run, self.options = run, options
        self.numbers = indices[list(chosen)]
        self.raw = examples.values[self.numbers]
        check_examples(run, self.raw, examples.name)
        if np.isnan(self.raw).any():
            raise InputError(
                f"{examples.name}: entries are missing (NaN): fill them in first, as lowerbound impute does"
            )
        self.cond = conditions(run, examples, self.numbers, options.label)

    def variations(self) -> Edited:
        """Each example and its variations, (rows, columns, *shape)."""
        options, num = self.options, self.options.num_samples
        run = with_variance(self.run, options.sampling.needed_variance, conditional=self.cond is not None)
        plan = options.sampling.plan(run)
        t = time_of_strength(run.denoiser, options.strength, run.spec.num_levels)
        rows = torch.arange(len(self.raw)).repeat_interleave(num)
        x = run.encode(self.raw)[rows]
        seeds = [(options.seed << 32) + (int(i) << 12) + k for i in self.numbers for k in range(num)]
        varied = [
            run.decode(vary(denoiser, x_batch, t, plan.sampler, plan.times, PerSample(seeds[part])))
            for part, x_batch, denoiser in self._batches(run.denoiser, x, rows, "sampling")
        ]
        num_steps = int((plan.times < t).sum()) + 1 if t else 0
        gamma = -math.inf if t == 0 else float(run.denoiser.schedule.level(t).gamma)
        summary = (
            f"{counted(num, 'variation')} of each example from gamma = {gamma:.3g}, steps to the data: {num_steps}"
        )
        rows = np.concatenate([self.raw[:, None], self._in_rows(varied)], 1)
        return rows, {"gamma": gamma, "num_steps": num_steps}, summary

    def round_trip(self) -> Edited:
        """Each example and what comes back of it, (rows, 2, *shape)."""
        trip = self._there_and_back(noisy=False)
        returned = self.run.decode(trip.x)
        return np.stack([self.raw, returned], 1), *self._errors(trip, returned)

    def interpolation(self) -> Edited:
        """Each example but the last, those between it and the next, and the next, (rows, columns, *shape)."""
        if len(self.raw) < 2:
            raise InputError("interpolation is between one example and the next: give at least two")
        # discrete data without the noise of their end have noises that are too short to turn into one another
        trip = self._there_and_back(noisy=self.run.spec.encoding.num_levels is not None)
        weights = torch.linspace(0, 1, self.options.num_samples + 2, device=trip.x_1.device)[1:-1]
        between = turn(trip.x_1[:-1], trip.x_1[1:], weights).transpose(0, 1).flatten(0, 1)
        nearer = (torch.arange(len(self.raw) - 1)[:, None] + (weights.cpu() > 0.5)).flatten()
        decoded = [
            self.run.decode(decode(denoiser, x_1, tolerance=self.options.flow_tolerance))
            for _, x_1, denoiser in self._batches(self.run.denoiser, between, nearer, "decoding")
        ]
        rows = np.concatenate([self.raw[:-1, None], self._in_rows(decoded), self.raw[1:, None]], 1)
        return rows, *self._errors(trip, self.run.decode(trip.x))

    def _there_and_back(self, noisy: bool) -> RoundTrip:
        x, seeds = self.run.encode(self.raw), [(self.options.seed << 32) + int(i) for i in self.numbers]
        trips = []
        for part, x_batch, denoiser in self._batches(self.run.denoiser, x, torch.arange(len(x)), "to noise and back"):
            noise = PerSample(seeds[part]) if noisy else None
            trips.append(round_trip(denoiser, x_batch, noise=noise, tolerance=self.options.flow_tolerance))
        columns = zip(*((trip.x_1, trip.x, trip.error, trip.num_calls) for trip in trips), strict=True)
        return RoundTrip(*map(torch.cat, columns))

    def _errors(self, trip: RoundTrip, returned: np.ndarray) -> tuple[dict[str, float], str]:
        """How far the examples come back from where they were."""
        difference = returned.astype(np.float64) - self.raw.astype(np.float64)
        rms, encoded = float(np.sqrt(np.mean(difference**2))), float(trip.error.square().mean().sqrt())
        changed, num_calls = float(np.mean(difference != 0)), float(trip.num_calls.double().mean())
        text = f"round trip: rms error {encoded:.2g} in units of the encoded data, "
        if self.run.spec.encoding.num_levels is None:
            text += f"{rms:.2g} in those of the data"
        else:
            text += f"{rms:.2g} levels, {changed:.2%} of entries at another level"
        figures = {
            "rms_error": rms,
            "rms_error_encoded": encoded,
            "share_changed": changed,
            "calls_per_example": num_calls,
        }
        return figures, f"{text}; {num_calls:.0f} network calls per example, there and back"

    def _in_rows(self, batches: list[np.ndarray]) -> np.ndarray:
        """What was made, (rows, num_samples, *shape)."""
        return np.concatenate(batches).reshape(-1, self.options.num_samples, *self.raw.shape[1:])

    def _batches(
        self, denoiser: Denoiser, x: Tensor, rows: Tensor, name: str
    ) -> Iterator[tuple[slice, Tensor, Denoiser]]:
        """Batch by batch its place in x, its x, and the denoiser given the conditions of the examples in its rows."""
        with tqdm(total=len(x), desc=name, unit="example", disable=None) as bar:
            for first in range(0, len(x), self.options.batch_size):
                part = slice(first, first + self.options.batch_size)
                x_batch = x[part].to(denoiser.device)
                cond = None if self.cond is None else self.cond[rows[part]].to(denoiser.device)
                yield part, x_batch, denoiser.given(cond)
                bar.update(len(x_batch))
