"""Converts records, networks and limits to tables for the Lua dissector.

Everything comes from the declarations. An unsupported construct becomes `unknown`: the dissector
shows the remaining bytes without parsing them.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from enum import IntEnum, IntFlag

from lbcproxy.json_types import JsonObject
from lbcproxy.networks import Network, all_networks
from lbcproxy.wire.codec import WITH_TRANSACTIONS
from lbcproxy.wire.construct_types import FieldType
from lbcproxy.wire.fields import (
    CompactSize,
    Fixed,
    HashField,
    IpAddress,
    Many,
    Rest,
    VarBytes,
    VarHex,
    VarStr,
)
from lbcproxy.wire.messages.addresses import ADDRESS_SIZES
from lbcproxy.wire.messages.bloom import MAX_HASH_FUNCS
from lbcproxy.wire.messages.compact_blocks import MAX_TRANSACTIONS
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.headers import Bare
from lbcproxy.wire.messages.reject import Alert, AlertBody, ManyHex
from lbcproxy.wire.messages.transactions import Elsewhere, TransactionLayout
from lbcproxy.wire.optional import Extension, IfChain, OptionalTail, Since, When
from lbcproxy.wire.record import Layout, MessageRecord, Record
from lbcproxy.wire.registry import OPAQUE, commands, record_of
from lbcproxy.wire.rules import MAX_PAYLOAD, ByChain, ByVersion, ChainRules, Limit
from lbcproxy.wire.schema import describe

__all__ = ["Table", "tables"]

Table = JsonObject
"""A table of strings, numbers, booleans, lists and tables."""

SIZES = {"b": 1, "h": 2, "l": 4, "q": 8}
"""Size of a number in bytes by construct's format letter; upper case for unsigned."""
INSIDE: dict[type[Record], tuple[str, str, type[Record]]] = {Alert: ("payload", "alert", AlertBody)}
"""Records with another record in the bytes of a field: the field, its name and its class."""


def tables() -> Table:
    """Return the tables of all commands, records and networks."""
    found: dict[str, Table] = {}
    known = [record for name in commands() if (record := record_of(name)) is not None]
    return {
        "max_payload": MAX_PAYLOAD,
        "version": Version.command,
        "address_sizes": ADDRESS_SIZES,
        "most_hash_funcs": MAX_HASH_FUNCS,
        "most_transactions": MAX_TRANSACTIONS,
        "commands": {record.command: _command(record, found) for record in known},
        "records": found,
        "opaque": sorted(OPAQUE),
        "networks": [_network(each) for each in all_networks().values()],
    }


def _command(record: type[MessageRecord], found: dict[str, Table]) -> Table:
    return {
        "record": _name(record, found),
        "maximum": _limit(record.maximum),
        "since": record.since,
        "either": record.command in WITH_TRANSACTIONS,
        "about": (record.__doc__ or "").partition("\n")[0],
        "words": {
            each.name: "; ".join(filter(None, (each.type, each.bytes, each.limit, each.when)))
            for each in describe(record)
        },
    }


def _network(network: Network) -> Table:
    return {
        "id": network.id,
        "family": network.family,
        "magic": network.magic.hex(),
        "port": network.port,
        "assumed": network.assumed,
        "protocol_version": network.protocol_version,
        "pubkey_hash": network.addresses.pubkey_hash,
        "script_hash": network.addresses.script_hash,
        "bech32": network.addresses.bech32,
        "rules": _rules(network.rules),
    }


def _rules(rules: ChainRules) -> Table:
    """Return the numbers of a chain, including the computed ones."""
    computed = (name for name, value in vars(ChainRules).items() if isinstance(value, property))
    return {name: getattr(rules, name) for name in (*rules.__struct_fields__, *computed)}


def _limit(limit: Limit) -> int | Table:
    if isinstance(limit, ByChain):
        return {"chain": limit.name}
    if isinstance(limit, ByVersion):
        return {"steps": [list(step) for step in limit.steps]}
    return limit


def _name(record: type[Record], found: dict[str, Table]) -> str:
    """Describe a record, if it has not been described yet, and return its table's name."""
    name = record.__name__
    if name not in found:
        found[name] = {}  # so that a recursive record ends
        found[name] |= _layout(record, found)
    return name


def _layout(record: type[Record], found: dict[str, Table]) -> Table:
    layout = record.schema
    hints = typing.get_type_hints(record, include_extras=True)
    fields = [
        {"name": name, **_names(hints[name]), **_field(field, found)}
        for name, field in layout.fields.items()
    ]
    result: Table = {"fields": fields}
    if isinstance(layout, TransactionLayout):
        result["transaction"] = True
    if record in INSIDE:
        place, name, inner = INSIDE[record]
        result["inside"] = {"field": place, "name": name, "record": _name(inner, found)}
    return result


def _names(hint: object) -> Table:
    """Return the names of a field's numbers or bits, if the declaration has them."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, type) and issubclass(extra, IntFlag):
            return {"bits": {each.bit_length() - 1: each.name for each in extra}}
        if isinstance(extra, type) and issubclass(extra, IntEnum):
            return {"names": {each.value: each.name for each in extra}}
    return {}


def _field(field: FieldType, found: dict[str, Table]) -> Table:
    for kind, describe_it in KINDS:
        if isinstance(field, kind):
            return describe_it(field, found)
    return _number(field)


def _number(field: FieldType) -> Table:
    code = getattr(field, "fmtstr", "")
    size = SIZES.get(code[1:].lower())
    if size is not None and code[0] in "<>":
        order = {"big": True} if code[0] == ">" and size > 1 else {}
        return {"kind": "number", "size": size, "signed": code[1:].islower(), **order}
    return {"kind": "bool" if type(field).__name__ == "Flag" else "unknown"}


def _wrapped(kind: str, **more: str) -> Callable[[FieldType, dict[str, Table]], Table]:
    """Return a function that describes a field around another; `more` names its attributes."""

    def describe_it(field: FieldType, found: dict[str, Table]) -> Table:
        attributes = {name: getattr(field, attribute) for name, attribute in more.items()}
        return {"kind": kind, **attributes, "item": _field(field.subcon, found)}

    return describe_it


def _when(field: When, found: dict[str, Table]) -> Table:
    values = sorted(value.decode("latin-1") for value in field.values)
    item = _field(field.subcon, found)
    return {"kind": "when", "sibling": field.sibling, "values": values, "item": item}


def _many(field: Many, found: dict[str, Table]) -> Table:
    named = {"hex": True} if isinstance(field, ManyHex) else {}
    item = _field(field.subcon, found)
    return {"kind": "list", "most": _limit(field.limit), **named, "item": item}


def _counted(field: VarBytes, _: dict[str, Table]) -> Table:
    named = {"hex": True} if isinstance(field, VarHex) else {}
    kind = "text" if isinstance(field, VarStr) else "bytes"
    return {"kind": kind, "most": _limit(field.limit), **named}


def _record(field: Layout, found: dict[str, Table]) -> Table:
    return {"kind": "record", "record": _name(field.record, found)}


KINDS: tuple[tuple[type, Callable[[FieldType, dict[str, Table]], Table]], ...] = (
    (Layout, _record),
    (Many, _many),
    (VarBytes, _counted),
    (HashField, lambda field, _: {"kind": "hash", "size": field.size}),
    (IpAddress, lambda field, _: {"kind": "ip", "size": field.size}),
    (Fixed, lambda field, _: {"kind": "fixed", "size": field.size}),
    (CompactSize, lambda *_: {"kind": "compact"}),
    (Rest, lambda field, _: {"kind": "rest", "before": field.before}),
    (Since, _wrapped("since", version="version")),
    (Extension, _wrapped("extension", rule="rule")),
    (IfChain, _wrapped("chain", rule="rule")),
    (When, _when),
    (OptionalTail, _wrapped("tail")),
    (Bare, _wrapped("bare")),
    (Elsewhere, _wrapped("elsewhere")),
)
"""The functions that describe constructs, by class; the first match is used."""
