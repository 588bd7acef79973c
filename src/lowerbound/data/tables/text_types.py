"""What the texts of a column are: numbers, dates or names; recognised over all of its entries, and converted.

A column is of numbers, or of dates, if all of its entries are: a word among numbers is refused and named, never taken for a
missing entry, and never a reason to take the numbers for names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pyarrow as pa

from lowerbound.data.columns import ColumnKind
from lowerbound.data.tables import zones
from lowerbound.errors import InputError
from lowerbound.files.arrow import pc, where
from lowerbound.words.printable import printable

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None", "?", "-", "--", ".")
"""What stands for a missing entry; besides, whatever --missing names."""
_GROUPS = ",.' \u00a0\u202f"
"""Marks between thousands."""
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y")
_FORMATS = tuple(
    f"{day}{between}{time}{zone}"
    for day in _DAYS
    for time in _TIMES
    for between in (("",) if not time else (" ", "T"))
    for zone in (("",) if not time else ("", "%z"))
)
"""Dates that are recognised, with and without a time of day, and with an offset from UTC."""
_DIGITS = {
    "Y": r"\d{4}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "H": r"\d{1,2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "z": zones.PATTERN,
}


@dataclass(frozen=True)
class Numbers:
    """How numbers are written.

    Arguments:
        decimal: the decimal mark.
        is_certain: whether it was given, or numbers were seen that tell it from a mark between thousands.
    """

    decimal: str = "."
    is_certain: bool = False

    @cached_property
    def pattern(self) -> str:
        """Of a number, with marks between groups of three digits or without."""
        d = re.escape(self.decimal)
        grouped = "|".join(rf"(?:{re.escape(mark)}\d{{3}})+" for mark in _GROUPS if mark != self.decimal)
        return rf"^[+-]?(?:(?:\d+{d}?\d*|{d}\d+)(?:[eE][+-]?\d+)?|\d{{1,3}}(?:{grouped})(?:{d}\d*)?)$"

    @property
    def doubtful(self) -> str:
        """Of what could be a whole number with a mark between thousands, or one with a decimal mark."""
        other = "," if self.decimal == "." else r"\."
        return rf"^[+-]?\d{{1,3}}{other}\d{{3}}$"

    def parse(self, texts: pa.Array) -> pa.Array:
        """Numbers of texts that match the pattern."""
        marks = "".join(mark for mark in _GROUPS if mark != self.decimal)
        texts = pc.replace_substring_regex(texts, f"[{marks}]", "")
        if self.decimal != ".":
            texts = pc.replace_substring(texts, self.decimal, ".")
        return texts.cast(pa.float64())


def recognised_numbers(fields: list[str], decimal: str | None) -> Numbers:
    """How the numbers among some fields are written.

    Arguments:
        fields: of a table's beginning.
        decimal: the decimal mark, if it was given.
    """
    if decimal is not None:
        return Numbers(decimal, True)
    for mark, other in ((r"\.", ","), (",", r"\.")):
        # more digits than three behind it or fewer, or more before it, or both marks, or one several times
        certain = re.compile(
            rf"[+-]?(?:\d*{mark}(?:\d{{1,2}}|\d{{4,}})(?:[eE][+-]?\d+)?|\d{{4,}}{mark}\d+|0{mark}\d+|"
            rf"\d{{1,3}}(?:{other}\d{{3}})+{mark}\d+|\d{{1,3}}(?:{other}\d{{3}}){{2,}})"
        )
        if any(map(certain.fullmatch, fields)):
            return Numbers(mark[-1], True)
    return Numbers()


@dataclass(frozen=True)
class TextType:
    """What the entries of a column are.

    Arguments:
        kind: "real", "integer", "date" or "text"; "nothing" where no entry is there.
        format: of dates; it ends in %z where an offset from UTC is behind them.
        offsets: those that are there, as they are written.
    """

    kind: Literal["real", "integer", "date", "text", "nothing"]
    format: str = ""
    offsets: tuple[str, ...] = ()

    @property
    def arrow(self) -> pa.DataType:
        """As Arrow calls it."""
        types = {"real": pa.float64(), "integer": pa.int64(), "text": pa.string(), "nothing": pa.null()}
        unit = "us" if "%f" in self.format else "s"
        zone = (zones.common(self.offsets) or zones.UTC) if self.offsets else None
        return types.get(self.kind) or pa.timestamp(unit, zone)

    @property
    def written(self) -> str:
        """The format in which dates are written again: with their offset, or that of UTC if they have several."""
        if not self.offsets:
            return self.format
        return self.format.removesuffix("%z") + (self.offsets[0] if zones.common(self.offsets) else "+00:00")


@dataclass
class TextColumn:
    """A column of texts, looked at batch by batch until its type is known.

    Arguments:
        name: for messages, fit to be printed.
        numbers: how numbers are written.
        missing: the marks of missing entries.
        location: where a row is, for messages: "x.csv, line 3".
        kind: what it has to be, if that is known.
        date_format: of dates, if it was given.
        is_named: whether it is named as one of categories, which may be whole numbers, and words beside them.
    """

    name: str
    numbers: Numbers
    missing: pa.Array
    location: Callable[[int], str]
    kind: ColumnKind | None = None
    date_format: str | None = None
    is_named: bool = False
    marks: set[str] = field(default_factory=set)
    """Of missing entries, as far as seen."""
    _counts: dict[str, int] = field(default_factory=lambda: {"number": 0, "word": 0})
    _first: dict[str, tuple[int, str]] = field(default_factory=dict)
    _formats: list[str] | None = None
    _odd_form: str = ""
    _offsets: dict[str, None] = field(default_factory=dict)
    _is_whole: bool = True
    _has_leading_zeros: bool = False

    def look(self, texts: pa.Array, first_row: int) -> None:
        """Go through the entries of a batch."""
        texts = pc.utf8_trim_whitespace(texts)
        is_missing = pc.is_in(texts, self.missing)
        if is_missing.true_count:
            self.marks.update(pc.unique(texts.filter(is_missing)).to_pylist())
        if self.kind in ("categorical", "boolean"):
            self._note("word", texts, pc.invert(is_missing), first_row)
            return
        is_number = pc.and_not(pc.match_substring_regex(texts, self.numbers.pattern), is_missing)
        is_word = pc.invert(pc.or_(is_number, is_missing))
        self._note("number", texts, is_number, first_row)
        self._note("word", texts, is_word, first_row)
        if self.is_named:
            plain = pc.match_substring_regex(texts.filter(is_number), r"^(0|-?[1-9]\d*)$")
            self._is_whole = self._is_whole and pc.all(plain).as_py() is not False
            return
        if is_number.true_count:
            self._look_at_numbers(texts, is_number, first_row)
        if is_word.true_count and self._formats != []:
            self._look_at_dates(texts, is_word, first_row)

    @property
    def type(self) -> TextType:
        """What all of its entries are.

        Raises:
            InputError: if they are different things, or no one can tell.
        """
        num_numbers, num_words = self._counts["number"], self._counts["word"]
        if self.kind in ("categorical", "boolean"):
            return TextType("text")
        if not num_numbers and not num_words:
            return TextType("nothing")
        if self.is_named:
            return TextType("text" if num_words or not self._is_whole else "integer")
        if num_words and (num_numbers or self.kind in ("real", "integer")):
            raise self._mixed("number", *self._first["word"], num_numbers)
        if num_numbers:
            if self.kind == "date":
                raise self._mixed("date", *self._first["number"], 0)
            if self.kind is None and self._is_whole and self._has_leading_zeros:
                return TextType("text")
            return TextType("integer" if self._is_whole and self.kind != "real" else "real")
        if self._formats:
            return TextType("date", self._one_format(), tuple(self._offsets))
        if "odd date" in self._first or self.kind == "date":
            raise self._mixed("date", *self._first.get("odd date", self._first["word"]), num_words - 1)
        return TextType("text")

    def convert(self, texts: pa.Array, kind: TextType, first_row: int) -> pa.Array:
        """The entries of a batch, null where one is missing.

        Raises:
            InputError: for a number that double precision has no place for.
        """
        texts = pc.utf8_trim_whitespace(texts)
        texts = pc.if_else(pc.is_in(texts, self.missing), None, texts)
        if kind.kind == "nothing":
            return pa.nulls(len(texts))
        if kind.kind == "text":
            return texts
        if kind.kind == "date":
            return _dates(texts, kind)
        values = self.numbers.parse(texts)
        if len(bad := where(pc.is_inf(values))):
            raise self._infinite(first_row + int(bad[0]), texts[bad[0]].as_py())
        if kind.kind == "integer":
            if len(bad := where(pc.greater_equal(pc.abs(values), 2.0**53))):
                raise InputError(
                    f"{self.location(first_row + int(bad[0]))}, column {self.name}: double precision does not hold all "
                    f"digits of {texts[bad[0]].as_py()}: leave the column out with --ignore {self.name}, or, if it is of "
                    f"names, give --categorical {self.name}"
                )
            return values.cast(pa.int64())
        return values

    def _note(self, what: str, texts: pa.Array, mask: pa.Array, first_row: int) -> None:
        """Count the entries of a mask, and keep the first."""
        num = mask.true_count
        if num and what not in self._first:
            index = pc.index(mask, True).as_py()
            self._first[what] = first_row + index, texts[index].as_py()
        self._counts[what] += num

    def _look_at_numbers(self, texts: pa.Array, is_number: pa.Array, first_row: int) -> None:
        numbers = texts.filter(is_number)
        if not self.numbers.is_certain:
            doubtful = pc.and_(is_number, pc.match_substring_regex(texts, self.numbers.doubtful))
            if doubtful.true_count:
                index = pc.index(doubtful, True).as_py()
                value = texts[index].as_py()
                raise InputError(
                    f"{self.location(first_row + index)}, column {self.name}: {value} may be {value.replace(',', '')} or "
                    f"{value.replace(',', '.')}, and no other number tells: give --decimal . or --decimal ,"
                )
        if self._is_whole:
            decimal = re.escape(self.numbers.decimal)
            self._is_whole = not pc.any(pc.match_substring_regex(numbers, f"[eE{decimal}]")).as_py()
            zeros = pc.any(pc.match_substring_regex(numbers, r"^[+-]?0\d")).as_py()
            self._has_leading_zeros = self._has_leading_zeros or zeros

    def _look_at_dates(self, texts: pa.Array, is_word: pa.Array, first_row: int) -> None:
        """Keep those formats that all entries have."""
        words = texts.filter(is_word)
        if self._formats is None:
            formats = _forms(words[0].as_py()) if self.date_format is None else (self.date_format,)
            self._formats = [each for each in formats if _is_date(words[:1], each).true_count]
            if not self._formats:
                return
        fits = {each: _is_date(words, each) for each in self._formats}
        left = [each for each, mask in fits.items() if mask.true_count == len(words)]
        if not left:
            # the longest that any of them reaches
            reached = {each: pc.index(mask, False).as_py() for each, mask in fits.items()}
            self._odd_form = max(reached, key=lambda form: reached[form])
            index = where(is_word)[reached[self._odd_form]]
            self._first["odd date"] = first_row + int(index), texts[int(index)].as_py()
        elif left[0].endswith("%z"):
            self._offsets |= dict.fromkeys(pc.unique(zones.of_texts(words)).to_pylist())
        self._formats = left

    def _one_format(self) -> str:
        assert self._formats
        if len(self._formats) > 1:
            row, value = self._first["word"]
            raise InputError(
                f"{self.location(row)}, column {self.name}: {value} may be a date of the form {' or '.join(self._formats)}, "
                f"and no other date tells: give --date-format '{self._formats[0]}', say"
            )
        return self._formats[0]

    def _mixed(self, what: str, row: int, value: str, num_others: int) -> InputError:
        """The complaint of an entry that is not what the others are."""
        if what == "number" and _INFINITE.fullmatch(value):
            return self._infinite(row, value)
        form = f" of the form {self._odd_form}" if what == "date" and self._odd_form else ""
        others = f"but {num_others:,} other{'s' * (num_others > 1)} of the column {'are' if num_others > 1 else 'is'}"
        value = printable(value)
        shown = value if len(value) < 40 else f"{value[:40]}..."
        remedies = [f"give --missing '{shown}' if it means that the entry is missing"]
        if what == "number" and self.numbers.is_certain and re.search(r"\d[.,]\d", value):
            other = "," if self.numbers.decimal == "." else "."
            remedies.insert(0, f"give --decimal {other} if that is the decimal mark")
        if self.kind is None:
            remedies += [
                f"--categorical {self.name} if the column is of names",
                f"--ignore {self.name} to leave it out",
            ]
        return InputError(
            f"{self.location(row)}, column {self.name}: {shown!r} is no {what}{form}, "
            f"{others if num_others else 'as it has to be'}: correct it; or {', '.join(remedies)}"
        )

    def _infinite(self, row: int, value: str) -> InputError:
        return InputError(
            f"{self.location(row)}, column {self.name}: {printable(value)} is infinite, or too large for double precision: "
            f"give --missing '{printable(value)}' if it means that the entry is missing, or leave the column out with "
            f"--ignore {self.name}"
        )


def is_value(text: str, numbers: Numbers) -> bool:
    """Whether a text looks like a number or a date, as no name of a column does."""
    return bool(re.match(numbers.pattern, text) or _forms(text))


def _is_date(texts: pa.Array, form: str) -> pa.Array:
    """Which texts are dates of a form that exist in the calendar."""
    matches = pc.match_substring_regex(texts, _pattern(form))
    return pc.and_(matches, pc.is_valid(_parsed(pc.if_else(matches, texts, None), form)))


def _dates(texts: pa.Array, kind: TextType) -> pa.Array:
    return _parsed(texts, kind.format).cast(kind.arrow)


def _parsed(texts: pa.Array, form: str) -> pa.Array:
    """Times in microseconds of texts of a form, in UTC if it has an offset; null for one that does not exist, as February
    30th."""
    if form.endswith("%z"):
        return pc.subtract(
            _parsed(zones.without(texts), form.removesuffix("%z")), zones.durations(zones.of_texts(texts))
        )
    whole, fraction = form, None
    if ".%f" in form:
        whole = form.replace(".%f", "")
        parts = pc.extract_regex(texts, r"\.(?P<fraction>\d{1,6})")
        digits = pc.utf8_rpad(pc.struct_field(parts, 0), 6, "0")
        fraction = digits.cast(pa.int64()).cast(pa.duration("us"))
        texts = pc.replace_substring_regex(texts, r"\.\d+", "")
    times = pc.strptime(texts, format=whole, unit="s", error_is_null=True)
    # a day that the month has not is read as one of the next
    same = pc.equal(_unpadded(pc.strftime(times, format=whole)), _unpadded(texts))
    times = pc.if_else(pc.fill_null(same, False), times, None).cast(pa.timestamp("us"))
    return times if fraction is None else pc.add(times, fraction)


def _unpadded(texts: pa.Array) -> pa.Array:
    """Dates without zeros in front of days, months and hours, which may be written with or without."""
    return pc.replace_substring_regex(texts, r"\b0(\d)", r"\1")


def _pattern(form: str) -> str:
    """The digits of a form."""
    pieces = re.split(r"%(.)", form)
    return (
        "^" + "".join(_DIGITS.get(piece, r"\S+") if k % 2 else re.escape(piece) for k, piece in enumerate(pieces)) + "$"
    )


_PATTERNS = {form: re.compile(_pattern(form)) for form in _FORMATS}


def _forms(text: str) -> list[str]:
    """The forms whose digits a text has, whether or not there is such a date."""
    return [form for form, pattern in _PATTERNS.items() if pattern.match(text)]
