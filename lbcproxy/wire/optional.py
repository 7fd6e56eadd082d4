"""Fields that are not always there: None in the record, nothing on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from construct import Subconstruct, stream_iseof

from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import VarStr, plain

__all__ = ["Extension", "IfChain", "Maybe", "OptionalTail", "Since", "When"]


class Maybe(Subconstruct):
    """Base of what may be absent: None in the record, nothing on the wire."""

    def plain(self, value: Any) -> Any:
        """Give None, or what the field itself gives."""
        return None if value is None else plain(self.subcon, value)

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give the field's own keys."""
        if isinstance(self.subcon, VarStr):
            return self.subcon.entries(name, value)
        return {name: self.plain(value)}

    def present(self, context: Any) -> bool:
        """Whether the field is there, as far as what was read before it tells."""
        raise NotImplementedError

    def absence(self) -> str:
        """Say under what condition the field is there."""
        raise NotImplementedError

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        if not self.present(context):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        present = self.present(context)
        if present is not (value is not None):
            raise FieldError(f"{'missing' if present else 'cannot be sent'}: {self.absence()}")
        return self.subcon._build(value, stream, context, path) if present else None


class Since(Maybe):
    """A field that is there from a protocol version on, inclusive."""

    def __init__(self, version: int, subcon: Any) -> None:
        super().__init__(subcon)
        self.version = version

    def present(self, context: Any) -> bool:
        """Whether the negotiated protocol version has reached the gate."""
        return bool(context._params.params.protocol_version >= self.version)

    def absence(self) -> str:
        """Name the gate."""
        return f"from protocol version {self.version} on"


class IfChain(Maybe):
    """A field that only the chains with some rule have: `IfChain("claim_trie", HASH)` for LBRY."""

    def __init__(self, rule: str, subcon: Any) -> None:
        super().__init__(subcon)
        self.rule = rule

    def present(self, context: Any) -> bool:
        """Whether the chain has the rule."""
        return bool(getattr(context._params.params.rules, self.rule))

    def absence(self) -> str:
        """Name the rule."""
        return f"on chains with {self.rule}"

    def entries(self, name: str, value: Any) -> dict[str, Any]:
        """Give no key at all where the chain has no such field."""
        return {} if value is None else {name: self.plain(value)}


class Extension(IfChain):
    """A field that some messages have, of those of chains with some rule; None in the others.

    It is read if any byte is left. Before other fields, the layout of its record reads it.
    """

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        if not self.present(context) or stream_iseof(stream):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if value is None:
            return None
        if not self.present(context):
            raise FieldError(f"cannot be sent: {self.absence()}")
        return self.subcon._build(value, stream, context, path)


class When(Maybe):
    """A field that is there when an earlier field of the same record has one of some values."""

    needs_siblings = True

    def __init__(self, name: str, values: Iterable[bytes], subcon: Any) -> None:
        super().__init__(subcon)
        self.sibling = name
        self.values = frozenset(values)

    def present(self, context: Any) -> bool:
        """Whether the earlier field has one of the values."""
        return context[self.sibling] in self.values

    def absence(self) -> str:
        """Name the values."""
        values = " or ".join(sorted(value.decode("ascii") for value in self.values))
        return f"when {self.sibling} is {values}"


class OptionalTail(Maybe):
    """A field that is read if any byte is left; those behind it are optional tails too."""

    needs_siblings = True

    def absence(self) -> str:
        """Say how it ends."""
        return "unless the payload ends before it"

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        if stream_iseof(stream):
            return None
        return self.subcon._parsereport(stream, context, path)

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        if value is None:
            context["_tail_ended"] = True
            return None
        if context.get("_tail_ended"):
            raise FieldError("cannot be sent: a field before it is absent")
        return self.subcon._build(value, stream, context, path)
