"""The kinds of field a message is made of.

A record's annotations name them: `value: Int64`, `locator: Annotated[tuple[bytes, ...],
Many(HASH, 500)]`. Numbers and flags are construct's own; what Bitcoin's family adds (CompactSize,
hashes, counted lists) are the `Construct` classes here, and in `optional.py` fields that are not
always there. Each checks its limit before it reads what the limit is for.
"""

from __future__ import annotations

import ipaddress
from io import BytesIO
from typing import Annotated, Any, TypeAlias

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
    "count_in",
    "hold",
    "plain",
    "take",
]


def take(stream: Any, count: int) -> bytes:
    """Read exactly `count` bytes or raise FieldError."""
    data: bytes = stream.read(count)
    if len(data) != count:
        raise FieldError(f"{count} bytes needed, {len(data)} left", cut_short=True)
    return data


def plain(field: Any, value: Any) -> Any:
    """Turn a field's value into what JSON can hold (forms of `Record.to_dict`)."""
    if hasattr(field, "plain"):
        return field.plain(value)
    return value.hex() if isinstance(value, bytes) else value


class Field(Construct):
    """A field of ours: besides parse and build it knows how it looks in `to_dict`."""

    def plain(self, value: Any) -> Any:
        """Give the value as JSON can hold it."""
        return value.hex() if isinstance(value, bytes) else value

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give the keys that the field adds to its record's `to_dict`."""
        return {name: self.plain(value)}


class CompactSize(Field):
    """A count or size in 1, 3, 5 or 9 bytes, little endian; only the shortest form is legal."""

    def _parse(self, stream: Any, context: Any, path: Any) -> int:
        first = take(stream, 1)[0]
        if first < 0xFD:
            return first
        size = 2 << (first - 0xFD)
        value = int.from_bytes(take(stream, size), "little")
        if value < (0xFD if size == 2 else 1 << (size * 4)):
            raise FieldError(f"CompactSize {value} takes {size + 1} bytes, not the shortest form")
        return value

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
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
    return int(COMPACT_SIZE._parse(BytesIO(head), None, ""))


def _count(stream: Any, context: Any, path: Any, limit: Limit, unit: str) -> int:
    """Read a count and hold it to its limit, before anything is read or kept for it."""
    count: int = COMPACT_SIZE._parse(stream, context, path)
    hold(count, limit, unit, context)
    return count


def hold(count: int, limit: Limit, unit: str, context: Any) -> None:
    """Hold a count to its limit; raises FieldError."""
    most = bound(limit, context._params.params)
    if count > most:
        raise FieldError(f"{count} {unit}, at most {most} allowed")


class Fixed(Field):
    """A fixed number of raw bytes, shown in hexadecimal in wire order."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        return take(stream, self.size)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if not isinstance(value, bytes) or len(value) != self.size:
            raise FieldError(f"{_shown(value)} is not {self.size} bytes")
        stream.write(value)
        return value

    def _sizeof(self, context: Any, path: Any) -> int:
        return self.size


class HashField(Fixed):
    """A SHA-256d hash: 32 raw bytes, shown reversed as people write it."""

    def __init__(self) -> None:
        super().__init__(32)

    def plain(self, value: Any) -> Any:
        """Give the hash in display order."""
        return display(value)


HASH = HashField()


class IpAddress(Fixed):
    """An IPv6 address of 16 bytes, as in `addr`; IPv4 is mapped (`::ffff:1.2.3.4`)."""

    def __init__(self) -> None:
        super().__init__(16)

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give the exact bytes, and the address for people."""
        address = ipaddress.IPv6Address(value)
        return {f"{name}_hex": value.hex(), name: str(address.ipv4_mapped or address)}


class VarBytes(Field):
    """Bytes behind their number; the number is checked before the bytes are read."""

    def __init__(self, limit: Limit = MAX_PAYLOAD) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        return take(stream, _count(stream, context, path, self.limit, "bytes"))

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if not isinstance(value, bytes):
            raise FieldError(f"{_shown(value)} is not bytes")
        hold(len(value), self.limit, "bytes", context)
        COMPACT_SIZE._build(len(value), stream, context, path)
        stream.write(value)
        return value


class Rest(Field):
    """All bytes but so many at the end, which are not looked into."""

    def __init__(self, before: int = 0) -> None:
        super().__init__()
        self.before = before

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        left = len(stream.getbuffer()) - stream.tell()
        if left <= self.before:
            raise FieldError(f"{self.before + 1} bytes needed, {left} left", cut_short=True)
        return take(stream, left - self.before)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if not isinstance(value, bytes) or not value:
            raise FieldError(f"{_shown(value)} is not one byte or more")
        stream.write(value)
        return value


class VarHex(VarBytes):
    """Bytes whose key in `to_dict` says that they are hexadecimal: `signature_hex`."""

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give the bytes under `<name>_hex`."""
        return {f"{name}_hex": value.hex()}


class VarStr(VarBytes):
    """A string as the wire has it: any bytes, usually UTF-8."""

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give the exact bytes, and the text, or None where they are no UTF-8."""
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

    def __init__(self, subcon: Any, limit: Limit = MAX_PAYLOAD) -> None:
        super().__init__()
        self.subcon = subcon
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: Any) -> tuple[Any, ...]:
        count = _count(stream, context, path, self.limit, "entries")
        return self.elements(count, stream, context, path)

    def elements(self, count: int, stream: Any, context: Any, path: Any) -> tuple[Any, ...]:
        """Parse `count` elements whose count has been read already."""
        parse = self.subcon._parsereport
        values: list[Any] = []
        start = 0
        try:
            for _ in range(count):
                start = stream.tell()
                values.append(parse(stream, context, path))
        except FieldError as error:
            error.read = tuple(values)
            raise error.inside(f"[{len(values)}]", start) from None
        return tuple(values)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if not isinstance(value, tuple | list):
            raise FieldError(f"{_shown(value)} is not a tuple")
        hold(len(value), self.limit, "entries", context)
        COMPACT_SIZE._build(len(value), stream, context, path)
        for index, element in enumerate(value):
            try:
                self.subcon._build(element, stream, context, path)
            except FieldError as error:
                raise error.inside(f"[{index}]") from None
        return value

    def plain(self, value: Any) -> Any:
        """Give a list of the elements' plain values."""
        return [plain(self.subcon, element) for element in value]


def _shown(value: Any) -> str:
    """Show a wrong value, cut to a length people can read."""
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
"""A TCP port: two bytes, big endian, the only big endian number of the protocol."""
Bool: TypeAlias = Annotated[bool, Flag]
"""One byte; any but zero is true, and true is written as 1."""
CompactInt: TypeAlias = Annotated[int, COMPACT_SIZE]
"""A number in CompactSize, 0 to 2^64-1."""
Hash: TypeAlias = Annotated[bytes, HASH]
"""A 32 byte hash in wire order; shown reversed."""
Script: TypeAlias = Annotated[bytes, VarBytes(ByChain("script"))]
"""A script behind its length."""
