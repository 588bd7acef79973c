"""What the library is given, checked where it comes in: shapes and types everywhere, values at entry points only.

A denoiser is called for each step of a sampler, so that its checks look at shapes and types alone, which takes a few
microseconds and makes no accelerator wait.
"""

import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowerbound.errors import InputError


def described(value: Any) -> str:
    """What a value is, in a few words: of a tensor its shape and type, of anything else that it is not one."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {str(value.dtype).removeprefix('torch.')}"
    text = repr(value)
    return f"{text if len(text) < 40 else 'an object'} of type {type(value).__name__}"


def check_batch(x: Any, shape: tuple[int, ...], name: str = "x") -> None:
    """Refuse what is no batch (B, *shape) of floats, by an InputError."""
    if isinstance(x, Tensor) and x.ndim == len(shape) + 1 and x.shape[1:] == shape and x.is_floating_point():
        return
    if isinstance(x, Tensor) and x.shape == shape and x.is_floating_point():
        raise InputError(f"{name} is {described(x)}, a single example: give a batch of one, {name}[None]")
    if isinstance(x, Tensor) and x.shape[1:] == shape:
        raise InputError(f"{name} is {described(x)}: give floats, as {name}.float() does")
    examples = f"(batch, {', '.join(map(str, shape))})"
    raise InputError(
        f"{name} is {described(x)}, but the denoiser works on examples of shape {shape}: give a tensor of floats "
        f"{examples}"
    )


def check_data(x: Any, shape: tuple[int, ...], observed: Tensor | None = None, name: str = "x") -> None:
    """Refuse what is no batch of finite data, by an InputError; entries that are not observed may be anything."""
    check_batch(x, shape, name)
    check_observed(observed, x)
    if not len(x):
        raise InputError(f"{name} is {described(x)}, without any example: give at least one")
    if x.device.type != "cpu" and torch.is_grad_enabled():
        return  # in training an accelerator would wait
    entries = x.detach() if observed is None else torch.where(observed, x.detach(), 0)
    if not bool(torch.isfinite(entries).all()):
        bad = (~torch.isfinite(entries)).flatten(1).any(1).nonzero()[:, 0].tolist()
        more = f"and {len(bad) - 1:,} more " if len(bad) > 1 else ""
        raise InputError(
            f"{name} holds NaN or infinite values in sample {bad[0]} {more}of {len(x):,}: mark missing entries by "
            "observed=False, or leave out such examples"
        )


def check_observed(observed: Any, x: Tensor) -> None:
    """Refuse a mark of observed entries that is not of booleans in the shape of x, by an InputError."""
    if observed is None:
        return
    if not isinstance(observed, Tensor) or observed.dtype != torch.bool or observed.shape != x.shape:
        raise InputError(
            f"observed is {described(observed)}: give booleans of the shape of x, {tuple(x.shape)}, True where an entry "
            "is there"
        )


def check_cond(cond: Any, num_examples: int) -> None:
    """Refuse a condition that is no tensor with a row for each example, by an InputError."""
    if cond is not None and (not isinstance(cond, Tensor) or cond.shape[:1] != (num_examples,)):
        raise InputError(
            f"cond is {described(cond)}: give a tensor with a row for each of {num_examples} examples, labels "
            f"({num_examples},) of int64 or vectors ({num_examples}, F) of floats"
        )


def check_time(t: Any, x: Tensor) -> None:
    """Refuse what is no time, nor one for each example of x, by an InputError.

    The values of a tensor are looked at on a CPU only: an accelerator would have to be waited for.
    """
    if isinstance(t, Tensor):
        if not t.is_floating_point() or (t.ndim and t.shape not in ((len(x),), (1,))):
            raise InputError(f"t is {described(t)}: give one number, or floats of shape ({len(x)},), between 0 and 1")
        if t.device != x.device and t.ndim:
            raise InputError(f"t is on {t.device} and x on {x.device}: move t there, t.to(x.device)")
        inside = t.device.type != "cpu" or bool(((t >= 0) & (t <= 1)).all())
    elif isinstance(t, numbers.Real):
        inside = 0 <= float(t) <= 1
    else:
        raise InputError(
            f"t is {described(t)}: give a number, a tensor of floats ({len(x)},), or a Level of the schedule"
        )
    if not inside:
        values = f"{t}" if not isinstance(t, Tensor) else f"{t.min().item():g} to {t.max().item():g}"
        raise InputError(
            f"t is {values}: times lie between 0, the data, and 1, noise; step k of a table of betas is at schedule.times[k]"
        )


def check_grid(times: Any, least: int = 1) -> None:
    """Refuse what is no grid of times that decrease within [0, 1], by an InputError."""
    if not isinstance(times, Tensor) or times.ndim != 1 or not times.is_floating_point():
        raise InputError(f"times is {described(times)}: give a grid, such as grid.uniform(50)")
    if len(times) < least or not bool((times.diff() < 0).all()) or not (times[0] <= 1 and times[-1] >= 0):
        raise InputError(
            f"a grid of {len(times)} times: at least one step is needed, and the times must be decreasing within [0, 1]"
        )


def check_axes(shape: Sequence[int], least: int = 1) -> None:
    """Refuse examples that are neither vectors, unless so many axes are needed, nor maps of channels, by an InputError."""
    if not least <= len(shape) <= 4 or min(shape) < 1:
        vectors = "(D,), or " * (least == 1)
        raise InputError(
            f"examples of shape {tuple(shape)}: give {vectors}(channels, *spatial) of 1 to 3 dimensions, sizes from 1"
        )
