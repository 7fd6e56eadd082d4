"""Rebuilds blocks from a compact block and transactions elsewhere in the recording.

BIP152: a compact block names its transactions by six bytes of SipHash over their wtxids (version
2) or txids (version 1). A block is rebuilt when it is requested, and served if its transactions
have the merkle root of its header.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from lbcproxy.replay.conversation import Conversation, Turn
from lbcproxy.wire.hashes import merkle_root, siphash24
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.compact_blocks import BlockTxn, CmpctBlock
from lbcproxy.wire.messages.transactions import HOGEX, Tx

__all__ = ["CompactBlocks", "short_id"]

MAX_CACHED = 4
"""Maximum number of rebuilt blocks that are cached."""


class CompactBlocks:
    """The compact blocks of a conversation, and the messages that may have their transactions."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._blocks: dict[bytes, list[Turn]] = {}
        self._pieces: dict[bytes, list[Turn]] = {}
        self._transactions: list[tuple[int, bytes, bytes]] = []
        """The positions of `tx` messages, in order, with their wtxids and txids."""
        self._cache: OrderedDict[bytes, list[Tx | None]] = OrderedDict()

    def add(self, turn: Turn, record: object, block: bytes = b"") -> None:
        """Add a message of either node; `block` is the hash of a compact block."""
        if isinstance(record, Tx):
            self._transactions.append((turn.position, record.wtxid, record.txid))
        elif isinstance(record, BlockTxn):
            self._pieces.setdefault(record.block_hash, []).append(turn)
        elif isinstance(record, CmpctBlock):
            self._blocks.setdefault(block, []).append(turn)
        else:
            return
        self._cache.clear()

    def block(self, block: bytes) -> Block | None:
        """Return a block, or None if a part of it is unknown."""
        found = self.transactions(block)
        if not found or None in found:
            return None
        compact = self._compact(self._blocks[block][0])
        transactions = tuple(_in_block(each) for each in found if each is not None)
        ends_with_hogex = transactions[-1].mweb == HOGEX
        return Block(compact.header, transactions, compact.mweb if ends_with_hogex else None)

    def transactions(self, block: bytes) -> list[Tx | None]:
        """Return a block's transactions in order, None for unknown ones; empty without a block."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        best: list[Tx | None] = []
        for turn in self._blocks.get(block, ()):
            for with_witness in (True, False):
                found = self._rebuilt(block, turn, with_witness)
                if len(best) - best.count(None) < len(found) - found.count(None):
                    best = found
                if best and None not in best:
                    break
        if best:
            self._cache[block] = best
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return best

    def _compact(self, turn: Turn) -> CmpctBlock:
        record = self._conversation.message(turn).record
        assert isinstance(record, CmpctBlock)
        return record

    def _rebuilt(self, block: bytes, turn: Turn, with_witness: bool) -> list[Tx | None]:
        """Return the transactions that match the short ids of a compact block.

        Only the prefilled ones if the merkle root is not the header's.
        """
        compact = self._compact(turn)
        found = _prefilled(compact)
        free = [at for at, each in enumerate(found) if each is None]
        wanted = dict(zip(compact.short_ids, free, strict=True))
        if len(wanted) < len(free):
            return found  # two transactions have the same short id
        key = _key(compact)
        for wtxid, txid, where in self._candidates(block, turn.position):
            if not wanted:
                break
            at = wanted.pop(short_id(key, wtxid if with_witness else txid), None)
            if at is not None:
                found[at] = where if isinstance(where, Tx) else self._read(where)
        if None not in found and _root(found) != compact.header.merkle_root:
            return _prefilled(compact)
        return found

    def _candidates(self, block: bytes, position: int) -> Iterator[tuple[bytes, bytes, Tx | int]]:
        """Yield transactions that may be in a block, the most likely first.

        Each as its wtxid, its txid, and itself or its position.
        """
        for turn in self._pieces.get(block, ()):
            record = self._conversation.message(turn).record
            assert isinstance(record, BlockTxn)
            for each in record.transactions:
                yield each.wtxid, each.txid, each
        for turn in self._blocks[block]:
            for entry in self._compact(turn).prefilled:
                yield entry.tx.wtxid, entry.tx.txid, entry.tx
        middle = bisect_left(self._transactions, (position,))
        before, after = self._transactions[:middle], self._transactions[middle:]
        for number, wtxid, txid in [*reversed(before), *after]:
            yield wtxid, txid, number

    def _read(self, position: int) -> Tx | None:
        record = self._conversation.message(self._conversation.turns[position]).record
        return record if isinstance(record, Tx) else None


def short_id(key: bytes, identity: bytes) -> bytes:
    """Return the short id (6 bytes) of a transaction by its wtxid or txid (BIP152)."""
    return siphash24(key, identity).to_bytes(8, "little")[:6]


def _key(compact: CmpctBlock) -> bytes:
    seed = compact.header.to_bytes() + compact.nonce.to_bytes(8, "little")
    return hashlib.sha256(seed).digest()[:16]


def _prefilled(compact: CmpctBlock) -> list[Tx | None]:
    found: list[Tx | None] = [None] * (len(compact.short_ids) + len(compact.prefilled))
    for at, each in zip(compact.indexes, compact.prefilled, strict=True):
        if at < len(found):
            found[at] = each.tx
    return found


def _root(transactions: list[Tx | None]) -> bytes:
    return merkle_root(each.txid for each in transactions if each is not None)


def _in_block(tx: Tx) -> Tx:
    """Return a transaction as in a block, where its MWEB data are in the extension block."""
    own = tx.mweb is not None and tx.mweb != HOGEX
    return tx if not own else msgspec.structs.replace(tx, mweb=None)
