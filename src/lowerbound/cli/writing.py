"""Samples into files: a picture, an array, or a folder of pictures; each appears whole or not at all."""

import io
from pathlib import Path

import numpy as np

from lowerbound.data import DataSpec
from lowerbound.data.arrays.examples import to_layout
from lowerbound.data.arrays.fields import write_fields
from lowerbound.data.encoding import Levels
from lowerbound.data.parts import not_finite
from lowerbound.errors import InputError
from lowerbound.files.tables import SUFFIXES as TABLES
from lowerbound.files.tables import TEXTS
from lowerbound.files.whole import check_folder, check_new, replacing, write_file
from lowerbound.pictures import sample_grid
from lowerbound.pictures.mosaic import grey_levels
from lowerbound.words.rounding import nine_digits

SUFFIXES = (".png", ".npy", ".npz")
FIELDS = ".nc"
"""Of fields alone."""


def suffixes(spec: DataSpec) -> tuple[str, ...]:
    """The kinds of files that samples of data can be written to."""
    return SUFFIXES if spec.axes is None else (*SUFFIXES, FIELDS)


def check_out(out: Path, spec: DataSpec, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuse a place where samples of data cannot be written, with an InputError."""
    shape = spec.raw_shape
    if spec.columns:
        suffixes = TABLES
    if out.suffix not in (*suffixes, ""):
        what = "rows of a table" if spec.columns else "samples"
        folder = "" if spec.columns else ", or a folder"
        raise InputError(f"cannot write {what} to {out}: give a name in {', '.join(suffixes)}{folder}")
    check_folder(out)
    if out.suffix:
        return
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(
            f"a folder of pictures is for images of one or three channels; these samples have the shape {shape}: give a "
            f"name in {', '.join(suffixes)}"
        )
    check_new(out)


def check_finite(samples: np.ndarray, out: Path) -> None:
    """Refuse to write samples (N, *shape) that hold NaN or infinity, with an InputError."""
    bad = not_finite(samples)
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(samples)} samples hold NaN or infinity in {samples.dtype} (sample {bad[0]}), so that {out} "
            "was not written: take more steps or less guidance"
        )


def write_samples(
    spec: DataSpec, samples: np.ndarray, out: Path, columns: int | None = None, conditions: np.ndarray | None = None
) -> None:
    """Write samples (N, *shape), in stored values, where `check_out` let them go.

    Arguments:
        spec: of the data that they are samples of.
        columns: of a picture's grid.
        conditions: of a table, the values of the columns that samples were conditioned on, which are written beside them.

    Raises:
        InputError: if a value is not finite, or something else was written there meanwhile; nothing is written then.
    """
    check_finite(samples, out)
    if not out.suffix:
        _write_folder(spec, samples, out)
    elif out.suffix == ".png":
        with replacing(out) as unfinished:
            sample_grid(unfinished, samples, spec.encoding.value_range, columns=columns, names=spec.names)
    elif out.suffix == FIELDS:
        write_netcdf(out, spec, {"": samples})
    elif out.suffix in TABLES:
        from lowerbound.data.tables.frames import to_table
        from lowerbound.files.arrow import write_table

        write_table(
            out,
            to_table(
                spec, nine_digits(samples, spec.encoding.centers), as_text=out.suffix in TEXTS, conditions=conditions
            ),
        )
    elif out.suffix == ".npz":
        write_npz(out, x=to_layout(samples, spec.layout))
    else:
        content = io.BytesIO()
        np.save(content, to_layout(samples, spec.layout))
        write_file(out, content.getvalue())


def write_npz(out: Path, **arrays: np.ndarray) -> None:
    """Write arrays by their names; the file appears whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyrefly: ignore[bad-argument-type]
    write_file(out, content.getvalue())


def write_netcdf(out: Path, spec: DataSpec, arrays: dict[str, np.ndarray], extra_dims: tuple[str, ...] = ()) -> None:
    """Write fields as `write_fields` does; the file appears whole or not at all."""
    if spec.axes is None:
        raise InputError(f"cannot write {out}: {spec.name} has no names of variables and dimensions; write .npz")
    with replacing(out) as unfinished:
        write_fields(unfinished, spec.axes, arrays, extra_dims)


def _write_folder(spec: DataSpec, samples: np.ndarray, out: Path) -> None:
    """One picture for each sample: the levels themselves where 8 or 16 bits hold them, else the data's range in 8."""
    from PIL import Image

    encoding = spec.encoding
    if isinstance(encoding, Levels) and encoding.offset == 0 and encoding.num_levels in (256, 65_536):
        pixels = samples
    else:
        pixels = grey_levels(samples, encoding.value_range)
    if pixels.dtype != np.uint8 and pixels.shape[1] != 1:
        raise InputError("PNG holds colour in 8 bits only here: write these samples to an .npy or .npz file")
    digits = len(str(len(pixels) - 1))
    with replacing(out) as unfinished:
        unfinished.mkdir()
        for number, picture in enumerate(pixels):
            image = Image.fromarray(picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1).copy())
            image.save(unfinished / f"{number:0{digits}}.png")
