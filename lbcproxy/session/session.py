"""The core of a session: the bytes of two nodes in, what passed between them out.

It has no socket, no file and no clock: the time is an argument. The same core runs live, over a
capture, and in tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from lbcproxy.deprecated import DeprecatedAttribute, renamed_parameters
from lbcproxy.networks import Network
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.leg_transport import LegTransport, PacketForm, Transports
from lbcproxy.session.message import Message
from lbcproxy.session.node_state import HANDSHAKE, NodeState, Stage
from lbcproxy.session.stream_reader import EntryMaker, StreamReader
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.framer import Frame, Framer

__all__ = ["STREAM_ABOVE", "Session"]

STREAM_ABOVE = 65_536
"""Payloads above this many bytes pass in parts unless something reads them."""


class Session:
    """A client, its upstream, and everything that passes between them.

    Args:
        number: The number of the session.
        network: The network of the two nodes.
        client: The state of the client; a new one by default.
        upstream: The state of the upstream; a new one by default.
        numbers: Counts entries over several sessions.
        stream_above: Payloads above this many bytes pass in parts; None if every message is read
            whole.
        buffered_commands: Messages of these commands are delivered whole and one by one; None for
            all commands.
        at_stream_start: False for a session whose beginning is not known.
        protocol_version: The version that was negotiated before, if that is known.
    """

    held = DeprecatedAttribute("buffered_bytes")
    injected = DeprecatedAttribute("inject")
    leg_speaks = DeprecatedAttribute("set_codec")
    legs_agreed = DeprecatedAttribute("set_versions")
    let_go = DeprecatedAttribute("release_partial")
    passes = DeprecatedAttribute("can_forward_unparsed")
    waits = DeprecatedAttribute("is_partial")
    want = DeprecatedAttribute("set_buffered_commands")

    @renamed_parameters(wanted="buffered_commands", begins="at_stream_start")
    def __init__(
        self,
        number: int,
        network: Network,
        *,
        client: NodeState | None = None,
        upstream: NodeState | None = None,
        numbers: Iterator[int] | None = None,
        stream_above: int | None = STREAM_ABOVE,
        buffered_commands: frozenset[str] | None = frozenset(),
        at_stream_start: bool = True,
        protocol_version: int | None = None,
    ) -> None:
        self.number = number
        self.network = network
        self._stream_above = stream_above
        self._buffered_commands = buffered_commands
        self.transports = Transports()
        """How the legs carry messages, once that is agreed."""
        self.defect: Exception | None = None
        """The exception with which reading failed; that direction passes unread from then on."""
        senders = {
            Direction.TO_UPSTREAM: client or NodeState(),
            Direction.TO_CLIENT: upstream or NodeState(),
        }
        for direction, sender in senders.items():
            sender.other = senders[direction.other]
        numbers = numbers or itertools.count(1)
        codec = Codec(network, encoding="auto")
        self._readers = {
            direction: StreamReader(
                network,
                direction,
                sender,
                codec,
                EntryMaker(number, direction, numbers),
                self._framer,
                at_stream_start=at_stream_start,
                message_seen=self._negotiate,
            )
            for direction, sender in senders.items()
        }
        if protocol_version is not None:
            self.set_versions(protocol_version, protocol_version)

    @property
    def client(self) -> NodeState:
        """What is known of the client."""
        return self._readers[Direction.TO_UPSTREAM].sender

    @property
    def upstream(self) -> NodeState:
        """What is known of the upstream."""
        return self._readers[Direction.TO_CLIENT].sender

    @property
    def is_ready(self) -> bool:
        """Whether both nodes have finished the handshake."""
        return self.client.stage is Stage.READY  # a node is not before the other one is

    @property
    def protocol_version(self) -> int | None:
        """The negotiated protocol version: the lower of the two, once both are known."""
        return self.client.protocol_version

    @property
    def is_unread(self) -> bool:
        """Whether nothing is read; see `pass_unread`."""
        return bool(self._readers[Direction.TO_UPSTREAM].unread_reason)

    @property
    def missing(self) -> int:
        """Bytes that a capture lacks, of both directions; gaps of unknown size do not count."""
        return sum(reader.missing for reader in self._readers.values())

    @property
    def buffered_bytes(self) -> int:
        """Bytes of memory for incomplete messages, of both directions."""
        one, other = self._readers.values()
        return one.framer.memory + other.framer.memory

    # Codecs.

    def codec_to(self, direction: Direction) -> Codec:
        """Return the codec that writes messages for the receiver of a direction."""
        return self._readers[direction.other].codec

    def set_versions(self, client: int, upstream: int) -> None:
        """Set the protocol version of each leg; they differ if a node was shown another version."""
        for direction, version in (
            (Direction.TO_UPSTREAM, client),
            (Direction.TO_CLIENT, upstream),
        ):
            self.set_codec(direction, Codec(self.network, version, encoding="auto"))

    def set_codec(self, direction: Direction, codec: Codec) -> None:
        """Set the codec of the leg on which the bytes of a direction are received."""
        reader = self._readers[direction]
        reader.sender.protocol_version = codec.protocol_version
        reader.codec = codec

    def set_buffered_commands(self, commands: frozenset[str] | None) -> None:
        """Deliver other commands whole and one by one, from the next message on."""
        self._buffered_commands = commands
        for reader in self._readers.values():
            self._configure(reader.framer)

    # Streams.

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> list[Delivery]:
        """Read bytes as they arrived from one node; return what they complete, in order."""
        return self._readers[direction].receive(data, time_ns, self.defect)

    def receive_packet(
        self,
        direction: Direction,
        raw: bytes,
        time_ns: int,
        form: PacketForm | None = None,
        contents: bytes | None = None,
    ) -> list[Delivery]:
        """Read a message that came in an encrypted packet in an unusual form.

        Args:
            direction: Where it goes.
            raw: Its v1 frame. Unknown short types have a command of their own.
            time_ns: Nanoseconds since 1970.
            form: What is unusual.
            contents: The contents of the packet, if the frame does not determine them.

        Returns:
            What `receive` returns for the frame.
        """
        *parts, last = self.receive(direction, raw, time_ns)
        entries = tuple(msgspec.structs.replace(each, form=form or None) for each in last.entries)
        return [*parts, Delivery(last.raw, entries, unread=last.unread, packet=contents)]

    def end(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Return what is incomplete at the end of a direction."""
        return self._readers[direction].end(time_ns)

    def release_partial(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Free the memory of the incomplete message of a direction, which passes unread."""
        return self._readers[direction].release_partial(time_ns)

    def gap(self, direction: Direction, missing: int, time_ns: int) -> list[Delivery]:
        """Return what is incomplete before bytes that a capture lacks, and the gap itself."""
        return self._readers[direction].gap(missing, time_ns)

    def junk(self, direction: Direction, raw: bytes, why: str, time_ns: int) -> list[Delivery]:
        """Return bytes that are known to be no message, such as some that cannot be decrypted."""
        return self._readers[direction].junk(raw, why, time_ns)

    def pass_unread(self, why: str) -> None:
        """Read nothing from now on: all bytes are reported as no message, for a reason."""
        self.transports = Transports(*(LegTransport(Transport.OPAQUE) for _ in Direction))
        for reader in self._readers.values():
            reader.unread_reason = why

    def salvage(
        self, direction: Direction, data: bytes, time_ns: int, error: Exception
    ) -> list[Delivery]:
        """Return as unread what has not been delivered yet, after a read of `data` has failed.

        What cannot be read can still be recorded. The direction is not read any further: what it
        receives passes unread from now on.
        """
        self.defect = error
        return self._readers[direction].salvage(data, time_ns, error)

    def is_partial(self, direction: Direction) -> bool:
        """Whether bytes of a direction wait for the rest of their message."""
        return self._readers[direction].framer.buffered > 0

    def trust_checksums(self, direction: Direction) -> None:
        """Compare no checksums of a direction: its frames are made from encrypted packets."""
        self._readers[direction].framer.verifies = False

    def desync_reason(self, direction: Direction) -> str:
        """Return why buffered bytes of a direction cannot begin a message; empty if they can."""
        return self._readers[direction].framer.desync_reason

    def can_forward_unparsed(self, direction: Direction, data: bytes) -> bool:
        """Whether `data` belongs to long messages that nothing reads, judged by their headers."""
        reader = self._readers[direction]
        return not reader.failed and reader.framer.can_forward_unparsed(data)

    def inject(
        self, direction: Direction, time_ns: int, made: Message | bytes, trail: tuple[str, ...]
    ) -> Delivery:
        """Return the delivery of a message, or of any bytes, that no node has sent."""
        if isinstance(made, Message):
            entry, raw = self._readers[direction].entries.of_message(made, time_ns), made.raw
        else:
            entry, raw = self._entry_of_bytes(direction, time_ns, made), made
        entry = msgspec.structs.replace(entry, verdict=EntryVerdict.INJECT, trail=trail)
        return Delivery(b"", (entry,), raw)

    def _entry_of_bytes(self, direction: Direction, time_ns: int, raw: bytes) -> Entry:
        reader, framer = self._readers[direction], Framer(self.network)
        items = framer.feed(raw) + framer.close()
        if len(items) == 1 and isinstance(frame := items[0], Frame):
            message = Message(frame.command, direction, raw, reader.codec, error=frame.error)
            return reader.entries.of_message(message, time_ns)
        return reader.entries.of_junk(raw, "bytes that are not a message", time_ns)

    def _framer(self, at_stream_start: bool) -> Framer:
        framer = Framer(self.network, at_stream_start=at_stream_start)
        self._configure(framer)
        return framer

    def _configure(self, framer: Framer) -> None:
        commands = self._buffered_commands
        if commands is None:
            framer.configure(None)
        else:
            framer.configure(self._stream_above, HANDSHAKE | commands, commands)

    def _negotiate(self) -> None:
        """Set the protocol version as soon as both nodes have advertised theirs."""
        if self.protocol_version is not None:
            return
        if self.client.version is None or self.upstream.version is None:
            return
        # A negative version is a huge one to lbcd and btcd: they read it as unsigned.
        versions = (self.client.version.version, self.upstream.version.version)
        agreed = min(version & 0xFFFFFFFF for version in versions)
        self.set_versions(agreed, agreed)
