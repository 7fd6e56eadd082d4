"""Makes text from the network safe for terminals and logs; formats and parses times."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "any_time",
    "iso_time",
    "printable",
    "printable_json",
    "printable_values",
    "time_of_iso",
    "unix_time",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FRACTION = re.compile(r"([^.]+)\.(\d{1,9})(\D.*)?$", re.DOTALL)
ISO_TIME = re.compile(
    r"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)|(-?\d{1,20}))(?:\.(\d{1,9}))?Z?", re.ASCII
)


def printable(text: str | bytes, most: int | None = None) -> str:
    """Return text with control characters and characters that change text direction escaped.

    Args:
        text: Text, or bytes; those that are not UTF-8 are escaped.
        most: The maximum number of characters; longer text is cut.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
            for each in text
        )
    return text if most is None or len(text) <= most else text[:most] + "..."


def printable_values(value: Any) -> Any:
    """Return a JSON value with all texts in it made printable.

    A value that needs no change is returned without a copy.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        made = {printable_values(key): printable_values(each) for key, each in value.items()}
        return (
            value if _are_same(made, value) and _are_same(made.values(), value.values()) else made
        )
    if isinstance(value, list):
        changed = [printable_values(each) for each in value]
        return value if _are_same(changed, value) else changed
    return value


def _are_same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    """Return whether two collections of equal length have the same objects."""
    return all(map(operator.is_, one, other))


def printable_json(text: str) -> str:
    """Return JSON text with the same characters escaped, so that its value is unchanged."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def unix_time(seconds: int) -> str:
    """Return Unix seconds as text in UTC; a number if they are outside the calendar."""
    try:
        return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return str(seconds)


def iso_time(time_ns: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601 in UTC, with nine digits."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    try:
        when = (EPOCH + timedelta(seconds=seconds)).isoformat()  # strftime makes 999 of year 0999
        return f"{when[:19]}.{nanoseconds:09}Z"
    except OverflowError:
        return f"{seconds}.{nanoseconds:09}"


def any_time(text: str) -> int:
    """Return the nanoseconds since 1970 of an ISO 8601 time with any number of digits.

    Without a time zone it is UTC. Raises ValueError.
    """
    found = FRACTION.match(text)  # Python would round it
    whole, digits = (found[1] + (found[3] or ""), found[2]) if found else (text, "")
    time = datetime.fromisoformat(whole)
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + int(digits.ljust(9, "0"))


def time_of_iso(text: str) -> int:
    """Return the nanoseconds of text from `iso_time`, also with fewer digits; raises ValueError."""
    found = ISO_TIME.fullmatch(text)
    if found is None:
        raise ValueError("no time as 2026-01-31T12:00:00.000000000Z")
    if found[1] is not None:
        seconds = (datetime.fromisoformat(found[1] + "+00:00") - EPOCH) // timedelta(seconds=1)
    else:
        seconds = int(found[2])  # a time outside the calendar
    return seconds * 1_000_000_000 + int((found[3] or "").ljust(9, "0"))
