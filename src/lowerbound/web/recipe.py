"""How samples were drawn, as an address and as a file of them carry it: enough to draw them again to the bit."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa

from lowerbound.errors import InputError
from lowerbound.files.arrow import write_table
from lowerbound.files.records import read
from lowerbound.settings import check_seed

KEY = "lowerbound-recipe"
"""Of the text in a PNG, of the array in an .npz, and of the first line in a CSV; in an .npy it is the second array."""
MOST_CHARACTERS = 1 << 16
IN_TURN = "each in turn"
NO_LABEL = "none"
SWITCH = {"True": True, "False": False}
"""As an address has it."""


@dataclass(frozen=True)
class Recipe:
    """What determines samples.

    Arguments:
        run: the run's name.
        sampler, grid: by their names.
        steps: of the sampler; 0: as many as are advised.
        guidance: scale of classifier-free guidance; 1 is none.
        label: a class name, `NO_LABEL`, or `IN_TURN` for each class in turn.
        seed: sample i depends on it and i alone.
        count: how many samples.
        weights: a hash of the model, or empty: any.
        autoguided: whether samples are guided by the run's early weights, which classifier-free guidance takes the place of.
            What does not say so, as nothing did once, was drawn without.
    """

    run: str
    sampler: str = "unipc-sde"
    steps: int = 0
    grid: str = "visible"
    guidance: float = 1.0
    label: str = NO_LABEL
    seed: int = 0
    count: int = 16
    weights: str = ""
    autoguided: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed, "the seed")

    @property
    def by_early_weights(self) -> bool:
        """Whether its samples are guided by early weights."""
        return self.autoguided and self.guidance == 1

    @property
    def json(self) -> str:
        """In one line."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def query(self) -> str:
        """As the end of an address, from the question mark on."""
        return "?" + urlencode({name: value for name, value in dataclasses.asdict(self).items() if value != ""})

    @classmethod
    def of_query(cls, query: Mapping[str, str], default: "Recipe") -> "Recipe":
        """The recipe of an address; what it does not name is that of another.

        Raises:
            InputError: for a value that is none of its kind.
        """
        values: dict[str, Any] = dataclasses.asdict(default)
        for field in dataclasses.fields(cls):
            if field.name in query:
                kind = type(values[field.name])
                said = query[field.name]
                try:
                    values[field.name] = SWITCH[said] if kind is bool else kind(said)
                except (KeyError, ValueError) as error:
                    wanted = "True or False" if kind is bool else "no number"
                    raise InputError(f"the address says {field.name}={said!r:.60}: {wanted}") from error
        return read(cls, values, "the address")


def write_png(content: bytes, recipe: Recipe) -> bytes:
    """A PNG picture with the recipe in its text."""
    from PIL import Image, PngImagePlugin

    text, out = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_itxt(KEY, recipe.json)
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.save(out, "PNG", pnginfo=text)
    return out.getvalue()


def write_npz(samples: np.ndarray, recipe: Recipe) -> bytes:
    """Samples as the array x of an .npz file, and the recipe beside them."""
    out = io.BytesIO()
    np.savez_compressed(out, **{"x": samples, KEY: np.array(recipe.json)})  # pyrefly: ignore[bad-argument-type]
    return out.getvalue()


def write_npy(samples: np.ndarray, recipe: Recipe) -> bytes:
    """Samples as an .npy file, and behind them a second array, the recipe: `np.load` reads the first."""
    out = io.BytesIO()
    np.save(out, samples, allow_pickle=False)
    np.save(out, np.array(recipe.json))
    return out.getvalue()


def write_rows(rows: pa.Table, recipe: Recipe) -> bytes:
    """Rows of a table as the command line writes them, with the names of categories, behind a line with the recipe."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_table(path, rows)
        return f"# {KEY}: {recipe.json}\n".encode() + path.read_bytes()


def read_recipe(path: Path) -> Recipe:
    """The recipe that a file carries.

    Raises:
        InputError: if it is no PNG, .npy, .npz or CSV file, or carries none.
    """
    readers = {".png": _png_text, ".npy": _npy_text, ".npz": _npz_text, ".csv": _csv_text}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path.name!r:.60} is none of the files that this page writes: {', '.join(readers)}")
    try:
        text = readers[path.suffix.lower()](path)
        if text is None or len(text) > MOST_CHARACTERS:
            raise InputError(f"{path.name!r:.60} carries no recipe: only files that this page wrote do")
        return read(Recipe, json.loads(text), "the recipe")
    except InputError:
        raise
    except Exception as error:  # a decoder's, of a damaged file: of many types
        raise InputError(f"{path.name!r:.60} is damaged: {type(error).__name__}") from error


def _png_text(path: Path) -> str | None:
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as image:
        return image.info.get(KEY)


def _npy_text(path: Path) -> str | None:
    with path.open("rb") as file:
        np.lib.format.read_array(file, allow_pickle=False)
        if not file.peek(1):
            return None
        text = np.lib.format.read_array(file, allow_pickle=False)
    return str(text) if text.dtype.kind == "U" and text.ndim == 0 else None


def _npz_text(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        name = f"{KEY}.npy"
        if name not in archive.namelist() or archive.getinfo(name).file_size > 4 * MOST_CHARACTERS:
            return None
        content = io.BytesIO(archive.read(name))
    return str(np.lib.format.read_array(content, allow_pickle=False))


def _csv_text(path: Path) -> str | None:
    with path.open(encoding="utf-8") as file:
        start = file.readline(MOST_CHARACTERS)
    return start.removeprefix(f"# {KEY}: ") if start.startswith(f"# {KEY}: ") else None
