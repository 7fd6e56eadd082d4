"""The engines: what reads and writes the payloads of one record class.

An engine converts the errors of fields to errors of payloads. The construct engine is the
reference: construct's own interpreter. The native engine, where that extension is built, uses
compiled nodes for the same construct tree (`_native.pyx`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

import msgspec
from construct import Construct

from lbcproxy.wire.errors import BadPayload, BadRecord, FieldError
from lbcproxy.wire.optional import Since
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import Layout, MessageRecord, Record, build, parse
from lbcproxy.wire.rules import ByVersion, Params

if TYPE_CHECKING:
    from lbcproxy.wire._native import Tree

__all__ = [
    "ENGINES",
    "ConstructEngine",
    "Engine",
    "NativeEngine",
    "bytes_of",
    "missing_engine_warning",
    "tree_of",
]


class Engine(Protocol):
    """Read and write the payloads of one record class under fixed parameters."""

    def __init__(self, record: type[MessageRecord], params: Params) -> None: ...

    def decode(self, payload: bytes) -> tuple[MessageRecord, int]:
        """Return the record and the number of bytes read; raises BadPayload."""

    def partial(self, payload: bytes) -> Partial:
        """Return the fields before the first one that cannot be read, or all."""

    def encode(self, record: MessageRecord) -> bytes:
        """Return the payload without trailing bytes; raises BadRecord."""


class ConstructEngine:
    """Read and write with construct."""

    def __init__(self, record: type[MessageRecord], params: Params) -> None:
        self._layout = record.schema
        self._params = params

    def decode(self, payload: bytes) -> tuple[MessageRecord, int]:
        """Return the record and the number of bytes read; raises BadPayload."""
        stream = BytesIO(payload)
        try:
            record = parse(self._layout, stream, self._params)
        except FieldError as error:
            raise _bad_payload(error) from None
        return record, stream.tell()

    def partial(self, payload: bytes) -> Partial:
        """Return the fields before the first one that cannot be read, or all."""
        stream = BytesIO(payload)
        try:
            record = parse(self._layout, stream, self._params)
        except FieldError as error:
            return _partial(self._layout, error, b"")
        return _partial(self._layout, record, payload[stream.tell() :])

    def encode(self, record: MessageRecord) -> bytes:
        """Return the payload without trailing bytes; raises BadRecord."""
        try:
            return build(self._layout, record, self._params)
        except Exception as error:
            raise _bad_record(error) from _cause(error)


class NativeEngine:
    """Read and write with the compiled nodes of the record's construct tree."""

    def __init__(self, record: type[MessageRecord], params: Params) -> None:
        self._layout = record.schema
        self._tree = tree_of(record, params)
        self._params = params

    def decode(self, payload: bytes) -> tuple[MessageRecord, int]:
        """Return the record and the number of bytes read; raises BadPayload."""
        try:
            return self._tree.decode(payload, self._params)
        except FieldError as error:
            raise _bad_payload(error) from None

    def partial(self, payload: bytes) -> Partial:
        """Return the fields before the first one that cannot be read, or all."""
        found, used = self._tree.partial(payload, self._params)
        trailing = b"" if isinstance(found, FieldError) else payload[used:]
        return _partial(self._layout, found, trailing)

    def encode(self, record: MessageRecord) -> bytes:
        """Return the payload without trailing bytes; raises BadRecord."""
        try:
            return self._tree.encode(record, self._params)
        except Exception as error:
            raise _bad_record(error) from _cause(error)


def _partial(layout: Layout, found: Record | FieldError, trailing: bytes) -> Partial:
    """Return the fields of a record, or those that an error says were read."""
    if isinstance(found, FieldError):
        read = found.read
        return read if isinstance(read, Partial) else Partial(layout.record, {})
    return Partial(layout.record, {name: getattr(found, name) for name in layout.fields}, trailing)


def _bad_payload(error: FieldError) -> BadPayload:
    return BadPayload(error.what, error.where, error.offset or 0, cut_short=error.cut_short)


def _bad_record(error: Exception) -> BadRecord:
    """Convert any error: a value of a wrong type makes constructs and checks raise all kinds."""
    if isinstance(error, FieldError):
        return BadRecord(error.what, error.where)
    return BadRecord(f"{type(error).__name__}: {error}")


def _cause(error: Exception) -> Exception | None:
    return None if isinstance(error, FieldError) else error


def tree_of(record: type[MessageRecord], params: Params) -> Tree:
    """Return the nodes of a record, cached for all parameters that give the same nodes.

    The protocol version is rounded down to the last one that changed the record, so that a peer
    that claims arbitrary versions cannot fill the cache.
    """
    changes = (each for each in _version_changes(record) if each <= params.protocol_version)
    return _tree(record, msgspec.structs.replace(params, protocol_version=max(changes, default=-1)))


def bytes_of(record: MessageRecord, params: Params) -> bytes:
    """Return the bytes of a record, written by the fastest engine; raises FieldError."""
    if "native" in ENGINES:
        return _fixed_tree(type(record), params).encode(record, params)
    return build(record.schema, record, params)


@functools.cache  # bounded: no peer can choose these parameters
def _fixed_tree(record: type[MessageRecord], params: Params) -> Tree:
    return tree_of(record, params)


@functools.cache
def _tree(record: type[MessageRecord], params: Params) -> Tree:
    from lbcproxy.wire._native import Tree

    return Tree(record.schema, params)


@functools.cache
def _version_changes(record: type[MessageRecord]) -> tuple[int, ...]:
    """Return the protocol versions that changed something in a record, sorted."""
    return tuple(sorted(set(_changes_in(record.schema))))


def _changes_in(field: Construct) -> Iterator[int]:
    if isinstance(field, Since):
        yield field.version
    limit = getattr(field, "limit", None)
    if isinstance(limit, ByVersion):
        yield from (version for version, _ in limit.steps)
    if isinstance(field, Layout):
        for each in field.fields.values():
            yield from _changes_in(each)
    elif getattr(field, "subcon", None) is not None:
        yield from _changes_in(field.subcon)


def _engines() -> dict[str, type[Engine]]:
    try:
        import lbcproxy.wire._native  # noqa: F401  # whether it is built
    except ImportError:
        return {"construct": ConstructEngine}
    return {"native": NativeEngine, "construct": ConstructEngine}


ENGINES = _engines()
"""The engines that this installation has, by name; the first is the default."""


def missing_engine_warning() -> str | None:
    """Return a warning that says how to get the native engine, or None if it is there."""
    if "native" in ENGINES:
        return None
    return (
        "the native engine is not built: reading and writing messages is about fifty times "
        "slower; install a C compiler (on Debian and Ubuntu: gcc and python3-dev), then "
        "install lbcproxy again"
    )
