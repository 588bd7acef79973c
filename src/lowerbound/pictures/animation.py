"""The way from noise to data as a moving picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Shaped

from lowerbound.errors import InputError
from lowerbound.pictures.canvas import Range
from lowerbound.pictures.path import path_limits
from lowerbound.pictures.samples import sample_grid

FORMATS = {".gif": "GIF", ".webp": "WEBP"}
FRAME_MILLISECONDS = 80
LAST_MILLISECONDS = 2000


def animation(states: Sequence[Shaped[np.ndarray, "batch *shape"]], value_range: Range, suffix: str) -> bytes:
    """One frame for each state, in the order of sampling, the last of them shown for two seconds; it runs forever.

    states: batches as in `sample_grid`, which draws the frames; vectors within the same limits in all of them.
    value_range: (low, high), the values drawn as black and white.
    suffix: of the file that it is for, one of `FORMATS`.

    Raises InputError for no states, states that cannot be drawn, or another suffix.
    """
    from PIL import Image

    if suffix not in FORMATS:
        raise InputError(f"no animation of type {suffix!r}: choose one of {', '.join(FORMATS)}")
    if not states:
        raise InputError("no states to draw; give at least one batch")
    within = path_limits(states) if states[0].ndim == 2 else None
    frames = []
    with TemporaryDirectory() as folder:
        for number, state in enumerate(states):
            picture = sample_grid(Path(folder) / f"{number}.png", state, value_range, within=within)
            with Image.open(picture) as image:
                frames.append(image.convert("RGB"))
    content = io.BytesIO()
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    settings = {"duration": durations, "loop": 0, "lossless": True}  # the last of which a .gif is anyway
    frames[0].save(content, FORMATS[suffix], save_all=True, append_images=frames[1:], **settings)
    return content.getvalue()
