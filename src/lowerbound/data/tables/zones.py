"""Time zones: offsets from UTC as a text has them behind a time, zones as Arrow names them, and what a clock shows there."""

import re
from collections.abc import Iterable

import pyarrow as pa

from lowerbound.files.arrow import pc

PATTERN = r" ?(?:Z|UTC|GMT|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)"
"""Of an offset behind a time: Z, +02:00, +0200, +02, and UTC or GMT."""
UTC = "UTC"


def of_texts(texts: pa.Array) -> pa.Array:
    """The offset behind each time as it is written there."""
    return pc.struct_field(pc.extract_regex(texts, f"(?P<zone>{PATTERN})$"), 0)


def without(texts: pa.Array) -> pa.Array:
    """Times without the offsets behind them."""
    return pc.replace_substring_regex(texts, f"{PATTERN}$", "")


def durations(zones: pa.Array) -> pa.Array:
    """Offsets as they are written, as durations in microseconds."""
    known = pc.unique(zones).drop_null()
    micro = [1_000_000 * seconds(zone) for zone in known.to_pylist()]
    return pa.array(micro, pa.duration("us")).take(pc.index_in(zones, known))


def seconds(zone: str) -> int:
    """The seconds that an offset adds to UTC, of one as it is written or as Arrow names it."""
    match = re.fullmatch(r" ?([+-])(\d{2}):?(\d{2})?", zone)
    if match is None:
        return 0
    size = 3600 * int(match[2]) + 60 * int(match[3] or 0)
    return -size if match[1] == "-" else size


def common(zones: Iterable[str]) -> str | None:
    """The one offset that all are, as Arrow names it; None if they are several."""
    offsets = set(map(seconds, zones))
    if len(offsets) != 1:
        return None
    minutes = offsets.pop() // 60
    return written(minutes) if minutes else UTC


def written(minutes: int) -> str:
    """An offset as +02:00."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def local(times: pa.Array) -> pa.Array:
    """Times as a clock in their zone shows them; those without a zone as they are."""
    zone = getattr(times.type, "tz", None)
    if zone is None:
        return times
    if not is_fixed(zone):
        return pc.local_timestamp(times)
    return pc.add(times.cast(pa.timestamp(times.type.unit)), pa.scalar(seconds(zone), pa.duration("s")))


def from_local(shown: pa.Array, zone: str) -> pa.Array:
    """Times that a clock in a zone shows, the earlier where it shows one twice."""
    if not is_fixed(zone):
        return pc.assume_timezone(shown, zone, ambiguous="earliest", nonexistent="earliest")
    utc = pc.subtract(shown, pa.scalar(seconds(zone), pa.duration("s")))
    return utc.cast(pa.timestamp(shown.type.unit, zone))


def is_fixed(zone: str) -> bool:
    """Whether a zone, as Arrow names it, has the same offset all the year."""
    return zone == UTC or zone[0] in "+-"
