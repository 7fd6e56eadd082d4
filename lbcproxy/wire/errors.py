"""Errors for bytes and records that violate the protocol.

Constructs raise `FieldError`; `engine.py` converts it to the public errors.
"""

from __future__ import annotations

from construct import ConstructError

from lbcproxy.errors import LbcproxyError
from lbcproxy.wire.construct_types import FieldValue

__all__ = ["BadPayload", "BadRecord", "FieldError", "UnknownCommand"]


class BadPayload(LbcproxyError, ValueError):
    """A payload that cannot be decoded.

    Attributes:
        what: What is wrong.
        where: The path of the field (`transactions[3].outputs[0].value`); empty for the payload
            as a whole.
        offset: The byte of the payload at which the field begins.
        cut_short: Whether bytes are missing at the end. Nodes punish that more severely than an
            invalid value.
    """

    def __init__(
        self, what: str, where: str = "", offset: int = 0, *, cut_short: bool = False
    ) -> None:
        self.cut_short = cut_short
        self.what = what
        self.where = where
        self.offset = offset
        super().__init__(f"{where or 'payload'} at byte {offset}: {what}")


class UnknownCommand(BadPayload):
    """A command without a record. Its payload can be forwarded, but not read."""


class BadRecord(LbcproxyError, ValueError):
    """A record whose values cannot be encoded; `what` and `where` as in `BadPayload`."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what = what
        self.where = where
        super().__init__(f"{where}: {what}" if where else what)


class FieldError(ConstructError):
    """A field that rejects bytes or a value; each layout it passes through adds to its path."""

    def __init__(self, what: str, *, cut_short: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.cut_short = cut_short
        self.offset: int | None = None
        self.names: list[str] = []
        self.read: FieldValue = None
        """What was read of the invalid field: a `Partial` or elements; None if nothing."""

    def inside(self, name: str, offset: int | None = None) -> FieldError:
        """Prefix the path with `name`. Only the first offset, the innermost, is kept."""
        self.names.append(name)
        if self.offset is None:
            self.offset = offset
        return self

    @property
    def where(self) -> str:
        """The path of the field: `transactions[3].outputs[0].value`."""
        return "".join(
            name if name.startswith("[") or depth == 0 else f".{name}"
            for depth, name in enumerate(reversed(self.names))
        )
