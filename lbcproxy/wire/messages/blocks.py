"""Blocks, whole (`block`) and filtered (`merkleblock`, BIP37).

lbcd `wire/msgblock.go`, `wire/msgmerkleblock.go`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from lbcproxy.wire.fields import Hash, UInt32, VarBytes
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx
from lbcproxy.wire.record import MessageRecord, at_most
from lbcproxy.wire.rules import ByChain, Limit

__all__ = ["Block", "MerkleBlock"]


class Block(MessageRecord, frozen=True, gc=False):
    """A block: its header and its transactions."""

    command: ClassVar[str] = "block"
    maximum: ClassVar[Limit] = ByChain("block_payload")

    header: BlockHeader
    transactions: Annotated[tuple[Tx, ...], at_most(ByChain("transactions"))]


class MerkleBlock(MessageRecord, frozen=True, gc=False):
    """A header with the proof that the transactions sent behind it are in the block."""

    command: ClassVar[str] = "merkleblock"
    maximum: ClassVar[Limit] = ByChain("block_payload")
    since: ClassVar[int] = 70001

    header: BlockHeader
    total_transactions: UInt32
    hashes: Annotated[tuple[Hash, ...], at_most(ByChain("transactions"))]
    flags: Annotated[bytes, VarBytes(ByChain("merkle_flags"))]
