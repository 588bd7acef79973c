"""Tables that are made in parts, by jobs that know nothing of one another and may be killed and repeated.

The i-th of n parts lies beside the table that it is to be a part of, as NAME.part-i-of-n, a file of Parquet that is whole or
absent. It says of itself what it was made from and how: a job that finds its part there is done, and parts that do not
belong together are not joined.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lowerbound.errors import InputError
from lowerbound.files.whole import write_file
from lowerbound.words.counts import counted

_FACTS = b"part"
"""Under which a part's facts are among its metadata."""
_OWN = ("part", "first_row", "end_row")
"""Facts that each part has for itself."""


@dataclass(frozen=True)
class Shard:
    """One of several parts, in order.

    Arguments:
        number: from 1 on.
        count: of the parts.

    Raises:
        InputError: if there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"--shard is {self}: the first of four parts is 1/4, the last 4/4")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def of(cls, text: str) -> "Shard":
        """Of "i/n".

        Raises:
            InputError: if the text is something else.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise InputError(f"--shard is {text!r}: give the number of a part and that of all parts, such as 2/4")
        return cls(int(match[1]), int(match[2]))

    def rows(self, total: int, batch_size: int) -> slice:
        """Its rows: whole batches of all rows, so that a row has the company that it has without parts.

        Raises:
            InputError: if there are fewer batches than parts.
        """
        num_batches = -(-total // batch_size)
        if num_batches < self.count:
            raise InputError(
                f"--shard is {self}, and {total:,} examples are {num_batches:,} batches of {batch_size:,}, at least one for "
                "each part: give fewer parts, or a smaller --batch-size"
            )
        first, end = ((self.number - 1 + k) * num_batches // self.count * batch_size for k in (0, 1))
        return slice(first, min(end, total))

    def path(self, out: Path) -> Path:
        """Of the part of a table that is to be written to `out`."""
        return out.with_name(f"{out.name}.part-{self.number}-of-{self.count}")


def part_facts(shard: Shard, rows: slice, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a part says of itself: which it is, and what all parts of its table have alike."""
    return {"part": str(shard), "first_row": rows.start, "end_row": rows.stop, **facts}


def write_part(path: Path, table: pa.Table, facts: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write a part.

    Arguments:
        path: as `Shard.path` names it.
        table: its rows.
        facts: as `part_facts` gives them, as JSON holds them.
        metadata: what the whole table says of itself.
    """
    content = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({**metadata, _FACTS: json.dumps(dict(facts))}), content)
    write_file(path, content.getvalue())


def finished_part(path: Path, facts: Mapping[str, Any]) -> pa.Table | None:
    """The part that is there already; None if none is.

    Raises:
        InputError: if it is damaged, or was made from something else or with other settings.
    """
    if not path.exists():
        return None
    table, own_facts, _ = _read(path)
    if differences := _differences(own_facts, facts):
        raise InputError(
            f"{path} is there already and is of something else ({differences}): remove it, or choose another name with --out"
        )
    return table


def joined_parts(out: Path) -> tuple[pa.Table, dict[str, str], list[Path]]:
    """The parts of a table in their order, joined, what it says of itself, and their files.

    Arguments:
        out: where the whole table is to be.

    Raises:
        InputError: if parts are missing, damaged, or do not belong together.
    """
    pattern = re.compile(rf"{re.escape(out.name)}\.part-(\d+)-of-(\d+)")
    matches = [match for file in sorted(out.parent.glob("*")) if (match := pattern.fullmatch(file.name))]
    if not matches:
        raise InputError(f"there are no parts of {out}: `lowerbound score RUN DATA -o {out} --shard 1/4` makes one")
    counts = {int(match[2]): match[0] for match in matches}
    if len(counts) > 1:
        raise InputError(
            f"there are parts of several divisions of {out}, {' and '.join(sorted(counts.values()))}: their rows would be "
            "doubled; remove those of all divisions but one"
        )
    (count,) = counts
    paths = [Shard(number + 1, count).path(out) for number in range(count)]
    if missing := [path.name for path in paths if not path.is_file()]:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise InputError(
            f"{len(missing)} of {counted(count, 'part')} of {out} are missing: {', '.join(missing[:5])}{more}"
        )
    tables, first, metadata, row = [], None, {}, 0
    for number, path in enumerate(paths, 1):
        table, facts, metadata = _read(path)
        expected = {"part": f"{number}/{count}", "first_row": row, "end_row": row + len(table)}
        common = {name: fact for name, fact in facts.items() if name not in _OWN}
        first = common if first is None else first
        if differences := _differences(facts, {**first, **expected}):
            raise InputError(f"{path} is not of the same table as {paths[0].name} ({differences}): make it again")
        tables.append(table)
        row += len(table)
    if first is not None and row != first.get("rows", row):
        raise InputError(f"{paths[-1]} ends at row {row:,} of {first['rows']:,}: make it again")
    return pa.concat_tables(tables), metadata, paths


def _read(path: Path) -> tuple[pa.Table, dict[str, Any], dict[str, str]]:
    """A part's rows, its facts, and what the whole table says of itself."""
    try:
        table = parquet.read_table(path)
        metadata = dict(table.schema.metadata or {})
        facts = json.loads(metadata.pop(_FACTS))
        if not isinstance(facts, dict):
            raise TypeError("its facts are no object")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is no part of a table, or damaged ({reason}): remove it, and make it again"
        ) from error
    table = table.replace_schema_metadata(None)
    return table, facts, {key.decode(): value.decode("utf-8", "replace") for key, value in metadata.items()}


def _differences(facts: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """What was one thing and is another, for an error; empty if nothing is."""
    names = [name for name in {**expected, **facts} if facts.get(name) != expected.get(name)]
    return ", ".join(f"{name} is {_short(facts.get(name))}, not {_short(expected.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 30 else f"{text[:24]}..."
