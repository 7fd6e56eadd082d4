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

__all__ = ["LOWEST_VERSION", "Handshake", "Phase", "Step"]

LOWEST_VERSION = 209
"""Peers below have no checksums (lbcd `peer/peer.go`, MinAcceptableProtocolVersion)."""
ADDRV2_VERSION = 70016
NEGOTIATION = frozenset(
    {"sendaddrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "sendheaders", "feature"}
)
"""What nodes may offer between `version` and `verack`."""


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


class Handshake:
    """One side of a handshake."""

    def __init__(self, config: PeerConfig, *, inbound: bool) -> None:
        self._config = config
        self._inbound = inbound
        self.phase = Phase.AWAIT_VERSION
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
            return _refuse("version", "a version message must precede all others")
        if self.phase is Phase.AWAIT_VERACK and command != "verack":
            if not self.strict and command in NEGOTIATION:
                self._agree(command)
                return None
            if self.strict:
                return _refuse("verack", "a verack message must follow version")
            return Step(failed=f"{command} in the handshake")
        return None

    def unknown(self, command: str) -> Step:
        """Say what follows from a command that the policy does not know, in the handshake."""
        if not self.strict and self.phase is Phase.AWAIT_VERACK:
            return Step()
        return Step(failed=f"unknown command {command!r} in the handshake")

    def version_accepted(self, agreed: int) -> Step:
        """Go on behind the node's version, and ours."""
        self.phase = Phase.AWAIT_VERACK
        self._agreed = agreed
        send: list[MessageRecord] = []
        if not self.strict:
            offers = (SendAddrV2(),) if self._config.offers is None else self._config.offers
            send += [each for each in offers if agreed >= _lowest(each)]
        if self._inbound or not self.strict:
            send.append(VerAck())
        return Step(tuple(send))

    def verack_accepted(self) -> Step:
        """Finish behind the node's verack."""
        self.phase = Phase.DONE
        return Step((VerAck(),) if self.strict and not self._inbound else ())

    def _agree(self, command: str) -> None:
        if command == "sendaddrv2" and self._agreed >= ADDRV2_VERSION:
            self.wants_addrv2 = True
        self.wants_wtxids = self.wants_wtxids or command == "wtxidrelay"


def _lowest(offer: MessageRecord) -> int:
    """Give the version from which on something may be offered (BIP155, BIP339, BIP330)."""
    since_addrv2 = offer.command in ("sendaddrv2", "wtxidrelay", "sendtxrcncl")
    return ADDRV2_VERSION if since_addrv2 else offer.since


def _refuse(command: str, reason: str) -> Step:
    reject = Reject(command.encode(), RejectCode.MALFORMED, reason.encode())
    return Step((reject,), failed=reason)
