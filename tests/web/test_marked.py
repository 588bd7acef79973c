"""What is marked to be filled in: paint, boxes of one to three axes, columns and channels."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.web.marked import SPATIAL, box, marked, painted


def test_paint_covers_the_pixels_below_it():
    layer = np.zeros((80, 80, 4), np.uint8)
    layer[10:30, 40:56, 3] = 255  # rows 1 and 2; columns 4 whole and 5 by six tenths
    covered = painted([layer], (1, 8, 8))
    assert np.argwhere(covered).tolist() == [[1, 4], [1, 5], [2, 4], [2, 5]]
    assert not painted([], (1, 8, 8)).any()
    assert np.array_equal(box("1, 4, 2, 2", (1, 8, 8)), covered)
    assert np.array_equal(marked((1, 8, 8), [layer], "0 0 1 1", [])[0], covered | box("0 0 1 1", (1, 8, 8)))


@pytest.mark.parametrize(
    ("text", "shape", "where"),
    [
        ("48, 24", (7, 72), np.s_[48:72]),
        ("1 4 2 3", (8, 9, 9), np.s_[1:3, 4:7]),
        ("1,0,2,3,4,5", (1, 8, 8, 8), np.s_[1:4, 0:4, 2:7]),
    ],
)
def test_a_box_is_a_corner_and_a_size(text, shape, where):
    expected = np.zeros(shape[1:], bool)
    expected[where] = True
    assert np.array_equal(box(text, shape), expected)
    assert not box(" ", shape).any()


@pytest.mark.parametrize("shape", [(7, 72), (1, 8, 8), (1, 8, 8, 8)])
def test_the_example_of_a_box_is_one(shape):
    assert box(SPATIAL[len(shape) - 1][1], shape).any()


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1 2 3", (1, 8, 8)),
        ("0 0 9 1", (1, 8, 8)),
        ("-1 0 1 1", (1, 8, 8)),
        ("a b c d", (1, 8, 8)),
        ("0 0 0 1", (1, 8, 8)),
        ("70 3", (7, 72)),
        ("0 0 1 1", (7, 72)),
    ],
)
def test_what_is_no_box_is_refused_with_what_is_one(text, shape):
    with pytest.raises(InputError, match=SPATIAL[len(shape) - 1][0]):
        box(text, shape)


def test_columns_and_channels():
    assert marked((5,), [], "", [1, 3]).tolist() == [False, True, False, True, False]
    assert not marked((7, 72), [], "", []).any()
    some = marked((7, 72), [], "48, 24", [0, 6])
    assert some.sum() == 2 * 24
    assert some[[0, 6], 48:].all()
    assert np.array_equal(marked((7, 72), [], "48, 24", []), np.broadcast_to(box("48, 24", (7, 72)), (7, 72)))
    assert marked((7, 72), [], "", [2]).sum() == marked((7, 72), [], "", [2])[2].sum() == 72
