"""Text that came from the network, made fit for terminals and logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

__all__ = ["iso_time", "printable", "printable_json", "unix_time"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def printable(text: str | bytes, most: int | None = None) -> str:
    """Escape what a terminal would act on: control characters, and those that turn text around.

    Bytes are read as UTF-8 where they are, else escaped. With `most`, longer text is cut there.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
            for each in text
        )
    return text if most is None or len(text) <= most else text[:most] + "..."


def printable_json(text: str) -> str:
    """Escape the same in a JSON text, where it stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def unix_time(seconds: int) -> str:
    """Write unix seconds for people, in UTC; what no calendar holds stays a number."""
    try:
        return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return str(seconds)


def iso_time(time_ns: int) -> str:
    """Write nanoseconds since 1970 as ISO 8601 in UTC, all nine digits."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    try:
        return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
    except OverflowError:
        return f"{seconds}.{nanoseconds:09}"
