"""What a user says of the data: where they are, and how they are read."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from lowerbound.data.series.clock import Irregular
from lowerbound.errors import InputError, flag
from lowerbound.settings import Everyday

TABLE_SETTINGS = ("columns", "ignore", "categorical", "condition_on", "densities", "skip_bad_rows")
"""Settings that have an effect on every table, a file or a dataframe."""
_ALWAYS = ("source", "conditional")
"""Settings that have one on all data."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Settings for reading a file: each that a run reads may have its own, and those not given are found out from it."""

    missing: tuple[str, ...] = ()
    """Marks of missing entries in a table of text besides the usual ones: nothing, NA, N/A, NaN, NULL, None, ?, - and --
    among them."""
    separator: str | None = None
    """The separator of columns in a table of text: a character, tab or blanks; found out if not given."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of a table of text; found out if not given."""
    header: Literal["yes", "no"] | None = None
    """A first line of names in a table of text: yes, it is there, or no, it is a row; found out if not given."""
    text_encoding: str | None = None
    """The encoding of a table of text, such as latin-1 or cp1252; UTF-8, or what its first bytes say, if not given."""
    date_format: str | None = None
    """The form of dates in a table of text, such as %d/%m/%Y; found out if not given."""
    skip_bad_rows: bool = False
    """Leave out, with a warning, rows of a table that have nothing in them or, in text, too many or too few entries, instead
    of stopping."""
    skip_bad_files: bool = False
    """Leave out unreadable images, with a warning, instead of stopping."""
    background: str | None = None
    """The colour, a name or #RRGGBB, that images with transparent pixels are laid upon; these are refused if not given."""
    irregular: Irregular = "refuse"
    """The treatment of times that do not follow one another on a grid: refuse them; missing sorts rows and takes lacking
    ones as missing values; mean also takes the mean of rows of the same time."""

    @property
    def changed(self) -> dict[str, Any]:
        """What is said, by the names of the settings."""
        return {each.name: value for each in fields(Reading) if (value := getattr(self, each.name)) != each.default}


@dataclass(frozen=True)
class DataConfig(Reading):
    """The data and the way that they are read."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """Bundled data, hf:NAME, a folder or archive of images, or a file."""
    layout: str | None = None
    """The order of an array's axes, such as NHWC or NCL; guessed from the number of axes if not given."""
    num_levels: int | None = None
    """The number of levels of integer data; from the type (uint8, uint16, bool) or the training examples if not given."""
    densities: bool = False
    """Give all real numbers densities. Without it a value that a share of a column or channel has, such as no rain, has a
    probability, and numbers that were recorded to a unit have probabilities of its multiples, told as densities; with it
    their density grows as far as the schedule lets it."""
    image_size: Annotated[Everyday[tuple[int, int] | None], tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """The height and width to which images are cropped and resized."""
    crop: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """Images: train on a piece of this size of each example, cut at another random place whenever it is seen; --image-size
    comes before. Held-out figures and scores are of the piece in the middle. The model learns the pieces of all M places
    together: where a piece tells its own place, the likelihood of those in the middle can lose up to log M nats each."""
    variables: tuple[str, ...] = ()
    """Fields: the names of the variables, which become channels; all over the same dimensions if not given."""
    sample_dim: str | None = None
    """Fields: the dimension that counts examples; the first one if not given."""
    labels: str | None = None
    """A .csv table of the labels of images, in the place of their folders: columns `file` and `label`, or the first two."""
    conditional: Everyday[bool] = False
    """Learn the data given their labels or condition vectors, and also without."""
    columns: tuple[str, ...] = ()
    """The columns of a table to model, by their names; all if not given."""
    ignore: tuple[str, ...] = ()
    """Columns of a table to leave out, by their names."""
    categorical: tuple[str, ...] = ()
    """Columns of a table whose values are names of categories, whatever they look like."""
    condition_on: tuple[str, ...] = ()
    """Columns of a table that are no part of an example but its condition: one of categories is a label, others become a
    vector."""
    window: int | None = None
    """Read a table as series, in windows of so many steps."""
    horizon: int = 0
    """The number of steps at the end of a window that `lowerbound forecast` draws, given the --window before."""
    stride: int = 1
    """The number of steps from the beginning of one window to that of the next."""
    time: str | None = None
    """The column of the times of series; the first one of dates, or a column called time or date, if not given."""
    series_id: str | None = None
    """The column that says which of several series a row is of."""
    covariates: tuple[str, ...] = ()
    """The covariates of series, known at every step, the future too, and given to the model: columns, or hour, weekday and
    month for the place in the day, the week and the year."""
    split_steps: tuple[int, int, int] | None = None
    """The number of steps of series for training, validation and testing, in this order; 80, 10 and 10 %% of the rows if not
    given."""

    def __post_init__(self):
        if self.crop is not None and min(self.crop) < 1:
            raise InputError(f"--crop {self.crop[0]} {self.crop[1]}: give a height and a width of at least one pixel")
        for name in ("window", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} is {value}: it is at least 1")
        if self.horizon < 0:
            raise InputError(f"--horizon is {self.horizon}: it is at least 0")
        if self.split_steps is not None and min(self.split_steps) < 1:
            raise InputError(f"--split-steps is {self.split_steps}: each part has at least one step")
        if self.condition_on or self.covariates:  # a condition that nobody learns from would be a column left out
            object.__setattr__(self, "conditional", True)

    def check_effect(self, possible: tuple[str, ...], name: str) -> None:
        """Refuse settings that have no effect on the data.

        Arguments:
            possible: the names of those that have one on data of their kind, besides those that always have.
            name: of the data, for the message.

        Raises:
            InputError: if another one is given.
        """
        for field in fields(self):
            if field.name not in (*_ALWAYS, *possible) and getattr(self, field.name) != field.default:
                names = ", ".join(map(flag, possible))
                would = " and ".join(names.rsplit(", ", 1)) + " would" if names else "no such setting applies"
                raise InputError(f"{flag(field.name)} has no effect on {name}: {would}")
