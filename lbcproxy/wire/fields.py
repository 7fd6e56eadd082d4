"""The field types of messages.

A record's annotations name them: `value: Int64`, `locator: Annotated[tuple[bytes, ...],
Many(HASH, 500)]`. Numbers and flags are construct's own. The types that Bitcoin adds
(CompactSize, hashes, counted lists) are the `Construct` classes here; `optional.py` has those of
optional fields. Each checks its limit before it reads the bytes that the limit applies to.
"""

from __future__ import annotations

import ipaddress
from io import BytesIO
from typing import Annotated, TypeAlias

from construct import (
    Construct,
    Flag,
    Int8ul,
    Int16ub,
    Int32sl,
    Int32ul,
    Int64sl,
    Int64ul,
)

from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.wire.construct_types import Context, FieldValue
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.hashes import display
from lbcproxy.wire.rules import MAX_PAYLOAD, ByChain, Limit, bound

__all__ = [
    "COMPACT_SIZE",
    "HASH",
    "VAR_BYTES",
    "VAR_STR",
    "Bool",
    "CompactInt",
    "Field",
    "Fixed",
    "Hash",
    "Int32",
    "Int64",
    "IpAddress",
    "Many",
    "Port",
    "Rest",
    "Script",
    "UInt8",
    "UInt32",
    "UInt64",
    "VarBytes",
    "VarHex",
    "VarStr",
    "check_limit",
    "count_in",
    "plain",
    "read_exactly",
]


def read_exactly(stream: BytesIO, count: int) -> bytes:
    """Read `count` bytes; raises FieldError if there are fewer."""
    data: bytes = stream.read(count)
    if len(data) != count:
        raise FieldError(f"{count} bytes needed, {len(data)} left", cut_short=True)
    return data


def plain(field: Construct, value: FieldValue) -> JsonValue:
    """Return a field's value as JSON, in the form that `Record.to_dict` describes."""
    if hasattr(field, "plain"):
        return field.plain(value)
    return value.hex() if isinstance(value, bytes) else value


class Field(Construct):
    """A field of this package: besides parsing and building, it defines its form in `to_dict`."""

    def plain(self, value: FieldValue) -> JsonValue:
        """Return the value as JSON."""
        return value.hex() if isinstance(value, bytes) else value

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the entries that the field adds to its record's `to_dict`."""
        return {name: self.plain(value)}


class CompactSize(Field):
    """A count or size in 1, 3, 5 or 9 bytes, little endian; only the shortest form is valid."""

    def _parse(self, stream: BytesIO, context: Context | None, path: str) -> int:
        first = read_exactly(stream, 1)[0]
        if first < 0xFD:
            return first
        size = 2 << (first - 0xFD)
        value = int.from_bytes(read_exactly(stream, size), "little")
        if value < (0xFD if size == 2 else 1 << (size * 4)):
            raise FieldError(f"CompactSize {value} takes {size + 1} bytes, not the shortest form")
        return value

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(value, int) or not 0 <= value < 1 << 64:
            raise FieldError(f"{value!r} is not a CompactSize (0 to 2^64-1)")
        for limit, prefix, size in ((0xFD, b"", 1), (1 << 16, b"\xfd", 2), (1 << 32, b"\xfe", 4)):
            if value < limit:
                stream.write(prefix + value.to_bytes(size, "little"))
                return value
        stream.write(b"\xff" + value.to_bytes(8, "little"))
        return value


COMPACT_SIZE = CompactSize()


def count_in(head: bytes) -> int:
    """Read the count at the beginning of a payload; raises FieldError."""
    return COMPACT_SIZE._parse(BytesIO(head), None, "")


def _count(stream: BytesIO, context: Context, path: str, limit: Limit, unit: str) -> int:
    """Read a count and check its limit, before anything is read or allocated for it."""
    count = COMPACT_SIZE._parse(stream, context, path)
    check_limit(count, limit, unit, context)
    return count


def check_limit(count: int, limit: Limit, unit: str, context: Context) -> None:
    """Raise FieldError if a count exceeds its limit."""
    most = bound(limit, context._params.params)
    if count > most:
        raise FieldError(f"{count} {unit}, at most {most} allowed")


class Fixed(Field):
    """A fixed number of raw bytes, shown in hexadecimal in wire order."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _parse(self, stream: BytesIO, context: Context, path: str) -> bytes:
        return read_exactly(stream, self.size)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(value, bytes) or len(value) != self.size:
            raise FieldError(f"{_shown(value)} is not {self.size} bytes")
        stream.write(value)
        return value

    def _sizeof(self, context: Context, path: str) -> int:
        return self.size


class HashField(Fixed):
    """A SHA-256d hash: 32 raw bytes, shown in display order (reversed)."""

    def __init__(self) -> None:
        super().__init__(32)

    def plain(self, value: FieldValue) -> JsonValue:
        """Return the hash in display order."""
        return display(value)


HASH = HashField()


class IpAddress(Fixed):
    """An IPv6 address of 16 bytes, as in `addr`; IPv4 is mapped (`::ffff:1.2.3.4`)."""

    def __init__(self) -> None:
        super().__init__(16)

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the exact bytes, and the address as text."""
        address = ipaddress.IPv6Address(value)
        return {f"{name}_hex": value.hex(), name: str(address.ipv4_mapped or address)}


class VarBytes(Field):
    """A length and that many bytes; the length is checked before the bytes are read."""

    def __init__(self, limit: Limit = MAX_PAYLOAD) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: BytesIO, context: Context, path: str) -> bytes:
        return read_exactly(stream, _count(stream, context, path, self.limit, "bytes"))

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(value, bytes):
            raise FieldError(f"{_shown(value)} is not bytes")
        check_limit(len(value), self.limit, "bytes", context)
        COMPACT_SIZE._build(len(value), stream, context, path)
        stream.write(value)
        return value


class Rest(Field):
    """All remaining bytes but the last `before`; their content is not parsed."""

    def __init__(self, before: int = 0) -> None:
        super().__init__()
        self.before = before

    def _parse(self, stream: BytesIO, context: Context, path: str) -> bytes:
        left = len(stream.getbuffer()) - stream.tell()
        if left <= self.before:
            raise FieldError(f"{self.before + 1} bytes needed, {left} left", cut_short=True)
        return read_exactly(stream, left - self.before)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(value, bytes) or not value:
            raise FieldError(f"{_shown(value)} is not one byte or more")
        stream.write(value)
        return value


class VarHex(VarBytes):
    """Bytes that are hexadecimal in `to_dict`, under a key that says so: `signature_hex`."""

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the bytes under `<name>_hex`."""
        return {f"{name}_hex": value.hex()}


class VarStr(VarBytes):
    """A string: any bytes on the wire, usually UTF-8."""

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the exact bytes, and the text (None if they are not UTF-8)."""
        if value is None:
            return {f"{name}_hex": None, name: None}
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = None
        return {f"{name}_hex": value.hex(), name: text}


VAR_BYTES = VarBytes()
VAR_STR = VarStr()


class Many(Field):
    """A count, then that many of one kind of field; a tuple in the record."""

    def __init__(self, subcon: Construct, limit: Limit = MAX_PAYLOAD) -> None:
        super().__init__()
        self.subcon = subcon
        self.limit = limit

    def _parse(self, stream: BytesIO, context: Context, path: str) -> tuple[FieldValue, ...]:
        count = _count(stream, context, path, self.limit, "entries")
        return self.elements(count, stream, context, path)

    def elements(
        self, count: int, stream: BytesIO, context: Context, path: str
    ) -> tuple[FieldValue, ...]:
        """Parse `count` elements after their count has been read."""
        parse = self.subcon._parsereport
        values: list[FieldValue] = []
        start = 0
        try:
            for _ in range(count):
                start = stream.tell()
                values.append(parse(stream, context, path))
        except FieldError as error:
            error.read = tuple(values)
            raise error.inside(f"[{len(values)}]", start) from None
        return tuple(values)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(value, tuple | list):
            raise FieldError(f"{_shown(value)} is not a tuple")
        check_limit(len(value), self.limit, "entries", context)
        COMPACT_SIZE._build(len(value), stream, context, path)
        for index, element in enumerate(value):
            try:
                self.subcon._build(element, stream, context, path)
            except FieldError as error:
                raise error.inside(f"[{index}]") from None
        return value

    def plain(self, value: FieldValue) -> JsonValue:
        """Return the elements as a list of JSON values."""
        return [plain(self.subcon, element) for element in value]


def _shown(value: object) -> str:
    """Return the repr of a wrong value, shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


UInt8: TypeAlias = Annotated[int, Int8ul]
"""One byte, 0 to 255."""
UInt32: TypeAlias = Annotated[int, Int32ul]
"""Four bytes, little endian, 0 to 2^32-1."""
UInt64: TypeAlias = Annotated[int, Int64ul]
"""Eight bytes, little endian, 0 to 2^64-1."""
Int32: TypeAlias = Annotated[int, Int32sl]
"""Four bytes, little endian, two's complement."""
Int64: TypeAlias = Annotated[int, Int64sl]
"""Eight bytes, little endian, two's complement."""
Port: TypeAlias = Annotated[int, Int16ub]
"""A TCP port: two bytes, big endian (the only big endian number in the protocol)."""
Bool: TypeAlias = Annotated[bool, Flag]
"""One byte: every value but 0 is true; true is written as 1."""
CompactInt: TypeAlias = Annotated[int, COMPACT_SIZE]
"""A number in CompactSize, 0 to 2^64-1."""
Hash: TypeAlias = Annotated[bytes, HASH]
"""A 32-byte hash in wire order, displayed reversed."""
Script: TypeAlias = Annotated[bytes, VarBytes(ByChain("script"))]
"""A script after its length."""
