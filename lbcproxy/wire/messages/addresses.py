"""Addresses of other nodes: `getaddr`, `addr`, `addrv2`. lbcd `wire/msgaddr.go`; BIP155."""

from __future__ import annotations

from typing import Annotated, ClassVar

from construct import Int32ul

from lbcproxy.json_types import JsonObject
from lbcproxy.wire.addresses import address_text
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import CompactInt, IpAddress, Port, UInt8, UInt32, UInt64, VarHex
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.optional import Since
from lbcproxy.wire.record import MessageRecord, Record, at_most
from lbcproxy.wire.rules import ByVersion, Limit

__all__ = ["Addr", "AddrV2", "AddressV2", "GetAddr", "TimedAddress"]

ADDRESS_SIZES = {1: 4, 2: 16, 4: 32, 5: 32, 6: 16}
"""Size of an address in bytes by BIP155 network id. Core skips Tor v2 (3) like unknown ids."""


class GetAddr(MessageRecord, frozen=True, gc=False):
    """Requests addresses of nodes. Empty."""

    command: ClassVar[str] = "getaddr"
    maximum: ClassVar[Limit] = 0


class TimedAddress(Record, frozen=True, gc=False):
    """The address of a node and when it was last seen (Unix seconds)."""

    timestamp: Annotated[int | None, Since(31402, Int32ul)]
    services: Annotated[UInt64, Service]
    ip: Annotated[bytes, IpAddress()]
    port: Port


class Addr(MessageRecord, frozen=True, gc=False):
    """Addresses of nodes, at most 1,000."""

    command: ClassVar[str] = "addr"
    maximum: ClassVar[Limit] = ByVersion(((0, 35), (209, 26009), (31402, 30009)))

    addresses: Annotated[tuple[TimedAddress, ...], at_most(1000)]

    def summary(self) -> str:
        """Return the number of addresses."""
        return f"{len(self.addresses)} addr"


class AddressV2(Record, frozen=True, gc=False):
    """The address of a node on any kind of network (BIP155), and when it was last seen."""

    timestamp: UInt32
    services: Annotated[CompactInt, Service]
    network_id: UInt8
    addr: Annotated[bytes, VarHex(512)]
    port: Port

    def check(self) -> None:
        """Check that the address has the length of its network."""
        size = ADDRESS_SIZES.get(self.network_id)
        if size is not None and len(self.addr) != size:
            raise FieldError(
                f"{len(self.addr)} bytes, but addresses of network {self.network_id} have {size}"
            ).inside("addr")

    def derived(self) -> JsonObject:
        """Return the address as text."""
        return {"addr": address_text(self.network_id, self.addr)}


class AddrV2(MessageRecord, frozen=True, gc=False):
    """Addresses of nodes on any kind of network (BIP155), at most 1,000."""

    command: ClassVar[str] = "addrv2"
    maximum: ClassVar[Limit] = 531_003

    addresses: Annotated[tuple[AddressV2, ...], at_most(1000)]

    def summary(self) -> str:
        """Return the number of addresses."""
        return f"{len(self.addresses)} addr"
