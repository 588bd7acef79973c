"""The README's pictures, from one run: its data, samples as `lowerbound sample` draws them, the way from noise to data, and
where the bits go.

python docs/strip.py                             # of the run that `make demo` makes, into docs/strip.png
python docs/strip.py runs/mnist --out mnist.png  # of any other run of images
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowerbound import generate, open_run
from lowerbound.evaluate.profile import profile
from lowerbound.pictures import bound_by_time, denoising_strip, sample_grid
from lowerbound.pictures.canvas import INK
from lowerbound.run.autoguided import for_samples
from lowerbound.run.generate import states

ROOT = Path(__file__).parent.parent
HEIGHT, GAP, CAPTION = 300, 24, 26
"""Of the pictures, between them, and for the words above them, in pixels."""
EXAMPLES, ROWS, STATES = 49, 5, 8
COLOURS = 64


def main() -> None:
    """Draw the strip of a run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path, default=ROOT / "demo" / "digits", help="the run folder")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "strip.png", help="the picture to write")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        draw_strip(draw_pictures(arguments.run, Path(folder)), arguments.out)


def draw_pictures(run_folder: Path, folder: Path) -> dict[str, Path]:
    """Each picture of the strip as the library draws it, by its caption."""
    run = open_run(run_folder)
    drawn = for_samples(run)
    dataset = run.open_dataset()
    shown = np.random.default_rng(0).choice(dataset.train, EXAMPLES, replace=False)
    value_range = dataset.spec.encoding.value_range
    bits = profile(run, dataset, split="validation")
    return {
        "data": sample_grid(folder / "data.png", dataset.examples[shown], value_range),
        "samples": sample_grid(folder / "samples.png", generate(drawn, EXAMPLES), value_range),
        "from noise to data": denoising_strip(
            folder / "path.png", list(states(drawn, ROWS, num_states=STATES)), value_range, rows=ROWS
        ),
        "where the bits go": bound_by_time(folder / "bound.png", bits.gamma, bits.bits, bits.errors),
    }


def draw_strip(pictures: dict[str, Path], out: Path) -> None:
    """Put pictures of one height side by side, each below its caption, into a PNG of few colours."""
    panels = []
    for file in pictures.values():
        with Image.open(file) as image:
            panels.append(image.convert("RGB").resize((round(image.width * HEIGHT / image.height), HEIGHT)))
    width = sum(panel.width for panel in panels) + GAP * (len(panels) - 1)
    strip = Image.new("RGB", (width, CAPTION + HEIGHT), "white")
    draw, font, left = ImageDraw.Draw(strip), ImageFont.load_default(18), 0
    for caption, panel in zip(pictures, panels, strict=True):
        draw.text((left, 0), caption, fill=INK, font=font)
        strip.paste(panel, (left, CAPTION))
        left += panel.width + GAP
    strip.quantize(COLOURS).save(out, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
