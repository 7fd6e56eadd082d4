"""v1 frames over an encrypted connection, for a side that speaks for itself.

A proxy between two nodes passes on what each of them does. A peer or a test has nobody to imitate:
it answers the handshake at once, sends no decoys, and gives short types to its messages.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from lbcproxy.transport.curve import EphemeralKey, MissingLibrary
from lbcproxy.transport.damage import WrongTag
from lbcproxy.transport.detection import Detected, detect
from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    KeysAgreed,
    PacketReceived,
    VersionReceived,
)
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.messages import MAX_CONTENTS, contents_of, parse_contents
from lbcproxy.wire.envelope import HEADER_SIZE, is_sound, unpack

__all__ = ["AcceptingTransport", "Carrier", "FrameTransport", "Received"]


class Received(NamedTuple):
    """What bytes of the other side have brought."""

    frames: bytes
    """Whole frames, one after another."""
    output: bytes
    """What has to be sent now."""
    broken: Broken | None
    """Why the connection cannot go on, if it cannot."""
    agreed: bool = False
    """Whether these bytes have decided how messages are carried, and with which keys."""


class Carrier(Protocol):
    """Carries v1 frames over a connection."""

    @property
    def session_id(self) -> bytes | None:
        """The session id of an encrypted connection, once its keys are agreed."""

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """What a key log has of an encrypted connection, once its keys are agreed."""

    @property
    def buffered(self) -> int:
        """Bytes that were received or are to be sent, and wait for more."""

    def begin(self) -> bytes:
        """Return what is sent first."""

    def receive(self, data: bytes) -> Received:
        """Accept bytes of the other side."""

    def send(self, frames: bytes) -> bytes:
        """Return what to send for frames."""

    def close(self) -> Broken | None:
        """Return what the end of the other side's bytes has cut off, if anything."""


class FrameTransport:
    """Frames in and out of one side of an encrypted connection.

    Args:
        magic: The four bytes of the network.
        initiating: Whether this side opened the connection.
        garbage: What follows the public key.
        key: The key of this side; a new one by default.
        max_contents: See `PacketReader`.
    """

    def __init__(
        self,
        magic: bytes,
        *,
        initiating: bool,
        garbage: bytes = b"",
        key: EphemeralKey | None = None,
        max_contents: int = MAX_CONTENTS,
    ) -> None:
        from lbcproxy.transport.v2 import V2Transport  # it needs the libraries for encryption

        self._magic = magic
        self._garbage = garbage
        self._transport = V2Transport(
            magic, initiating=initiating, key=key, max_contents=max_contents
        )
        self._can_send = False
        self._waiting = bytearray()
        self.is_open = False
        """Whether the other side's version packet has come."""
        self.session_id: bytes | None = None
        """32 bytes that both sides can compare; None before the keys are agreed."""

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """What a key log has of this connection, once the keys are agreed."""
        return self._transport.logged_secret

    @property
    def buffered(self) -> int:
        """Bytes that were received or are to be sent, and wait for more."""
        return self._transport.buffered + len(self._waiting)

    def begin(self) -> bytes:
        """Return what is sent first. The side that was called sends it once it has been called."""
        return self._transport.public_key + self._transport.garbage(self._garbage)

    def receive(self, data: bytes) -> Received:
        """Accept bytes of the other side."""
        frames: list[bytes] = []
        output = b""
        broken: Broken | None = None
        had_keys = self._can_send
        for event in self._transport.receive(data):
            if isinstance(event, PacketReceived):
                message = parse_contents(event.contents)
                if message is not None:
                    frames.append(message.frame(self._magic))
            elif isinstance(event, KeysAgreed):
                self.session_id = event.session_id
                self._can_send = True
                output = self._transport.terminator() + self._transport.packet(b"") + self.send(b"")
            elif isinstance(event, VersionReceived):
                self.is_open = True
            elif isinstance(event, Broken):
                broken = event
        return Received(b"".join(frames), output, broken, self._can_send and not had_keys)

    def send(self, frames: bytes) -> bytes:
        """Return the packets of frames; what is incomplete, or too early, is kept for later.

        What is no valid frame, or too long for a packet, becomes a packet with a wrong tag, so that
        the other side refuses it.
        """
        self._waiting += frames
        if not self._can_send:
            return b""
        packets: list[bytes] = []
        at = 0
        while self._waiting.startswith(self._magic, at) and len(self._waiting) - at >= HEADER_SIZE:
            end = at + HEADER_SIZE + unpack(self._waiting, at).length
            if len(self._waiting) < end:
                break
            raw = bytes(self._waiting[at:end])
            contents = contents_of(raw)
            packet = self._transport.packet(contents[:MAX_CONTENTS])
            fits = len(contents) <= MAX_CONTENTS
            packets.append(packet if fits and is_sound(raw) else WrongTag().applied(packet))
            at = end
        del self._waiting[:at]
        if not self._magic.startswith(self._waiting[: len(self._magic)]):
            packets.append(
                WrongTag().applied(self._transport.packet(bytes(self._waiting[:MAX_CONTENTS])))
            )
            self._waiting.clear()
        return b"".join(packets)

    def close(self) -> Broken | None:
        """Return what the end of the other side's bytes has cut off, if anything."""
        return next((each for each in self._transport.close() if isinstance(each, Broken)), None)


class AcceptingTransport:
    """The transport of a side that was called, chosen by what the other side speaks.

    Args:
        magic: The four bytes of the network.
        only_v2: Whether a side that speaks v1 is refused.
    """

    def __init__(self, magic: bytes, *, only_v2: bool = False) -> None:
        self._magic = magic
        self._only_v2 = only_v2
        self._start = b""
        self._is_plain = False
        self._encrypted: FrameTransport | None = None

    @property
    def session_id(self) -> bytes | None:
        """See `FrameTransport`; None on a v1 connection."""
        return None if self._encrypted is None else self._encrypted.session_id

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """See `FrameTransport`; None on a v1 connection."""
        return None if self._encrypted is None else self._encrypted.logged_secret

    @property
    def buffered(self) -> int:
        """See `FrameTransport`."""
        return len(self._start) if self._encrypted is None else self._encrypted.buffered

    def begin(self) -> bytes:
        """Return nothing: the other side begins."""
        return b""

    def receive(self, data: bytes) -> Received:
        """Accept bytes of the other side; the first of them decide."""
        if self._is_plain:
            return Received(data, b"", None)
        if self._encrypted is not None:
            return self._encrypted.receive(data)
        self._start += data
        detected = detect(self._start, self._magic)
        if detected is Detected.UNDECIDED:
            return Received(b"", b"", None)
        start, self._start = self._start, b""
        if detected is Detected.V2:
            try:
                self._encrypted = FrameTransport(self._magic, initiating=False)
            except MissingLibrary as error:
                return Received(b"", b"", Broken(BreakCause.NO_LIBRARY, str(error), start))
            output = self._encrypted.begin()
            received = self._encrypted.receive(start)
            return received._replace(output=output + received.output)
        if self._only_v2:
            return Received(b"", b"", Broken(BreakCause.V1, "the other side speaks v1", start))
        self._is_plain = True
        return Received(start, b"", None, agreed=True)

    def send(self, frames: bytes) -> bytes:
        """Return what to send for frames. Nothing is sent before the other side has begun."""
        return frames if self._encrypted is None else self._encrypted.send(frames)

    def close(self) -> Broken | None:
        """Return what the end of the other side's bytes has cut off, if anything."""
        return None if self._encrypted is None else self._encrypted.close()
