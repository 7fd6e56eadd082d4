"""How entries are printed: as lines, trees, hex dumps, JSON objects or selected fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO

import click

from lbcproxy import networks
from lbcproxy.capture.entry_json import ENTRY_KEYS, claims_in, entry_object, json_line
from lbcproxy.cli.options import DisplayOptions
from lbcproxy.cli.terminal import columns_of, has_colours
from lbcproxy.cli.tree import tree
from lbcproxy.session import Direction, Entry, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import printable
from lbcproxy.transport.kind import Transport

__all__ = ["TEXT", "Formatter", "formatter_for", "make_formatter"]

VERDICT_COLOURS = {"drop": "red", "rewrite": "yellow", "inject": "magenta", "delay": "blue"}
ARROW_COLOURS = {Direction.TO_UPSTREAM: "blue", Direction.TO_CLIENT: "cyan"}
MAX_CLAIMS_IN_LINE = 3
COLUMNS_BEFORE_SUMMARY = 32
MIN_SUMMARY = 20
"""Characters of a summary that are printed however narrow the terminal is."""

TEXT: DisplayOptions = {"kind": "text", "tree": False, "hexdump": False, "fields": ()}
"""The defaults: one line for each message."""


class Formatter(Protocol):
    """Returns what is printed for an entry."""

    def __call__(self, entry: Entry, info: SessionInfo | None = None, /) -> str | None:
        """Return the text, given the entry's session if that is known; None for nothing."""


def formatter_for(display: DisplayOptions, stream: TextIO) -> Formatter:
    """Return the formatter for a stream, with colours and cut lines if it is a terminal.

    Raises:
        UsageError: The options contradict each other.
    """
    return make_formatter(**display, colour=has_colours(stream), width=columns_of(stream))


def make_formatter(
    kind: str,
    *,
    tree: bool,
    hexdump: bool,
    fields: Sequence[str],
    colour: bool,
    width: int = 0,
) -> Formatter:
    """Return the formatter that display options ask for.

    Args:
        kind: `text`, `ndjson` or `fields`.
        tree: Whether to add every field, for `text`.
        hexdump: Whether to add the payload.
        fields: Paths of the fields to print, for `fields`.
        colour: Whether to use colours, for `text`.
        width: The columns to cut lines to, for `text`; 0 not to cut them.

    Raises:
        UsageError: The options contradict each other.
    """
    if fields and kind != "fields":
        raise click.UsageError("-e needs -T fields")
    if kind == "ndjson":
        return lambda entry, info=None: json_line(entry_object(entry, hexdump, info))
    if kind == "fields":
        if not fields:
            raise click.UsageError("-T fields needs at least one -e PATH")
        for path in fields:
            if path.partition(".")[0] not in ENTRY_KEYS:
                keys = ", ".join(ENTRY_KEYS)
                raise click.UsageError(f"-e {path}: a path starts with one of {keys}")
        return lambda entry, info=None: "\t".join(_field(entry, path, info) for path in fields)
    return lambda entry, info=None: _text(
        entry, info, with_tree=tree, hexdump=hexdump, colour=colour, width=width
    )


def _text(
    entry: Entry,
    info: SessionInfo | None,
    *,
    with_tree: bool,
    hexdump: bool,
    colour: bool,
    width: int,
) -> str | None:
    if entry.continued and not hexdump:
        return None  # a run of junk gets one line
    lines = [_line(entry, _transport(entry, info), colour, width)]
    message = entry.message
    if with_tree and info is not None and info.transports:
        lines.append(f"    transport: {info.transport_from(entry.direction)}")
    if with_tree and message is not None:
        record = message.partial if message.record is None else message.record
        if record is not None:
            lines += tree(record, networks.get(message.codec.network.id))
    if hexdump:
        lines += hex_rows(entry.payload if entry.message is not None else entry.junk)
    return "\n".join(lines)


def _transport(entry: Entry, info: SessionInfo | None) -> str:
    """Return how an entry's leg carries messages and what is unusual, in words; empty for v1."""
    transport = None if info is None else info.transport_from(entry.direction).kind
    if transport in (None, Transport.V1):
        return f"v2: {entry.form}" if entry.form else ""
    return f"{transport}: {entry.form}" if entry.form else transport.value


def _line(entry: Entry, transport: str, colour: bool, width: int) -> str:
    def paint(text: str, name: str | None) -> str:
        return click.style(text, fg=name) if colour and name else text

    arrow = paint(entry.direction.arrow, ARROW_COLOURS[entry.direction])
    name = printable(entry.command) or "(empty)"
    if entry.message is None:
        name = "(gap)" if entry.missing else "(junk)"
    error = entry.error
    remarks: list[tuple[str, str | None]] = [(transport, None)] if transport else []
    if error is not None:
        remarks.append((f"! {printable(error)}", "red"))
    if entry.verdict != EntryVerdict.PASS:
        verdict = printable(":".join((entry.verdict, *entry.trail)))
        remarks.append((verdict, VERDICT_COLOURS.get(entry.verdict)))
    taken = COLUMNS_BEFORE_SUMMARY + sum(len(text) + 2 for text, _ in remarks)
    summary = _summary(entry)
    if width:
        summary = _cut(summary, max(width - taken, MIN_SUMMARY))
    parts = [summary, *(paint(text, name) for text, name in remarks)]
    command = paint(f"{name:<12}", "red" if error is not None else "green")
    line = f"#{entry.session:<3} {arrow} {command} {entry.length:>8}B  "
    return (line + "  ".join(part for part in parts if part)).rstrip()


def _cut(summary: str, room: int) -> str:
    return summary if len(summary) <= room else f"{summary[: room - 1]}…"


def _summary(entry: Entry) -> str:
    if entry.message is None:
        return ""
    summary = entry.message.summary()
    claims = list(claims_in(entry))
    if not claims:
        return summary
    named = [f'{each["kind"]} "{printable(str(each["name"]), 40)}"' for each in claims]
    more = len(named) - MAX_CLAIMS_IN_LINE
    named = named[:MAX_CLAIMS_IN_LINE] + ([f"{more} more"] if more > 0 else [])
    return f"{summary}, {', '.join(named)}"


def hex_rows(data: bytes) -> list[str]:
    """Return a hex dump of bytes, 16 in a row: offset, hexadecimal, ASCII."""
    rows = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"    {offset:010x} {row.hex(' '):<47}   {text}")
    return rows


def _field(entry: Entry, path: str, info: SessionInfo | None) -> str:
    """Return one field of an entry's object as text, with lists joined by commas."""
    fields = entry_object(entry, path == "payload", info)
    if info is not None:
        fields.setdefault("transport", Transport.V1.value)
    values: list[object] = [fields]
    for name in path.split("."):
        values = [value.get(name) for value in values if isinstance(value, dict)]
        values = [each for value in values for each in _elements(value)]
    return ",".join("" if value is None else _flat(value) for value in values)


def _elements(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _flat(value: object) -> str:
    return printable(value) if isinstance(value, str) else json_line(value)
