"""Records: typed values with the layout of their bytes declared in the annotations.

`Layout` is the construct `Struct` made from a record's annotations; it parses to the record
itself. From it come decoding, encoding, `to_dict` and the description of the fields.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Annotated, Any, ClassVar

import msgspec
from construct import Construct, ConstructError, Container, StreamError, Struct

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
        # Only fields that look at their neighbours pay for a context of their own: the classes
        # below do not, construct's (`this.x`) may.
        self.needs_siblings = any(_looks_around(field) for field in fields.values())

    def _parse(self, stream: Any, context: Any, path: Any) -> Record:
        if self.needs_siblings:
            context = Container(_=context, _params=context._params)
        values: list[Any] = []
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

    def keeping(self, error: FieldError, values: Sequence[Any]) -> FieldError:
        """Note in an error what was read: the first fields, and what it tells of the next."""
        names = list(self.fields)
        fields = dict(zip(names, values, strict=False))
        if error.read and len(values) < len(names):
            fields[names[len(values)]] = error.read
        error.read = Partial(self.record, fields)
        return error

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> Any:
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
        return _checked(obj)  # behind the fields: it may rely on their types

    def located(
        self, error: Any, name: str, start: int | None = None, stream: Any = None
    ) -> FieldError:
        """Turn any of construct's errors into one in our words that says which field it was."""
        if isinstance(error, FieldError):
            return error.inside(name, start)
        words = _words(error, self.fields[name], start, stream)
        cut_short = isinstance(error, StreamError)
        return FieldError(words, cut_short=cut_short).inside(name, start)

    def plain(self, record: Record | Partial) -> dict[str, Any]:
        """Give the record as a dictionary that JSON can hold, derived values included.

        Of a record that was read in part, what was read.
        """
        result: dict[str, Any] = {}
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


def _looks_around(field: Any) -> bool:
    if hasattr(field, "needs_siblings"):
        return bool(field.needs_siblings)
    return not isinstance(field, Field | Maybe) and not _is_number(field)


def _is_number(field: Any) -> bool:
    return hasattr(field, "fmtstr") or type(field).__name__ == "Flag"


def _checked(record: Record) -> Record:
    """Run the record's own check, if it has one."""
    if type(record).check is not Record.check:
        record.check()
    return record


def _words(error: Any, field: Any, start: int | None, stream: Any) -> str:
    if isinstance(error, StreamError) and stream is not None and start is not None:
        left = len(stream.getbuffer()) - start
        try:
            return f"{field.sizeof()} bytes needed, {left} left"
        except ConstructError:
            return f"the payload ends {left} bytes behind the beginning of the field"
    return str(error).splitlines()[-1]


@functools.cache
def _plain_of(record: type[Record]) -> Callable[[Any], dict[str, Any]]:
    """Give what makes a record plain: compiled, where that is built."""
    try:
        from lbcproxy.wire._plain import Plain
    except ImportError:
        return record.schema.plain
    return Plain(record.schema)


class _LayoutOf:
    """Give a class its layout, made when first asked for."""

    def __get__(self, record: Record | None, owner: type[Record]) -> Layout:
        return _layout_of(owner)


@functools.cache
def _layout_of(record: type[Record]) -> Layout:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = {
        name: _construct_of(hints[name]) for name in record.__struct_fields__ if name != "trailing"
    }
    return record.layout(record, fields)


def _construct_of(hint: Any) -> Construct:
    """Find the construct an annotation stands for."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, Construct):
                return extra
            if isinstance(extra, _Limited):
                return Many(_construct_of(typing.get_args(hint.__origin__)[0]), extra.limit)
    if origin is tuple:
        return Many(_construct_of(typing.get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.schema
    raise TypeError(f"{hint!r} says nothing about its bytes: annotate it with a construct")


class _Limited(msgspec.Struct, frozen=True):
    limit: Limit


def at_most(limit: Limit) -> Any:
    """Annotate a tuple with the most entries it may have."""
    return _Limited(limit)


class Record(msgspec.Struct, frozen=True, gc=False):
    """A typed value decoded from bytes: immutable, compared by value, hashable.

    Each annotation is a construct or another record; `tuple[TxOut, ...]` is a CompactSize count
    and that many. `None` means absent on the wire.
    """

    schema: ClassVar[Layout] = _LayoutOf()  # type: ignore[assignment]
    """The construct that reads and writes the record: the reference of its layout."""
    layout: ClassVar[type[Layout]] = Layout
    """The kind of `Layout`; another where the bytes are not simply one field after another."""

    def check(self) -> None:
        """Refuse, with FieldError, what no single field can see. Runs after parse, before build."""

    def derived(self) -> dict[str, Any]:
        """Give the entries of `to_dict` that are computed, such as ids."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Give the record as JSON can hold it.

        Hashes are in display order, other bytes in hexadecimal; a string stands as text (None if
        it is not UTF-8) and, exactly, under `<name>_hex`.
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
        """Say in a few words what it holds, for a line; the empty string if nothing is worth it.

        What the sender chose freely is escaped.
        """
        return ""

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Say the like of a payload of which only the first 200 bytes are kept."""
        return ""

    trailing: bytes = b""
    """Bytes behind the last field. No node refuses them; `encode` writes them again."""


def parse(layout: Layout, stream: BytesIO, params: Params) -> Any:
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
