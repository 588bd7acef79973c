"""How a table of text is written: its encoding, what separates its columns, their names, and how numbers look."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowerbound.data.config import DataConfig
from lowerbound.data.tables.text_types import MISSING, Numbers, is_value, recognised_numbers
from lowerbound.errors import InputError
from lowerbound.words.counts import counted
from lowerbound.words.printable import printable

BLANKS = "blanks"
"""A separator: any number of blanks and tabs."""
_NAMES = {"\t": "tab", BLANKS: "blanks"}
_SEPARATORS = ("\t", ";", "|", ",", BLANKS)
_START = 1 << 18
"""Bytes that are looked at to find out how a table is written."""
_PIECE = 1 << 24
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"(\xb5/\xfd": "zstd"}
_ONE = re.compile(r'"(?:[^"]|"")*"|[^\s"]\S*')
"""An entry between blanks."""


@dataclass(frozen=True)
class Dialect:
    """How a table of text is written.

    Arguments:
        path: its file.
        encoding: of its characters, as Python calls it.
        separator: a character, or `BLANKS`.
        names: of the columns, fit to be printed.
        has_header: whether they stand in the file.
        skipped: lines above the first row: comments and the header.
        numbers: how its numbers are written.
    """

    path: Path
    encoding: str
    separator: str
    names: tuple[str, ...]
    has_header: bool
    skipped: int
    numbers: Numbers

    @property
    def note(self) -> str:
        """How the table was read, in words."""
        separator = _NAMES.get(self.separator, f"'{self.separator}'")
        num = len(self.names)
        names = f"header of {counted(num, 'name')}" if self.has_header else f"no header, {counted(num, 'column')}"
        parts = [f"separator {separator}", f"decimal {'comma' if self.numbers.decimal == ',' else 'point'}", names]
        if comments := self.skipped - self.has_header:
            parts.append(f"{counted(comments, 'line')} above {'it' if self.has_header else 'the first row'} left out")
        if self.encoding != "utf-8":
            with_mark = self.encoding == "utf-8-sig"
            parts.append("UTF-8 with a byte-order mark" if with_mark else f"encoding {self.encoding}")
        return "read as   " + ", ".join(parts)

    @property
    def delimiter(self) -> str:
        """What separates the columns of `pieces`."""
        return "\t" if self.separator == BLANKS else self.separator

    def pieces(self) -> Iterator[bytes]:
        """The rows, in UTF-8 and with one separator between two entries, in pieces."""
        left = self.skipped
        rest = ""
        for text in self._texts():
            lines = (rest + text).split("\n")
            if left or self.separator == BLANKS:
                rest = lines.pop()
                dropped = min(left, len(lines))
                lines, left = lines[dropped:], left - dropped
                if self.separator == BLANKS:
                    lines = ["\t".join(split) for line in lines if (split := _ONE.findall(line))]
                if lines:
                    yield ("\n".join(lines) + "\n").encode()
            else:
                yield (rest + text).encode()
                rest = ""
        if rest and not left:
            yield ("\t".join(_ONE.findall(rest)) if self.separator == BLANKS else rest).encode()

    def line(self, row: int) -> int:
        """The line of the file in which a row begins, both counted from 1 and 0."""
        if self.separator == BLANKS:
            filled = (number for number, line in enumerate(self._lines(), 1) if number > self.skipped and line.strip())
            return next((number for k, number in enumerate(filled) if k == row), 0)
        reader = csv.reader(self._lines(), delimiter=self.separator)
        csv.field_size_limit(1 << 30)
        before, k = self.skipped, 0
        for _ in range(self.skipped):
            next(reader)
        for entries in reader:
            if entries or len(self.names) == 1:
                if k == row:
                    return before + 1
                k += 1
            before = reader.line_num
        return before + 1

    def check(self) -> None:
        """Refuse, with an InputError that names the line, bytes that are no text, and quotation marks that do not close."""
        decoder, line = codecs.getincrementaldecoder(self.encoding)(), 1
        quotes = None if self.separator == BLANKS else _Quotes(self.path, self.separator)
        with _opened(self.path) as file:
            while True:
                piece = file.read(_PIECE)
                try:
                    text = decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].count(b"\n")
                    byte = error.object[error.start]
                    raise InputError(
                        f"{self.path}, line {line} is no text in {self.encoding} (byte 0x{byte:02x}): give --text-encoding, "
                        "such as latin-1 or cp1252"
                    ) from error
                if "\0" in text:
                    line += text[: text.index("\0")].count("\n")
                    raise InputError(
                        f"{self.path}, line {line} holds a NUL byte, which is in no text: the file is damaged, or no table "
                        "of text, or in UTF-16 without a mark, which --text-encoding utf-16-le would read"
                    )
                if quotes is not None:
                    quotes.check(text.encode(), line, is_last=not piece)
                line += text.count("\n")
                if not piece:
                    return

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        turner = io.IncrementalNewlineDecoder(None, translate=True)
        with _opened(self.path) as file:
            while piece := file.read(_PIECE):
                yield turner.decode(decoder.decode(piece))
            yield turner.decode(decoder.decode(b"", final=True), final=True)

    def _lines(self) -> Iterator[str]:
        rest = ""
        for text in self._texts():
            *lines, rest = (rest + text).split("\n")
            yield from (f"{line}\n" for line in lines)
        if rest:
            yield rest


_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?\r?\n')
"""A first line by which Excel is told the separator."""


class _Quotes:
    """Whether quotation marks open where an entry begins and close where it ends, looked at piece by piece."""

    def __init__(self, path: Path, separator: str):
        self._path = path
        self._ends = np.frombuffer(f'{separator}\r\n"'.encode(), np.uint8)
        self._is_open = False
        self._opened_in = 0
        self._last = b"\n"
        self._at_end = False  # the last byte of the piece before was a closing mark

    def check(self, piece: bytes, line: int, is_last: bool) -> None:
        """Look at a piece that begins in a line; refuse, with an InputError, a mark out of place."""
        text = np.frombuffer(self._last + piece + (b"\n" if is_last else b""), np.uint8)
        marks = np.flatnonzero(text[1:] == ord('"')) + 1
        if self._at_end and len(text) > 1 and text[1] not in self._ends:
            self._refuse(text, 1, line)
        self._at_end = False
        if len(marks):
            opening = marks[int(self._is_open) :: 2]
            closing = marks[1 - int(self._is_open) :: 2]
            bad = opening[~np.isin(text[opening - 1], self._ends)]
            if len(closing) and closing[-1] == len(text) - 1:
                self._at_end, closing = True, closing[:-1]
            worse = closing[~np.isin(text[closing + 1], self._ends)]
            first = min([*bad[:1], *worse[:1]], default=None)
            if first is not None:
                self._refuse(text, int(first), line)
            if len(opening) and (len(marks) + self._is_open) % 2:
                self._opened_in = line + int((text[1 : opening[-1]] == ord("\n")).sum())
            self._is_open = bool((len(marks) + self._is_open) % 2)
        if is_last and self._is_open:
            raise InputError(
                f"{self._path}, line {self._opened_in}: a quotation mark opens and never closes: the file is cut off, or "
                "the mark belongs to an entry, and has to be doubled within two others"
            )
        self._last = piece[-1:] or self._last

    def _refuse(self, text: np.ndarray, offset: int, line: int) -> None:
        number = line + int((text[1:offset] == ord("\n")).sum())
        near = text[max(0, offset - 15) : offset + 15].tobytes().decode(errors="replace").strip()
        raise InputError(
            f"{self._path}, line {number}: a quotation mark within an entry ({printable(near)}): put the entry between "
            'marks and double those in it, as in "5"" pipe"'
        )


def recognise(path: Path, config: DataConfig) -> Dialect:
    """Find out how a table is written, from its beginning and what is said of it.

    Raises:
        InputError: if the file is empty, packed, or has no rows; or a setting does not fit it.
    """
    encoding, start = _beginning(path, config.text_encoding)
    lines = start.splitlines(keepends=True)
    separator_line = _SEPARATOR_LINE.match(start)
    comments = 1 if separator_line else 0
    while comments < len(lines) and (lines[comments].startswith("#") or not lines[comments].strip()):
        comments += 1
    if comments == len(lines):
        raise InputError(f"{path} holds no rows")
    marks = {*MISSING, *config.missing}
    separator = _separator(
        config.separator or (separator_line and separator_line[1]), lines[comments:], marks, path.suffix
    )
    rows = _split(lines[comments:], separator)
    numbers = recognised_numbers([entry for row in rows[1:] for entry in row], config.decimal)
    head = [name.strip() for name in rows[0]]
    has_header = _has_header(path, comments + 1, head, rows[1:], numbers, marks, config.header)
    if has_header:
        names = head
    else:
        names = [f"column_{k}" for k in range(1, _usual_length(rows) + 1)]
        words = _split([lines[comments - 1].lstrip("# ")], separator)[0] if comments > bool(separator_line) else []
        if len(words) == len(names) and not any(is_value(word, numbers) for word in words):
            names = [word.strip() for word in words]  # as numpy.savetxt writes them
    if has_header and len(rows) == 1:
        raise InputError(
            f"{path} holds a line of names and no rows" + (": give --header no if it is a row" if head else "")
        )
    skipped = comments + (_lines_of_first_row(lines[comments:], separator) if has_header else 0)
    return Dialect(path, encoding, separator, tuple(map(printable, names)), has_header, skipped, numbers)


def _opened(path: Path):
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _beginning(path: Path, encoding: str | None) -> tuple[str, str]:
    """The encoding, and the whole lines that a file begins with."""
    with _opened(path) as file:
        start = file.read(_START)
        is_all = len(start) < _START
    if not start:
        raise InputError(f"{path} is empty")
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise InputError(f"{path} is packed ({name}) and no text: unpack it first")
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    except LookupError:
        raise InputError(
            f"--text-encoding {encoding} is none that is known: utf-8, latin-1, cp1252 and utf-16 are some"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not is_all and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    return codecs.lookup(encoding).name, text


def _separator(chosen: str | None, lines: list[str], marks: set[str], suffix: str) -> str:
    if chosen is not None:
        character = {"tab": "\t", "\\t": "\t", BLANKS: BLANKS, " ": BLANKS}.get(chosen, chosen)
        if character != BLANKS and (len(character) != 1 or character in '"\r\n'):
            raise InputError(f"--separator is {chosen!r}: it is one character, tab or blanks")
        return character

    def fitness(separator: str) -> tuple[float, float]:
        """The share of lines with the usual number of entries, if it is more than one, and of entries that look whole."""
        rows = _split(lines, separator)
        length = _usual_length(rows)
        if length < 2:
            return 0.0, 0.0
        alike = sum(len(row) == length for row in rows) / len(rows)
        entries = [entry.strip() for row in rows[1:] for entry in row]
        whole = sum(entry in marks or _looks_whole(entry) for entry in entries) / max(1, len(entries))
        return round(alike, 1), whole

    best = max(_SEPARATORS, key=fitness)  # the first of equals
    if fitness(best) == (0.0, 0.0):
        return "\t" if suffix.lower() in (".tsv", ".tab") else ","
    return best


def _looks_whole(entry: str) -> bool:
    """A number without anything else, or what has no separator in it."""
    number = r"[+-]?[\d.,' \u00a0\u202f]*\d[.,]?(?:[eE][+-]?\d+)?"
    return not re.search(r"[\t;|,]", entry) or bool(re.fullmatch(number, entry))


def _split(lines: list[str], separator: str) -> list[list[str]]:
    """The entries of lines; of those between quotation marks, what is between them."""
    if separator == BLANKS:
        rows = [[entry[1:-1] if entry[:1] == '"' else entry for entry in _ONE.findall(line)] for line in lines]
    else:
        csv.field_size_limit(1 << 30)
        rows = list(csv.reader(lines, delimiter=separator))
    return [row for row in rows if row] or [[]]


def _lines_of_first_row(lines: list[str], separator: str) -> int:
    if separator == BLANKS:
        return 1
    reader = csv.reader(lines, delimiter=separator)
    next(reader)
    return reader.line_num


def _usual_length(rows: list[list[str]]) -> int:
    return Counter(map(len, rows)).most_common(1)[0][0]


def _has_header(
    path: Path, line: int, head: list[str], rows: list[list[str]], numbers: Numbers, marks: set[str], header: str | None
) -> bool:
    """Whether a table's first line holds names: none of its entries is a number or a date.

    Raises:
        InputError: if it holds names and numbers, above numbers alike.
    """
    if header is not None:
        return header == "yes"
    values = [name for name in head if is_value(name, numbers)]
    if not values:
        return any(name not in marks for name in head)
    for k, name in enumerate(head):
        below = [row[k].strip() for row in rows if k < len(row) and row[k].strip() not in marks]
        if (
            name not in marks
            and name not in values
            and below
            and all(is_value(entry, numbers) for entry in below[:100])
        ):
            raise InputError(
                f"{path}, line {line}: {printable(name)!r} stands above numbers as a name would, but {values[0]!r} beside "
                "it is a number: give --header yes if the line holds names, or --header no if it is a row"
            )
    return False
