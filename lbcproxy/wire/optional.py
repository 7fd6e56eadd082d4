"""Optional fields: None in the record, nothing on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

from construct import Construct, Subconstruct, stream_iseof

from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.wire.construct_types import Context, FieldValue
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import VarStr, plain

__all__ = ["Extension", "IfChain", "Maybe", "OptionalTail", "Since", "When"]


class Maybe(Subconstruct):
    """Base class of optional fields: None in the record, nothing on the wire."""

    def plain(self, value: FieldValue) -> JsonValue:
        """Return None, or the JSON value of the field itself."""
        return None if value is None else plain(self.subcon, value)

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the entries of the field itself."""
        if isinstance(self.subcon, VarStr):
            return self.subcon.entries(name, value)
        return {name: self.plain(value)}

    def present(self, context: Context) -> bool:
        """Return whether the field is present, judged by the fields before it."""
        raise NotImplementedError

    def absence(self) -> str:
        """Return the condition under which the field is present."""
        raise NotImplementedError

    def _parse(self, stream: BytesIO, context: Context, path: str) -> FieldValue:
        if not self.present(context):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        present = self.present(context)
        if present is not (value is not None):
            raise FieldError(f"{'missing' if present else 'cannot be sent'}: {self.absence()}")
        return self.subcon._build(value, stream, context, path) if present else None


class Since(Maybe):
    """A field that is present from a protocol version on, inclusive."""

    def __init__(self, version: int, subcon: Construct) -> None:
        super().__init__(subcon)
        self.version = version

    def present(self, context: Context) -> bool:
        """Return whether the negotiated protocol version has the field."""
        return bool(context._params.params.protocol_version >= self.version)

    def absence(self) -> str:
        """Return the condition: the protocol version."""
        return f"from protocol version {self.version} on"


class IfChain(Maybe):
    """A field of the chains with a certain rule: `IfChain("claim_trie", HASH)` for LBRY."""

    def __init__(self, rule: str, subcon: Construct) -> None:
        super().__init__(subcon)
        self.rule = rule

    def present(self, context: Context) -> bool:
        """Return whether the chain has the rule."""
        return bool(getattr(context._params.params.rules, self.rule))

    def absence(self) -> str:
        """Return the condition: the rule."""
        return f"on chains with {self.rule}"

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return no entry if the chain does not have the field."""
        return {} if value is None else {name: self.plain(value)}


class Extension(IfChain):
    """A field of some messages on chains with a certain rule; None in the others.

    It is read if any byte is left. If fields follow it, the layout of its record reads it instead.
    """

    def _parse(self, stream: BytesIO, context: Context, path: str) -> FieldValue:
        if not self.present(context) or stream_iseof(stream):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if value is None:
            return None
        if not self.present(context):
            raise FieldError(f"cannot be sent: {self.absence()}")
        return self.subcon._build(value, stream, context, path)


class When(Maybe):
    """A field that is present if an earlier field of the same record has one of some values."""

    needs_siblings = True

    def __init__(self, name: str, values: Iterable[bytes], subcon: Construct) -> None:
        super().__init__(subcon)
        self.sibling = name
        self.values = frozenset(values)

    def present(self, context: Context) -> bool:
        """Return whether the earlier field has one of the values."""
        return context[self.sibling] in self.values

    def absence(self) -> str:
        """Return the condition: the values."""
        values = " or ".join(sorted(value.decode("ascii") for value in self.values))
        return f"when {self.sibling} is {values}"


class OptionalTail(Maybe):
    """A field that is read if any byte is left. All fields after it are optional tails too."""

    needs_siblings = True

    def absence(self) -> str:
        """Return the condition: the length of the payload."""
        return "unless the payload ends before it"

    def _parse(self, stream: BytesIO, context: Context, path: str) -> FieldValue:
        if stream_iseof(stream):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if value is None:
            context["_tail_ended"] = True
            return None
        if context.get("_tail_ended"):
            raise FieldError("cannot be sent: a field before it is absent")
        return self.subcon._build(value, stream, context, path)
