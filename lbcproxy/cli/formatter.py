"""How entries look: a line each, a tree, a hexdump, JSON objects, chosen fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from lbcproxy import networks
from lbcproxy.capture.entry_json import KEYS, claims_in, entry_object, json_line
from lbcproxy.cli.tree import tree
from lbcproxy.session import Direction, Entry
from lbcproxy.text import printable

__all__ = ["Look", "make_look"]

VERDICT_COLOURS = {"drop": "red", "rewrite": "yellow", "inject": "magenta", "delay": "blue"}
ARROW_COLOURS = {Direction.TO_UPSTREAM: "blue", Direction.TO_CLIENT: "cyan"}
CLAIMS_IN_A_LINE = 3

COLUMNS = 32
"""Before a summary."""
LEAST = 20
"""Characters of a summary that are always shown."""

Look = Callable[[Entry], str | None]
"""Turns an entry into what is printed for it; None for nothing."""


def make_look(
    kind: str,
    *,
    tree: bool,
    hexdump: bool,
    fields: Sequence[str],
    colour: bool,
    width: int = 0,
) -> Look:
    """Make the look that the options ask for; raises UsageError where they do not fit.

    Lines are cut to `width` columns, if it is not 0.
    """
    if fields and kind != "fields":
        raise click.UsageError("-e goes with -T fields")
    if kind == "ndjson":
        return lambda entry: json_line(entry_object(entry, hexdump))
    if kind == "fields":
        if not fields:
            raise click.UsageError("-T fields wants at least one -e PATH")
        for path in fields:
            if path.partition(".")[0] not in KEYS:
                raise click.UsageError(f"-e {path}: paths begin with one of {', '.join(KEYS)}")
        return lambda entry: "\t".join(_field(entry, path) for path in fields)
    return lambda entry: _text(entry, with_tree=tree, hexdump=hexdump, colour=colour, width=width)


def _text(entry: Entry, *, with_tree: bool, hexdump: bool, colour: bool, width: int) -> str | None:
    if entry.continued and not hexdump:
        return None  # one line for a run of junk
    lines = [_line(entry, colour, width)]
    message = entry.message
    if with_tree and message is not None:
        read = message.partial if message.record is None else message.record
        if read is not None:
            lines += tree(read, networks.get(message.codec.network.id))
    if hexdump:
        lines += hex_rows(entry.payload if entry.message is not None else entry.junk)
    return "\n".join(lines)


def _line(entry: Entry, colour: bool, width: int) -> str:
    def paint(text: str, name: str | None) -> str:
        return click.style(text, fg=name) if colour and name else text

    arrow = paint(entry.direction.arrow, ARROW_COLOURS[entry.direction])
    name = printable(entry.command) or "(empty)"
    if entry.message is None:
        name = "(gap)" if entry.missing else "(junk)"
    error = entry.error
    remarks: list[tuple[str, str | None]] = []
    if error is not None:
        remarks.append((f"! {printable(error)}", "red"))
    if entry.verdict != "pass":
        verdict = printable(":".join((entry.verdict, *entry.trail)))
        remarks.append((verdict, VERDICT_COLOURS.get(entry.verdict)))
    taken = COLUMNS + sum(len(text) + 2 for text, _ in remarks)
    summary = _summary(entry)
    if width:
        summary = _cut(summary, max(width - taken, LEAST))
    words = [summary, *(paint(text, name) for text, name in remarks)]
    command = paint(f"{name:<12}", "red" if error is not None else "green")
    line = f"#{entry.session:<3} {arrow} {command} {entry.length:>8}B  "
    return (line + "  ".join(word for word in words if word)).rstrip()


def _cut(summary: str, room: int) -> str:
    return summary if len(summary) <= room else f"{summary[: room - 1]}…"


def _summary(entry: Entry) -> str:
    if entry.message is None:
        return ""
    summary = entry.message.summary()
    claims = list(claims_in(entry))
    if not claims:
        return summary
    named = [f'{each["kind"]} "{printable(each["name"], 40)}"' for each in claims]
    more = len(named) - CLAIMS_IN_A_LINE
    named = named[:CLAIMS_IN_A_LINE] + ([f"{more} more"] if more > 0 else [])
    return f"{summary}, {', '.join(named)}"


def hex_rows(data: bytes) -> list[str]:
    """Write bytes in rows of 16: offset, hexadecimal, ASCII."""
    rows = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"    {offset:010x} {row.hex(' '):<47}   {text}")
    return rows


def _field(entry: Entry, path: str) -> str:
    """Give one field of an entry's object as text, lists joined by commas."""
    values: list[Any] = [entry_object(entry, with_payload=path == "payload")]
    for name in path.split("."):
        values = [value.get(name) for value in values if isinstance(value, dict)]
        values = [each for value in values for each in _elements(value)]
    return ",".join("" if value is None else _flat(value) for value in values)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flat(value: Any) -> str:
    return printable(value) if isinstance(value, str) else json_line(value)
