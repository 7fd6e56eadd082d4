"""Capture formats that are written, one format a file: events become bytes.

A format of `lbcproxy.capture.formats` that can be written has a module with the same name here. It
exports `WRITER`, a `lbcproxy.capture.writing.writer.FormatWriter`.
"""

from __future__ import annotations

from pathlib import Path

from lbcproxy import discover
from lbcproxy.capture.formats import format_for
from lbcproxy.capture.writing.writer import FormatWriter

__all__ = ["all_writers", "writer_for"]


def all_writers() -> dict[str, FormatWriter]:
    """Return how the formats that can be written are written, by their names."""
    formats = discover.names("lbcproxy.capture.formats")
    names = [each for each in discover.names(__name__) if each in formats]
    return {name: discover.entry(f"{__name__}.{name}", "WRITER", FormatWriter) for name in names}


def writer_for(path: Path) -> FormatWriter | None:
    """Return how to write the format that a path's name says; None if it does not say."""
    found = format_for(path)
    return None if found is None else all_writers().get(found.name)
