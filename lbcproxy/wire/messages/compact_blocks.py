"""Compact blocks (BIP152): supported by lbrycrd and Bitcoin Core, not by lbcd and btcd.

Indexes are differentially encoded: each is the previous one, plus the difference, plus one.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Annotated, ClassVar

from lbcproxy.json_types import JsonObject
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import Bool, CompactInt, Fixed, Hash, Rest, UInt64, count_in
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx, mweb_summary
from lbcproxy.wire.optional import Extension
from lbcproxy.wire.record import MessageRecord, Record, at_most, parse
from lbcproxy.wire.rules import MAX_CORE_PAYLOAD, ByChain, Limit, Params

__all__ = ["BlockTxn", "CmpctBlock", "GetBlockTxn", "PrefilledTx", "SendCmpct"]

MAX_TRANSACTIONS = 0xFFFF
"""Core and lbrycrd store indexes and their number in 16 bits."""


def indexes_of(deltas: Iterable[int]) -> tuple[int, ...]:
    """Return the absolute indexes of differentially encoded ones."""
    result = []
    index = -1
    for delta in deltas:
        index += delta + 1
        result.append(index)
    return tuple(result)


def _check_indexes(indexes: tuple[int, ...], name: str) -> None:
    if indexes and indexes[-1] > MAX_TRANSACTIONS:
        raise FieldError(f"index {indexes[-1]} does not fit in 16 bits").inside(name)


class SendCmpct(MessageRecord, frozen=True, gc=False):
    """Offers to receive compact blocks, and says whether they may be sent unrequested."""

    command: ClassVar[str] = "sendcmpct"
    maximum: ClassVar[Limit] = MAX_CORE_PAYLOAD

    announce: Bool
    version: UInt64

    def summary(self) -> str:
        """Return whether to announce, and the version."""
        return f"announce={int(self.announce)}, version={self.version}"


class PrefilledTx(Record, frozen=True, gc=False):
    """A transaction sent along with a compact block."""

    index_delta: CompactInt
    tx: Tx


class CmpctBlock(MessageRecord, frozen=True, gc=False):
    """A block as a header and short ids of its transactions (6 bytes each, SipHash)."""

    command: ClassVar[str] = "cmpctblock"
    maximum: ClassVar[Limit] = ByChain("block_payload")

    header: BlockHeader
    nonce: UInt64
    short_ids: Annotated[tuple[Annotated[bytes, Fixed(6)], ...], at_most(MAX_TRANSACTIONS)]
    prefilled: Annotated[tuple[PrefilledTx, ...], at_most(MAX_TRANSACTIONS)]
    mweb: Annotated[bytes | None, Extension("mweb", Rest())] = None
    """The MimbleWimble extension block, not parsed, or 00. Litecoin only."""

    @property
    def indexes(self) -> tuple[int, ...]:
        """The indexes of the prefilled transactions in the block."""
        return indexes_of(each.index_delta for each in self.prefilled)

    def summary(self) -> str:
        """Return the block's hash and the number of short ids and prefilled transactions."""
        counts = f"{len(self.short_ids)} short ids, {len(self.prefilled)} prefilled"
        return f"hash {display(self.header.hash)}, {counts}{mweb_summary(self.mweb)}"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the block's hash."""
        header: BlockHeader = parse(BlockHeader.schema, BytesIO(head), params)
        return f"hash {display(header.hash)}"

    def check(self) -> None:
        """Check that indexes and the number of transactions fit in 16 bits."""
        _check_indexes(self.indexes, "prefilled")
        total = len(self.short_ids) + len(self.prefilled)
        if total > MAX_TRANSACTIONS:
            raise FieldError(f"{total} transactions, at most {MAX_TRANSACTIONS} allowed")

    def derived(self) -> JsonObject:
        """Return the prefilled transactions with their indexes."""
        pairs = zip(self.prefilled, self.indexes, strict=True)
        return {"prefilled": [{**each.to_dict(), "index": index} for each, index in pairs]}


class GetBlockTxn(MessageRecord, frozen=True, gc=False):
    """Requests transactions of a block by their indexes."""

    command: ClassVar[str] = "getblocktxn"
    maximum: ClassVar[Limit] = MAX_CORE_PAYLOAD

    block_hash: Hash
    index_deltas: Annotated[tuple[CompactInt, ...], at_most(MAX_TRANSACTIONS + 1)]

    @property
    def indexes(self) -> tuple[int, ...]:
        """The indexes of the requested transactions in the block."""
        return indexes_of(self.index_deltas)

    def summary(self) -> str:
        """Return the block's hash and the number of requested transactions."""
        return f"block {display(self.block_hash)}, {len(self.index_deltas)} tx"

    def check(self) -> None:
        """Check that indexes fit in 16 bits."""
        _check_indexes(self.indexes, "index_deltas")

    def derived(self) -> JsonObject:
        """Return the absolute indexes."""
        return {"indexes": list(self.indexes)}


class BlockTxn(MessageRecord, frozen=True, gc=False):
    """The transactions that `getblocktxn` requested."""

    command: ClassVar[str] = "blocktxn"
    maximum: ClassVar[Limit] = ByChain("block_payload")

    block_hash: Hash
    transactions: Annotated[tuple[Tx, ...], at_most(ByChain("transactions"))]

    def summary(self) -> str:
        """Return the block's hash and the number of transactions."""
        return f"block {display(self.block_hash)}, {len(self.transactions)} tx"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the same."""
        return f"block {display(head[:32])}, {count_in(head[32:])} tx"
