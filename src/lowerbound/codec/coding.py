"""Data into bits by a run's model, and back.

What a chain borrows from is the code of the first examples, which are kept in plain, by LZMA: as few as hold the bits that
the next one takes. They cost what LZMA needs more than the model; nothing else is put into the file to begin with. Batches
grow as the stack does, which lends each example of a batch its bits.
"""

import copy
import hashlib
import lzma
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Num

from lowerbound.codec.chain import Chain
from lowerbound.codec.direct import Direct
from lowerbound.codec.file import Compressed, integer_type
from lowerbound.codec.stack import Stack, to_words
from lowerbound.codec.times import chain_times, shares_of_steps
from lowerbound.data import Levels
from lowerbound.errors import InputError
from lowerbound.files.whole import file_hash
from lowerbound.models import VAE, Autoregressive, Diffusion, Hierarchy, as_hvae
from lowerbound.models.vae import OneLatent, StandardNormal
from lowerbound.run import Run
from lowerbound.run.examples import check_examples

NUM_STEPS = 150
"""Of a diffusion model's chain, if not given: its bound is a few percent above that of continuous time."""
MOST_AT_ONCE = 64
"""Examples of a batch, if not given."""
POSITIONS_AT_ONCE = 1 << 14
"""Of the pixels of a batch, if not given: on a CPU convolutions of more, in double precision, take half as long again, since
what they are computed from no longer lies in the cache."""
ENTRIES_AT_ONCE = 1 << 24
"""Of the parameters of a batch, of a model without latents."""
RESERVE = 1.02
"""What is borrowed differs a little from trial to trial."""
TRIED = 8
"""Examples by which it is estimated what a chain borrows and earns."""
SPARE = 64
"""Bits that are never borrowed: those of the coder's own state, of which draws are no longer random."""
SLOWEST = (1 << 16) - 1
"""Growth of batches."""

LZMA: Any = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
"""How the first examples are kept."""


@torch.no_grad()
def compress(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    *,
    num_steps: int | None = None,
    batch_size: int | None = None,
    layout: str | None = None,
    progress: Callable[[int], object] = lambda examples: None,
) -> Compressed:
    """Examples as a code of a run's model, from which `decompress` makes them again, bit by bit.

    Arguments:
        run: the model, of discrete data: diffusion, autoregressive, hierarchical-vae, or vae with a normal prior.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        num_steps: of a diffusion model's chain; `NUM_STEPS` if None.
        batch_size: examples that are coded at a time at most, and decoded so again; a chain, which borrows bits for each of
            them, begins with one. If None `MOST_AT_ONCE`, or of large examples as many as are fastest.
        layout: the order of axes that they came in; the run's if None.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run has no such model or its data are not discrete, the examples are not what it takes, a number
            is out of range, or the library constriction is not installed.
    """
    if num_steps is not None and not run.is_denoiser:
        raise InputError(f"num_steps is {num_steps}, but the model {run.config.model.name} has no steps to choose")
    num_steps = NUM_STEPS if num_steps is None else num_steps
    batch_size = _batch_size(run) if batch_size is None else batch_size
    if not (1 <= batch_size < 1 << 16 and 1 <= num_steps < 1 << 16):
        raise InputError(f"batch_size={batch_size}, num_steps={num_steps}: both start at 1 and are below 65,536")
    num_steps = num_steps if run.is_denoiser else 0
    _num_levels(run)  # refuses data that have no code
    check_examples(run, raw)
    shares = shares_of_steps(run, raw) if num_steps else b""
    coder = _coder(run, num_steps, shares)
    levels = raw.astype(np.int64) - run.spec.encoding.offset
    stack, num_plain, growth = _coded(coder, raw, levels, batch_size, progress)
    return Compressed(
        run_hash=_run_hash(run),
        values_checksum=zlib.crc32(np.ascontiguousarray(raw).data),
        distributions_checksum=stack.checksum,
        num_examples=len(raw),
        num_plain=num_plain,
        batch_size=batch_size,
        growth=growth,
        num_steps=num_steps,
        shares=shares,
        dtype=raw.dtype.str,
        layout=layout or run.spec.layout,
        run=str(run.folder.path),
        torch_version=torch.__version__,
        words=stack.words,
    )


@torch.no_grad()
def decompress(
    run: Run, compressed: Compressed, *, progress: Callable[[int], object] = lambda examples: None
) -> Num[np.ndarray, "num_examples *shape"]:
    """The examples that `compress` was given, (N, *shape), in their own type.

    Arguments:
        run: the model that they were compressed by.
        compressed: the code.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run is another one, or its network gives other numbers here than where it was compressed.
    """
    if compressed.run_hash != _run_hash(run):
        raise InputError(
            f"these data were compressed by another model than that of the run in {run.folder.path}, or by its weights of "
            f"another time: give the run that was {compressed.run} then"
        )
    dtype = integer_type(compressed.dtype)
    coder = _coder(run, compressed.num_steps, compressed.shares)
    try:
        raw = _decoded(run, coder, compressed, dtype, progress)
    except (InputError, AssertionError, ValueError, lzma.LZMAError, EOFError) as error:
        raise _mismatch(compressed) from error
    if zlib.crc32(raw.data) != compressed.values_checksum:
        raise _mismatch(compressed)
    return raw


def _decoded(
    run: Run, coder: Chain | Direct, compressed: Compressed, dtype: np.dtype[Any], progress: Callable[[int], object]
) -> np.ndarray:
    """The values, whatever they are where the network gives other numbers."""
    stack = Stack(compressed.words)
    num_coded = compressed.num_examples - compressed.num_plain
    sizes = _batch_sizes(num_coded, compressed.batch_size, compressed.growth)
    offset, shape = run.spec.encoding.offset, run.spec.raw_shape
    decoded = []
    for size in reversed(sizes):
        stack.checksum = 0
        decoded.append((coder.pop(stack, size) + offset).astype(dtype))
        if len(decoded) == 1 and stack.checksum != compressed.distributions_checksum:
            raise _mismatch(compressed)
        progress(size)
    seed = stack.seed
    if compressed.num_plain:
        num_bytes = compressed.num_plain * int(np.prod(shape)) * dtype.itemsize
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA)
        plain = unpacker.decompress(seed.astype("<u4").tobytes(), max_length=num_bytes)
        decoded.append(np.frombuffer(plain, dtype).reshape(compressed.num_plain, *shape))
        progress(compressed.num_plain)
    return np.ascontiguousarray(np.concatenate(decoded[::-1]))


def _num_levels(run: Run) -> int:
    """K of a run's data; refuses, by an InputError, data that are not discrete."""
    spec = run.spec
    if not isinstance(spec.encoding, Levels):
        what = "rows of a table" if spec.columns else "real numbers"
        reason = (
            "columns of several kinds are not compressed: store discrete columns as one array of integers"
            if spec.columns
            else "a density has no code of finite length: give data of whole numbers, on a grid as fine as they are known"
        )
        raise InputError(f"the run in {run.folder.path} is of {what}: {reason}")
    return spec.encoding.num_levels


def _coder(run: Run, num_steps: int, shares: bytes) -> Chain | Direct:
    """The code of a run's model in double precision; refuses, by an InputError, a run that has none."""
    spec, num_levels, model = run.spec, _num_levels(run), copy.deepcopy(run.model).double()
    if isinstance(model, Diffusion) and model.decoder is not None:
        chain = torch.tensor(chain_times(num_steps, shares), dtype=torch.float64)
        return Chain(as_hvae(model.denoiser, model.decoder, chain), spec.shape, num_levels, run.device)
    if isinstance(model, VAE) and isinstance(model.prior, StandardNormal):
        model = OneLatent(model)
    if isinstance(model, Hierarchy):
        return Chain(model, spec.shape, num_levels, run.device)
    if isinstance(model, Autoregressive):
        return Direct(model, num_levels)
    reason = f" ({model.no_likelihood})" if model.no_likelihood else ""
    raise InputError(
        f"the run in {run.folder.path} is a model of the kind {run.config.model.name}, which makes no code{reason}: train "
        "diffusion, autoregressive, hierarchical-vae, or vae with its normal prior"
    )


def _batch_size(run: Run) -> int:
    if isinstance(run.model, Autoregressive):
        per_example = run.model.num_dims * run.model.output.num_parameters
        return max(1, min(MOST_AT_ONCE, ENTRIES_AT_ONCE // per_example))
    if run.device.type == "cpu":
        return max(1, min(MOST_AT_ONCE, POSITIONS_AT_ONCE // math.prod(run.spec.shape[1:])))
    return MOST_AT_ONCE


def _coded(
    coder: Chain | Direct, raw: np.ndarray, levels: np.ndarray, batch_size: int, progress: Callable[[int], object]
) -> tuple[Stack, int, int]:
    """The stack of all examples, how many of them are in plain, and the growth of batches.

    If the stack ran out of bits, which is rare, it is made again with more to borrow from.
    """
    if isinstance(coder, Direct):
        return _pushed(coder, Stack(to_words(b""), as_seed=True), levels, batch_size, 0, progress), 0, 0
    borrowed, earned = _trial(coder, levels[:TRIED])
    reserve = RESERVE
    while True:
        num_plain, plain = _lenders(raw, reserve * borrowed + SPARE)
        # so many examples earn what one more borrows
        growth = SLOWEST if earned <= 0 else min(SLOWEST, math.ceil(reserve * borrowed / earned))
        progress(num_plain)
        stack = _pushed(coder, Stack(to_words(plain), as_seed=True), levels[num_plain:], batch_size, growth, progress)
        if stack.fewest_bits >= SPARE or num_plain == len(raw):
            return stack, num_plain, growth
        progress(-len(raw))
        reserve *= 1.5


def _pushed(
    coder: Chain | Direct,
    stack: Stack,
    levels: np.ndarray,
    batch_size: int,
    growth: int,
    progress: Callable[[int], object],
) -> Stack:
    first = 0
    for size in _batch_sizes(len(levels), batch_size, growth):
        stack.checksum = 0
        coder.push(stack, levels[first : first + size])
        progress(size)
        first += size
    return stack


def _lenders(raw: np.ndarray, num_bits: float) -> tuple[int, bytes]:
    """How many of the first examples hold so many bits when they are kept in plain, all if need be, and these bits."""
    number, plain = 0, b""
    while 8 * len(plain) < num_bits and number < len(raw):
        number = min(len(raw), number + 1 + number // 16)
        plain = lzma.compress(np.ascontiguousarray(raw[:number]).tobytes(), lzma.FORMAT_RAW, filters=LZMA)
    return number, plain


def _trial(chain: Chain, levels: np.ndarray) -> tuple[float, float]:
    """How many bits a chain takes from the stack for the first example before it has put enough back, and how many each of
    the examples has put there in the end."""
    seed = np.random.default_rng(0).integers(1 << 32, size=2 * levels.size + 64, dtype=np.uint32)
    stack = Stack(seed, as_seed=True)
    chain.push(stack, levels[:1])
    borrowed = 32 * len(seed) - stack.fewest_bits
    if len(levels) > 1:
        chain.push(stack, levels[1:])
    return borrowed, 32 * (len(stack.words) - len(seed)) / len(levels)


def _batch_sizes(num_examples: int, most: int, growth: int) -> list[int]:
    """Of all batches in turn: one example, one more after each `growth` examples, up to the most; all the most if 0."""
    sizes, done = [], 0
    while done < num_examples:
        size = min(most, num_examples - done, 1 + done // growth if growth else most)
        sizes.append(size)
        done += size
    return sizes


def _run_hash(run: Run) -> bytes:
    hashes = file_hash(run.folder.model) + file_hash(run.folder.config)
    return hashlib.sha256(hashes.encode()).digest()[:8]


def _mismatch(compressed: Compressed) -> InputError:
    return InputError(
        "the code does not come out even: the run is the right one, but its network gives other numbers here than where "
        f"the data were compressed, by torch {compressed.torch_version} (here {torch.__version__}): decompress there"
    )
