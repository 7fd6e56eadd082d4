"""What kinds of values a filter meets, and which fields a record has.

Taken from the declarations of the messages: a field that is added there can be asked for here.
Values are in the forms of `Record.to_dict`, each made when it is asked for.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import msgspec

from lbcproxy.wire.fields import (
    Field,
    HashField,
    IpAddress,
    Many,
    Rest,
    VarBytes,
    VarHex,
    VarStr,
)
from lbcproxy.wire.hashes import display
from lbcproxy.wire.optional import IfChain
from lbcproxy.wire.record import Layout, Record

__all__ = [
    "ABSENT",
    "ANYTHING",
    "BOOL",
    "COMMAND",
    "DIRECTION",
    "HASH",
    "HEX",
    "NULL",
    "NUMBER",
    "TEXT",
    "TIME",
    "Kind",
    "Member",
    "fields_of",
    "list_of",
    "record_kind",
]


class _Absent:
    """There is no such value: a field of another command, an entry behind the end of a list."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of value; two of one `family` can be compared."""

    family: str
    """"number", "text", "true or false", "time", "list", "record", "null" or "anything"."""
    words: str
    """What it is, for the text of an error."""
    show: Callable[[Any], Any] | None = None
    """Turns what a record holds into what a filter sees; None where that is the same."""
    element: Kind | None = None
    """Of a list: the kind of its entries."""
    record: type | None = None
    """Of a record: its class; `fields_of` gives its fields."""
    digits: int = 0
    """Of a text in hexadecimal: how many digits it has; 0 if that varies."""
    hexadecimal: bool = False
    choices: tuple[str, ...] = ()
    """The only texts there are; empty if there are others."""


class Member(msgspec.Struct, frozen=True):
    """Something a record has: its kind, and how to get it."""

    kind: Kind
    get: Callable[[Any, Any], Any]
    """Called with the record and the moment (`Moment`)."""
    rule: str = ""
    """The rule of the chains that have it, as `claim_trie`; empty if all have."""


def _text(value: Any) -> str | None:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return None


def _ip(value: Any) -> str:
    address = ipaddress.IPv6Address(value)
    return str(address.ipv4_mapped or address)


NUMBER = Kind(family="number", words="a number")
BOOL = Kind(family="true or false", words="true or false")
TEXT = Kind(family="text", words="a text")
TIME = Kind(family="time", words="a time")
NULL = Kind(family="null", words="null")
ANYTHING = Kind(family="anything", words="a value")
HEX = Kind(family="text", words="a text in hexadecimal", hexadecimal=True, show=bytes.hex)
HASH = Kind(family="text", words="a hash", hexadecimal=True, digits=64, show=display)
DIRECTION = Kind(family="text", words="a direction", choices=("to_upstream", "to_client"))
COMMAND = Kind(family="text", words="a command")
_STRING = Kind(family="text", words="a text", show=_text)
_IP = Kind(family="text", words="an address", show=_ip)


@functools.cache
def list_of(element: Kind) -> Kind:
    """Give the kind of a list."""
    return Kind(family="list", words="a list", element=element)


@functools.cache
def record_kind(record: type) -> Kind:
    """Give the kind of a record."""
    return Kind(family="record", words="a record", record=record)


def fields_of(record: type) -> dict[str, Member]:
    """Give the fields of a record by the names of `to_dict`, as declared on the wire.

    What is derived from them is in `lbcproxy.filters.derived`.
    """
    found: dict[str, Member] = {}
    if issubclass(record, Record):
        for name, field in record.schema.fields.items():
            get = _getter(name)
            rule = field.rule if isinstance(field, IfChain) else ""
            for shown, kind in _kinds(name, _inside(field), field):
                found[shown] = Member(kind, get, rule)
    return found


def _getter(name: str) -> Callable[[Any, Any], Any]:
    value = attrgetter(name)
    return lambda record, _: value(record)


def _inside(field: Any) -> Any:
    """Give the field that others are wrapped around."""
    while not isinstance(field, Many | Layout) and hasattr(field, "subcon"):
        field = field.subcon
    return field


def _kinds(name: str, field: Any, whole: Any) -> list[tuple[str, Kind]]:
    """Give the names a field has in `to_dict`, with their kinds."""
    if isinstance(field, VarStr | IpAddress):
        return [(name, _kind(field)), (f"{name}_hex", HEX)]
    if isinstance(field, VarHex):
        return [(f"{name}_hex", HEX)]
    own = type(whole).entries if isinstance(whole, Many) else Field.entries
    return [(name if own is Field.entries else f"{name}_hex", _kind(field))]


def _kind(field: Any) -> Kind:
    if isinstance(field, Layout):
        return record_kind(field.record)
    if isinstance(field, Many):
        element = _inside(field.subcon)
        # In a list a string stands in hexadecimal: it has no second name to be exact under.
        return list_of(HEX if isinstance(element, VarBytes) else _kind(element))
    if isinstance(field, HashField):
        return HASH
    if isinstance(field, VarStr):
        return _STRING
    if isinstance(field, IpAddress):
        return _IP
    if isinstance(field, VarBytes | Rest) or hasattr(field, "size"):
        return HEX
    if type(field).__name__ == "Flag":
        return BOOL
    if hasattr(field, "fmtstr") or type(field).__name__ == "CompactSize":
        return NUMBER
    return ANYTHING
