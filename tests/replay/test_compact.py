"""Blocks that a capture holds as compact blocks and transactions, served whole."""

from __future__ import annotations

from typing import Any

import pytest

from lbcproxy.replay.as_server.cursor import UnansweredRequest
from lbcproxy.wire import Codec, Framer
from lbcproxy.wire.hashes import merkle_root, sha256d
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.compact_blocks import (
    BlockTxn,
    CmpctBlock,
    GetBlockTxn,
    SendCmpct,
)
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType, NotFound
from lbcproxy.wire.messages.transactions import Tx
from tests.replay.recordings import (
    BITCOIN,
    asks,
    compact_block,
    says,
    start_cursor,
    talk,
    transaction,
)

CODEC = Codec(BITCOIN, 70016)
BARE = Codec(BITCOIN, 70016, "base")


def block_of(*transactions: Tx, salt: int = 0) -> Block:
    """A block whose header has the root of its transactions."""
    root = merkle_root(each.txid for each in transactions)
    previous = sha256d(BITCOIN.genesis)
    return Block(BlockHeader(1, previous, root, None, 1_700_000_000, 0, salt), transactions)


def wants(block: Block, kind: int = InvType.WITNESS_BLOCK) -> GetData:
    """The wish for a block."""
    return GetData((InventoryVector(kind, block.header.hash),))


def wants_at(block: Block, *indexes: int) -> GetBlockTxn:
    """The wish for transactions of a block."""
    before = (-1, *indexes)
    deltas = tuple(at - last - 1 for last, at in zip(before, indexes, strict=False))
    return GetBlockTxn(block.header.hash, deltas)


def answer_of(cursor: Any, record: Any) -> bytes | str:
    """The payload of the answer, which comes first; "unknown" if there is none."""
    first = next(cursor.handle(asks(record)))
    if isinstance(first, UnansweredRequest):
        return "unknown"
    [frame] = Framer(BITCOIN).feed(first[1])
    assert frame.error is None
    return frame.payload


FIVE = tuple(transaction(number, witness=number > 0) for number in range(5))
WHOLE = block_of(*FIVE)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("speaker", ["node", "client"])
def test_a_block_is_put_together_of_transactions_that_had_passed(number: int, speaker: str):
    """Whoever had sent them; the ids may be with witness or without."""
    sent = [(says if speaker == "node" else asks)(each) for each in FIVE[1:]]
    cursor = start_cursor(talk(*sent, says(compact_block(WHOLE, number=number))))
    assert answer_of(cursor, wants(WHOLE)) == CODEC.encode(WHOLE)
    assert answer_of(cursor, wants(WHOLE, InvType.BLOCK)) == BARE.encode(WHOLE)


def test_a_block_is_rebuilt_from_what_was_requested_after_it():
    """As it is where the client had not all transactions: `getblocktxn`, `blocktxn`."""
    conversation = talk(
        says(FIVE[2]),
        says(compact_block(WHOLE)),
        asks(wants_at(WHOLE, 1, 3, 4)),
        says(BlockTxn(WHOLE.header.hash, (FIVE[1], FIVE[3], FIVE[4]))),
    )
    cursor = start_cursor(conversation)
    assert answer_of(cursor, wants(WHOLE)) == CODEC.encode(WHOLE)


@pytest.mark.parametrize("indexes", [(0,), (2,), (1, 3), (0, 1, 2, 3, 4), (4,)])
@pytest.mark.parametrize("form", ["compact", "whole"])
def test_transactions_of_any_places_are_given(form: str, indexes: tuple[int, ...]):
    """A client of today misses others than the recorded one did."""
    if form == "whole":
        conversation = talk(asks(wants(WHOLE)), says(WHOLE))
    else:
        conversation = talk(*map(says, FIVE[1:4]), says(compact_block(WHOLE, (0, 4))))
    wanted = BlockTxn(WHOLE.header.hash, tuple(FIVE[at] for at in indexes))
    assert answer_of(start_cursor(conversation), wants_at(WHOLE, *indexes)) == CODEC.encode(wanted)


def test_what_is_known_of_a_block_is_given_though_the_rest_is_not():
    """The block is unknown then, and so are its other transactions."""
    cursor = start_cursor(talk(says(FIVE[1]), says(compact_block(WHOLE))))
    one = BlockTxn(WHOLE.header.hash, FIVE[:2])
    assert answer_of(cursor, wants_at(WHOLE, 0, 1)) == CODEC.encode(one)
    assert answer_of(cursor, wants_at(WHOLE, 1, 2)) == "unknown"
    assert answer_of(cursor, wants(WHOLE)) == "unknown"


def test_places_that_a_block_does_not_have_are_unknown():
    """Nothing is made up."""
    cursor = start_cursor(talk(asks(wants(WHOLE)), says(WHOLE)))
    assert answer_of(cursor, wants_at(WHOLE, 5)) == "unknown"
    assert answer_of(cursor, GetBlockTxn(b"?" * 32, (0,))) == "unknown"


def test_transactions_of_another_root_are_not_served():
    """Six bytes may meet by chance; a header does not."""
    other = block_of(FIVE[0], *FIVE[2:], FIVE[1])
    forged = compact_block(WHOLE)
    key_of = compact_block(Block(other.header, WHOLE.transactions))
    forged = CmpctBlock(other.header, forged.nonce, key_of.short_ids, forged.prefilled)
    cursor = start_cursor(talk(*map(says, FIVE[1:]), says(forged)))
    assert answer_of(cursor, wants(other)) == "unknown"


def test_two_equal_short_ids_are_not_guessed():
    """Core asks for the whole block then."""
    made = compact_block(WHOLE)
    same = CmpctBlock(made.header, made.nonce, (made.short_ids[0],) * 4, made.prefilled)
    cursor = start_cursor(talk(*map(says, FIVE[1:]), says(same)))
    assert answer_of(cursor, wants(WHOLE)) == "unknown"
    assert answer_of(cursor, wants_at(WHOLE, 0)) == CODEC.encode(
        BlockTxn(WHOLE.header.hash, FIVE[:1])
    )


def test_a_second_compact_block_may_help_the_first():
    """Nodes send their own, with other transactions prefilled and another nonce."""
    cursor = start_cursor(
        talk(says(compact_block(WHOLE, (0, 1, 2))), asks(compact_block(WHOLE, (0, 3, 4))))
    )
    assert answer_of(cursor, wants(WHOLE)) == CODEC.encode(WHOLE)


def test_a_block_that_was_not_there_is_served_if_it_can_be_put_together():
    """The recorded node may have sent `notfound` before it had it."""
    missing = NotFound(wants(WHOLE).inventory)
    conversation = talk(
        asks(wants(WHOLE)), says(missing), *map(says, FIVE[1:]), says(compact_block(WHOLE))
    )
    assert answer_of(start_cursor(conversation), wants(WHOLE)) == CODEC.encode(WHOLE)


def test_a_request_for_a_compact_block_gets_the_full_one_if_there_is_no_other():
    """Core does the same for all but the newest blocks."""
    cursor = start_cursor(talk(asks(wants(WHOLE)), says(WHOLE)))
    assert answer_of(cursor, wants(WHOLE, InvType.CMPCT_BLOCK)) == CODEC.encode(WHOLE)


def test_a_compact_block_is_named_to_a_client_that_does_not_take_any():
    """To lbcd it is an unknown command, and the end; then it asks for the block."""
    conversation = talk(asks(SendCmpct(True, 2)), *map(says, FIVE[1:]), says(compact_block(WHOLE)))
    news = [command for command, _ in start_cursor(conversation).begin()]
    assert news == ["tx"] * 4 + ["inv"]
    cursor = start_cursor(conversation)
    list(cursor.handle(asks(SendCmpct(True, 2))))
    assert [command for command, _ in cursor.begin()] == ["tx"] * 4 + ["cmpctblock"]


def test_a_block_of_one_transaction_needs_no_other():
    """Most blocks of a regtest."""
    lone = block_of(FIVE[0])
    assert answer_of(start_cursor(talk(says(compact_block(lone)))), wants(lone)) == CODEC.encode(
        lone
    )
