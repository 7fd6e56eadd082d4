"""Records: typed values with the layout of their bytes declared in the annotations.

`Layout` is the construct `Struct` made from a record's annotations; it parses to the record
itself. From it come decoding, encoding, `to_dict` and the description of the fields.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import ClassVar

import msgspec
from construct import Construct, ConstructError, Container, StreamError, Struct

from lbcproxy.json_types import JsonObject
from lbcproxy.wire.construct_types import Context, FieldValue
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import Field, Many, plain
from lbcproxy.wire.optional import Maybe
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.rules import MAX_PAYLOAD, Limit, Params

__all__ = ["Layout", "MessageRecord", "Record", "at_most", "build", "parse"]


class Layout(Struct):
    """The fields of a record one after another; parses to the record, builds from it."""

    def __init__(self, record: type[Record], fields: dict[str, Construct]) -> None:
        super().__init__(*(name / field for name, field in fields.items()))
        self.record = record
        self.fields = fields
        # A separate context is only made for fields that read other fields of the record. The
        # classes of this package do not; those of construct (`this.x`) may.
        self.needs_siblings = any(_looks_around(field) for field in fields.values())

    def _parse(self, stream: BytesIO, context: Context, path: str) -> Record:
        if self.needs_siblings:
            context = Container(_=context, _params=context._params)
        values: list[FieldValue] = []
        for name, field in self.fields.items():
            start = stream.tell()
            try:
                value = field._parsereport(stream, context, path)
            except ConstructError as error:
                located = self.located(error, name, start, stream)
                raise self.keeping(located, values) from None
            if self.needs_siblings:
                context[name] = value
            values.append(value)
        try:
            return _checked(self.record(*values))
        except FieldError as error:
            raise self.keeping(error, values) from None

    def keeping(self, error: FieldError, values: Sequence[FieldValue]) -> FieldError:
        """Record in an error the fields that were read, with what was read of the next one."""
        names = list(self.fields)
        fields = dict(zip(names, values, strict=False))
        if error.read and len(values) < len(names):
            fields[names[len(values)]] = error.read
        error.read = Partial(self.record, fields)
        return error

    def _build(self, obj: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(obj, self.record):
            raise FieldError(f"{type(obj).__name__} is not {self.record.__name__}")
        if self.needs_siblings:
            context = Container(_=context, _params=context._params)
        for name, field in self.fields.items():
            value = getattr(obj, name)
            if self.needs_siblings:
                context[name] = value
            try:
                field._build(value, stream, context, path)
            except ConstructError as error:
                raise self.located(error, name) from None
        return _checked(obj)  # after the fields, so that it can rely on their types

    def located(
        self, error: Exception, name: str, start: int | None = None, stream: BytesIO | None = None
    ) -> FieldError:
        """Convert an error of construct to a FieldError that names the field."""
        if isinstance(error, FieldError):
            return error.inside(name, start)
        what = _describe_error(error, self.fields[name], start, stream)
        cut_short = isinstance(error, StreamError)
        return FieldError(what, cut_short=cut_short).inside(name, start)

    def plain(self, record: Record | Partial) -> JsonObject:
        """Return the record as a JSON object, derived values included.

        For a `Partial`, only the fields that were read.
        """
        result: dict[str, FieldValue] = {}
        for name, field in self.fields.items():
            if isinstance(record, Partial) and name not in record:
                continue
            value = getattr(record, name)
            if isinstance(field, Field | Maybe):
                result.update(field.entries(name, value))
            else:
                result[name] = plain(field, value)
        if not isinstance(record, Partial):
            result.update(record.derived())
        return result


def _looks_around(field: Construct) -> bool:
    if hasattr(field, "needs_siblings"):
        return bool(field.needs_siblings)
    return not isinstance(field, Field | Maybe) and not _is_number(field)


def _is_number(field: Construct) -> bool:
    return hasattr(field, "fmtstr") or type(field).__name__ == "Flag"


def _checked(record: Record) -> Record:
    """Run the record's own check, if it has one, and return the record."""
    if type(record).check is not Record.check:
        record.check()
    return record


def _describe_error(
    error: Exception, field: Construct, start: int | None, stream: BytesIO | None
) -> str:
    if isinstance(error, StreamError) and stream is not None and start is not None:
        left = len(stream.getbuffer()) - start
        try:
            return f"{field.sizeof()} bytes needed, {left} left"
        except ConstructError:
            return f"the payload ends {left} bytes after the beginning of the field"
    return str(error).splitlines()[-1]


@functools.cache
def _plain_of(record: type[Record]) -> Callable[[Record], JsonObject]:
    """Return the function that converts a record to JSON: compiled, where that is built."""
    try:
        from lbcproxy.wire._plain import Plain
    except ImportError:
        return record.schema.plain
    return Plain(record.schema)


class _LayoutOf:
    """The layout of a record class, made on first use."""

    def __get__(self, record: Record | None, owner: type[Record]) -> Layout:
        return _layout_of(owner)


@functools.cache
def _layout_of(record: type[Record]) -> Layout:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = {
        name: _construct_of(hints[name]) for name in record.__struct_fields__ if name != "trailing"
    }
    return record.layout(record, fields)


def _construct_of(hint: object) -> Construct:
    """Find the construct an annotation stands for."""
    args = typing.get_args(hint)
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Construct):
            return extra
        if isinstance(extra, _Limited):
            return Many(_construct_of(typing.get_args(args[0])[0]), extra.limit)
    if typing.get_origin(hint) is tuple:
        return Many(_construct_of(args[0]))
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.schema
    raise TypeError(f"{hint!r} does not define an encoding: annotate it with a construct")


class _Limited(msgspec.Struct, frozen=True):
    limit: Limit


def at_most(limit: Limit) -> _Limited:
    """Annotate a tuple with the maximum number of its entries."""
    return _Limited(limit)


class Record(msgspec.Struct, frozen=True, gc=False):
    """A typed value decoded from bytes: immutable, compared by value, hashable.

    Each annotation is a construct or another record. `tuple[TxOut, ...]` is a CompactSize count,
    followed by that many entries. `None` means absent on the wire.
    """

    schema: ClassVar[Layout] = _LayoutOf()  # type: ignore[assignment]
    """The construct that reads and writes the record: the reference for its byte layout."""
    layout: ClassVar[type[Layout]] = Layout
    """The class of `schema`. A subclass where the bytes are not simply one field after another."""

    def check(self) -> None:
        """Raise FieldError for values that are invalid together.

        Called after the fields were parsed, and after they were built.
        """

    def derived(self) -> JsonObject:
        """Return the computed entries of `to_dict`, such as ids."""
        return {}

    def to_dict(self) -> JsonObject:
        """Return the record as a JSON object.

        Hashes are in display order, other bytes in hexadecimal. A string appears as text (None if
        it is not UTF-8) and its exact bytes under `<name>_hex`.
        """
        return _plain_of(type(self))(self)


class MessageRecord(Record, frozen=True, gc=False, kw_only=True):
    """A record that is the payload of a command."""

    command: ClassVar[str]
    """The name on the wire."""
    maximum: ClassVar[Limit] = MAX_PAYLOAD
    """The largest payload in bytes."""
    since: ClassVar[int] = 0
    """The lowest protocol version at which the command is legal."""

    def summary(self) -> str:
        """Return a one-line summary of the content; empty if there is nothing to report.

        Text that the sender can choose is escaped.
        """
        return ""

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return a summary of a payload of which only the first 200 bytes are available."""
        return ""

    trailing: bytes = b""
    """Bytes after the last field. No node rejects them; `encode` writes them again."""


def parse(layout: Layout, stream: BytesIO, params: Params) -> FieldValue:
    """Parse one record from a stream; raises FieldError."""
    context = Container(params=params)
    context._params = context
    return layout._parsereport(stream, context, "")


def build(layout: Layout, record: Record, params: Params) -> bytes:
    """Build the bytes of one record; raises FieldError."""
    context = Container(params=params)
    context._params = context
    stream = BytesIO()
    layout._build(record, stream, context, "")
    return stream.getvalue()
