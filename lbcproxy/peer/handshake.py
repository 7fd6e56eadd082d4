"""The handshake of a full peer: what is said when, and what is not taken (PEER.md B).

Both orders are here: lbcd's (strict), and that of btcd and Core now (tolerant). Pure: it answers
what to send and what is wrong; the core sends and ends.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.wire.messages.handshake import SendAddrV2, Service, VerAck
from lbcproxy.wire.messages.reject import Reject, RejectCode
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = [
    "LOWEST_VERSION",
    "NEGOTIATION",
    "ONLY_BEFORE_VERACK",
    "TOO_LATE",
    "Handshake",
    "Phase",
    "Step",
    "lowest_version",
]

LOWEST_VERSION = 209
"""Peers below have no checksums (lbcd `peer/peer.go`, MinAcceptableProtocolVersion)."""
ADDRV2_VERSION = 70016
FEATURE_VERSION = 70017
NEGOTIATION = frozenset(
    {"sendaddrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "sendheaders", "feature"}
)
"""What nodes may offer between `version` and `verack`."""
ONLY_BEFORE_VERACK = frozenset({"sendaddrv2", "wtxidrelay", "sendtxrcncl", "feature"})
"""What they may offer nowhere else (BIP155, BIP339, BIP330, BIP434)."""
TOO_LATE = frozenset({"sendaddrv2", "wtxidrelay"})
"""What costs a node its connection after `verack`, as with Bitcoin Core."""


STRANGE_TO_LBCD = frozenset(
    {"addrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "cmpctblock", "getblocktxn", "blocktxn"}
)
"""Commands that we have a record for and lbcd does not."""


class Phase(Enum):
    """How far the handshake is."""

    AWAIT_VERSION = "await version"
    AWAIT_VERACK = "await verack"
    DONE = "done"


class Step(msgspec.Struct, frozen=True):
    """What follows from a message of the handshake."""

    send: tuple[MessageRecord, ...] = ()
    failed: str = ""
    """Why the handshake has failed, after `send`."""
    ignored: str = ""
    """Why the message means nothing, if it does not."""


class Handshake:
    """One side of a handshake."""

    def __init__(self, config: PeerConfig, *, inbound: bool) -> None:
        self._config = config
        self._inbound = inbound
        self.phase = Phase.AWAIT_VERSION
        self.verack_sent = False
        """Whether our own `verack` has gone out."""
        self.wants_addrv2 = False
        self.wants_wtxids = False
        self._agreed = 0

    @property
    def strict(self) -> bool:
        """Whether lbcd's rules hold."""
        return self._config.policy is Policy.STRICT

    def knows(self, command: str) -> bool:
        """Whether a command that has a record is known under the policy."""
        return not (self.strict and command in STRANGE_TO_LBCD)

    def encoding(self, services: int) -> str:
        """Say how transactions of a node with these services are read: lbcd believes the bit."""
        if not self.strict:
            return "auto"
        return "witness" if services & Service.WITNESS else "base"

    def refusal(self, command: str) -> Step | None:
        """Say what follows from a command that is not for now; None if it is."""
        if self.phase is Phase.AWAIT_VERSION and command != "version":
            if self.strict:
                return _refuse("version", "a version message must precede all others")
            return Step(ignored=f"{command} before version")
        if self.phase is Phase.AWAIT_VERACK and command != "verack":
            if self.strict:
                return _refuse("verack", "a verack message must follow version")
            if command in NEGOTIATION:
                self._agree(command)
                return None
            return Step(ignored=f"{command} before verack")
        return None

    def unreadable(self, command: str, why: str) -> Step:
        """Say what follows in the handshake from a message that cannot be read, or is unknown."""
        if self.strict or command == "version":
            return Step(failed=why)  # without a `version` Core only waits until its time is over
        return Step(ignored=why)

    def ends_late(self, command: str) -> bool:
        """Whether a command after the handshake ends the connection."""
        return not self.strict and command in TOO_LATE

    def may_offer(self, command: str) -> bool:
        """Whether something can still be offered to the node."""
        return (
            self.phase is Phase.AWAIT_VERACK
            and not self.verack_sent
            and self._agreed >= lowest_version(command)
        )

    def version_accepted(self, agreed: int) -> Step:
        """Go on behind the node's version, and ours."""
        self.phase = Phase.AWAIT_VERACK
        self._agreed = agreed
        send: list[MessageRecord] = []
        if not self.strict:
            offers = (SendAddrV2(),) if self._config.offers is None else self._config.offers
            send += [each for each in offers if agreed >= _lowest(each)]
        if (self._inbound or not self.strict) and not self._config.hold_verack:
            send += self.verack()
        return Step(tuple(send))

    def verack(self) -> tuple[MessageRecord, ...]:
        """Give our own `verack`, once."""
        if self.verack_sent or self.phase is not Phase.AWAIT_VERACK:
            return ()
        self.verack_sent = True
        return (VerAck(),)

    def verack_accepted(self) -> Step:
        """Finish after the node's verack; ours goes out now at the latest."""
        send = self.verack()
        self.phase = Phase.DONE
        return Step(send)

    def _agree(self, command: str) -> None:
        if command == "sendaddrv2" and self._agreed >= ADDRV2_VERSION:
            self.wants_addrv2 = True
        self.wants_wtxids = self.wants_wtxids or command == "wtxidrelay"


def lowest_version(command: str) -> int:
    """Return the version below which a node may not know that it is to be offered something."""
    if command == "feature":
        return FEATURE_VERSION
    record = None if command in ONLY_BEFORE_VERACK else record_of(command)
    return ADDRV2_VERSION if record is None else record.since


def _lowest(offer: MessageRecord) -> int:
    return lowest_version(offer.command)


def _refuse(command: str, reason: str) -> Step:
    reject = Reject(command.encode(), RejectCode.MALFORMED, reason.encode())
    return Step((reject,), failed=reason)
