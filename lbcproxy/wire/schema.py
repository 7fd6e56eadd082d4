"""Descriptions of the fields of a message, generated from the declarations."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from construct import Construct

from lbcproxy.wire.fields import (
    CompactSize,
    Fixed,
    HashField,
    IpAddress,
    Many,
    Rest,
    VarBytes,
    VarStr,
)
from lbcproxy.wire.optional import Extension, IfChain, Maybe, OptionalTail
from lbcproxy.wire.record import Layout, MessageRecord
from lbcproxy.wire.rules import ByChain, ByVersion, Limit

__all__ = ["FieldDescription", "describe", "describe_limit"]

NUMBERS = {"B": ("uint8", "1"), "b": ("int8", "1"), "H": ("uint16", "2"), "h": ("int16", "2")}
NUMBERS |= {"L": ("uint32", "4"), "l": ("int32", "4"), "Q": ("uint64", "8"), "q": ("int64", "8")}

CHAINS = {"claim_trie": "LBRY", "mweb": "Litecoin"}
"""The chains that have a rule, for display."""


class FieldDescription(msgspec.Struct, frozen=True):
    """One field of a message."""

    name: str
    """The path: `transactions[].inputs[].sequence`."""
    type: str
    bytes: str
    """The encoded size, as text."""
    limit: str
    """The maximum, as text; empty where the size implies it."""
    when: str
    """The condition under which it is present; empty for always."""


def describe(record: type[MessageRecord]) -> list[FieldDescription]:
    """Return the fields of a record in wire order."""
    return list(_layout(record.schema, ""))


def _layout(layout: Layout, prefix: str, when: str = "") -> Iterator[FieldDescription]:
    for name, field in layout.fields.items():
        yield from _field(field, prefix + name, when)


def _field(field: Construct, name: str, when: str) -> Iterator[FieldDescription]:
    if isinstance(field, Maybe):
        yield from _field(field.subcon, name, _join(when, _condition(field)))
    elif isinstance(field, Layout):
        yield from _layout(field, f"{name}.", when)
    elif isinstance(field, Many):
        most = describe_limit(field.limit, "entries")
        yield FieldDescription(name, "list", "count (CompactSize), entries", most, when)
        yield from _field(field.subcon, f"{name}[]", "")
    elif isinstance(getattr(field, "subcon", None), Many | Layout):
        yield from _field(field.subcon, name, when)  # described like the field that it wraps
    else:
        kind, size, limit = _leaf(field)
        yield FieldDescription(name, kind, size, limit, when)


def _condition(field: Maybe) -> str:
    if isinstance(field, OptionalTail):
        return "if any bytes are left"
    if isinstance(field, IfChain):
        where = f"on chains with {field.rule} ({CHAINS[field.rule]})"
        return f"{where}, in some messages" if isinstance(field, Extension) else where
    return field.absence()


def _leaf(field: Construct) -> tuple[str, str, str]:
    if isinstance(field, VarBytes):
        kind = "string" if isinstance(field, VarStr) else "bytes"
        return kind, "length (CompactSize), bytes", describe_limit(field.limit, "bytes")
    if isinstance(field, HashField):
        return "hash", "32, shown reversed", ""
    if isinstance(field, IpAddress):
        return "IPv6 address", "16, IPv4 mapped", ""
    if isinstance(field, Fixed):
        return "bytes", str(field.size), ""
    if isinstance(field, Rest):
        return "bytes", f"all but {field.before}" if field.before else "all that are left", ""
    if isinstance(field, CompactSize):
        return "CompactSize", "1, 3, 5 or 9", ""
    return _number(field)


def _number(field: Construct) -> tuple[str, str, str]:
    code = getattr(field, "fmtstr", "")
    if code[1:] not in NUMBERS:
        name = type(field).__name__
        return ("bool", "1, any but 0 is true", "") if name == "Flag" else (name, "?", "")
    kind, size = NUMBERS[code[1:]]
    order = "" if size == "1" else ", big endian" if code[0] == ">" else ", little endian"
    return kind, size + order, ""


def describe_limit(limit: Limit, unit: str) -> str:
    """Return a limit as text."""
    if isinstance(limit, ByChain):
        return f"as many {unit} as the chain allows ({limit.name})"
    if isinstance(limit, ByVersion):
        steps = ", ".join(f"{most:,} from version {since} on" for since, most in limit.steps)
        return f"{unit}: {steps}"
    return f"{limit:,} {unit}"


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
