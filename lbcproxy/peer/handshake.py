"""The handshake: what is sent when, and what the node may send.

Both orders are here: lbcd's (strict), and that of btcd and Bitcoin Core today (tolerant). Nothing
is sent here: the core sends what is returned, and ends the connection if it must.
"""

from __future__ import annotations

import ipaddress
import secrets
from enum import Enum

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.wire.messages.handshake import NetAddress, SendAddrV2, Service, VerAck, Version
from lbcproxy.wire.messages.reject import Reject, RejectCode
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = [
    "MIN_VERSION",
    "NEGOTIATION",
    "ONLY_BEFORE_VERACK",
    "TOO_LATE",
    "Handshake",
    "Phase",
    "Response",
    "make_version",
    "min_version",
]

MIN_VERSION = 209
"""Older nodes have no checksums (lbcd `peer/peer.go`, MinAcceptableProtocolVersion)."""
RELAY_VERSION = 70001
"""The lowest protocol version whose `version` has the field `relay` (BIP37)."""
ADDRV2_VERSION = 70016
FEATURE_VERSION = 70017
NEGOTIATION = frozenset(
    {"sendaddrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "sendheaders", "feature"}
)
"""What nodes may offer between `version` and `verack`."""
ONLY_BEFORE_VERACK = frozenset({"sendaddrv2", "wtxidrelay", "sendtxrcncl", "feature"})
"""What they may not offer at any other time (BIP155, BIP339, BIP330, BIP434)."""
TOO_LATE = frozenset({"sendaddrv2", "wtxidrelay"})
"""What costs a node its connection after `verack`, as with Bitcoin Core."""
UNKNOWN_TO_LBCD = frozenset(
    {"addrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "cmpctblock", "getblocktxn", "blocktxn"}
)
"""Commands that we have a record for and lbcd does not."""
IPV4_PREFIX = bytes(10) + b"\xff\xff"
"""What comes before an IPv4 address in the 16 bytes of `NetAddress`."""


class Phase(Enum):
    """The progress of the handshake."""

    AWAIT_VERSION = "await version"
    AWAIT_VERACK = "await verack"
    DONE = "done"


class Response(msgspec.Struct, frozen=True):
    """What the core does about a message of the handshake."""

    send: tuple[MessageRecord, ...] = ()
    failed: str = ""
    """Why the handshake has failed, if it has; first `send` is sent."""
    ignored: str = ""
    """Why the message is ignored, if it is."""


class Handshake:
    """One side of a handshake."""

    def __init__(self, config: PeerConfig, *, inbound: bool) -> None:
        self._config = config
        self._inbound = inbound
        self.phase = Phase.AWAIT_VERSION
        self.verack_sent = False
        """Whether our own `verack` has been sent."""
        self.wants_addrv2 = False
        self.wants_wtxids = False
        self._agreed = 0

    @property
    def strict(self) -> bool:
        """Whether lbcd's rules apply."""
        return self._config.policy is Policy.STRICT

    def knows(self, command: str) -> bool:
        """Whether a command that has a record is known under the policy."""
        return not (self.strict and command in UNKNOWN_TO_LBCD)

    def encoding(self, services: int) -> str:
        """Return how transactions of a node with these services are decoded.

        lbcd believes the service bit, "witness" or "base"; otherwise the bytes decide, "auto".
        """
        if not self.strict:
            return "auto"
        return "witness" if services & Service.WITNESS else "base"

    def refusal(self, command: str) -> Response | None:
        """Return the response to a command that must not come now; None if it may."""
        if self.phase is Phase.AWAIT_VERSION and command != "version":
            if self.strict:
                return _refuse("version", "a version message must precede all others")
            return Response(ignored=f"{command} before version")
        if self.phase is Phase.AWAIT_VERACK and command != "verack":
            if self.strict:
                return _refuse("verack", "a verack message must follow version")
            if command in NEGOTIATION:
                self._accept_offer(command)
                return None
            return Response(ignored=f"{command} before verack")
        return None

    def unreadable(self, command: str, error: str) -> Response:
        """Return the response to a message that cannot be decoded or is unknown."""
        if self.strict or command == "version":
            return Response(failed=error)  # without a `version` Core only waits for its timeout
        return Response(ignored=error)

    def is_too_late(self, command: str) -> bool:
        """Whether a command after the handshake ends the connection."""
        return not self.strict and command in TOO_LATE

    def may_offer(self, command: str) -> bool:
        """Whether a feature can still be offered to the node."""
        return (
            self.phase is Phase.AWAIT_VERACK
            and not self.verack_sent
            and self._agreed >= min_version(command)
        )

    def version_accepted(self, agreed: int) -> Response:
        """Continue once both sides have sent `version`; `agreed` is the lower of both."""
        self.phase = Phase.AWAIT_VERACK
        self._agreed = agreed
        send: list[MessageRecord] = []
        if not self.strict:
            offers = (SendAddrV2(),) if self._config.offers is None else self._config.offers
            send += [each for each in offers if agreed >= min_version(each.command)]
        if (self._inbound or not self.strict) and not self._config.hold_verack:
            send += self.verack()
        return Response(tuple(send))

    def verack(self) -> tuple[MessageRecord, ...]:
        """Return our own `verack` if it is still to be sent."""
        if self.verack_sent or self.phase is not Phase.AWAIT_VERACK:
            return ()
        self.verack_sent = True
        return (VerAck(),)

    def verack_accepted(self) -> Response:
        """Finish after the node's `verack`. Ours is sent now at the latest."""
        send = self.verack()
        self.phase = Phase.DONE
        return Response(send)

    def _accept_offer(self, command: str) -> None:
        if command == "sendaddrv2" and self._agreed >= ADDRV2_VERSION:
            self.wants_addrv2 = True
        self.wants_wtxids = self.wants_wtxids or command == "wtxidrelay"


def min_version(command: str) -> int:
    """Return the protocol version below which a node may not know an offer."""
    if command == "feature":
        return FEATURE_VERSION
    record = None if command in ONLY_BEFORE_VERACK else record_of(command)
    return ADDRV2_VERSION if record is None else record.since


def _refuse(command: str, reason: str) -> Response:
    reject = Reject(command.encode(), RejectCode.MALFORMED, reason.encode())
    return Response((reject,), failed=reason)


def make_version(
    config: PeerConfig, remote: Endpoint, *, inbound: bool, protocol_version: int, wall: float
) -> Version:
    """Return our own `version` message. It never contains our own address.

    Args:
        config: What we are. Its functions may raise.
        remote: The node's address.
        inbound: Whether the node connected to us.
        protocol_version: The version the message is encoded for: our own, or the negotiated one if
            the node has already sent its `version`.
        wall: The time of day, in unix seconds.
    """
    height = 0 if config.newest_block is None else config.newest_block()[1]
    return Version(
        version=config.highest_version,
        services=config.services,
        timestamp=int(wall),
        addr_recv=_address_of(config, remote, config.services if inbound else 0),
        addr_from=NetAddress(config.services, bytes(16), 0),
        nonce=secrets.randbits(64),
        user_agent=config.full_user_agent(),
        start_height=height,
        relay=config.relay if protocol_version >= RELAY_VERSION else None,
    )


def _address_of(config: PeerConfig, remote: Endpoint, services: int) -> NetAddress:
    """Return the node's address as we send it; that of a proxy is not shown."""
    proxy_host, colon, _ = config.proxy.rpartition(":")
    if config.proxy and (not colon or proxy_host == remote.host):
        return NetAddress(services, IPV4_PREFIX + bytes(4), 0)
    if config.host_to_address is not None:
        return config.host_to_address(remote.host, remote.port, services)
    return NetAddress(services, _ip_bytes(remote.host), remote.port)


def _ip_bytes(host: str) -> bytes:
    """Return an IP address as 16 bytes, which are zero for a name."""
    try:
        address = ipaddress.ip_address(host).packed
    except ValueError:
        return bytes(16)
    return address if len(address) == 16 else IPV4_PREFIX + address
