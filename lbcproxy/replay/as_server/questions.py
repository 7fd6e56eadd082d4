"""What nodes ask each other, and which message answers what: one row a kind of question.

A question asks for parts, each with a key: `getdata` for each thing, the others for one. To teach
the replay another question is to add a row to `QUESTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from lbcproxy.replay.as_server.chain import Chain
from lbcproxy.session import Message
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.fields import COMPACT_SIZE as COUNT
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.blocks import MerkleBlock
from lbcproxy.wire.messages.inventory import WITNESS_FLAG, InventoryVector, InvType
from lbcproxy.wire.messages.transactions import Tx

__all__ = [
    "MOST_BLOCKS",
    "QUESTIONS",
    "Key",
    "Payload",
    "Question",
    "in_batches",
    "inventory",
    "is_bare",
    "other_encoding",
]

Key: TypeAlias = tuple[Any, ...]
"""What is asked for: the question's command, and what makes it this one."""
Answers: TypeAlias = Callable[[Message, Collection[Key], Chain], Sequence[Key]]
"""Says which of the open parts a message answers."""

Payload: TypeAlias = tuple[str, bytes]
"""A command and a payload."""

MOST_HEADERS, MOST_BLOCKS = 2000, 500
BLOCKS = (InvType.BLOCK, InvType.WITNESS_BLOCK)
TRANSACTIONS = (InvType.TX, InvType.WITNESS_TX, InvType.WTX)


class Question(NamedTuple):
    """A kind of question."""

    parts: Callable[[Message], Sequence[Key]]
    """What a message of it asks for."""
    answers: Mapping[str, Answers]
    """By command, which open parts a message answers."""
    holds: Mapping[str, Callable[[Message, Chain], Sequence[Key]]] = {}
    """By command, which parts a message would answer whenever they are asked for."""
    is_last: Callable[[Key, Message], bool] = lambda *_: True
    """Whether an answer to a part is the last to it."""
    followed: Mapping[str, Callable[[Message, Message], bool]] = {}
    """By command, whether a message right behind an answer belongs to it."""
    from_chain: Callable[[Key, Chain], Sequence[Payload] | None] = lambda *_: None
    """What a node with the recorded chain answers, where the recording has no answer."""
    only: Callable[[Message, Sequence[Key]], Message] = lambda message, _: message
    """The question for some of its parts alone."""


# Questions whose whole payload says what is asked for.


def _whole(message: Message) -> Sequence[Key]:
    return [(message.command, message.payload)]


def _in_turn(fits: Callable[[Key, Message, Chain], bool] = lambda *_: True) -> Answers:
    """Answer the oldest open part that fits."""

    def answers(message: Message, open_parts: Collection[Key], chain: Chain) -> Sequence[Key]:
        return next(([key] for key in open_parts if fits(key, message, chain)), ())

    return answers


def _same_block(key: Key, answer: Message, _: Chain) -> bool:
    """Hold the filter type and last block of a question to those of its answer (BIP157)."""
    asked, got = key[1], answer.payload
    return bool(asked[:1] == got[:1] and asked[-32:] == got[1:33])


def _same_type(key: Key, answer: Message, _: Chain) -> bool:
    return bool(key[1][:1] == answer.payload[:1])


def _is_last_filter(key: Key, answer: Message) -> bool:
    return bool(key[1][-32:] == answer.payload[1:33])


def _same_transactions(key: Key, answer: Message, _: Chain) -> bool:
    return bool(key[1][:32] == answer.payload[:32])


def _only_transactions(_: Key, answer: Message, __: Chain) -> bool:
    record: Any = answer.record
    return record is not None and all(each.type in TRANSACTIONS for each in record.inventory)


# Locators. The protocol version in them means nothing to who answers.


def _locator(message: Message) -> Sequence[Key]:
    record: Any = message.record
    return () if record is None else [(message.command, record.locator, record.hash_stop)]


def _headers_behind(key: Key, answer: Message, chain: Chain) -> bool:
    record: Any = answer.record
    if record is None or not record.headers:
        return record is not None
    first = record.headers[0]
    _, locator, stop = key
    if not locator:
        return bool(first.hash == stop)
    return first.prev_block in locator or first.prev_block == chain.genesis


def _blocks_behind(key: Key, answer: Message, chain: Chain) -> bool:
    record: Any = answer.record
    if record is None or not record.inventory:
        return False
    if any(each.type not in BLOCKS for each in record.inventory):
        return False
    before = chain.previous(record.inventory[0].hash)
    return before is None or before in key[1] or before == chain.genesis


def _headers_of_chain(key: Key, chain: Chain) -> Sequence[Payload] | None:
    blocks = chain.behind(key[1], key[2], MOST_HEADERS)
    if blocks is None:
        return None
    headers = chain.headers(blocks)
    return [("headers", COUNT.build(len(headers)) + b"".join(each + b"\0" for each in headers))]


def _blocks_of_chain(key: Key, chain: Chain) -> Sequence[Payload] | None:
    blocks = chain.behind(key[1], key[2], MOST_BLOCKS)
    if not blocks:
        return None if blocks is None else ()  # a node that has no more says nothing
    return [("inv", inventory(InvType.BLOCK, blocks))]


# Things by hash. A thing with witnesses is asked for with another number than one without.


def inventory(kind: int, hashes: Sequence[bytes]) -> bytes:
    """Return the payload of an `inv` of one kind of things."""
    number = kind.to_bytes(4, "little")
    return bytes(COUNT.build(len(hashes))) + b"".join(number + each for each in hashes)


def other_encoding(key: Key) -> Key:
    """Return the key of the same thing with witnesses, or of the one without."""
    command, kind, thing = key
    return (command, kind ^ WITNESS_FLAG, thing)


def is_bare(key: Key) -> bool:
    """Whether a transaction or block is asked for without witnesses."""
    return key[1] in (InvType.TX, InvType.BLOCK)


def _things(message: Message) -> Sequence[Key]:
    record: Any = message.record
    things = () if record is None else record.inventory
    return [("getdata", each.type, each.hash) for each in things]


def _both(kind: int, thing: bytes) -> Sequence[Key]:
    return [("getdata", kind, thing), ("getdata", kind | WITNESS_FLAG, thing)]


def _with_header(kind: int) -> Callable[[Message, Chain], Sequence[Key]]:
    """Find the hash of what begins with a block's header; the rest is not looked at."""

    def keys(message: Message, chain: Chain) -> Sequence[Key]:
        header = message.head[HEADER_SIZE : HEADER_SIZE + chain.header_size]
        return _both(kind, sha256d(header)) if len(header) == chain.header_size else ()

    return keys


def _transaction(message: Message, _: Chain) -> Sequence[Key]:
    record: Any = message.record
    if record is None:
        return ()
    return [*_both(InvType.TX, record.txid), ("getdata", InvType.WTX, record.wtxid)]


def _keyed(keys: Callable[[Message, Chain], Sequence[Key]]) -> Answers:
    """Answer the open parts that a message itself names."""

    def answers(message: Message, open_parts: Collection[Key], chain: Chain) -> Sequence[Key]:
        return [key for key in keys(message, chain) if key in open_parts] if open_parts else ()

    return answers


def _is_of_filtered(answer: Message, behind: Message) -> bool:
    """Whether a `tx` is one of those that a `merkleblock` proves (BIP37 sends them behind it)."""
    block, transaction = answer.record, behind.record
    if not isinstance(block, MerkleBlock) or not isinstance(transaction, Tx):
        return False
    return transaction.txid in block.hashes


def _only_things(message: Message, keys: Sequence[Key]) -> Message:
    things = tuple(InventoryVector(kind, thing) for _, kind, thing in keys)
    return message.replace(inventory=things)


_THINGS = {
    "block": _with_header(InvType.BLOCK),
    "cmpctblock": _with_header(InvType.CMPCT_BLOCK),
    "merkleblock": _with_header(InvType.FILTERED_BLOCK),
    "tx": _transaction,
}

QUESTIONS: dict[str, Question] = {
    "getdata": Question(
        _things,
        {
            "notfound": _keyed(lambda message, _: _things(message)),
            **{command: _keyed(keys) for command, keys in _THINGS.items()},
        },
        holds={command: _THINGS[command] for command in ("block", "cmpctblock", "tx")},
        followed={"tx": _is_of_filtered},
        only=_only_things,
    ),
    "getheaders": Question(
        _locator, {"headers": _in_turn(_headers_behind)}, from_chain=_headers_of_chain
    ),
    "getblocks": Question(_locator, {"inv": _in_turn(_blocks_behind)}, from_chain=_blocks_of_chain),
    "getaddr": Question(_whole, {"addr": _in_turn(), "addrv2": _in_turn()}),
    "mempool": Question(_whole, {"inv": _in_turn(_only_transactions)}),
    "getcfilters": Question(_whole, {"cfilter": _in_turn(_same_type)}, is_last=_is_last_filter),
    "getcfheaders": Question(_whole, {"cfheaders": _in_turn(_same_block)}),
    "getcfcheckpt": Question(_whole, {"cfcheckpt": _in_turn(_same_block)}),
    "getblocktxn": Question(_whole, {"blocktxn": _in_turn(_same_transactions)}),
    "ping": Question(_whole, {"pong": _in_turn(lambda key, pong, _: key[1] == pong.payload)}),
}


def in_batches(question: Message, most: int = 16) -> Iterator[Message]:
    """Yield a question in parts of limited size, so that its answers take little memory."""
    kind = QUESTIONS[question.command]
    keys = kind.parts(question)
    for first in range(0, len(keys), most):
        yield kind.only(question, keys[first : first + most])
