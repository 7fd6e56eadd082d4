"""One direction of a session: bytes of one node in, deliveries out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE, Delivery, Entry, RunEntries
from lbcproxy.session.message import HEAD, Message
from lbcproxy.session.node_state import NodeState
from lbcproxy.session.salvage import salvaged
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

__all__ = ["EntryMaker", "StreamReader"]

_IN_MIDDLE = "the beginning of this message is not in the capture"


class EntryMaker:
    """Makes the entries of one direction, numbered over all sessions."""

    __slots__ = ("_direction", "_session", "numbers")

    def __init__(self, session: int, direction: Direction, numbers: Iterator[int]) -> None:
        self._session = session
        self._direction = direction
        self.numbers = numbers

    def of_message(self, message: Message, time_ns: int) -> Entry:
        """Return the entry of a message."""
        return Entry(
            number=next(self.numbers),
            time_ns=time_ns,
            session=self._session,
            direction=self._direction,
            message=message,
        )

    def of_junk(
        self, junk: bytes, why: str, time_ns: int, *, continued: bool = False, missing: int = 0
    ) -> Entry:
        """Return the entry of bytes that are not a message, or of `missing` ones."""
        return Entry(
            number=next(self.numbers),
            time_ns=time_ns,
            session=self._session,
            direction=self._direction,
            message=None,
            junk=junk,
            why=why,
            continued=continued,
            missing=missing,
        )

    def of_run(self, run: Run, codec: Codec, time_ns: int) -> RunEntries:
        """Return the entries of messages that passed together; they are made when used."""
        first = next(self.numbers)
        for _ in itertools.islice(self.numbers, len(run.ends) - 1):
            pass  # the others use up their numbers
        return RunEntries(
            run, codec, self._direction, number=first, time_ns=time_ns, session=self._session
        )


class StreamReader:
    """Reads the bytes that one node sends.

    Args:
        network: The network of the two nodes.
        direction: Where the bytes go.
        sender: The state of the node that sends them.
        codec: Reads the messages.
        entries: Makes the entries.
        framer: Returns a framer, which is at the start of the stream if its argument is True.
        at_stream_start: False if the beginning of the stream is not known.
        message_seen: Called after each message that may belong to the handshake.
    """

    def __init__(
        self,
        network: Network,
        direction: Direction,
        sender: NodeState,
        codec: Codec,
        entries: EntryMaker,
        framer: Callable[[bool], Framer],
        *,
        at_stream_start: bool,
        message_seen: Callable[[], object],
    ) -> None:
        self._network = network
        self.direction = direction
        self.sender = sender
        self.codec = codec
        self.entries = entries
        self.framer = framer(at_stream_start)
        self.missing = 0
        """Bytes that the capture lacks; gaps of unknown size do not count."""
        self.failed = False
        """Whether reading has failed."""
        self.unread_reason = ""
        """Why nothing is read, if nothing is."""
        self._new_framer = framer
        self._message_seen = message_seen
        self._long: FrameStart | None = None
        """The header of a long message that passes in parts; and its first bytes."""
        self._head = b""
        self._in_junk = False
        self._in_unread = False
        self._in_middle = not at_stream_start
        """Whether the beginning of what comes next is not known."""
        # What salvaging needs while a read is under way.
        self._expected: int | None = None
        """Bytes that were buffered and read."""
        self._items: list[StreamItem] = []
        """The items of this read, and the deliveries of the first of them."""
        self._deliveries: list[Delivery] = []

    def receive(self, data: bytes, time_ns: int, defect: Exception | None) -> list[Delivery]:
        """Read bytes; return what they complete, in order."""
        self.sender.bytes += len(data)
        if self.failed:
            return self._unread(data, time_ns, defect)
        if self.unread_reason:
            return [self._deliver_junk(Junk(data, self.unread_reason), time_ns)]
        self._expected = self.framer.buffered + len(data)
        return self._deliver_all(self.framer.feed(data), time_ns)

    def end(self, time_ns: int) -> list[Delivery]:
        """Return what is incomplete at the end of the stream."""
        self._expected = self.framer.buffered
        return self._deliver_all([] if self.failed else self.framer.close(), time_ns)

    def release_partial(self, time_ns: int) -> list[Delivery]:
        """Free the memory of an incomplete message, which passes unread."""
        self._expected = self.framer.buffered
        return self._deliver_all([] if self.failed else self.framer.release_partial(), time_ns)

    def gap(self, missing: int, time_ns: int) -> list[Delivery]:
        """Return what is incomplete before `missing` bytes, and the gap."""
        deliveries = self.end(time_ns)
        offset = self.sender.bytes + self.missing
        if missing == UNKNOWN_SIZE:
            how_many = "an unknown number of"
        else:
            how_many, self.missing = f"{missing:,}", self.missing + missing
        why = f"{how_many} bytes are missing from the capture, at byte {offset:,} of the stream"
        self._in_middle = True
        self._in_junk = False
        entry = self.entries.of_junk(b"", why, time_ns, missing=missing)
        self.framer = self._new_framer(False)
        return [*deliveries, Delivery(b"", (entry,))]

    def junk(self, raw: bytes, why: str, time_ns: int) -> list[Delivery]:
        """Return bytes that are known to be no message."""
        self.sender.bytes += len(raw)
        return [self._deliver_junk(Junk(raw, why), time_ns)] if raw else []

    def salvage(self, data: bytes, time_ns: int, defect: Exception) -> list[Delivery]:
        """Return as unread what has not been delivered yet, after a read of `data` has failed."""
        self.failed = True
        deliveries, items = self._deliveries, self._items or self.framer.completed
        items = items[len(deliveries) :]
        self._items, self._deliveries, self.framer.completed = [], [], []
        if self._expected is None:  # it had not begun
            self._expected = self.framer.buffered + len(data)
        expected = self._expected - sum(len(each.raw) for each in deliveries)
        left, lost = salvaged(self.framer, items, data, expected)
        self._expected = None
        if lost:
            deliveries = [*deliveries, self._lost(lost, time_ns)]
        for raw in left:
            deliveries = deliveries + self._unread(raw, time_ns, defect)
        return deliveries

    def _deliver_all(self, items: list[StreamItem], time_ns: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        if items:
            self._items, self._deliveries = items, deliveries
            for item in items:
                deliveries.append(self._deliver(item, time_ns))
            self._items, self._deliveries = [], []
        self._expected = None
        return deliveries

    def _deliver(self, item: StreamItem, time_ns: int) -> Delivery:
        if isinstance(item, Junk):
            return self._deliver_junk(item, time_ns)
        self._in_junk = self._in_middle = False
        if isinstance(item, Run):
            self.sender.see_run(item)
            entries = self.entries.of_run(item, self.codec, time_ns)
            return Delivery(item.raw, entries, run=entries)
        if isinstance(item, FrameStart):
            self._long, self._head = item, item.raw
            return Delivery(item.raw)
        if isinstance(item, FramePart):
            if len(self._head) < HEAD:
                self._head += item.raw[:HEAD]
            return Delivery(item.raw)
        message = self._message(item)
        self.sender.see(message)
        self._message_seen()
        raw = item.raw if isinstance(item, Frame) else b""
        return Delivery(raw, (self.entries.of_message(message, time_ns),))

    def _message(self, item: Frame | FrameEnd) -> Message:
        if isinstance(item, Frame):
            return Message(item.command, self.direction, item.raw, self.codec, error=item.error)
        start, head = self._long, self._head
        assert start is not None
        self._long, self._head = None, b""
        return Message(
            start.command, self.direction, head, self.codec, error=item.error, length=start.length
        )

    def _deliver_junk(self, junk: Junk, time_ns: int) -> Delivery:
        self.sender.junk_bytes += len(junk.raw)
        why = junk.why + networks.whose_magic(self._network, junk.raw)
        if self._in_middle and not junk.raw.startswith(self._network.magic):
            why = _IN_MIDDLE
        entry = self.entries.of_junk(junk.raw, why, time_ns, continued=self._in_junk)
        self._in_junk = True
        return Delivery(junk.raw, (entry,))

    def _unread(self, raw: bytes, time_ns: int, defect: Exception | None) -> list[Delivery]:
        if not raw:
            return []
        self.sender.junk_bytes += len(raw)
        why = f"reading failed ({type(defect).__name__}): passed unread"
        entry = self.entries.of_junk(raw, why, time_ns, continued=self._in_unread)
        self._in_unread = True
        return [Delivery(raw, (entry,), unread=True)]

    def _lost(self, missing: int, time_ns: int) -> Delivery:
        why = f"{missing:,} bytes were lost when reading failed"
        entry = self.entries.of_junk(b"", why, time_ns, missing=missing)
        return Delivery(b"", (entry,), unread=True)
