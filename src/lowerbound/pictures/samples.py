"""Pictures of samples, each drawn in the way that suits its shape, written as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from lowerbound.pictures.canvas import Range, drawable
from lowerbound.pictures.mosaic import draw_mosaic
from lowerbound.pictures.series import draw_all_series
from lowerbound.pictures.vectors import Limits, draw_vectors


def sample_grid(
    path: Path | str,
    samples: Shaped[np.ndarray, "batch *shape"],
    value_range: Range,
    data: Shaped[np.ndarray, "data *shape"] | None = None,
    columns: int | None = None,
    within: Limits | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Draws samples in the way that suits their shape, vectors beside the data.

    samples: (N, C, H, W) images as a mosaic (channels apart unless 1 or 3), (N, C, D, H, W) volumes by three slices
    through their middle, (N, C, L) series as lines, (N, 2) points, (N, D) vectors as scatters of pairs of the first 5
    dimensions.
    value_range: (low, high), the values drawn as black and white.
    data: real examples of the same shape, drawn beside vectors only.
    columns: of the grid; by default it is about square.
    names: of the D dimensions or C channels; numbers in their place if empty.
    within: (D, 2), low and high of vectors' axes; by default where the data are, or else the samples.

    Raises InputError for no samples, shapes that cannot be drawn, or an empty value range.
    """
    samples = drawable(samples, value_range)
    if samples.ndim >= 4:
        return draw_mosaic(path, samples, value_range, columns, names)
    if samples.ndim == 3:
        return draw_all_series(path, samples, value_range, columns, names)
    return draw_vectors(path, samples, None if data is None else drawable(data, value_range), within, names)
