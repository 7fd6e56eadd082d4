"""Rejections and warnings: `reject` (BIP61) and `alert` (retired).

lbcd `wire/msgreject.go`, `wire/msgalert.go`.
"""

from __future__ import annotations

from enum import IntEnum
from io import BytesIO
from typing import Annotated, ClassVar

from lbcproxy.json_types import JsonObject
from lbcproxy.text import printable
from lbcproxy.wire.construct_types import FieldValue
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import HASH, VAR_STR, Int32, Int64, Many, UInt8, VarHex
from lbcproxy.wire.hashes import display
from lbcproxy.wire.optional import When
from lbcproxy.wire.record import MessageRecord, Record, at_most, parse
from lbcproxy.wire.rules import ANY_CHAIN, Params

__all__ = ["Alert", "AlertBody", "Reject", "RejectCode"]


class RejectCode(IntEnum):
    """Why a message was rejected (BIP61). Other numbers are valid and kept."""

    MALFORMED = 0x01
    INVALID = 0x10
    OBSOLETE = 0x11
    DUPLICATE = 0x12
    NONSTANDARD = 0x40
    DUST = 0x41
    INSUFFICIENT_FEE = 0x42
    CHECKPOINT = 0x43


class Reject(MessageRecord, frozen=True, gc=False):
    """Rejects a message, by its command; with the hash for a `tx` or `block`."""

    command: ClassVar[str] = "reject"
    since: ClassVar[int] = 70002

    message: Annotated[bytes, VAR_STR]
    code: Annotated[UInt8, RejectCode]
    reason: Annotated[bytes, VAR_STR]
    hash: Annotated[bytes | None, When("message", (b"tx", b"block"), HASH)] = None

    def summary(self) -> str:
        """Return the command, the code, the reason and the hash."""
        try:
            code = f"REJECT_{RejectCode(self.code).name}"
        except ValueError:
            code = f"unknown (0x{self.code:02x})"
        what = f"cmd {printable(self.message, 12)}, code {code}"
        result = f"{what}, reason {printable(self.reason, 250)}"
        return result if self.hash is None else f"{result}, hash {display(self.hash)}"


class ManyHex(Many):
    """A list of strings that are hexadecimal in `to_dict`, under a key that says so."""

    def entries(self, name: str, value: FieldValue) -> JsonObject:
        """Return the list under `<name>_hex`."""
        return {f"{name}_hex": self.plain(value)}


class AlertBody(Record, frozen=True, gc=False):
    """The content of an alert; times in Unix seconds."""

    version: Int32
    relay_until: Int64
    expiration: Int64
    id: Int32
    cancel: Int32
    set_cancel: Annotated[tuple[Int32, ...], at_most(8_388_574)]
    min_ver: Int32
    max_ver: Int32
    set_sub_ver: Annotated[tuple[bytes, ...], ManyHex(VAR_STR, 131_071)]
    priority: Int32
    comment: Annotated[bytes, VAR_STR]
    status_bar: Annotated[bytes, VAR_STR]
    reserved: Annotated[bytes, VAR_STR]


class Alert(MessageRecord, frozen=True, gc=False):
    """A signed warning from the developers. Kept as bytes, because its body may be unreadable."""

    command: ClassVar[str] = "alert"

    payload: Annotated[bytes, VarHex()]
    signature: Annotated[bytes, VarHex()]

    @property
    def body(self) -> AlertBody | None:
        """The parsed payload, or None if it is unreadable; bytes after it are ignored."""
        try:
            body: AlertBody = parse(AlertBody.schema, BytesIO(self.payload), _NO_PARAMS)
        except FieldError:
            return None
        return body

    def derived(self) -> JsonObject:
        """Return the body."""
        body = self.body
        return {"alert": None if body is None else body.to_dict()}


_NO_PARAMS = Params(ANY_CHAIN, 0, witness=False)
