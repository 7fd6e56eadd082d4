"""Compact block filters (BIP157): three requests and their responses."""

from __future__ import annotations

from typing import Annotated, ClassVar

from lbcproxy.wire.fields import Hash, UInt8, UInt32, VarBytes, count_in
from lbcproxy.wire.hashes import display
from lbcproxy.wire.record import MessageRecord, at_most
from lbcproxy.wire.rules import Limit, Params

__all__ = ["CFCheckpt", "CFHeaders", "CFilter", "GetCFCheckpt", "GetCFHeaders", "GetCFilters"]


class GetCFilters(MessageRecord, frozen=True, gc=False):
    """Requests the filters of a range of blocks."""

    command: ClassVar[str] = "getcfilters"
    maximum: ClassVar[Limit] = 37

    filter_type: UInt8
    start_height: UInt32
    stop_hash: Hash

    def summary(self) -> str:
        """Return the first height and the last block's hash."""
        return f"start_height={self.start_height}, stop_hash={display(self.stop_hash)}"


class CFilter(MessageRecord, frozen=True, gc=False):
    """The filter of one block."""

    command: ClassVar[str] = "cfilter"
    maximum: ClassVar[Limit] = 262_182

    filter_type: UInt8
    block_hash: Hash
    data: Annotated[bytes, VarBytes(262_144)]

    def summary(self) -> str:
        """Return the block's hash and the size of the filter."""
        return f"block_hash={display(self.block_hash)}, {len(self.data)} bytes"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the block's hash."""
        return f"block_hash={display(head[1:33])}"


class GetCFHeaders(MessageRecord, frozen=True, gc=False):
    """Requests the filter headers of a range of blocks."""

    command: ClassVar[str] = "getcfheaders"
    maximum: ClassVar[Limit] = 37

    filter_type: UInt8
    start_height: UInt32
    stop_hash: Hash

    def summary(self) -> str:
        """Return the first height and the last block's hash."""
        return f"start_height={self.start_height}, stop_hash={display(self.stop_hash)}"


class CFHeaders(MessageRecord, frozen=True, gc=False):
    """At most 2,000 hashes of filters, and the filter header before the first."""

    command: ClassVar[str] = "cfheaders"
    maximum: ClassVar[Limit] = 64_074

    filter_type: UInt8
    stop_hash: Hash
    prev_filter_header: Hash
    filter_hashes: Annotated[tuple[Hash, ...], at_most(2000)]

    def summary(self) -> str:
        """Return the last block's hash and the number of filter hashes."""
        hashes = len(self.filter_hashes)
        return f"stop_hash={display(self.stop_hash)}, num_filter_hashes={hashes}"


class GetCFCheckpt(MessageRecord, frozen=True, gc=False):
    """Requests the filter headers of every 1,000th block."""

    command: ClassVar[str] = "getcfcheckpt"
    maximum: ClassVar[Limit] = 33

    filter_type: UInt8
    stop_hash: Hash

    def summary(self) -> str:
        """Return the last block's hash."""
        return f"stop_hash={display(self.stop_hash)}"


class CFCheckpt(MessageRecord, frozen=True, gc=False):
    """The filter headers of every 1,000th block, at most 100,000."""

    command: ClassVar[str] = "cfcheckpt"

    filter_type: UInt8
    stop_hash: Hash
    filter_headers: Annotated[tuple[Hash, ...], at_most(100_000)]

    def summary(self) -> str:
        """Return the last block's hash and the number of filter headers."""
        headers = len(self.filter_headers)
        return f"stop_hash={display(self.stop_hash)}, num_filter_headers={headers}"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the last block's hash and the number of filter headers."""
        return f"stop_hash={display(head[1:33])}, num_filter_headers={count_in(head[33:])}"
