"""Names that others chose, made fit to be printed; and terminals that lack a character."""

import codecs
import io
import unicodedata

NEW_LINE = "\n"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of what is no visible character: controls, such as the escape that terminals obey; marks that turn
the direction of writing; halves of characters; separators of lines."""


def printable(text: str, keep: str = "") -> str:
    r"""A name from a file, or a text with such names in it, with all that a terminal would obey or hide as escapes.

    Names of files, classes and arrays are the choice of whoever made them: a folder can be called `cat\x1b[2J`. Written as
    Python would write it, that is seen and does nothing; every visible character stays as it is.

    Arguments:
        text: what to print.
        keep: characters to leave alone, such as the ends of lines in a message of several.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def tolerate(stream: object) -> None:
    """Let a stream write what its encoding lacks in other characters: ± as +-, an accent left out, or else an escape.

    In the locale C, or into a pipe of another encoding, Python would end a program at the first such character.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_PLAIN)


_PLAIN = "lowerbound-plain"
_SPELT = {"±": "+-", "\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_spelt, lacking)), error.end


def _spelt(character: str) -> str:
    """A character in those of ASCII."""
    bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _SPELT.get(character) or bare or _escaped(character)


codecs.register_error(_PLAIN, _plain)
