"""The handshake: `version`, `verack`, and the features negotiated between the two.

lbcd `wire/msgversion.go`; BIP14 (user agent), BIP37 (relay), BIP155, BIP339, BIP330.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated, ClassVar

from construct import Flag, Int32sl, Int64ul

from lbcproxy.text import printable
from lbcproxy.wire.fields import Int32, Int64, IpAddress, Port, UInt32, UInt64, VarStr
from lbcproxy.wire.optional import OptionalTail
from lbcproxy.wire.record import MessageRecord, Record
from lbcproxy.wire.rules import MAX_CORE_PAYLOAD, ByVersion, Limit

__all__ = [
    "NetAddress",
    "SendAddrV2",
    "SendTxRcncl",
    "Service",
    "VerAck",
    "Version",
    "WtxidRelay",
    "service_names",
]


class Service(IntFlag):
    """What a node offers: the bits of `services`. Other bits are valid and kept."""

    NETWORK = 1 << 0
    GETUTXO = 1 << 1
    BLOOM = 1 << 2
    WITNESS = 1 << 3
    COMPACT_FILTERS = 1 << 6
    NETWORK_LIMITED = 1 << 10
    P2P_V2 = 1 << 11


def service_names(services: int) -> list[str]:
    """Return the names of the bits of `services`; `BIT_n` for those without a name."""
    bits = (bit for bit in range(services.bit_length()) if services >> bit & 1)
    return [Service(1 << bit).name or f"BIT_{bit}" for bit in bits]


class NetAddress(Record, frozen=True, gc=False):
    """The address of a node without a timestamp: 26 bytes."""

    services: Annotated[UInt64, Service]
    ip: Annotated[bytes, IpAddress()]
    port: Port


class Version(MessageRecord, frozen=True, gc=False):
    """The first message of each side: identifies the node and what it offers.

    The payload may end after `addr_recv` or after any later field.
    """

    command: ClassVar[str] = "version"
    maximum: ClassVar[Limit] = ByVersion(((0, 350), (31402, 358)))

    version: Int32
    services: Annotated[UInt64, Service]
    timestamp: Int64
    addr_recv: NetAddress
    addr_from: Annotated[NetAddress | None, OptionalTail(NetAddress.schema)] = None
    nonce: Annotated[int | None, OptionalTail(Int64ul)] = None
    user_agent: Annotated[bytes | None, OptionalTail(VarStr(256))] = None
    start_height: Annotated[int | None, OptionalTail(Int32sl)] = None
    relay: Annotated[bool | None, OptionalTail(Flag)] = None

    def summary(self) -> str:
        """Return user agent, version and height."""
        agent = "none" if self.user_agent is None else printable(self.user_agent)
        return f"agent {agent}, pver {self.version}, block {self.start_height}"


class VerAck(MessageRecord, frozen=True, gc=False):
    """Acknowledges `version` and completes the handshake. Empty."""

    command: ClassVar[str] = "verack"
    maximum: ClassVar[Limit] = 0


class SendAddrV2(MessageRecord, frozen=True, gc=False):
    """Requests `addrv2` instead of `addr` (BIP155), before `verack`. Empty."""

    command: ClassVar[str] = "sendaddrv2"
    maximum: ClassVar[Limit] = 0


class WtxidRelay(MessageRecord, frozen=True, gc=False):
    """Requests announcements of transactions by wtxid (BIP339), before `verack`. Empty."""

    command: ClassVar[str] = "wtxidrelay"
    maximum: ClassVar[Limit] = MAX_CORE_PAYLOAD


class SendTxRcncl(MessageRecord, frozen=True, gc=False):
    """Offers transaction reconciliation (BIP330), before `verack`."""

    command: ClassVar[str] = "sendtxrcncl"
    maximum: ClassVar[Limit] = MAX_CORE_PAYLOAD

    version: UInt32
    salt: UInt64

    def summary(self) -> str:
        """Return the version."""
        return f"version {self.version}"
