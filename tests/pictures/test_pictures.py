"""Pictures are written, show the data, and leave matplotlib's global state alone."""

import dataclasses
import itertools
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from lowerbound.data import open_dataset
from lowerbound.data.arrays.axes import Axes
from lowerbound.errors import InputError
from lowerbound.pictures.animation import animation
from lowerbound.pictures.curves import bound_by_time, minute_ticks, training_curve
from lowerbound.pictures.mosaic import explained, own_ranges_of_fields, tile
from lowerbound.pictures.path import denoising_strip
from lowerbound.pictures.ranges import own_ranges
from lowerbound.pictures.samples import sample_grid
from lowerbound.pictures.standing import standing
from lowerbound.pictures.theory import LADDERS, ladder, spreads

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


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.float16])
@pytest.mark.parametrize("shape", [(1,), (3,), (1, 40), (1, 8, 8)], ids=str)
def test_every_type_is_drawn(tmp_path, shape, dtype):
    samples = (np.random.default_rng(0).random((9, *shape)) * 2).astype(dtype)
    data = samples if len(shape) == 1 else None
    assert pixels(sample_grid(tmp_path / "grid.png", samples, (0, 1), data)).std() > 5
    states = [(t, samples) for t in (1.0, 0.0)]
    assert pixels(denoising_strip(tmp_path / "strip.png", states, (0, 1))).std() > 5


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved, original = [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        saved.append(figure)
        original(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def boxes(figure) -> dict[str, Bbox]:
    """Where the words of a figure stand."""
    unseen = set()  # numbers of ticks beyond the ends of their axis
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        beyond = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        unseen |= {label for tick in beyond for label in (tick.label1, tick.label2)}
    found = {}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in unseen:
            found[f"{len(found)} {text.get_text()}"] = text.get_window_extent(figure.canvas.get_renderer())
    return found


def assert_legible(figure) -> None:
    """No two words of a figure overlap."""
    for (one, first), (other, second) in itertools.combinations(boxes(figure).items(), 2):
        assert not first.shrunk(0.9, 0.9).overlaps(second.shrunk(0.9, 0.9)), (one, other)


PAUSES = {
    "even": np.arange(200) / 60,
    "one long pause": np.arange(200) / 60 + 30 * (np.arange(200) > 100),
    "many pauses": np.arange(200) / 60 + 5 * (np.arange(200) // 50),
    "minutes in tenths": np.round(np.arange(200) / 300, 1),
    "days": 2000 + 17.0 * np.arange(200),
    "at the end": np.where(np.arange(200) == 199, 100.0, np.arange(200) / 600),
}


@pytest.mark.parametrize("minutes", PAUSES.values(), ids=PAUSES)
def test_minutes_stand_apart_and_belong_to_their_steps(tmp_path, figures, minutes):
    steps = np.arange(200) * 1000
    training_curve(tmp_path / "a.png", steps, 2 + np.exp(-steps / 20_000), steps[:0], steps[:0], minutes=minutes)
    assert_legible(figures[0])
    places, labels = minute_ticks(steps, minutes, (-1e4, 2.1e5))
    assert 3 <= len(places) <= 8
    assert np.diff(places).min() >= 2.2e5 / 8 * 0.999
    assert [float(label) for label in labels] == pytest.approx(np.interp(places, steps, minutes), rel=5e-3, abs=1e-9)


def test_the_bound_s_words_stand_apart(tmp_path, figures):
    bound_by_time(tmp_path / "a.png", np.linspace(-13.3, 5, 21), np.full(20, 0.1), np.full(20, 0.01))
    assert_legible(figures[0])


SCALES = np.array([[1.0, 1000.0, 1e-4]])


def paths(spread: float) -> list[tuple[float, np.ndarray]]:
    """Vectors of three scales and offsets under noise so many times as wide as they are."""
    rng = np.random.default_rng(2)
    data, noise = rng.normal(size=(2, 300, 3))
    return [(t, (data + spread * t * noise) * SCALES + 5 * SCALES) for t in (1.0, 0.5, 0.0)]


@pytest.mark.parametrize("spread", [0.0, 1.0, 80.0])
@pytest.mark.parametrize("num_dims", [2, 3])
def test_a_vector_s_way_fills_frames_that_stay(tmp_path, figures, spread, num_dims):
    states = [(t, batch[:, :num_dims]) for t, batch in paths(spread)]
    denoising_strip(tmp_path / "a.png", states, (-2000.0, 9000.0))
    assert_legible(figures[0])
    frames = figures[0].axes
    assert len(frames) == 3 * (1 if num_dims == 2 else 2)
    for first in range(0, len(frames), 3):
        rows = frames[first : first + 3]
        assert {axis.get_xlim() for axis in rows} == {rows[0].get_xlim()}
        assert {axis.get_ylim() for axis in rows} == {rows[0].get_ylim()}
        for axis in rows:
            points = axis.collections[0].get_offsets()
            low, high = np.array([axis.get_xlim(), axis.get_ylim()]).T
            share = (points.max(0) - points.min(0)) / (high - low)
            assert (share > 0.25).all()
            assert (points >= low).all()
            assert (points <= high).all()


def test_a_number_s_way_is_histograms_of_one_axis(tmp_path, figures):
    denoising_strip(tmp_path / "a.png", [(t, batch[:, :1]) for t, batch in paths(1.0)], (0.0, 1.0))
    assert len({axis.get_xlim() for axis in figures[0].axes}) == 1
    assert all(axis.patches for axis in figures[0].axes)


def test_an_animation_s_frames_stay(tmp_path, figures):
    animation([batch for _, batch in paths(1.0)], (0.0, 1.0), ".gif")
    assert len({figure.axes[3].get_xlim() for figure in figures}) == 1


def test_pairs_have_a_legend(tmp_path, figures):
    values = np.random.default_rng(3).normal(size=(40, 12))
    sample_grid(tmp_path / "a.png", values, (0.0, 1.0), values)
    sample_grid(tmp_path / "b.png", values[:, :3], (0.0, 1.0))
    words = [" | ".join(boxes(figure)) for figure in figures]
    assert "samples, below" in words[0]
    assert "data, above" in words[0]
    assert "the first 5 of 12 dimensions" in words[0]
    assert "samples, below" in words[1]
    assert "data" not in words[1]
    for figure in figures:
        assert_legible(figure)


@pytest.mark.parametrize(("num_samples", "columns"), [(16, None), (1, 1), (4, 1)])
def test_a_legend_of_many_channels_has_room_of_its_own(num_samples, columns, tmp_path, figures):
    samples = np.random.default_rng(7).normal(size=(num_samples, 7, 72)) * np.array(
        [[10], [3], [9], [1], [2], [0.5], [8]]
    )
    names = [*"ABCDEF", "a very long name of a channel"]
    sample_grid(tmp_path / "a.png", samples, (-30.0, 30.0), columns=columns, names=names)
    (figure,) = figures
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    for axis in figure.axes:
        assert not legend.get_window_extent().overlaps(axis.get_window_extent())
        assert axis.get_window_extent().height > 0.5 * figure.dpi
    colours = [line.get_color() for line in legend.get_lines()]
    apart = [np.abs(np.subtract(one, other)[:3]).max() for one, other in itertools.combinations(colours, 2)]
    assert min(apart) > 0.1


def test_series_have_axes_and_channels(tmp_path, figures):
    samples = np.random.default_rng(4).normal(size=(5, 2, 40))
    sample_grid(tmp_path / "a.png", samples, (-3.0, 3.0), columns=2)
    denoising_strip(tmp_path / "b.png", [(1.0, samples), (0.0, samples)], (-3.0, 3.0))
    for figure in figures:
        words = " | ".join(boxes(figure))
        assert_legible(figure)
        for word in ("position", "value", "channel 0", "channel 1", " 0 |"):
            assert word in words


def test_channels_of_very_different_scale_are_each_drawn_in_their_own_range(tmp_path, figures):
    rng = np.random.default_rng(5)
    samples = rng.normal(size=(4, 4, 40)) * np.array([1, 1, 1e-3, 0])[:, None] + np.array([0, 1000, 0, 7])[:, None]
    samples[0, 0, :5] = np.nan
    sample_grid(tmp_path / "a.png", samples, (-3.0, 1003.0), names=["wind", "pressure", "rain", "height"])
    sample_grid(tmp_path / "b.png", samples[:1], (-3.0, 1003.0))
    denoising_strip(tmp_path / "c.png", [(1.0, rng.normal(size=samples.shape)), (0.0, samples)], (-3.0, 1003.0))
    for figure in figures:
        assert_legible(figure)
        lines = figure.axes[-1].lines
        low, high = figure.axes[-1].get_ylim()
        for line in lines[:3]:
            assert np.nanmax(line.get_ydata()) - np.nanmin(line.get_ydata()) > 0.5 * (high - low), (
                "no channel is a flat line"
            )
    assert re.search(r"pressure, 99\d\.\d to 100\d\b", " | ".join(boxes(figures[0])))
    sample_grid(tmp_path / "d.png", np.full((2, 2, 9), np.nan), (0.0, 1.0))


def test_a_legend_of_the_training_curve_lies_over_no_curve(tmp_path, figures):
    steps, checks = np.arange(100), np.array([10, 50, 90])
    for is_bound in (True, False):
        wide = 2 + np.sin(steps)  # from edge to edge of the axes
        training_curve(tmp_path / "a.png", steps, wide, checks, wide[checks], is_bound=is_bound)
        figure = figures[-1]
        assert_legible(figure)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["held-out bound", "training loss"][
            :: 1 if not is_bound else -1
        ]
        for axis in figure.axes:
            assert axis.get_legend() is None
            assert not legend.get_window_extent().overlaps(axis.get_window_extent())


def test_three_slices_of_a_volume(tmp_path, figures):
    volume = np.zeros((1, 1, 4, 6, 9))
    volume[0, 0, 2, 1, 7], volume[0, 0, 3, 3, 2], volume[0, 0, 1, 5, 4] = 1, 1, 1  # one in each of the slices
    picture = tile(volume[0], (0.0, 1.0))
    assert picture.shape == (6, 9 + 1 + 9 + 1 + 6, 3)
    white = np.argwhere((picture == 255).all(2)).tolist()
    assert white == [[1, 7], [1, 20 + 5], [3, 10 + 2]]
    path = sample_grid(tmp_path / "a.png", np.concatenate([volume] * 4), (0.0, 1.0))
    bare = sample_grid(tmp_path / "b.png", volume[:1, :, 0], (0.0, 1.0))
    with Image.open(path) as drawn, Image.open(bare) as plain:
        assert drawn.size[1] % 20 != plain.size[1] % 20 or drawn.size != plain.size
        assert np.asarray(drawn)[-20:].min() < 128  # the line that says so
    denoising_strip(tmp_path / "c.png", [(1.0, volume), (0.0, volume)], (0.0, 1.0))
    assert "slices 2, 3 and 4 across the first, second and third axis" in " ".join(boxes(figures[0]))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 20), (1, 4, 6, 5)], ids=str)
def test_a_strip_has_each_example_below_its_time(tmp_path, figures, shape):
    rng, times = np.random.default_rng(0), np.linspace(1, 0, 9).tolist()
    states = [(t, rng.random((6, *shape))) for t in times]
    denoising_strip(tmp_path / "a.png", states, (0.0, 1.0), rows=3)
    (figure,) = figures
    assert_legible(figure)
    words = boxes(figure)
    assert all(figure.bbox.contains(*corner) for box in words.values() for corner in box.corners())
    assert [word.split(" ", 1)[1] for word in words][:9] == ["t = 1", *(f"{t:.2g}" for t in times[1:])]
    (axis,) = figure.axes
    sheet = axis.images[0].get_array()
    height, width, _ = tile(states[0][1][0], (0.0, 1.0)).shape
    across = round((sheet.shape[1] - width) / 8)  # from one column to the next
    down = round((sheet.shape[0] - height) / 2)
    for column, centre in enumerate(axis.get_xticks()):
        left = round(centre - (width - 1) / 2)
        assert left == column * across
        for row in range(3):
            drawn = sheet[row * down : row * down + height, left : left + width]
            assert np.array_equal(drawn, tile(states[column][1][row], (0.0, 1.0)))


def test_it_is_said_what_is_left_out_of_an_example():
    assert explained((1, 8, 8)) == explained((3, 8, 8)) == ""
    assert explained((2, 8, 8)) == "each from left to right: channels 0 to 1"
    assert explained((12, 8, 8)).endswith("channels 0 to 7 of 12")
    assert "slices 2, 3 and 4" in explained((3, 4, 6, 9))
    assert "channels" not in explained((3, 4, 6, 9))
    assert explained((2, 4, 6, 9)).endswith("axis, each channels 0 to 1")


def test_columns_and_variables_have_their_names(tmp_path, figures):
    values = np.random.default_rng(4).normal(size=(30, 3))
    names = ["price in $", "cost in $", "of a length that goes on and on"]
    sample_grid(tmp_path / "a.png", values, (-3.0, 3.0), values, names=names)
    sample_grid(tmp_path / "b.png", values[:, :2], (-3.0, 3.0), values[:, :2], names=names[:2])
    sample_grid(tmp_path / "c.png", values[:, :1], (-3.0, 3.0), names=names[:1])
    sample_grid(tmp_path / "d.png", np.ones((2, 2, 9)), (0.0, 1.0), names=["load", "oil"])
    words = [" | ".join(boxes(figure)) for figure in figures]
    shown = [
        (r"price in \$", r"cost in \$", "of a length that go..."),
        (r"price in \$", r"cost in \$"),
        (r"price in \$",),
        ("load", "oil"),
    ]
    for text, expected in zip(words, shown, strict=True):
        assert all(name in text for name in expected)
        assert not any(word in text for word in ("dimension", "channel"))


def test_fields_have_variables_with_units():
    assert explained((1, 8, 8), ["t (K)"]) == "t (K)"
    assert explained((2, 8, 8), ["u (m/s)", "v (m/s)"]) == "each from left to right: u (m/s), v (m/s)"
    assert explained((3, 8, 8), ["u", "v", "w"]) == "red, green and blue: u, v, w"
    axes = Axes(("u", "t"), ("m/s", ""), "time", ("lat", "lon"), ((), ()), ("", ""))
    spec = open_dataset("digits").spec
    assert spec.names == ()
    assert dataclasses.replace(spec, shape=(2, 8, 8), axes=axes).names == ("u (m/s)", "t")


def test_nothing_finite_is_said(tmp_path, figures):
    values = np.full((20, 2), np.nan)
    sample_grid(tmp_path / "a.png", values, (0.0, 1.0))
    denoising_strip(tmp_path / "b.png", [(1.0, values), (0.0, values)], (0.0, 1.0))
    assert "20 not finite" in " ".join(boxes(figures[0]))
    sample_grid(tmp_path / "c.png", np.full((20, 4), np.inf), (0.0, 1.0), np.zeros((3, 4)))


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


def test_error_bars_of_a_run_s_checks_are_not_cut_off_below(tmp_path, figures):
    steps, checks = np.arange(100), np.array([60, 75, 90])
    for is_bound in (True, False):
        held_out, errors = np.array([1.73, 1.71, 1.70]), np.full(3, 0.2)
        training_curve(
            tmp_path / "a.png", steps, np.full(100, 1.7), checks, held_out, held_out_errors=errors, is_bound=is_bound
        )
        assert figures[-1].axes[0].get_ylim()[0] < (held_out - errors).min()


def test_where_a_figure_stands_is_told_for_each_set(tmp_path, figures):
    others = {"held-out examples": np.arange(10.0), "training examples": np.append(np.arange(4.0), np.nan)}
    assert pixels(standing(tmp_path / "a.png", others, 2.5, "bits")).std() > 5
    words = [text.get_text() for text in figures[-1].axes[0].get_legend().get_texts()]
    assert words == ["held-out examples: 30% of 10 lie below", "training examples: 75% of 4 lie below"]
    with pytest.raises(InputError, match="no figures"):
        standing(tmp_path / "b.png", {"held-out examples": np.array([np.nan])}, 2.5, "bits")


def test_a_loss_that_is_no_bound_has_axes_of_its_own(tmp_path):
    """Its size is none in bits: the held-out curve fills its own axes, however large the loss."""
    steps, checks = np.arange(100), np.array([10, 50, 90])
    held_out = np.array([2.0, 1.8, 1.7])

    def drawn(loss, **given):
        return pixels(training_curve(tmp_path / "a.png", steps, loss, checks, held_out, **given))

    loss = 3 - steps / 100
    apart = drawn(loss, is_bound=False)
    assert apart.shape[0] > drawn(loss).shape[0]
    half = slice(0, apart.shape[0] // 2 - 40)
    assert (apart[half] == drawn(loss + 5, is_bound=False)[half]).mean() > 0.99
    assert (drawn(loss)[:150] == drawn(loss + 5)[:150]).mean() < 0.99

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


def test_the_ladder_and_the_spreads_are_drawn(tmp_path, figures):
    assert pixels(ladder(tmp_path / "ladder.png")).std() > 5
    assert len(figures[-1].axes) == len(LADDERS)
    draws = {"one": np.array([1.0, 2.0, 3.0]), "two": np.array([2.0, 2.0, 2.0])}
    assert pixels(spreads(tmp_path / "spreads.png", draws, "nats")).std() > 5
    assert [text.get_text() for text in figures[-1].axes[0].get_yticklabels()] == ["one", "two"]


def test_fields_in_units_of_their_own_are_drawn_in_ranges_of_their_own(tmp_path):
    """A temperature about 280 K beside a wind about 0: on one range they would be white and black."""
    generator = np.random.default_rng(0)
    fields = generator.normal([[[280.0]], [[0.0]]], [[[5.0]], [[2.0]]], (6, 2, 8, 8)).astype(np.float32)
    own = own_ranges(fields)
    grey = tile(fields[0], (-6.0, 295.0), own)[:, :, 0]
    for part in (grey[:, :8], grey[:, 9:17]):
        assert part.std() > 20
    assert own is not None
    assert "t2m, " in explained((2, 8, 8), ["t2m", "u10"], own)
    assert f"{own[0, 0]:.4g} to {own[0, 1]:.4g}" in explained((2, 8, 8), ["t2m", "u10"], own)
    picture = sample_grid(tmp_path / "fields.png", fields, (-6.0, 295.0), names=["t2m", "u10"])
    with Image.open(picture) as image:
        values = np.asarray(image.convert("L"))
    assert len(np.unique(values)) > 100
    assert own_ranges_of_fields(fields.clip(0, 255).astype(np.uint8)) is None  # of levels a dark channel stays dark
