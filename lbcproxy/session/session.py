"""The core of a session: bytes of two nodes in, what passed between them out.

No socket, no file, no clock: the time is an argument. The same core runs live, over a capture,
and in tests.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

import msgspec

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE, Delivery, Entry, RunEntries
from lbcproxy.session.message import HEAD, Message
from lbcproxy.session.node_state import HANDSHAKE, NodeState, Stage
from lbcproxy.session.salvage import salvaged
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.framer import (
    Frame,
    FrameEnd,
    FramePart,
    Framer,
    FrameStart,
    Junk,
    Run,
    StreamItem,
)

__all__ = ["STREAM_ABOVE", "Session"]

_IN_MIDDLE = "the beginning of this message is not in the capture"
STREAM_ABOVE = 65_536
"""Payloads above this size are passed in parts unless somebody reads them (DESIGN 12)."""


class Session:
    """A client, its upstream, and all that passes between them.

    `numbers` counts entries over several sessions; `stream_above` as in `Framer`: None where
    somebody reads every message; messages of the commands in `wanted` come whole and one by one,
    with None those of all; `begins` is False for a conversation met in its middle, of which
    `protocol_version` may be known all the same.
    """

    def __init__(
        self,
        number: int,
        network: Network,
        *,
        client: NodeState | None = None,
        upstream: NodeState | None = None,
        numbers: Iterator[int] | None = None,
        stream_above: int | None = STREAM_ABOVE,
        wanted: frozenset[str] | None = frozenset(),
        begins: bool = True,
        protocol_version: int | None = None,
    ) -> None:
        self.number = number
        self.network = network
        self._numbers = numbers or itertools.count(1)
        self._codecs = dict.fromkeys(Direction, Codec(network, encoding="auto"))
        self._stream_above = stream_above
        self._wanted = wanted
        self.defect: Exception | None = None
        """What reading failed with, if it did: that direction passes unread since then."""
        senders = {
            Direction.TO_UPSTREAM: client or NodeState(),
            Direction.TO_CLIENT: upstream or NodeState(),
        }
        for direction, sender in senders.items():
            sender.other = senders[direction.other]
        self._ways = {
            direction: _Way(sender, self._framer(begins=begins), begins)
            for direction, sender in senders.items()
        }
        if protocol_version is not None:
            self._agree_on(protocol_version)

    @property
    def client(self) -> NodeState:
        """What is known of the client."""
        return self._ways[Direction.TO_UPSTREAM].sender

    @property
    def upstream(self) -> NodeState:
        """What is known of the upstream."""
        return self._ways[Direction.TO_CLIENT].sender

    @property
    def is_ready(self) -> bool:
        """Whether both nodes have finished the handshake."""
        return self.client.stage is Stage.READY and self.upstream.stage is Stage.READY

    @property
    def protocol_version(self) -> int | None:
        """The negotiated protocol version: the lower of the two, once both are known."""
        return self.client.protocol_version

    @property
    def missing(self) -> int:
        """Bytes that a capture lacks, of both directions; gaps of unknown size count as none."""
        return sum(way.missing for way in self._ways.values())

    def codec_to(self, direction: Direction) -> Codec:
        """What is written with now for the receiver in a direction."""
        return self._codecs[direction.other]

    def legs_agreed(self, client: int, upstream: int) -> None:
        """Take note that each leg has its own version: a node was shown another than the real."""
        for direction, agreed in ((Direction.TO_UPSTREAM, client), (Direction.TO_CLIENT, upstream)):
            self._ways[direction].sender.protocol_version = agreed
            self._codecs[direction] = Codec(self.network, agreed, encoding="auto")

    def leg_speaks(self, direction: Direction, codec: Codec) -> None:
        """Take note of how the leg on which a direction's bytes come in is written to."""
        self._ways[direction].sender.protocol_version = codec.protocol_version
        self._codecs[direction] = codec

    def injected(
        self, direction: Direction, time_ns: int, made: Message | bytes, trail: tuple[str, ...]
    ) -> Delivery:
        """Say that something passes that no node has sent: a message, or any bytes."""
        if isinstance(made, Message):
            entry, raw = self._entry(direction, time_ns, made), made.raw
        else:
            entry, raw = self._injected_bytes(direction, time_ns, made), made
        entry = msgspec.structs.replace(entry, verdict=EntryVerdict.INJECT, trail=trail)
        return Delivery(b"", (entry,), raw)

    def _injected_bytes(self, direction: Direction, time_ns: int, raw: bytes) -> Entry:
        framer = Framer(self.network)
        items = framer.feed(raw) + framer.close()
        if len(items) == 1 and isinstance(items[0], Frame):
            frame = items[0]
            message = Message(
                frame.command, direction, raw, self._codecs[direction], error=frame.error
            )
            return self._entry(direction, time_ns, message)
        return self._junk_entry(
            direction, time_ns, raw, "bytes that are no message", continued=False
        )

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> list[Delivery]:
        """Take bytes as they came from one node and say what they complete, in order."""
        way = self._ways[direction]
        way.sender.bytes += len(data)
        if way.broken:
            return self._unread(way, direction, data, time_ns)
        way.expected = way.framer.buffered + len(data)
        items = way.framer.feed(data)
        return self._pass_all(way, direction, items, time_ns)

    def end(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Take note that a direction has ended, and give what was left unfinished."""
        way = self._ways[direction]
        way.expected = way.framer.buffered
        items = [] if way.broken else way.framer.close()
        return self._pass_all(way, direction, items, time_ns)

    def _pass_all(
        self, way: _Way, direction: Direction, items: list[StreamItem], time_ns: int
    ) -> list[Delivery]:
        deliveries: list[Delivery] = []
        if items:
            way.items, way.deliveries = items, deliveries
            for item in items:
                deliveries.append(self._pass(way, direction, item, time_ns))
            way.items, way.deliveries = [], []
        way.expected = None
        return deliveries

    def salvage(
        self, direction: Direction, data: bytes, time_ns: int, error: Exception
    ) -> list[Delivery]:
        """Return as unread what has not passed yet, when a read of `data` has failed.

        What cannot be read can still be recorded. The direction is read no further: what it
        receives passes unread from now on.
        """
        way = self._ways[direction]
        self.defect, way.broken = error, True
        deliveries, items = way.deliveries, way.items or way.framer.completed
        items = items[len(deliveries) :]
        way.items, way.deliveries, way.framer.completed = [], [], []
        if way.expected is None:  # it had not begun
            way.expected = way.framer.buffered + len(data)
        expected = way.expected - sum(len(each.raw) for each in deliveries)
        left, lost = salvaged(way.framer, items, data, expected)
        way.expected = None
        if lost:
            deliveries = [*deliveries, self._lost(direction, lost, time_ns)]
        for raw in left:
            deliveries = deliveries + self._unread(way, direction, raw, time_ns)
        return deliveries

    def _unread(self, way: _Way, direction: Direction, raw: bytes, time_ns: int) -> list[Delivery]:
        if not raw:
            return []
        way.sender.junk_bytes += len(raw)
        why = f"reading failed ({type(self.defect).__name__}): passed unread"
        entry = self._junk_entry(direction, time_ns, raw, why, continued=way.in_unread)
        way.in_unread = True
        return [Delivery(raw, (entry,), unread=True)]

    def _lost(self, direction: Direction, missing: int, time_ns: int) -> Delivery:
        why = f"{missing:,} bytes were lost when reading failed"
        entry = self._junk_entry(direction, time_ns, b"", why, continued=False)
        return Delivery(b"", (msgspec.structs.replace(entry, missing=missing),), unread=True)

    def waits(self, direction: Direction) -> bool:
        """Whether bytes of a direction wait for the rest of their message."""
        return self._ways[direction].framer.buffered > 0

    def passes(self, direction: Direction, data: bytes) -> bool:
        """Whether what comes next is of long messages that nobody wants, as headers alone tell."""
        way = self._ways[direction]
        return not way.broken and way.framer.can_forward_unparsed(data)

    @property
    def held(self) -> int:
        """Bytes of memory for messages that are not whole yet, both ways."""
        one, other = self._ways.values()
        return one.framer.memory + other.framer.memory

    def release_partial(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Hold the message that is under way no longer: it will have passed unread."""
        way = self._ways[direction]
        way.expected = way.framer.buffered
        items = [] if way.broken else way.framer.release_partial()
        return self._pass_all(way, direction, items, time_ns)

    def gap(self, direction: Direction, missing: int, time_ns: int) -> list[Delivery]:
        """Take note of bytes that a capture does not have, and start again after them."""
        way = self._ways[direction]
        deliveries = self.end(direction, time_ns)
        place = way.sender.bytes + way.missing
        if missing == UNKNOWN_SIZE:
            how_many = "an unknown number of"
        else:
            how_many, way.missing = f"{missing:,}", way.missing + missing
        why = f"{how_many} bytes are missing from the capture, at byte {place:,} of the stream"
        entry = self._junk_entry(direction, time_ns, b"", why, continued=False)
        way.in_middle = True
        way.in_junk = False
        way.framer = self._framer(begins=False)
        return [*deliveries, Delivery(b"", (msgspec.structs.replace(entry, missing=missing),))]

    def want(self, wanted: frozenset[str] | None) -> None:
        """Give other commands whole and one by one, from the next message on."""
        self._wanted = wanted
        for way in self._ways.values():
            self._set(way.framer)

    def _framer(self, *, begins: bool) -> Framer:
        framer = Framer(self.network, at_stream_start=begins)
        self._set(framer)
        return framer

    def _set(self, framer: Framer) -> None:
        if self._wanted is None:
            framer.configure(None)
        else:
            framer.configure(self._stream_above, HANDSHAKE | self._wanted, self._wanted)

    def _pass(self, way: _Way, direction: Direction, item: StreamItem, time_ns: int) -> Delivery:
        if isinstance(item, Junk):
            return self._pass_junk(way, direction, item, time_ns)
        way.in_junk = way.in_middle = False
        if isinstance(item, Run):
            return self._pass_run(way, direction, item, time_ns)
        if isinstance(item, FrameStart):
            way.started, way.head = item, item.raw
            return Delivery(item.raw)
        if isinstance(item, FramePart):
            if len(way.head) < HEAD:
                way.head += item.raw[:HEAD]
            return Delivery(item.raw)
        message = self._message(way, direction, item)
        way.sender.see(message)
        self._agree()
        raw = item.raw if isinstance(item, Frame) else b""
        return Delivery(raw, (self._entry(direction, time_ns, message),))

    def _pass_run(self, way: _Way, direction: Direction, run: Run, time_ns: int) -> Delivery:
        way.sender.see_run(run)
        first = next(self._numbers)
        if len(run.ends) > 1:
            deque(itertools.islice(self._numbers, len(run.ends) - 1), maxlen=0)  # used up
        codec = self._codecs[direction]
        entries = RunEntries(
            run, codec, direction, number=first, time_ns=time_ns, session=self.number
        )
        return Delivery(run.raw, entries, run=entries)

    def _message(self, way: _Way, direction: Direction, item: Frame | FrameEnd) -> Message:
        codec = self._codecs[direction]
        if isinstance(item, Frame):
            return Message(item.command, direction, item.raw, codec, error=item.error)
        start, head = way.started, way.head
        assert start is not None
        way.started, way.head = None, b""
        return Message(start.command, direction, head, codec, error=item.error, length=start.length)

    def _entry(self, direction: Direction, time_ns: int, message: Message) -> Entry:
        return Entry(
            number=next(self._numbers),
            time_ns=time_ns,
            session=self.number,
            direction=direction,
            message=message,
        )

    def _pass_junk(self, way: _Way, direction: Direction, junk: Junk, time_ns: int) -> Delivery:
        way.sender.junk_bytes += len(junk.raw)
        why = junk.why + networks.whose_magic(self.network, junk.raw)
        if way.in_middle and not junk.raw.startswith(self.network.magic):
            why = _IN_MIDDLE
        entry = self._junk_entry(direction, time_ns, junk.raw, why, continued=way.in_junk)
        way.in_junk = True
        return Delivery(junk.raw, (entry,))

    def _junk_entry(
        self, direction: Direction, time_ns: int, junk: bytes, why: str, *, continued: bool
    ) -> Entry:
        return Entry(
            number=next(self._numbers),
            time_ns=time_ns,
            session=self.number,
            direction=direction,
            message=None,
            junk=junk,
            why=why,
            continued=continued,
        )

    def _agree(self) -> None:
        """Settle the protocol version as soon as both have named theirs."""
        if self.protocol_version is not None:
            return
        if self.client.version is None or self.upstream.version is None:
            return
        # A negative version is a huge one to lbcd and btcd: they read it as unsigned.
        versions = (self.client.version.version, self.upstream.version.version)
        self._agree_on(min(version & 0xFFFFFFFF for version in versions))

    def _agree_on(self, agreed: int) -> None:
        self.legs_agreed(agreed, agreed)


class _Way:
    """One direction: who sends, and how far its bytes have been read."""

    def __init__(self, sender: NodeState, framer: Framer, begins: bool) -> None:
        self.sender = sender
        self.framer = framer
        self.started: FrameStart | None = None
        self.head = b""
        self.in_junk = False
        self.broken = False
        """Whether reading has failed."""
        self.in_unread = False
        self.expected: int | None = None
        """Bytes held and read while a read is under way."""
        self.items: list[StreamItem] = []
        """What is being passed now; and as what the first of it has passed."""
        self.deliveries: list[Delivery] = []
        self.in_middle = not begins
        """Whether the beginning of what comes next was not seen."""
        self.missing = 0
