"""The reaction to messages that break the protocol after the handshake, as data.

The strict policy follows lbcd: such a message ends the connection. The tolerant one follows Bitcoin
Core: a message that cannot be used is ignored.
"""

from __future__ import annotations

import msgspec

from lbcproxy.peer.effects import Log
from lbcproxy.wire.messages.reject import Reject, RejectCode

__all__ = ["Reaction", "duplicate", "has_reject", "malformed", "unknown", "unsupported"]

BLOOM_ENFORCED = 70011
"""The lowest protocol version at which an unsupported bloom filter ends the connection (BIP111)."""
REJECT_VERSION = 70002
"""The lowest protocol version that has `reject` (BIP61)."""
NO_REJECT_VERSION = 70016
"""The protocol version from which on nodes have no `reject`: Core 0.20 removed it."""


class Reaction(msgspec.Struct, frozen=True):
    """What is done about a message, in the order of the fields."""

    log: tuple[Log, ...] = ()
    reject: Reject | None = None
    """Sent after everything that is queued."""
    close: str = ""
    """Why the connection ends; empty if it does not."""


def unsupported(command: str, protocol_version: int) -> Reaction:
    """Return the reaction to a bloom filter command while we do not signal that service."""
    if protocol_version < BLOOM_ENFORCED:
        return Reaction((Log("debug", f"ignoring {command}: bloom filters are not offered"),))
    error = f"sent an unsupported {command} request"
    return Reaction((Log("debug", f"{error} -- disconnecting"),), close=error)


def duplicate(command: str, *, strict: bool) -> Reaction:
    """Return the reaction to a second `version` or `verack`."""
    error = f"duplicate {command} message"
    if not strict:
        return Reaction((Log("debug", f"ignoring {error}"),))
    reject = Reject(command.encode(), RejectCode.DUPLICATE, error.encode())
    return Reaction(reject=reject, close=error)


def unknown(command: str) -> Reaction:
    """Return a tolerant peer's reaction to an unknown command."""
    return Reaction((Log("debug", f"ignoring unknown command {command!r}"),))


def malformed(error: str, sender: str, *, ignored: str, forgiven: bool) -> Reaction:
    """Return the reaction to what cannot be decoded.

    Args:
        error: What is wrong.
        sender: The node's address.
        ignored: The message's command if it is to be ignored, as a tolerant peer does.
        forgiven: Whether the node may send such things, as in lbcd's tests.
    """
    if ignored:
        return Reaction((Log("debug", f"ignoring {ignored}: {error}"),))
    if forgiven:
        return Reaction((Log("error", f"allowed test error: {error}"),))
    error = f"can't read message from {sender}: {error}"
    reject = Reject(b"malformed", RejectCode.MALFORMED, error.encode())
    return Reaction((Log("error", error),), reject, error)


def has_reject(protocol_version: int, *, strict: bool) -> bool:
    """Whether a node of a negotiated version is sent `reject`; a strict peer follows lbcd."""
    if protocol_version < REJECT_VERSION:
        return False
    return strict or protocol_version < NO_REJECT_VERSION
