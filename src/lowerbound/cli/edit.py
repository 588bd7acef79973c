"""`lowerbound edit RUN DATA`: variations of examples, examples between them, and how well they come back from noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from lowerbound.cli.devices import DeviceName, pick_device
from lowerbound.cli.flags import check_counts
from lowerbound.cli.options import DataName, RunPath, parse
from lowerbound.cli.reverse import with_variance
from lowerbound.cli.sampler import FlatSampler, SamplerOptions
from lowerbound.cli.standing import say_weakness
from lowerbound.cli.writing import SUFFIXES, check_out, write_samples
from lowerbound.data import read_examples
from lowerbound.edit import RoundTrip, decode, round_trip, turn, vary
from lowerbound.errors import InputError
from lowerbound.everyday import Everyday
from lowerbound.grid import visible_limits
from lowerbound.rng import PerSample
from lowerbound.run import Run, check_levels, open_denoiser
from lowerbound.run.examples import check_examples, conditions

Result = TypeVar("Result")


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
    seed: Everyday[int] = 0
    """The random seed; what is made of an example depends only on the seed and the example's number."""
    device: Everyday[DeviceName] = "auto"


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "edit", arguments)
    _check(options)
    options.sampling.stepping_rule()  # refuses what does not fit before anything is measured
    model = open_denoiser(options.run, pick_device(options.device))
    check_levels(model, "editing")
    check_out(options.out, model.spec.shape)
    raw, cond, numbers = _examples(options, model)
    edited = Editing(model, options, raw, cond, numbers)
    match options.mode:
        case "variations":
            rows, told = edited.variations()
        case "interpolation":
            rows, told = edited.interpolation()
        case _:
            rows, told = edited.round_trip()
    write_samples(model.spec, rows.reshape(-1, *rows.shape[2:]), options.out, columns=rows.shape[1])
    print(told)
    print(f"{len(rows)} rows of {rows.shape[1]}: {options.out}")
    say_weakness(model)


class Editing:
    """Examples of a run's data and what is to be done with them."""

    def __init__(self, model: Run, options: Options, raw: np.ndarray, cond: Tensor | None, numbers: np.ndarray):
        self.model, self.options = model, options
        self.raw, self.cond, self.numbers = raw, cond, numbers

    def variations(self) -> tuple[np.ndarray, str]:
        """Each example and its variations, (rows, columns, *shape), and what to say."""
        options, num = self.options, self.options.num_samples
        model = with_variance(self.model, options.sampling.needed_variance, given=self.cond is not None)
        plan = options.sampling.plan(model)
        t, gamma = self._noised()
        x = model.encode(self.raw).repeat_interleave(num, 0)
        cond = None if self.cond is None else self.cond.repeat_interleave(num, 0)
        seeds = [(options.seed << 32) + (int(i) << 12) + k for i in self.numbers for k in range(num)]

        def some(part: slice) -> np.ndarray:
            given, noise = self._given(cond, part), PerSample(seeds[part])
            return model.decode(
                vary(model.denoiser.given(given), self._moved(x[part]), t, plan.sampler, plan.times, noise)
            )

        varied = np.concatenate(self._batches(some, len(x), "sampling"))
        rows = np.concatenate([self.raw[:, None], varied.reshape(len(self.raw), num, *self.raw.shape[1:])], 1)
        num_steps = int((plan.times < t).sum()) + 1 if t else 0
        return rows, f"{num} variations of each example from gamma = {gamma:.3g}, steps to the data: {num_steps}"

    def _noised(self) -> tuple[float, float]:
        """The time to which variations go back, and its gamma."""
        spec, schedule = self.model.spec, self.model.denoiser.schedule
        low, high = visible_limits(schedule, spec.num_dims, spec.num_levels)
        gamma = low + self.options.strength * (high - low)
        if self.options.strength == 0:
            return 0.0, -math.inf
        return (1.0, schedule.gamma_max) if self.options.strength == 1 else (float(schedule.level_at(gamma).t), gamma)

    def round_trip(self) -> tuple[np.ndarray, str]:
        """Each example and what comes back of it, (rows, 2, *shape), and what to say."""
        trip = self._there_and_back(noisy=False)
        again = self.model.decode(trip.x)
        return np.stack([self.raw, again], 1), self._figures(trip, again)

    def interpolation(self) -> tuple[np.ndarray, str]:
        """Each example but the last, those between it and the next, and the next, (rows, columns, *shape)."""
        if len(self.raw) < 2:
            raise InputError("interpolation is between one example and the next: give at least two")
        # discrete data without the noise of their end have noises that are too short to turn into one another
        trip = self._there_and_back(noisy=self.model.spec.encoding.num_levels is not None)
        num = self.options.num_samples
        weights = torch.linspace(0, 1, num + 2, device=trip.x_1.device)[1:-1]
        between = turn(trip.x_1[:-1], trip.x_1[1:], weights).transpose(0, 1).flatten(0, 1)
        # the nearer example's condition
        nearer = torch.arange(len(self.raw) - 1)[:, None] + (weights.cpu() > 0.5)
        cond = None if self.cond is None else self.cond[nearer.flatten()]

        def some(part: slice) -> np.ndarray:
            tolerance = self.options.flow_tolerance
            given = self._given(cond, part)
            return self.model.decode(decode(self.model.denoiser.given(given), between[part], tolerance=tolerance))

        drawn = np.concatenate(self._batches(some, len(between), "decoding"))
        drawn = drawn.reshape(len(self.raw) - 1, num, *self.raw.shape[1:])
        rows = np.concatenate([self.raw[:-1, None], drawn, self.raw[1:, None]], 1)
        return rows, self._figures(trip, self.model.decode(trip.x))

    def _there_and_back(self, noisy: bool) -> RoundTrip:
        x = self.model.encode(self.raw)
        seeds = [(self.options.seed << 32) + int(i) for i in self.numbers]

        def some(part: slice) -> RoundTrip:
            noise = PerSample(seeds[part]) if noisy else None
            tolerance, given = self.options.flow_tolerance, self._given(self.cond, part)
            return round_trip(self.model.denoiser.given(given), self._moved(x[part]), noise=noise, tolerance=tolerance)

        trips = self._batches(some, len(x), "to noise and back")
        parts = ([getattr(trip, name) for trip in trips] for name in ("x_1", "x", "error", "num_calls"))
        return RoundTrip(*map(torch.cat, parts))

    def _figures(self, trip: RoundTrip, again: np.ndarray) -> str:
        difference = again.astype(np.float64) - self.raw.astype(np.float64)
        rms = np.sqrt(np.mean(difference**2))
        text = f"round trip: rms error {trip.error.square().mean().sqrt():.2g} in units of the encoded data, "
        if self.model.spec.encoding.num_levels is None:
            text += f"{rms:.2g} in those of the data"
        else:
            text += f"{rms:.2g} levels, {np.mean(difference != 0):.2%} of entries at another level"
        return f"{text}; {trip.num_calls.double().mean():.0f} network calls per example, there and back"

    def _batches(self, work: Callable[[slice], Result], total: int, words: str) -> list[Result]:
        found = []
        with tqdm(total=total, desc=words, unit="example", disable=None) as bar:
            for first in range(0, total, self.options.batch_size):
                part = slice(first, min(first + self.options.batch_size, total))
                found.append(work(part))
                bar.update(part.stop - part.start)
        return found

    def _given(self, cond: Tensor | None, part: slice) -> Tensor | None:
        return None if cond is None else self._moved(cond[part])

    def _moved(self, values: Tensor) -> Tensor:
        return values.to(self.model.denoiser.device)


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


def _examples(options: Options, model: Run) -> tuple[np.ndarray, Tensor | None, np.ndarray]:
    """The examples as stored, their conditions, and their numbers in the data."""
    own = model.config.data
    found = read_examples(
        options.data, layout=model.spec.layout, image_size=own.image_size, skip_bad_files=own.skip_bad_files
    )
    indices = found.indices(options.split)
    chosen = options.examples or range(min(options.num_examples, len(indices)))
    for number in chosen:
        if not 0 <= number < len(indices):
            where = "" if options.split is None else f" in its {options.split} split"
            raise InputError(f"example {number}: {found.name} has the examples 0 to {len(indices) - 1}{where}")
    indices = indices[list(chosen)]
    raw = found.values[indices]
    check_examples(model, raw, found.name)
    if np.isnan(raw).any():
        raise InputError(f"{found.name}: entries are missing (NaN): fill them in first, as lowerbound impute does")
    if options.label is not None:
        return raw, model.labels([options.label]).expand(len(raw)), indices
    return raw, conditions(model, found, indices), indices
