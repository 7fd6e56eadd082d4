"""Between two legs that did not agree on the same: what a message must look like on the other.

Bytes go verbatim wherever they may. Encoded anew is what the other side's version or encoding
reads differently; left out is what it cannot be told at all.
"""

from __future__ import annotations

import msgspec

from lbcproxy.peer import Peer
from lbcproxy.session import Message
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import WITH_TRANSACTIONS, Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import Addr, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.keepalive import Ping
from lbcproxy.wire.record import MessageRecord

__all__ = ["Bridged", "bridge", "reads_witness"]

IPV4, IPV6 = 1, 2
ADDRESS_TIMES = 31402
"""The lowest protocol version at which the addresses of `addr` have times."""
PING_NONCES = 60001
"""The lowest protocol version at which a `ping` has a nonce."""


class Bridged(msgspec.Struct, frozen=True):
    """What goes out for a message."""

    raw: bytes
    """The frame; empty if nothing does."""
    verdict: str = EntryVerdict.PASS
    trail: tuple[str, ...] = ()


def bridge(message: Message, source: Peer, target: Peer) -> Bridged:
    """Make the frame for the target of a message that came from the source."""
    record = message.record
    if record is None:
        return Bridged(message.raw)
    if isinstance(record, AddrV2) and not target.core.handshake.wants_addrv2:
        addr = _as_addr(record)
        if not addr.addresses:  # nodes cut whoever sends an empty one
            return Bridged(
                b"", EntryVerdict.DROP, ("terminate", "none of its addresses fits into addr")
            )
        return _encoded(addr, target, "addrv2 to addr")
    base = message.command in WITH_TRANSACTIONS and not reads_witness(target)
    same = source.core.protocol_version == target.core.protocol_version
    if same and not base:
        return Bridged(message.raw)
    why = "for a node without witness" if base else "for another protocol version"
    bridged = _encoded(record, target, why, "base" if base else "witness")
    return Bridged(message.raw) if bridged.raw == message.raw else bridged


def reads_witness(peer: Peer) -> bool:
    """Whether the node reads transactions with their witness."""
    version = peer.core.remote.version
    return version is not None and bool(version.services & Service.WITNESS)


def _encoded(record: MessageRecord, target: Peer, why: str, encoding: str = "witness") -> Bridged:
    network = target.config.network
    at = target.core.protocol_version
    try:
        payload = Codec(network, at, encoding).encode(_without_news(record, at))
    except BadRecord as error:
        return Bridged(b"", EntryVerdict.DROP, ("terminate", f"cannot be sent {why}: {error}"))
    return Bridged(
        frame(network.magic, record.command, payload), EntryVerdict.REWRITE, ("terminate", why)
    )


def _without_news(record: MessageRecord, at: int) -> MessageRecord:
    """Leave out the fields that a message has from a later protocol version on."""
    if isinstance(record, Addr) and at < ADDRESS_TIMES:
        old = tuple(msgspec.structs.replace(each, timestamp=None) for each in record.addresses)
        return msgspec.structs.replace(record, addresses=old)
    if isinstance(record, Ping) and at < PING_NONCES:
        return msgspec.structs.replace(record, nonce=None)
    return record


def _as_addr(record: AddrV2) -> Addr:
    """Give the addresses that `addr` has room for: IPv4 and IPv6."""
    mapped = bytes(10) + b"\xff\xff"
    return Addr(
        tuple(
            TimedAddress(
                each.timestamp,
                each.services,
                mapped + each.addr if each.network_id == IPV4 else each.addr,
                each.port,
            )
            for each in record.addresses
            if each.network_id in (IPV4, IPV6)
        )
    )
