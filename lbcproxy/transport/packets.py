"""One direction of an encrypted connection (BIP324), after the public keys.

    garbage          terminator   version packet, after any number of decoys   packets
    0 to 4,095       16 bytes     20 bytes and more                            ...

A packet is 3 encrypted bytes with the length of its contents, then a header byte and the contents,
encrypted, and a tag of 16 bytes. The first packet also authenticates the garbage.
"""

from __future__ import annotations

import enum

from lbcproxy.transport.ciphers import InvalidTag, LengthCipher, PacketCipher
from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    DecoyReceived,
    GarbageReceived,
    PacketReceived,
    TransportEvent,
    Unread,
    VersionReceived,
)
from lbcproxy.transport.keys import TERMINATOR_SIZE, DirectionKeys
from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.transport.sizes import LENGTH_SIZE, MAX_GARBAGE, OVERHEAD, PACKET_HEADER_SIZE

__all__ = ["PacketReader", "PacketWriter"]

_DECOY = 0x80
_LONG = 4_096
"""Bytes of contents that are not copied before they are decrypted."""


class PacketWriter:
    """Encrypts one direction.

    Args:
        keys: The keys of the direction.
        garbage: All the garbage that was sent.
    """

    def __init__(self, keys: DirectionKeys, garbage: bytes) -> None:
        self._lengths = LengthCipher(keys.lengths)
        self._packets = PacketCipher(keys.packets)
        self._associated: bytes | None = garbage or None

    def packet(self, contents: bytes, *, decoy: bool = False) -> bytes:
        """Return the next packet; raises ValueError if the contents are too long."""
        if len(contents) > MAX_CONTENTS:
            raise ValueError(f"{len(contents):,} bytes do not fit a packet")
        length = self._lengths.apply(len(contents)).to_bytes(LENGTH_SIZE, "little")
        header = b"\x80" if decoy else b"\0"
        associated, self._associated = self._associated, None
        return length + self._packets.encrypt(header + contents, associated)


class _Expected(enum.Enum):
    """What comes next in the stream."""

    GARBAGE = enum.auto()
    PACKETS = enum.auto()
    BROKEN = enum.auto()


class PacketReader:
    """Decrypts one direction: bytes in, events out.

    Args:
        keys: The keys of the direction.
        max_contents: Bytes of contents of a packet that are accepted. A longer packet breaks the
            connection before it is buffered.
        read: Bytes of the stream before the garbage, for what people are told about its offsets.
    """

    def __init__(
        self, keys: DirectionKeys, max_contents: int = MAX_CONTENTS, *, read: int = 0
    ) -> None:
        self._lengths = LengthCipher(keys.lengths)
        self._packets = PacketCipher(keys.packets)
        self._terminator = keys.terminator
        self._max_contents = max_contents
        self._stage = _Expected.GARBAGE
        self._buffer = bytearray()
        self._read = read  # bytes before the buffer
        self._searched = 0
        self._number = 0
        self._contents_size: int | None = None
        self._is_version_due = True
        self._associated: bytes | None = None
        self._problem: tuple[BreakCause, str] | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for more."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[TransportEvent]:
        """Accept bytes, in any portions, and return what they complete."""
        events: list[TransportEvent] = []
        if self._stage is _Expected.GARBAGE:
            self._buffer += data
            self._receive_garbage(events)
            data = b""
        if self._stage is _Expected.PACKETS:
            self._receive_packets(data, events)
        elif self._stage is _Expected.BROKEN and data:
            events.append(Unread(data))
        return events

    def close(self) -> list[TransportEvent]:
        """Return what the end of the stream means: nothing, if it is between two packets."""
        if self._stage is _Expected.BROKEN:
            return []
        if self._stage is _Expected.GARBAGE:
            what = "the garbage"
        elif self._is_version_due:
            what = "the version packet"
        elif self._buffer:
            what = f"packet {self._number + 1:,}"
        else:
            return []
        return [
            self._break(BreakCause.CUT_OFF, f"in {what}, after {len(self._buffer):,} bytes of it")
        ]

    def _receive_garbage(self, events: list[TransportEvent]) -> None:
        end = self._buffer.find(self._terminator, self._searched, MAX_GARBAGE + TERMINATOR_SIZE)
        if end >= 0:
            self._associated = self._take(end) or None
            self._take(TERMINATOR_SIZE)
            self._stage = _Expected.PACKETS
            events.append(GarbageReceived(end))
        elif len(self._buffer) >= MAX_GARBAGE + TERMINATOR_SIZE:
            detail = f"no terminator in {len(self._buffer):,} bytes after the public key"
            events.append(self._break(BreakCause.NO_TERMINATOR, detail))
        else:
            self._searched = max(0, len(self._buffer) - TERMINATOR_SIZE + 1)

    def _receive_packets(self, data: bytes, events: list[TransportEvent]) -> None:
        """Open the packets in what waits and in new data, which is copied only if it waits."""
        if self._buffer:
            if len(self._buffer) + len(data) < self._due:
                self._buffer += data
                return
            data = b"".join((self._buffer, data))
            self._buffer.clear()
        read = self._open_all(data, events)
        self._read += read
        if read < len(data):
            self._buffer += memoryview(data)[read:]
        if self._problem is not None:
            events.append(self._break(*self._problem))

    @property
    def _due(self) -> int:
        """How many bytes have to wait until it is worth while to look at them."""
        size = self._contents_size
        return LENGTH_SIZE if size is None else OVERHEAD + size

    def _open_all(self, data: bytes, events: list[TransportEvent]) -> int:
        """Open packets; return how many bytes they have."""
        at, size = 0, self._contents_size
        while True:
            if size is None:
                if at + LENGTH_SIZE > len(data):
                    break
                encrypted = data[at] | data[at + 1] << 8 | data[at + 2] << 16
                size = self._lengths.apply(encrypted)
                if size > self._max_contents:
                    limit = f"at most {self._max_contents:,} are accepted"
                    detail = f"{self._place(at)} claims {size:,} bytes; {limit}"
                    self._problem = BreakCause.TOO_LONG, detail
                    break
            end = at + OVERHEAD + size
            if end > len(data):
                break
            # The library is faster with bytes than with a view, by more than a short copy takes.
            source = data if size < _LONG else memoryview(data)
            try:
                plain = self._packets.decrypt(source[at + LENGTH_SIZE : end], self._associated)
            except InvalidTag:
                self._problem = BreakCause.BAD_TAG, f"{self._place(at)} has a wrong tag"
                break
            if plain[0] or self._is_version_due:
                events.append(self._other_event(plain))
            else:
                events.append(PacketReceived(plain[PACKET_HEADER_SIZE:]))
            self._number += 1
            at, size = end, None
        self._contents_size = size
        return at

    def _other_event(self, plain: bytes) -> TransportEvent:
        """Return what a packet holds that may not be a message. The first packet never is."""
        self._associated = None
        if plain[0] & _DECOY:
            return DecoyReceived(len(plain) - PACKET_HEADER_SIZE)
        contents = plain[PACKET_HEADER_SIZE:]
        if not self._is_version_due:
            return PacketReceived(contents)
        self._is_version_due = False
        return VersionReceived(contents)

    def _place(self, at: int) -> str:
        return f"packet {self._number + 1:,}, at byte {self._read + at:,} of the stream,"

    def _break(self, cause: BreakCause, detail: str) -> Broken:
        self._stage = _Expected.BROKEN
        return Broken(cause, detail, self._take(len(self._buffer)))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        self._forget(size)
        return taken

    def _forget(self, size: int) -> None:
        del self._buffer[:size]
        self._read += size
