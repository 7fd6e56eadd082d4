"""A fault in the handshake of the encrypted transport, in what we send one of the nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.transport.sizes import MAX_GARBAGE

__all__ = ["HandshakeFault"]

MAX_LENGTH = 1 << 20


class HandshakeFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do the handshake of an encrypted leg in an unusual or a wrong way."""

    type: ClassVar[str] = "handshake"

    garbage: Annotated[
        int | None,
        Meta(
            description=f"bytes after the key, of which {MAX_GARBAGE:,} are allowed; "
            "as many as the other leg has if left out"
        ),
    ] = None
    terminator: Annotated[bool, Meta(description="whether the end of the garbage is sent")] = True
    version: Annotated[
        int,
        Meta(ge=0, le=MAX_CONTENTS, description="bytes of contents in the version packet"),
    ] = 0
    close: Annotated[
        Literal["", "key", "garbage", "version"],
        Meta(description="key, garbage or version: after which of them the leg is closed"),
    ] = ""

    def __post_init__(self) -> None:
        if self.garbage is not None and not 0 <= self.garbage <= MAX_LENGTH:
            raise ValueError(f"garbage: 0 to {MAX_LENGTH:,} bytes are expected")
