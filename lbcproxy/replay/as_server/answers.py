"""The messages of a recorded node: its responses by request, and its unsolicited messages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from lbcproxy.peer.handshake import NEGOTIATION
from lbcproxy.replay.as_server.chain import BlockChain
from lbcproxy.replay.as_server.compact import CompactBlocks
from lbcproxy.replay.as_server.request_matcher import PendingRequest, RequestMatcher
from lbcproxy.replay.as_server.request_types import (
    REQUEST_TYPES,
    Key,
    Payload,
    is_bare,
    other_encoding,
)
from lbcproxy.replay.conversation import Conversation, DecodedRecord, Turn
from lbcproxy.session import Direction, Message
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.errors import BadPayload
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.compact_blocks import BlockTxn
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.inventory import InvType
from lbcproxy.wire.record import MessageRecord

__all__ = ["Answers", "Reply", "UnsolicitedMessage"]

HANDSHAKE = ("version", "verack")
BLOCKS = (InvType.BLOCK, InvType.WITNESS_BLOCK)
PIECES = ("tx", "cmpctblock", "blocktxn")
"""Commands whose transactions blocks can be rebuilt from."""
WITH_HEADER = ("block", "cmpctblock", "merkleblock")


class Reply(NamedTuple):
    """The response to one part of a request."""

    turns: Sequence[Turn] = ()
    """Recorded messages."""
    made: Sequence[Payload] = ()
    """Payloads that are computed from the recorded chain."""
    missing: bool = False
    """Whether the object is missing; one `notfound` lists all missing objects of a request."""
    strip: bool = False
    """Whether it was recorded with witnesses but requested without."""


class UnsolicitedMessage(NamedTuple):
    """A message that was not requested."""

    after: int
    """Number of requested parts before it."""
    turn: Turn


class Answers:
    """What one node of a conversation answers. Shared by all clients of a replay.

    Args:
        conversation: The recorded session.
        speaker: The direction of the node's messages.
    """

    def __init__(self, conversation: Conversation, speaker: Direction) -> None:
        self.conversation = conversation
        self.speaker = speaker
        self.chain = BlockChain(conversation.network)
        self.unsolicited: list[UnsolicitedMessage] = []
        self.offers: list[MessageRecord] = []
        """What the node sent between its `version` and `verack`."""
        self.requests: dict[str, list[Turn]] = {}
        """By command, the recorded requests: for finding those similar to an unknown one."""
        self.compact = CompactBlocks(conversation)
        self._requested = 0
        self._matcher = RequestMatcher(self.chain)
        self._replies: dict[Key, list[PendingRequest]] = {}
        self._objects: dict[Key, Turn] = {}
        self._handshake_done = False  # whether the node's verack has been seen
        for turn in conversation.turns:
            self._learn_chain(turn)
        for turn in conversation.turns:
            self._add(turn)

    @property
    def version(self) -> Version:
        """The node's `version`."""
        return self.conversation.versions[self.speaker]

    def learn(self, message: Message, time_ns: int) -> Turn:
        """Add a message that was not in the recording, as if it followed its end."""
        turn = self.conversation.append(message, time_ns)
        self._learn_chain(turn)
        self._add(turn)
        return turn

    def is_recorded(self, key: Key) -> bool:
        """Return whether a part was requested in the recording."""
        return key in self._replies

    def find(self, key: Key, times: int = 0) -> Reply | None:
        """Return the response to a part of a request, or None if there is none.

        It is the recorded response to the same request: the first one for the first request, and
        so on, then the last one again; an empty one, if the node did not respond. Otherwise it is
        a message from elsewhere in the recording, or computed from the recorded chain.

        Args:
            key: The part.
            times: How often the client has requested it before.
        """
        recorded = self._recorded(key, times)
        if recorded is None and key[0] == "getdata":
            recorded = self._recorded(other_encoding(key), times)
            if recorded is not None:
                recorded = recorded._replace(strip=is_bare(key))
        if recorded is not None and recorded.turns:
            return recorded
        if (turn := self._objects.get(key)) is not None:
            return Reply((turn,), strip=is_bare(key))
        if (made_up := self._from_pieces(key)) is not None:
            return made_up
        if recorded is not None:
            return recorded
        made = REQUEST_TYPES[key[0]].from_chain(key, self.chain)
        return None if made is None else Reply(made=made)

    def _from_pieces(self, key: Key) -> Reply | None:
        """Return a block, or transactions of one, that the recording has in other messages."""
        if key[0] == "getblocktxn":
            return self._transactions_of(key[1])
        if key[0] != "getdata" or key[1] not in (*BLOCKS, InvType.CMPCT_BLOCK):
            return None
        if key[1] == InvType.CMPCT_BLOCK:  # a node without a compact block sends the block
            held = self._objects.get(("getdata", InvType.BLOCK, key[2]))
            return None if held is None else Reply((held,))
        block = self.compact.block(key[2])
        return None if block is None else Reply(made=[self._made(block, bare=is_bare(key))])

    def _transactions_of(self, payload: bytes) -> Reply | None:
        """Return the response to a `getblocktxn`, if all requested transactions are known."""
        try:
            asked: DecodedRecord = Codec(self.conversation.network).decode("getblocktxn", payload)
        except BadPayload:
            return None
        held = self._objects.get(("getdata", InvType.BLOCK, asked.block_hash))
        if held is not None:
            whole: DecodedRecord = self.conversation.message(held).record
            known = () if whole is None else whole.transactions
        else:
            known = self.compact.transactions(asked.block_hash)
        found = [known[at] if at < len(known) else None for at in asked.indexes]
        transactions = tuple(each for each in found if each is not None)
        if not found or len(transactions) < len(found):
            return None
        return Reply(made=[self._made(BlockTxn(asked.block_hash, transactions))])

    def _made(self, record: MessageRecord, *, bare: bool = False) -> Payload:
        codec = Codec(self.conversation.network, encoding="base" if bare else "witness")
        return record.command, codec.encode(record)

    def _recorded(self, key: Key, times: int) -> Reply | None:
        asked = self._replies.get(key)
        if asked is None:
            return None
        one = asked[min(times, len(asked) - 1)]
        if one.missing:
            return Reply(missing=True)
        return Reply([self.conversation.turns[position] for position in one.answers])

    def _learn_chain(self, turn: Turn) -> None:
        if turn.error is not None:
            return
        if turn.command in WITH_HEADER:
            head = self.conversation.glance(turn).head[HEADER_SIZE:]
            if len(head) >= self.chain.header_size:
                self.chain.add(head[: self.chain.header_size])
        elif turn.command == "headers":
            record = self.conversation.message(turn).record
            for header in getattr(record, "headers", ()):
                self.chain.add(header.to_bytes())

    def _add(self, turn: Turn) -> None:
        if turn.command in HANDSHAKE:
            self._handshake_done = self._handshake_done or (turn.command, turn.direction) == (
                "verack",
                self.speaker,
            )
            return
        message = self._read(turn)
        for request in REQUEST_TYPES.values():
            keys = request.holds.get(turn.command)
            if keys is not None and turn.error is None:
                self._objects.update(dict.fromkeys(keys(message, self.chain), turn))
        if turn.error is None and turn.command in PIECES:
            head = message.head[HEADER_SIZE : HEADER_SIZE + self.chain.header_size]
            self.compact.add(turn, message.record, sha256d(head))
        if turn.direction is not self.speaker:
            self._add_request(turn, message)
        elif not self._handshake_done and turn.command in NEGOTIATION:
            if message.record is not None:
                self.offers.append(message.record)
        else:
            self._add_response(turn, message)

    def _read(self, turn: Turn) -> Message:
        """Return a message; only the beginning of a block, which may be long, is read."""
        read = self.conversation
        return read.glance(turn) if turn.command == "block" else read.message(turn)

    def _add_request(self, turn: Turn, message: Message) -> None:
        asked = self._matcher.add_request(message)
        for each in asked:
            self._replies.setdefault(each.key, []).append(each)
        if asked:
            self.requests.setdefault(turn.command, []).append(turn)
            self._requested += len(asked) * (turn.command != "ping")

    def _add_response(self, turn: Turn, message: Message) -> None:
        answered = self._matcher.match_answer(message, turn.position)
        if not answered:
            if turn.command not in ("ping", "pong"):
                self.unsolicited.append(UnsolicitedMessage(self._requested, turn))
            return
        if turn.command == "inv" and answered[0].key[0] == "getblocks":
            self._learn_order(message)

    def _learn_order(self, message: Message) -> None:
        """Add the blocks of an `inv` that answers `getblocks`: they are in chain order."""
        blocks = [each.hash for each in getattr(message.record, "inventory", ())]
        for before, block in itertools.pairwise(blocks):
            self.chain.link(block, before)
