"""Names that others chose do nothing to a terminal, and hide nothing."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.words.printable import printable, tolerate


@given(st.text())
def test_nothing_is_left_that_is_obeyed_or_hidden(text):
    shown = printable(text)
    assert all(unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in {"Zl", "Zp"} for c in shown)
    assert printable(shown) == shown
    shown.encode()


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_what_is_seen_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat\x1b[2J", r"cat\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nerror: b", r"a\nerror: b"),
        ("gpj\u202e.exe", r"gpj\u202e.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u200bb", r"a\u200bb"),
        ("\udcff.png", r"\udcff.png"),
        ("größe 猫 🐈", "größe 猫 🐈"),
    ],
)
def test_names(name, shown):
    assert printable(name) == shown


def test_the_lines_of_a_message_may_stay():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("ascii", "1.2 +- 0.1, Angstrom\\u4e2d"),
        ("latin-1", "1.2 ± 0.1, Ångström\\u4e2d"),
        ("utf-8", "1.2 ± 0.1, Ångström中"),
    ],
)
def test_a_poor_terminal_gets_other_characters(encoding, told):
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding=encoding)
    tolerate(stream)
    stream.write("1.2 ± 0.1, Ångström中")
    stream.flush()
    assert content.getvalue() == told.encode(encoding)


def test_half_a_character_ends_no_program():
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="utf-8")
    tolerate(stream)
    stream.write("a\udc80b")
    stream.flush()
    assert content.getvalue() == b"a\\udc80b"
