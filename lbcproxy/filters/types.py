"""The types of values in a filter, and which fields a record has.

They follow from the declarations of the messages: a field that is added there can be used here.
Values have the forms of `Record.to_dict`; each is only computed when a filter asks for it.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

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
    "TRANSPORT",
    "Convert",
    "Family",
    "RecordField",
    "RecordGetter",
    "ValueType",
    "fields_of",
    "list_of",
    "record_type",
]


class _Absent:
    """There is no such value: a field of another command, an index after the end of a list."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()

Convert: TypeAlias = Callable[[Any], Any]
"""From one form of a value to another."""
RecordGetter: TypeAlias = Callable[[Any, Any], Any]
"""From a record and the `FilterContext` to a value."""


class Family(enum.StrEnum):
    """Types that can be compared with each other; the text is for errors and documentation."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "true or false"
    TIME = "time"
    LIST = "list"
    RECORD = "record"
    NULL = "null"
    ANYTHING = "anything"


class ValueType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of value; two types of one `family` can be compared."""

    family: Family
    description: str
    """What it is, for error messages."""
    convert: Convert | None = None
    """Converts what a record holds to what a filter sees; None if that is the same."""
    element: ValueType | None = None
    """Of a list: the type of its entries."""
    record: type | None = None
    """Of a record: its class; `fields_of` returns its fields."""
    digits: int = 0
    """Of hexadecimal text: the number of digits; 0 if it varies."""
    hexadecimal: bool = False
    choices: tuple[str, ...] = ()
    """The only possible texts; empty if any text is possible."""


class RecordField(msgspec.Struct, frozen=True):
    """Something that a record has: its type, and how to get it."""

    type: ValueType
    get: RecordGetter
    """Called with the record and the `FilterContext`."""
    rule: str = ""
    """The rule of the chains that have it, as `claim_trie`; empty if all chains have it."""


def _text(value: bytes) -> str | None:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return None


def _ip(value: bytes) -> str:
    address = ipaddress.IPv6Address(value)
    return str(address.ipv4_mapped or address)


NUMBER = ValueType(family=Family.NUMBER, description="a number")
BOOL = ValueType(family=Family.BOOLEAN, description="true or false")
TEXT = ValueType(family=Family.TEXT, description="a text")
TIME = ValueType(family=Family.TIME, description="a time")
NULL = ValueType(family=Family.NULL, description="null")
ANYTHING = ValueType(family=Family.ANYTHING, description="a value")
HEX = ValueType(
    family=Family.TEXT, description="hexadecimal text", hexadecimal=True, convert=bytes.hex
)
HASH = ValueType(
    family=Family.TEXT, description="a hash", hexadecimal=True, digits=64, convert=display
)
DIRECTION = ValueType(
    family=Family.TEXT, description="a direction", choices=("to_upstream", "to_client")
)
TRANSPORT = ValueType(family=Family.TEXT, description="a transport", choices=("v1", "v2", "opaque"))
COMMAND = ValueType(family=Family.TEXT, description="a command")
_STRING = ValueType(family=Family.TEXT, description="a text", convert=_text)
_IP = ValueType(family=Family.TEXT, description="an address", convert=_ip)


@functools.cache
def list_of(element: ValueType) -> ValueType:
    """Return the type of a list."""
    return ValueType(family=Family.LIST, description="a list", element=element)


@functools.cache
def record_type(record: type) -> ValueType:
    """Return the type of a record."""
    return ValueType(family=Family.RECORD, description="a record", record=record)


def fields_of(record: type) -> dict[str, RecordField]:
    """Return the fields of a record that are declared on the wire, by the names of `to_dict`.

    `lbcproxy.filters.fields` adds what follows from them.
    """
    found: dict[str, RecordField] = {}
    if issubclass(record, Record):
        for name, field in record.schema.fields.items():
            get = _getter(name)
            rule = field.rule if isinstance(field, IfChain) else ""
            for shown, value_type in _named_types(name, _inside(field), field):
                found[shown] = RecordField(value_type, get, rule)
    return found


def _getter(name: str) -> RecordGetter:
    value = attrgetter(name)
    return lambda record, _: value(record)


def _inside(field: Any) -> Any:
    """Return the innermost field, around which others are wrapped."""
    while not isinstance(field, Many | Layout) and hasattr(field, "subcon"):
        field = field.subcon
    return field


def _named_types(name: str, field: object, whole: object) -> list[tuple[str, ValueType]]:
    """Return the names that a field has in `to_dict`, with their types."""
    if isinstance(field, VarStr | IpAddress):
        return [(name, _type_of(field)), (f"{name}_hex", HEX)]
    if isinstance(field, VarHex):
        return [(f"{name}_hex", HEX)]
    own = type(whole).entries if isinstance(whole, Many) else Field.entries
    return [(name if own is Field.entries else f"{name}_hex", _type_of(field))]


def _type_of(field: object) -> ValueType:
    if isinstance(field, Layout):
        return record_type(field.record)
    if isinstance(field, Many):
        element = _inside(field.subcon)
        # In a list a string is hexadecimal: there is no second name for its exact bytes.
        return list_of(HEX if isinstance(element, VarBytes) else _type_of(element))
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
