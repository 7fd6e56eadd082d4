"""What the codec says of bytes and records that do not obey the protocol.

Constructs raise `FieldError` among themselves; `engine.py` is the one gate that turns it into
the public errors.
"""

from __future__ import annotations

from typing import Any

from construct import ConstructError

from lbcproxy.errors import LbcproxyError

__all__ = ["BadPayload", "BadRecord", "FieldError", "UnknownCommand"]


class BadPayload(LbcproxyError, ValueError):
    """A payload that cannot be decoded.

    `what` says what is wrong, `where` names the field from the outside in
    (`transactions[3].outputs[0].value`, empty for the payload as a whole), `offset` is the byte of
    the payload at which that field begins. `cut_short` tells that bytes are missing at the end,
    which nodes take more seriously than a value they do not like.
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
    """A command there is no record for. It passes; it cannot be read."""


class BadRecord(LbcproxyError, ValueError):
    """A record whose values cannot be put on the wire; `what` and `where` as in `BadPayload`."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what = what
        self.where = where
        super().__init__(f"{where}: {what}" if where else what)


class FieldError(ConstructError):
    """A field refuses bytes or a value; on its way out it learns the field's place."""

    def __init__(self, what: str, *, cut_short: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.cut_short = cut_short
        self.offset: int | None = None
        self.names: list[str] = []
        self.read: Any = None
        """What was read of the thing that is wrong: a `Partial`, or elements; None if nothing."""

    def inside(self, name: str, offset: int | None = None) -> FieldError:
        """Note that the field lies in `name`; the innermost offset is the one that is kept."""
        self.names.append(name)
        if self.offset is None:
            self.offset = offset
        return self

    @property
    def where(self) -> str:
        """The place as people write it: `transactions[3].outputs[0].value`."""
        return "".join(
            name if name.startswith("[") or place == 0 else f".{name}"
            for place, name in enumerate(reversed(self.names))
        )
