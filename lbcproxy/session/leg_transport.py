"""How the legs of a session carry messages, and how a message came in an encrypted packet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec

from lbcproxy.transport.damage import PacketDamage
from lbcproxy.transport.kind import Transport

__all__ = ["Damaged", "Decoy", "LegTransport", "PacketForm", "Transports"]

_SESSION_ID = re.compile(r"[0-9a-f]{64}")
_KINDS = frozenset(Transport) - {Transport.AUTO}


class LegTransport(msgspec.Struct, frozen=True):
    """How a leg carries messages."""

    kind: Transport = Transport.V1
    session_id: bytes = b""
    """What both ends of an encrypted connection can compare, 32 bytes; empty otherwise."""

    def __str__(self) -> str:
        known = f" (session id {self.session_id.hex()})" if self.session_id else ""
        return f"{self.kind}{known}"

    def to_dict(self) -> dict[str, str]:
        """Return it as an object for JSON, without a value that is empty."""
        known = {"session_id": self.session_id.hex()} if self.session_id else {}
        return {"kind": self.kind.value, **known}

    @classmethod
    def from_dict(cls, value: object) -> LegTransport | None:
        """Return what `to_dict` was called on; None for any other value, as a file may have it."""
        if not isinstance(value, Mapping):
            return None
        kind, session_id = value.get("kind"), value.get("session_id", "")
        if not isinstance(kind, str) or kind not in _KINDS or not isinstance(session_id, str):
            return None
        if kind == Transport.V2 and _SESSION_ID.fullmatch(session_id):
            return cls(Transport.V2, bytes.fromhex(session_id))
        return None if session_id else cls(Transport(kind))


class Transports(msgspec.Struct, frozen=True):
    """How both legs of a session carry messages."""

    client: LegTransport = LegTransport()
    upstream: LegTransport = LegTransport()

    def __bool__(self) -> bool:
        """Whether they are worth a word: a leg is not v1."""
        return {self.client.kind, self.upstream.kind} != {Transport.V1}

    def __str__(self) -> str:
        return f"client {self.client}, upstream {self.upstream}"

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Return them as an object for JSON."""
        return {"client": self.client.to_dict(), "upstream": self.upstream.to_dict()}

    @classmethod
    def from_dict(cls, value: object) -> Transports | None:
        """Return what `to_dict` was called on; None for any other value, as a file may have it."""
        if not isinstance(value, Mapping):
            return None
        client = LegTransport.from_dict(value.get("client"))
        upstream = LegTransport.from_dict(value.get("upstream"))
        return None if client is None or upstream is None else cls(client, upstream)

    def without_session_ids(self) -> Transports:
        """Return them without what identifies the connections."""
        return Transports(LegTransport(self.client.kind), LegTransport(self.upstream.kind))


Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class PacketForm(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """How a message came in a packet of the encrypted transport, where that is unusual.

    Usual is a short type where the command has one, right after the packet before it.
    """

    is_long: bool = msgspec.field(default=False, name="long")
    """Whether the type was written out, although the command has a short one."""
    decoys: Count = 0
    """Decoy packets before it."""
    garbage: Count = 0
    """Bytes of garbage before the first message of a direction."""
    version_size: Count = 0
    """Bytes of contents in the version packet before it, which is usually empty."""

    def __bool__(self) -> bool:
        """Whether anything is unusual."""
        return bool(self.is_long or self.decoys or self.garbage or self.version_size)

    def __str__(self) -> str:
        """Return what is unusual, in words."""
        words = ["long type"] if self.is_long else []
        words += [f"{self.decoys:,} decoys before it"] if self.decoys else []
        words += [f"{self.garbage:,} bytes of garbage"] if self.garbage else []
        words += [f"version packet of {self.version_size:,} bytes"] if self.version_size else []
        return ", ".join(words)


class Decoy(msgspec.Struct, frozen=True, gc=False):
    """A packet that the receiver ignores."""

    size: int
    """Bytes of its contents."""


class Damaged(msgspec.Struct, frozen=True, gc=False):
    """A packet that is to be sent with some damage."""

    damage: PacketDamage
    contents: bytes | None = None
    """Its contents, if the message does not determine them."""
