"""Types of what construct passes to the methods of a field; construct itself has none."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from construct import Construct

from lbcproxy.wire.rules import Params

__all__ = ["Context", "FieldType", "FieldValue"]

FieldType: TypeAlias = Construct
"""A field of a record: any construct."""
FieldValue: TypeAlias = Any
"""A field's value in its record; the type depends on the field."""


class RootContext(Protocol):
    """The outermost context."""

    params: Params


class Context(Protocol):
    """What a field can see of its record while that is read or written."""

    _params: RootContext

    def __getitem__(self, name: str) -> object:
        """Return the value of an earlier field."""

    def __setitem__(self, name: str, value: object) -> None:
        """Set the value that later fields see."""

    def get(self, name: str) -> object:
        """Return the value of an earlier field, None if there is none."""
