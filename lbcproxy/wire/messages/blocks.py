"""Blocks, complete (`block`) and filtered (`merkleblock`, BIP37).

lbcd `wire/msgblock.go`, `wire/msgmerkleblock.go`.
"""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, ClassVar

from lbcproxy.text import unix_time
from lbcproxy.wire.fields import Hash, Rest, UInt32, VarBytes, count_in
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx, mweb_summary
from lbcproxy.wire.optional import Extension
from lbcproxy.wire.record import MessageRecord, at_most, parse
from lbcproxy.wire.rules import ByChain, Limit, Params

__all__ = ["Block", "MerkleBlock"]


def _summary(header: BlockHeader, transactions: int) -> str:
    time = unix_time(header.timestamp)
    return f"hash {display(header.hash)}, ver {header.version}, {transactions} tx, {time}"


class Block(MessageRecord, frozen=True, gc=False):
    """A block: its header and its transactions."""

    command: ClassVar[str] = "block"
    maximum: ClassVar[Limit] = ByChain("block_payload")

    header: BlockHeader
    transactions: Annotated[tuple[Tx, ...], at_most(ByChain("transactions"))]
    mweb: Annotated[bytes | None, Extension("mweb", Rest())] = None
    """The MimbleWimble extension block, not parsed. Litecoin only."""

    def summary(self) -> str:
        """Return hash, version, number of transactions and time, and the size of unparsed data."""
        return _summary(self.header, len(self.transactions)) + mweb_summary(self.mweb)

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the same from the header and the transaction count."""
        stream = BytesIO(head)
        header: BlockHeader = parse(BlockHeader.schema, stream, params)
        return _summary(header, count_in(stream.read()))


class MerkleBlock(MessageRecord, frozen=True, gc=False):
    """A block header with the proof that the transactions sent after it are in the block."""

    command: ClassVar[str] = "merkleblock"
    maximum: ClassVar[Limit] = ByChain("block_payload")
    since: ClassVar[int] = 70001

    header: BlockHeader
    total_transactions: UInt32
    hashes: Annotated[tuple[Hash, ...], at_most(ByChain("transactions"))]
    flags: Annotated[bytes, VarBytes(ByChain("merkle_flags"))]

    def summary(self) -> str:
        """Return the block's hash and the number of transactions and hashes."""
        counts = f"{self.total_transactions} tx, {len(self.hashes)} hashes"
        return f"hash {display(self.header.hash)}, {counts}"
