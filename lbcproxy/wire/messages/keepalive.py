"""Keep-alive and relay preferences: `ping`, `pong`, `mempool`, `sendheaders`, `feefilter`.

BIP31 (nonces), BIP35 (mempool), BIP130 (sendheaders), BIP133 (feefilter).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from construct import Int64ul

from lbcproxy.wire.fields import Int64, UInt64
from lbcproxy.wire.optional import Since
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.rules import ByVersion, Limit

__all__ = ["FeeFilter", "MemPool", "Ping", "Pong", "SendHeaders"]


class Ping(MessageRecord, frozen=True, gc=False):
    """Checks that the connection is alive; above protocol version 60000 with a nonce to echo."""

    command: ClassVar[str] = "ping"
    maximum: ClassVar[Limit] = ByVersion(((0, 0), (60001, 8)))

    nonce: Annotated[int | None, Since(60001, Int64ul)] = None

    def summary(self) -> str:
        """Return the nonce."""
        return "" if self.nonce is None else f"nonce={self.nonce:016x}"


class Pong(MessageRecord, frozen=True, gc=False):
    """The response to a `ping`, with its nonce."""

    command: ClassVar[str] = "pong"
    maximum: ClassVar[Limit] = ByVersion(((0, 0), (60001, 8)))
    since: ClassVar[int] = 60001

    nonce: UInt64

    def summary(self) -> str:
        """Return the nonce."""
        return f"nonce={self.nonce:016x}"


class MemPool(MessageRecord, frozen=True, gc=False):
    """Requests the inventory of the mempool. Empty."""

    command: ClassVar[str] = "mempool"
    maximum: ClassVar[Limit] = 0
    since: ClassVar[int] = 60002


class SendHeaders(MessageRecord, frozen=True, gc=False):
    """Requests announcements of new blocks by `headers`. Empty."""

    command: ClassVar[str] = "sendheaders"
    maximum: ClassVar[Limit] = 0
    since: ClassVar[int] = 70012


class FeeFilter(MessageRecord, frozen=True, gc=False):
    """The lowest fee, in base units per 1,000 bytes, of transactions to announce to the sender."""

    command: ClassVar[str] = "feefilter"
    maximum: ClassVar[Limit] = 8
    since: ClassVar[int] = 70013

    min_fee: Int64

    def summary(self) -> str:
        """Return the fee."""
        return f"min_fee={self.min_fee}"
