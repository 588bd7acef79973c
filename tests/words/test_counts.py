"""Numbers of things are written as people write them."""

import pytest

from lowerbound.words.counts import counted
from lowerbound.words.nearest import nearest


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "example", "0 examples"),
        (1, "example", "1 example"),
        (1.0, "call", "1 call"),
        (16.5, "call", "16.5 calls"),
        (1439, "held-out example", "1,439 held-out examples"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "category", "3 categories"),
        (2, "array", "2 arrays"),
        (2, "series", "2 series"),
        (2, "index", "2 indexes"),
    ],
)
def test_one_is_singular(number, noun, text):
    assert counted(number, noun) == text


def test_the_name_that_is_written_nearly_so_is_found():
    assert nearest("sitee", ["age", "site", "response"]) == "site"
    assert nearest("patient", ["age", "site", "response"]) is None
