"""Missing values of stored examples: several imputations of each by a run, what is known untouched."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from lowerbound.data import Examples
from lowerbound.data.arrays.archive import read_npy
from lowerbound.data.arrays.examples import to_layout
from lowerbound.data.images.examples import read_image
from lowerbound.errors import InputError
from lowerbound.inverse import (
    MMPS,
    Conditional,
    Fitted,
    Mask,
    Method,
    PiGDM,
    Replacement,
    TwistedParticles,
    posterior_sample,
)
from lowerbound.inverse.fitted import fitted_mixture
from lowerbound.rng import PerSample, derive_seeds
from lowerbound.run.examples import check_examples
from lowerbound.run.opened import Run, check_levels
from lowerbound.sampling.plan import DEFAULT_STEPS as SAMPLING_STEPS
from lowerbound.settings import check_counts, check_seed
from lowerbound.words.brief import Brief

METHODS: dict[str, Method] = {
    "replacement": Replacement(),
    "pigdm": PiGDM(),
    "mmps": MMPS(),
    "particles": TwistedParticles(),
}
"""By the names of the command line."""
NETWORK = "network"
"""The name of what a run of series can do besides: its network is given what is known."""
MIXTURE = "mixture"
"""The name of what a run whose network stands upon a fitted mixture can do besides."""
DEFAULT_STEPS = 100
WIDEST_GIVEN = 512
"""Numbers of a row of which each has a covariance given what is known of it: of more it takes seconds."""
MOST_IN_MEMORY = 2**25
"""Numbers of the conditional mixtures of the rows of a batch, each as many as components times the square of entries."""


@dataclass(frozen=True, eq=False, repr=False)
class Imputations(Brief):
    """Several complete examples in the place of each incomplete one, channels first.

    Arguments:
        samples: (N, K, *shape), in the stored values' units and type; what was known is in each of the K as it came.
        observed: (N, *shape), True where it was known.
    """

    samples: Num[np.ndarray, "num_examples num_samples *shape"]
    observed: Bool[np.ndarray, "num_examples *shape"]

    @property
    def mean(self) -> Float[np.ndarray, "num_examples *shape"]:
        """Of the K imputations; known entries as they are."""
        mean = self.samples.mean(1, dtype=np.float64)
        return np.where(self.observed, self.samples[:, 0], mean)

    @property
    def std(self) -> Float[np.ndarray, "num_examples *shape"]:
        """The spread of the K imputations, their standard deviation; NaN of a single one, 0 where known."""
        std = np.full(self.observed.shape, np.nan)
        if self.samples.shape[1] > 1:
            std = self.samples.std(1, ddof=1, dtype=np.float64)
        return np.where(self.observed, 0.0, std)


@dataclass(frozen=True, eq=False, repr=False)
class Drawing(Brief):
    """How entries are drawn.

    Arguments:
        num_samples: K, draws of each example, or of each series.
        method: how (see `inverse`); None: `default_method`.
        num_steps: levels of the sampler's grid, the default one; `default_steps` if None.
        seed: of all draws.
        batch_size: it changes nothing but speed and memory; `default_batch_size` if None.
        progress: called with 1 after each step of a batch.

    Raises:
        InputError: for a number that is no whole one from 1, or a seed that is none from 0.
    """

    num_samples: int
    method: Method | None = None
    num_steps: int | None = None
    seed: int = 0
    batch_size: int | None = None
    progress: Callable[[int], object] = lambda steps: None

    def __post_init__(self) -> None:
        check_counts(self, "num_samples", "num_steps", "batch_size")
        check_seed(self.seed)

    def num_calls(self, run: Run, num_draws: int) -> int:
        """How often `progress` is called for so many draws."""
        method = self.method or default_method(run)
        num_batches = math.ceil(num_draws / (self.batch_size or default_batch_size(run)))
        return num_batches * method.num_steps(self.num_steps or default_steps(method))


def impute(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    observed: Bool[np.ndarray, "num_examples *shape"],
    *,
    method: Method | None = None,
    num_samples: int = 16,
    num_steps: int | None = None,
    cond: Tensor | None = None,
    numbers: np.ndarray | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int], object] = lambda steps: None,
) -> Imputations:
    """Draw imputations of the entries that are not observed.

    Draw k of an example depends on (seed, its number, k) and the example only, not on the batches or on how many are drawn.

    Arguments:
        run: the model.
        raw: examples as they are stored; what is not observed is never looked at.
        observed: True where an entry is known.
        method: how (see `inverse`); None: `default_method`.
        num_samples: K, imputations of each example.
        num_steps: levels of the sampler's grid, the default one; `default_steps` if None.
        cond: a condition for each example, labels (N,) or vectors (N, F), or None.
        numbers: of the examples, (N,), by which each has its own noise; their places if None.
        seed: of all imputations.
        batch_size: it changes nothing but speed and memory; `default_batch_size` if None.
        progress: called with 1 after each step of a batch.

    Raises:
        InputError: if nothing is missing, or everything is; or the examples are not what the run takes.
    """
    check_missing(observed, raw.shape)
    drawing = Drawing(num_samples, method, num_steps, seed, batch_size, progress)
    return draws(run, raw, observed, drawing, cond, numbers)


def draws(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    observed: Bool[np.ndarray, "num_examples *shape"],
    drawing: Drawing,
    cond: Tensor | None = None,
    numbers: np.ndarray | None = None,
) -> Imputations:
    """As `impute`, of examples of which everything may be known, or nothing."""
    check_levels(run, "imputation")
    # in the place of what is missing something that the run takes, and that is never looked at
    encoding = run.spec.encoding
    filled = np.where(observed, raw, np.asarray(encoding.filling, raw.dtype))
    check_examples(run, filled)
    numbers = np.arange(len(raw)) if numbers is None else numbers
    samples = np.repeat(filled[:, None], drawing.num_samples, 1)
    seeds = [derive_seeds(drawing.seed, k, torch.from_numpy(numbers)) for k in range(drawing.num_samples)]
    seeds = torch.stack(seeds)
    incomplete = incomplete_examples(observed)
    rows = np.stack([incomplete.repeat(drawing.num_samples), np.tile(range(drawing.num_samples), len(incomplete))])
    method = drawing.method or default_method(run)
    times = run.diffusion.plan(num_steps=drawing.num_steps or default_steps(method)).times
    batch_size = drawing.batch_size or default_batch_size(run)
    for first in range(0, rows.shape[1], batch_size):
        example, draw = rows[:, first : first + batch_size]
        conditions = None if cond is None else cond[torch.from_numpy(example)].to(run.device)
        x = posterior_sample(
            method,
            run.denoiser.given(conditions),
            Mask(torch.from_numpy(encoding.observed_entries(observed[example])).to(run.device)),
            run.encode(np.ascontiguousarray(filled[example])).to(run.device),
            0.0,
            times,
            PerSample(seeds[draw, example]),
            progress=drawing.progress,
        )
        samples[example, draw] = np.where(observed[example], filled[example], run.decode(x))
    return Imputations(samples, observed)


def default_method(run: Run) -> Method:
    """The network's own conditional, of a run that was trained to be given what is known, or that of the mixture that the
    network stands upon, if rows are not too wide for it; or else Pi-GDM, or, where the denoiser's derivative does not tell
    how its prediction changes, replacement, which takes none."""
    if run.spec.series is not None:
        return network_method(run)
    mixture = fitted_mixture(run.denoiser)
    if mixture is not None and (mixture.axes is None or len(mixture.axes[0]) <= WIDEST_GIVEN):
        return Fitted()
    return METHODS["pigdm" if run.denoiser.no_flow is None else "replacement"]


def network_method(run: Run) -> Method:
    """The network's own conditional.

    Raises:
        InputError: if the run was not trained to be given what is known.
    """
    series = run.spec.series
    if series is None:
        raise InputError(
            f"the run in {run.folder.path} is not given what is known, as those of series are (--window): choose another "
            "--method"
        )
    return Conditional(series.condition_of)


def mixture_method(run: Run) -> Method:
    """The conditional of the mixture that the network stands upon.

    Raises:
        InputError: if it stands upon none.
    """
    if fitted_mixture(run.denoiser) is None:
        raise InputError(
            f"the network of the run in {run.folder.path} stands upon no fitted mixture, as those of tables do: choose "
            "another --method"
        )
    return Fitted()


def named_method(run: Run, name: str | None) -> Method:
    """A method by its name, `NETWORK`, `MIXTURE` or one of `METHODS`; None: `default_method`.

    Raises:
        InputError: for a method that takes another run.
    """
    if name is None:
        return default_method(run)
    special = {NETWORK: network_method, MIXTURE: mixture_method}
    return special[name](run) if name in special else METHODS[name]


def default_steps(method: Method) -> int:
    """Of an inverse method, whose guidance takes many, and of a sampler alone."""
    return SAMPLING_STEPS if isinstance(method, Conditional) else DEFAULT_STEPS


def default_batch_size(run: Run) -> int:
    """So many draws at a time that a call of the network is more than its overhead: 64 to 1,024, the more the smaller, and
    fewer where each has a large mixture of its own."""
    size, mixture = math.prod(run.spec.shape), fitted_mixture(run.denoiser)
    most = MOST_IN_MEMORY if mixture is None else max(1, MOST_IN_MEMORY // max(1, mixture.size))
    return min(1024, max(64, 2**14 // size), most)


def incomplete_examples(observed: np.ndarray) -> np.ndarray:
    """The places of examples of which anything is to be drawn."""
    return np.flatnonzero(~observed.reshape(len(observed), -1).all(1))


def read_mask(path: Path, examples: Examples) -> Bool[np.ndarray, "num_examples *shape"]:
    """Which entries of examples a file says are known.

    Arguments:
        path: an .npy file of booleans or of zeros and ones, or a PNG of black and white for images: True, 1 or white where
            an entry is known; what is transparent is black. Its shape is that of one example or of all as they are stored,
            with or without channels.
        examples: which.

    Raises:
        InputError: if the file is neither, or its shape is another.
    """
    if path.suffix == ".png":
        try:
            mask = read_image(path, background=(0, 0, 0))  # what was erased is missing
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        mask = mask if mask.ndim == 2 or (mask != mask[..., :1]).any() else mask[..., 0]
        white = np.iinfo(mask.dtype).max
    elif path.suffix == ".npy":
        mask, white = read_npy(path), 1
    else:
        raise InputError(f"{path}: a mask is an .npy file of booleans or zeros and ones, or a black and white .png")
    if mask.dtype.kind not in "iubf" or not np.isin(mask, (0, white)).all():
        kinds = "black and white" if path.suffix == ".png" else "True and False, or 1 and 0,"
        raise InputError(f"{path} holds other values than {kinds}: white, True or 1 says that an entry is known")
    assert isinstance(examples.values, np.ndarray)  # of series nothing is masked, but lacking
    stored = to_layout(examples.values, examples.layout).shape
    channels = examples.layout.find("C")
    if mask.shape not in (stored, stored[1:]):
        without_channels = stored[:channels] + stored[channels + 1 :]
        if channels < 0 or mask.shape not in (without_channels, without_channels[1:]):
            raise InputError(
                f"{path} has the shape {mask.shape}; a mask has that of one example, {stored[1:]}, or of all, {stored}"
                + (", or these without channels" if channels > 0 else "")
            )
        mask = np.expand_dims(mask, channels - len(stored))
    mask = np.broadcast_to(mask != 0, stored)
    return np.moveaxis(mask, channels, 1) if channels > 0 else mask.reshape(examples.values.shape)


def check_missing(observed: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse, with an InputError, what leaves nothing to impute or nothing to impute it from."""
    if observed.shape != shape:
        raise InputError(f"observed has the shape {observed.shape}, the examples {shape}: give one flag for each entry")
    if observed.all():
        raise InputError(
            "nothing is missing: leave entries of a table empty, or mark those of an array by NaN in floats, or by --mask"
        )
    if not observed.any():
        raise InputError("everything is missing: to draw examples from nothing is what `lowerbound sample` is for")
