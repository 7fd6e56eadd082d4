"""Convert a message for a node that agreed on another protocol version or encoding.

A message is forwarded verbatim where both nodes read it the same way. Otherwise it is encoded
again. A message that the target cannot receive at all is dropped.
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
"""Network ids of BIP155."""
ADDR_TIME_VERSION = 31402
"""The lowest protocol version at which the addresses of `addr` have a timestamp."""
PING_NONCE_VERSION = 60001
"""The lowest protocol version at which a `ping` has a nonce."""


class Bridged(msgspec.Struct, frozen=True):
    """What is sent for a message."""

    raw: bytes
    """The frame; empty if nothing is sent."""
    verdict: str = EntryVerdict.PASS
    trail: tuple[str, ...] = ()


def bridge(message: Message, source: Peer, target: Peer) -> Bridged:
    """Return the frame to send to `target` for a message from `source`."""
    record = message.record
    if record is None and message.error is not None:
        accepted = source.core.receiver.without_excess(message)
        record = None if accepted is None else accepted.record
    if record is None:
        return Bridged(message.raw)
    if isinstance(record, AddrV2) and not target.core.handshake.wants_addrv2:
        addr = _as_addr(record)
        if not addr.addresses:  # nodes disconnect a peer that sends an empty addr
            return Bridged(
                b"", EntryVerdict.DROP, ("terminate", "addr can hold none of its addresses")
            )
        return _encoded(addr, target, "addrv2 to addr")
    base = message.command in WITH_TRANSACTIONS and not reads_witness(target)
    same = source.core.protocol_version == target.core.protocol_version
    if same and not base:
        return Bridged(message.raw)
    reason = "for a node without witness" if base else "for another protocol version"
    bridged = _encoded(record, target, reason, "base" if base else "witness")
    return Bridged(message.raw) if bridged.raw == message.raw else bridged


def reads_witness(peer: Peer) -> bool:
    """Whether the node reads transactions with their witness."""
    version = peer.core.remote.version
    return version is not None and bool(version.services & Service.WITNESS)


def _encoded(
    record: MessageRecord, target: Peer, reason: str, encoding: str = "witness"
) -> Bridged:
    network = target.config.network
    version = target.core.protocol_version
    try:
        payload = Codec(network, version, encoding).encode(_without_later_fields(record, version))
    except BadRecord as error:
        return Bridged(b"", EntryVerdict.DROP, ("terminate", f"cannot be sent {reason}: {error}"))
    return Bridged(
        frame(network.magic, record.command, payload), EntryVerdict.REWRITE, ("terminate", reason)
    )


def _without_later_fields(record: MessageRecord, version: int) -> MessageRecord:
    """Return a record without the fields that a later protocol version introduced."""
    if isinstance(record, Addr) and version < ADDR_TIME_VERSION:
        old = tuple(msgspec.structs.replace(each, timestamp=None) for each in record.addresses)
        return msgspec.structs.replace(record, addresses=old)
    if isinstance(record, Ping) and version < PING_NONCE_VERSION:
        return msgspec.structs.replace(record, nonce=None)
    return record


def _as_addr(record: AddrV2) -> Addr:
    """Return the addresses that `addr` can hold: IPv4 and IPv6."""
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
