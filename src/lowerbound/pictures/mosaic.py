"""Images, and volumes by their slices, pixel for pixel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from matplotlib.colors import to_rgb

from lowerbound.pictures.canvas import DARK, INK, Range
from lowerbound.pictures.ranges import UNIT, OwnRanges, channel_labels, own_ranges, within

MAX_CHANNELS = 8
_SHEET = 208  # the grey between examples
_SEAM = to_rgb(DARK)  # between the parts of one: no grey value is like it


def draw_mosaic(
    path: Path | str,
    samples: Num[np.ndarray, "batch channels *space"],
    value_range: Range,
    columns: int | None,
    names: Sequence[str] = (),
) -> Path:
    """Examples enlarged by a whole number and laid out with a gap, and below them what is seen (`explained`)."""
    from PIL import Image

    own = own_ranges_of_fields(samples)
    tiles = np.stack([tile(sample, value_range, own) for sample in samples])
    num_tiles, height, width, _ = tiles.shape
    columns = columns or max(1, round((num_tiles * height / width) ** 0.5))
    rows = -(-num_tiles // columns)
    zoom = max(1, round(640 / (columns * width)))
    gap = max(1, zoom // 2)
    height, width = height * zoom + gap, width * zoom + gap
    cells = np.full((rows * columns, height, width, 3), _SHEET, dtype=np.uint8)
    cells[:num_tiles, gap:, gap:] = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    sheet = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    image = Image.fromarray(np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=_SHEET))
    if caption := explained(samples.shape[1:], names, own):
        image = _captioned(image, caption)
    image.save(path, format="PNG")
    return Path(path)


def own_ranges_of_fields(samples: Num[np.ndarray, "batch channels *space"]) -> OwnRanges | None:
    """Of channels in units of their own, as fields of floats may be; None of levels, which share theirs."""
    return own_ranges(samples) if samples.dtype.kind == "f" and samples.shape[1] > 1 else None


def explained(shape: tuple[int, ...], names: Sequence[str] = (), own: OwnRanges | None = None) -> str:
    """What a tile shows of an example of this shape, where that is not the whole of it, or is taken apart, or has names,
    or where its channels have ranges of their own."""
    if own is not None:
        names = channel_labels(shape[0], names, own)
    parts = []
    if len(shape) == 4:
        first, second, third = (size // 2 for size in shape[1:])
        parts.append(f"slices {first}, {second} and {third} across the first, second and third axis")
    if shape[0] not in (1, 3):
        suffix = f" of {shape[0]}" if shape[0] > MAX_CHANNELS else ""
        shown = ", ".join(names[:MAX_CHANNELS]) or f"channels 0 to {min(shape[0], MAX_CHANNELS) - 1}"
        parts.append(f"{shown}{suffix}")
    text = f"each from left to right: {', each '.join(parts)}" if parts else ""
    if shape[0] not in (1, 3) or not names:
        return text
    whole = names[0] if shape[0] == 1 else "red, green and blue: " + ", ".join(names)
    return f"{whole}; {text}" if text else whole


def tile(
    example: Num[np.ndarray, "channels *space"], value_range: Range, own: OwnRanges | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """One image (C, H, W) as bytes, or of a volume (C, D, H, W) three slices side by side; channels apart unless 1 or 3,
    each in its own range if it has one."""
    grey = grey_levels(example, value_range) if own is None else grey_levels(within(example, own), UNIT)
    if grey.ndim == 3:
        return _colours(grey)
    # through the middle of each axis: (C, H, W), (C, D, W) and (C, D, H)
    return _beside([_colours(grey.take(grey.shape[axis] // 2, axis=axis)) for axis in (1, 2, 3)])


def grey_levels(values: Num[np.ndarray, "*shape"], value_range: Range) -> UInt8[np.ndarray, "*shape"]:
    """Values as bytes, those of the range's ends and beyond as 0 and 255; NaN as 0."""
    low, high = value_range
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.round(255 * np.nan_to_num(share)).astype(np.uint8)


def _colours(grey: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W', 3)."""
    if len(grey) == 3:
        return grey.transpose(1, 2, 0)
    return _beside([np.repeat(channel[:, :, None], 3, axis=2) for channel in grey[:MAX_CHANNELS]])


def _beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) in a row with a seam of one pixel between them, the lower ones filled up in its colour."""
    height, parts = max(map(len, pictures)), []
    for picture in pictures:
        part = np.full((height, picture.shape[1] + 1, 3), np.round(255 * np.array(_SEAM)), dtype=np.uint8)
        part[: len(picture), :-1] = picture
        parts.append(part)
    return np.concatenate(parts, axis=1)[:, :-1]


def _captioned(image, text: str):
    """The image with a line below it, broken where it is narrower than the line."""
    from PIL import Image, ImageDraw, ImageFont

    font, room = ImageFont.load_default(16), image.width - 12
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    below = Image.new("RGB", (image.width, image.height + 20 * len(lines) + 8), "white")
    below.paste(image, (0, 0))
    ImageDraw.Draw(below).multiline_text((6, image.height + 4), "\n".join(lines), fill=INK, font=font)
    return below
