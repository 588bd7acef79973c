"""Pictures are written, show the data, and leave matplotlib's global state alone."""

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from lowerbound.errors import InputError
from lowerbound.pictures.curves import bound_by_time, training_curve
from lowerbound.pictures.samples import denoising_strip, sample_grid

SHAPES = [(1, 8, 8), (3, 7, 5), (2, 6, 6), (1, 4, 6, 5), (1, 40), (3, 40), (1,), (2,), (3,), (9,)]


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_is_drawn(tmp_path, shape):
    rng = np.random.default_rng(0)
    samples = rng.random((6, *shape)).astype(np.float32)
    data = rng.random((50, *shape)) if len(shape) == 1 else None
    drawn = pixels(sample_grid(tmp_path / "grid.png", samples, (0.0, 1.0), data))
    assert drawn.std() > 5
    states = [(t, samples) for t in (1.0, 0.5, 0.0)]
    assert pixels(denoising_strip(tmp_path / "strip.png", states, (0.0, 1.0))).std() > 5


def test_images_are_enlarged_pixel_for_pixel(tmp_path):
    images = np.random.default_rng(1).integers(0, 17, size=(6, 1, 4, 5))
    drawn = pixels(sample_grid(tmp_path / "grid.png", images, (0, 16), columns=3))
    zoom = round(640 / (3 * 5))
    gap = zoom // 2
    assert drawn.shape == (2 * (4 * zoom + gap) + gap, 3 * (5 * zoom + gap) + gap, 3)
    top, left = gap + 4 * zoom + gap, gap + 2 * (5 * zoom + gap)
    last = drawn[top : top + 4 * zoom : zoom, left : left + 5 * zoom : zoom, 0]
    assert np.abs(last - images[5, 0] * 255 / 16).max() <= 0.5


def test_values_outside_the_range_are_drawn_at_its_ends(tmp_path):
    images = np.array([-5.0, 20.0]).reshape(2, 1, 1, 1) * np.ones((1, 1, 4, 4))
    drawn = pixels(sample_grid(tmp_path / "grid.png", images, (0, 16), columns=2))
    middle = drawn.shape[0] // 2
    assert drawn[middle, drawn.shape[1] // 4, 0] == 0
    assert drawn[middle, 3 * drawn.shape[1] // 4, 0] == 255


def test_curves_are_drawn(tmp_path):
    steps = np.arange(1, 200)
    loss = 2 + 5 * np.exp(-steps / 20)
    checks = np.array([50, 100, 150])
    minutes = np.round(steps / 300, 1)
    path = training_curve(
        tmp_path / "a.png", steps, loss, checks, loss[checks], minutes=minutes, held_out_errors=np.full(3, 0.1)
    )
    assert pixels(path).std() > 5
    assert pixels(training_curve(tmp_path / "b.png", steps[:1], loss[:1], checks[:0], loss[:0])).std() > 5
    gamma = np.linspace(-13.3, 5, 21)
    assert pixels(bound_by_time(tmp_path / "c.png", gamma, np.linspace(0, 0.1, 20), np.full(20, 0.01))).std() > 5


def test_a_curve_that_met_nan_is_still_drawn(tmp_path):
    steps, loss = np.arange(3), np.array([2.0, np.nan, np.nan])
    assert pixels(training_curve(tmp_path / "a.png", steps, loss, steps[:0], loss[:0])).std() > 1


def test_global_state_is_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    bound_by_time(tmp_path / "c.png", np.array([0.0, 1.0]), np.array([0.5]))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: sample_grid(path, np.zeros((0, 1, 8, 8)), (0, 1)),
        lambda path: sample_grid(path, np.zeros((4, 1, 8, 8)), (1, 1)),
        lambda path: denoising_strip(path, [], (0, 1)),
        lambda path: training_curve(path, *[np.zeros(0)] * 4),
        lambda path: bound_by_time(path, np.array([1.0, 0.0]), np.array([0.5])),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, draw):
    with pytest.raises(InputError):
        draw(tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
