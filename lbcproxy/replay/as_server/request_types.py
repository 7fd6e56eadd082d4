"""The requests between nodes and their responses: one row per command.

A request has parts, each with a key: `getdata` has one for each object, the others have one part.
To support another request, add a row to `REQUEST_TYPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from lbcproxy.replay.as_server.chain import BlockChain
from lbcproxy.replay.conversation import DecodedRecord
from lbcproxy.session import Message
from lbcproxy.wire.construct_types import FieldValue
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.fields import COMPACT_SIZE as COUNT
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.blocks import MerkleBlock
from lbcproxy.wire.messages.inventory import WITNESS_FLAG, InventoryVector, InvType
from lbcproxy.wire.messages.transactions import Tx

__all__ = [
    "MAX_BLOCKS",
    "REQUEST_TYPES",
    "Key",
    "Payload",
    "RequestType",
    "in_batches",
    "inventory",
    "is_bare",
    "other_encoding",
]

Key: TypeAlias = tuple[FieldValue, ...]
"""Identifies a requested part: the command, and the values that make it unique."""
AnswerMatcher: TypeAlias = Callable[[Message, Collection[Key], BlockChain], Sequence[Key]]
"""Returns which of the open parts a message answers."""

Payload: TypeAlias = tuple[str, bytes]
"""A command and a payload."""

MAX_HEADERS, MAX_BLOCKS = 2000, 500
BLOCKS = (InvType.BLOCK, InvType.WITNESS_BLOCK)
TRANSACTIONS = (InvType.TX, InvType.WITNESS_TX, InvType.WTX)


class RequestType(NamedTuple):
    """A kind of request."""

    parts: Callable[[Message], Sequence[Key]]
    """Returns the parts of a request."""
    answers: Mapping[str, AnswerMatcher]
    """By command of a response, which open parts it answers."""
    holds: Mapping[str, Callable[[Message, BlockChain], Sequence[Key]]] = {}
    """By command, which parts a message can answer whenever they are requested."""
    is_last: Callable[[Key, Message], bool] = lambda *_: True
    """Whether a response to a part is the last one to it."""
    followed: Mapping[str, Callable[[Message, Message], bool]] = {}
    """By command, whether a message right after a response belongs to it."""
    from_chain: Callable[[Key, BlockChain], Sequence[Payload] | None] = lambda *_: None
    """Returns a response computed from the chain, if the recording has none."""
    only: Callable[[Message, Sequence[Key]], Message] = lambda message, _: message
    """Returns the request with some of its parts only."""


# Requests that are identified by their whole payload.


def _whole(message: Message) -> Sequence[Key]:
    return [(message.command, message.payload)]


def _in_turn(fits: Callable[[Key, Message, BlockChain], bool] = lambda *_: True) -> AnswerMatcher:
    """Return a matcher for the oldest open part that fits."""

    def answers(message: Message, open_parts: Collection[Key], chain: BlockChain) -> Sequence[Key]:
        return next(([key] for key in open_parts if fits(key, message, chain)), ())

    return answers


def _same_block(key: Key, answer: Message, _: BlockChain) -> bool:
    """Return whether request and response have the same filter type and last block (BIP157)."""
    asked, got = key[1], answer.payload
    return bool(asked[:1] == got[:1] and asked[-32:] == got[1:33])


def _same_type(key: Key, answer: Message, _: BlockChain) -> bool:
    return bool(key[1][:1] == answer.payload[:1])


def _is_last_filter(key: Key, answer: Message) -> bool:
    return bool(key[1][-32:] == answer.payload[1:33])


def _same_transactions(key: Key, answer: Message, _: BlockChain) -> bool:
    return bool(key[1][:32] == answer.payload[:32])


def _only_transactions(_: Key, answer: Message, __: BlockChain) -> bool:
    record: DecodedRecord = answer.record
    return record is not None and all(each.type in TRANSACTIONS for each in record.inventory)


# Locators. The protocol version in them does not matter to the responding node.


def _locator(message: Message) -> Sequence[Key]:
    record: DecodedRecord = message.record
    return () if record is None else [(message.command, record.locator, record.hash_stop)]


def _headers_behind(key: Key, answer: Message, chain: BlockChain) -> bool:
    record: DecodedRecord = answer.record
    if record is None or not record.headers:
        return record is not None
    first = record.headers[0]
    _, locator, stop = key
    if not locator:
        return bool(first.hash == stop)
    return first.prev_block in locator or first.prev_block == chain.genesis


def _blocks_behind(key: Key, answer: Message, chain: BlockChain) -> bool:
    record: DecodedRecord = answer.record
    if record is None or not record.inventory:
        return False
    if any(each.type not in BLOCKS for each in record.inventory):
        return False
    before = chain.previous(record.inventory[0].hash)
    return before is None or before in key[1] or before == chain.genesis


def _headers_of_chain(key: Key, chain: BlockChain) -> Sequence[Payload] | None:
    blocks = chain.blocks_after(key[1], key[2], MAX_HEADERS)
    if blocks is None:
        return None
    headers = chain.headers(blocks)
    return [("headers", COUNT.build(len(headers)) + b"".join(each + b"\0" for each in headers))]


def _blocks_of_chain(key: Key, chain: BlockChain) -> Sequence[Payload] | None:
    blocks = chain.blocks_after(key[1], key[2], MAX_BLOCKS)
    if not blocks:
        return None if blocks is None else ()  # a node without more blocks sends nothing
    return [("inv", inventory(InvType.BLOCK, blocks))]


# Objects by hash. The inventory type says whether witnesses are requested.


def inventory(kind: int, hashes: Sequence[bytes]) -> bytes:
    """Return the payload of an `inv` with objects of one type."""
    number = kind.to_bytes(4, "little")
    return bytes(COUNT.build(len(hashes))) + b"".join(number + each for each in hashes)


def other_encoding(key: Key) -> Key:
    """Return the key of the same object in the other encoding, with or without witnesses."""
    command, kind, thing = key
    return (command, kind ^ WITNESS_FLAG, thing)


def is_bare(key: Key) -> bool:
    """Return whether a transaction or block is requested without witnesses."""
    return key[1] in (InvType.TX, InvType.BLOCK)


def _things(message: Message) -> Sequence[Key]:
    record: DecodedRecord = message.record
    things = () if record is None else record.inventory
    return [("getdata", each.type, each.hash) for each in things]


def _both(kind: int, thing: bytes) -> Sequence[Key]:
    return [("getdata", kind, thing), ("getdata", kind | WITNESS_FLAG, thing)]


def _with_header(kind: int) -> Callable[[Message, BlockChain], Sequence[Key]]:
    """Return a function for the keys of a message that begins with a block's header."""

    def keys(message: Message, chain: BlockChain) -> Sequence[Key]:
        header = message.head[HEADER_SIZE : HEADER_SIZE + chain.header_size]
        return _both(kind, sha256d(header)) if len(header) == chain.header_size else ()

    return keys


def _transaction(message: Message, _: BlockChain) -> Sequence[Key]:
    record: DecodedRecord = message.record
    if record is None:
        return ()
    return [*_both(InvType.TX, record.txid), ("getdata", InvType.WTX, record.wtxid)]


def _keyed(keys: Callable[[Message, BlockChain], Sequence[Key]]) -> AnswerMatcher:
    """Return a matcher for the open parts whose keys a message has itself."""

    def answers(message: Message, open_parts: Collection[Key], chain: BlockChain) -> Sequence[Key]:
        return [key for key in keys(message, chain) if key in open_parts] if open_parts else ()

    return answers


def _is_of_filtered(answer: Message, behind: Message) -> bool:
    """Return whether a `merkleblock` proves a `tx`; BIP37 sends those right after it."""
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

REQUEST_TYPES: dict[str, RequestType] = {
    "getdata": RequestType(
        _things,
        {
            "notfound": _keyed(lambda message, _: _things(message)),
            **{command: _keyed(keys) for command, keys in _THINGS.items()},
        },
        holds={command: _THINGS[command] for command in ("block", "cmpctblock", "tx")},
        followed={"tx": _is_of_filtered},
        only=_only_things,
    ),
    "getheaders": RequestType(
        _locator, {"headers": _in_turn(_headers_behind)}, from_chain=_headers_of_chain
    ),
    "getblocks": RequestType(
        _locator, {"inv": _in_turn(_blocks_behind)}, from_chain=_blocks_of_chain
    ),
    "getaddr": RequestType(_whole, {"addr": _in_turn(), "addrv2": _in_turn()}),
    "mempool": RequestType(_whole, {"inv": _in_turn(_only_transactions)}),
    "getcfilters": RequestType(_whole, {"cfilter": _in_turn(_same_type)}, is_last=_is_last_filter),
    "getcfheaders": RequestType(_whole, {"cfheaders": _in_turn(_same_block)}),
    "getcfcheckpt": RequestType(_whole, {"cfcheckpt": _in_turn(_same_block)}),
    "getblocktxn": RequestType(_whole, {"blocktxn": _in_turn(_same_transactions)}),
    "ping": RequestType(_whole, {"pong": _in_turn(lambda key, pong, _: key[1] == pong.payload)}),
}


def in_batches(request: Message, most: int = 16) -> Iterator[Message]:
    """Yield a request in batches of at most `most` parts, so that responses take little memory."""
    kind = REQUEST_TYPES[request.command]
    keys = kind.parts(request)
    for first in range(0, len(keys), most):
        yield kind.only(request, keys[first : first + most])
