"""What a user says of the data: where they are, and how they are read."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from lowerbound.everyday import Everyday


@dataclass(frozen=True)
class DataConfig:
    """The data and the way that they are read."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """Bundled data, hf:NAME, a folder or archive of images, or a file."""
    layout: str | None = None
    """The order of an array's axes, such as NHWC or NCL; guessed from the number of axes if not given."""
    num_levels: int | None = None
    """The number of levels of integer data; from the type (uint8, uint16, bool) or the training examples if not given."""
    image_size: Annotated[Everyday[tuple[int, int] | None], tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """The height and width to which images are cropped and resized."""
    skip_bad_files: bool = False
    """Leave out unreadable images, with a warning, instead of stopping."""
    variables: tuple[str, ...] = ()
    """Fields: the names of the variables, which become channels; all over the same dimensions if not given."""
    sample_dim: str | None = None
    """Fields: the dimension that counts examples; the first one if not given."""
    labels: str | None = None
    """A .csv table of the labels of images, in the place of their folders: columns `file` and `label`, or the first two."""
    conditional: Everyday[bool] = False
    """Learn the data given their labels or condition vectors, and also without."""
