"""What a recorded node answers: every question of a conversation, and what was said unasked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from lbcproxy.peer.handshake import NEGOTIATION
from lbcproxy.replay.as_server.chain import Chain
from lbcproxy.replay.as_server.compact import CompactBlocks
from lbcproxy.replay.as_server.questions import QUESTIONS, Key, Payload, is_bare, other_encoding
from lbcproxy.replay.as_server.request_matcher import Asked, Pairing
from lbcproxy.replay.conversation import Conversation, Turn
from lbcproxy.session import Direction, Message
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.errors import BadPayload
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.compact_blocks import BlockTxn
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.inventory import InvType
from lbcproxy.wire.record import MessageRecord

__all__ = ["Answers", "Reply", "Unasked"]

HANDSHAKE = ("version", "verack")
BLOCKS = (InvType.BLOCK, InvType.WITNESS_BLOCK)
PIECES = ("tx", "cmpctblock", "blocktxn")
"""What blocks may be put together of."""
WITH_HEADER = ("block", "cmpctblock", "merkleblock")


class Reply(NamedTuple):
    """What answers one part of a question."""

    turns: Sequence[Turn] = ()
    """Recorded messages."""
    made: Sequence[Payload] = ()
    """What a node with the recorded chain says."""
    missing: bool = False
    """Whether it is not there: said in one `notfound` for all that is not."""
    strip: bool = False
    """Whether it was recorded with witnesses and is wanted without."""


class Unasked(NamedTuple):
    """A message that nobody had asked for."""

    after: int
    """How much had been asked for before it."""
    turn: Turn


class Answers:
    """The part of one node of a conversation: whoever plays it finds here what to say.

    `speaker` is the direction in which the node's messages went. It is made once and serves all
    clients; what it is taught later (`take`) they all know.
    """

    def __init__(self, conversation: Conversation, speaker: Direction) -> None:
        self.conversation = conversation
        self.speaker = speaker
        self.chain = Chain(conversation.network)
        self.unasked: list[Unasked] = []
        self.offers: list[MessageRecord] = []
        """What the node said between its `version` and `verack`."""
        self.questions: dict[str, list[Turn]] = {}
        """By command, the questions it was asked: to find what is near to an unknown one."""
        self.compact = CompactBlocks(conversation)
        self._asked = 0
        self._pairing = Pairing(self.chain)
        self._replies: dict[Key, list[Asked]] = {}
        self._held: dict[Key, Turn] = {}
        self._met = False  # whether the node's verack has been seen
        for turn in conversation.turns:
            self._learn_chain(turn)
        for turn in conversation.turns:
            self._take(turn)

    @property
    def version(self) -> Version:
        """What the node told of itself."""
        return self.conversation.versions[self.speaker]

    def take(self, message: Message, time_ns: int) -> Turn:
        """Learn a message that was not in the recording, as behind its end."""
        turn = self.conversation.append(message, time_ns)
        self._learn_chain(turn)
        self._take(turn)
        return turn

    def is_recorded(self, key: Key) -> bool:
        """Whether a part was asked for in the recording."""
        return key in self._replies

    def find(self, key: Key, times: int = 0) -> Reply | None:
        """Return the answer to a part that was asked for so many times before; None if unknown.

        The recorded answer to the same question: the first time the first, and so on, then the
        last again; silence, if the node did not answer. Else what the recording holds elsewhere,
        else what follows from its chain.
        """
        recorded = self._recorded(key, times)
        if recorded is None and key[0] == "getdata":
            recorded = self._recorded(other_encoding(key), times)
            if recorded is not None:
                recorded = recorded._replace(strip=is_bare(key))
        if recorded is not None and recorded.turns:
            return recorded
        if (turn := self._held.get(key)) is not None:
            return Reply((turn,), strip=is_bare(key))
        if (made_up := self._from_pieces(key)) is not None:
            return made_up
        if recorded is not None:
            return recorded
        made = QUESTIONS[key[0]].from_chain(key, self.chain)
        return None if made is None else Reply(made=made)

    def _from_pieces(self, key: Key) -> Reply | None:
        """Answer with a block, or transactions of one, that the recording holds in other forms."""
        if key[0] == "getblocktxn":
            return self._transactions_of(key[1])
        if key[0] != "getdata" or key[1] not in (*BLOCKS, InvType.CMPCT_BLOCK):
            return None
        if key[1] == InvType.CMPCT_BLOCK:  # a node that has none to give sends the block
            held = self._held.get(("getdata", InvType.BLOCK, key[2]))
            return None if held is None else Reply((held,))
        block = self.compact.block(key[2])
        return None if block is None else Reply(made=[self._made(block, bare=is_bare(key))])

    def _transactions_of(self, payload: bytes) -> Reply | None:
        """Answer a `getblocktxn` from a block that is known as far as it asks."""
        try:
            asked: Any = Codec(self.conversation.network).decode("getblocktxn", payload)
        except BadPayload:
            return None
        held = self._held.get(("getdata", InvType.BLOCK, asked.block_hash))
        if held is not None:
            whole: Any = self.conversation.message(held).record
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
        return Reply([self.conversation.turns[place] for place in one.answers])

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

    def _take(self, turn: Turn) -> None:
        if turn.command in HANDSHAKE:
            self._met = self._met or (turn.command, turn.direction) == ("verack", self.speaker)
            return
        message = self._read(turn)
        for question in QUESTIONS.values():
            keys = question.holds.get(turn.command)
            if keys is not None and turn.error is None:
                self._held.update(dict.fromkeys(keys(message, self.chain), turn))
        if turn.error is None and turn.command in PIECES:
            head = message.head[HEADER_SIZE : HEADER_SIZE + self.chain.header_size]
            self.compact.take(turn, message.record, sha256d(head))
        if turn.direction is not self.speaker:
            self._was_asked(turn, message)
        elif not self._met and turn.command in NEGOTIATION:
            if message.record is not None:
                self.offers.append(message.record)
        else:
            self._said(turn, message)

    def _read(self, turn: Turn) -> Message:
        """Read a message; of a block, which may be long, the beginning is enough."""
        read = self.conversation
        return read.glance(turn) if turn.command == "block" else read.message(turn)

    def _was_asked(self, turn: Turn, message: Message) -> None:
        asked = self._pairing.asked(message)
        for each in asked:
            self._replies.setdefault(each.key, []).append(each)
        if asked:
            self.questions.setdefault(turn.command, []).append(turn)
            self._asked += len(asked) * (turn.command != "ping")

    def _said(self, turn: Turn, message: Message) -> None:
        answered = self._pairing.said(message, turn.place)
        if not answered:
            if turn.command not in ("ping", "pong"):
                self.unasked.append(Unasked(self._asked, turn))
            return
        if turn.command == "inv" and answered[0].key[0] == "getblocks":
            self._learn_order(message)

    def _learn_order(self, message: Message) -> None:
        """Learn from an `inv` that answers `getblocks`: it names blocks in the chain's order."""
        blocks = [each.hash for each in getattr(message.record, "inventory", ())]
        for before, block in itertools.pairwise(blocks):
            self.chain.link(block, before)
