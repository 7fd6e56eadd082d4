"""Both sides of an encrypted connection, with keys that are made once."""

from __future__ import annotations

from lbcproxy.transport.curve import EphemeralKey
from lbcproxy.transport.v2 import V2Transport

__all__ = ["KEYS", "MAGIC", "opened", "pair"]

MAGIC = bytes.fromhex("fae4aaf1")
KEYS = (EphemeralKey(bytes([1]) * 32), EphemeralKey(bytes([2]) * 32))
"""Made once: a key takes longer than all else in a test."""


def pair(**arguments: int) -> tuple[V2Transport, V2Transport]:
    """Return both sides of a connection: the initiator and the responder."""
    initiator = V2Transport(MAGIC, initiating=True, key=KEYS[0], **arguments)
    return initiator, V2Transport(MAGIC, initiating=False, key=KEYS[1], **arguments)


def opened(garbage: bytes = b"", **arguments: int) -> tuple[V2Transport, V2Transport]:
    """Return a pair after its handshake; the initiator has sent some garbage."""
    initiator, responder = pair(**arguments)
    responder.receive(initiator.public_key + initiator.garbage(garbage))
    initiator.receive(responder.public_key + responder.terminator() + responder.packet(b""))
    responder.receive(initiator.terminator() + initiator.packet(b""))
    return initiator, responder
