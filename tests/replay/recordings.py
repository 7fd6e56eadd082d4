"""Conversations made up for a test, and blocks to have them about."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.replay import Conversation
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.compact import short_id
from lbcproxy.replay.as_server.cursor import ReplayCursor
from lbcproxy.session import Direction, Message, SessionInfo
from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.compact_blocks import (
    CmpctBlock,
    PrefilledTx,
)
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.record import MessageRecord

__all__ = [
    "BITCOIN",
    "DOWN",
    "UP",
    "VERSION",
    "asks",
    "blocks_on",
    "message",
    "says",
    "talk",
    "transaction",
]

BITCOIN = networks.get("bitcoin-regtest")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
NOBODY = NetAddress(1, bytes(16), 0)
VERSION = 70016


def version(agent: bytes = b"/recorded:1/", height: int = 7) -> Version:
    """A node's introduction."""
    return Version(VERSION, 9, 1_700_000_000, NOBODY, NOBODY, 5, agent, height, True)


def message(record: MessageRecord, direction: Direction, *, encoding: str = "witness") -> Message:
    """A message as it stands in a recording."""
    return Message.of(record, direction, Codec(BITCOIN, VERSION, encoding))


def asks(record: MessageRecord) -> Message:
    """What the client says."""
    return message(record, UP)


def says(record: MessageRecord) -> Message:
    """What the node says."""
    return message(record, DOWN)


def talk(
    *messages: Message, network: Network = BITCOIN, shake: list[Message] | None = None
) -> Conversation:
    """A conversation that begins with a handshake, a second for each message."""
    client, node = Endpoint("127.0.0.1", 50_000), Endpoint("127.0.0.1", network.port)
    info = SessionInfo(number=1, network=network.id, client=client, listen=node, upstream=node)
    made = Conversation(Path("made-up.pcapng"), 1, network, info)
    made.versions = {UP: version(b"/client:1/", 0), DOWN: version()}
    shake = shake or [asks(made.client), says(made.upstream), says(VerAck()), asks(VerAck())]
    for second, each in enumerate([*shake, *messages]):
        made.append(each, second * 10**9)
    return made


def transaction(number: int = 0, *, witness: bool = False) -> Tx:
    """A transaction that is not like another."""
    stack = ((b"signature",),) if witness else ((),)
    spent = TxIn(number.to_bytes(32, "little"), 0, b"", 0xFFFFFFFF, *stack)
    return Tx(version=2, inputs=(spent,), outputs=(TxOut(1, b"\x51"),), lock_time=0)


def blocks_on(previous: bytes | None, count: int, *, salt: int = 0) -> list[Block]:
    """Blocks on another, or on the first one."""
    previous = sha256d(BITCOIN.genesis) if previous is None else previous
    made = []
    for number in range(count):
        header = BlockHeader(1, previous, bytes(32), None, 1_700_000_000 + number, 0, salt)
        made.append(Block(header, (transaction(number),)))
        previous = header.hash
    return made


def compact_block(
    block: Block, prefilled: tuple[int, ...] = (0,), *, number: int = 2
) -> CmpctBlock:
    """What a node makes of a block, with short ids of version 1 or 2 (BIP152)."""
    nonce = 0x1122334455667788
    seed = block.header.to_bytes() + nonce.to_bytes(8, "little")
    key = hashlib.sha256(seed).digest()[:16]
    ids = [each.wtxid if number == 2 else each.txid for each in block.transactions]
    short = tuple(short_id(key, each) for at, each in enumerate(ids) if at not in prefilled)
    before = -1
    sent = []
    for at in prefilled:
        sent.append(PrefilledTx(at - before - 1, block.transactions[at]))
        before = at
    return CmpctBlock(block.header, nonce, short, tuple(sent))


def start_cursor(conversation, version=VERSION, side=DOWN):
    """Begin a conversation as its client."""
    return ReplayCursor(Answers(conversation, side), version, Counter())
