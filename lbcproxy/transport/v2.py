"""One side of an encrypted connection (BIP324), without I/O: bytes in, events out.

Each side sends its public key, 64 bytes that look random, and then what `packets.py` describes.
From both public keys both sides derive the same keys.

`V2Transport` does not decide when to send: `public_key`, `garbage`, `terminator` and `packet`
return what has to be sent, in this order. So a proxy can wait for one side before it answers the
other.
"""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.transport.curve import PUBLIC_KEY_SIZE, EphemeralKey
from lbcproxy.transport.events import BreakCause, Broken, KeysAgreed, TransportEvent
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.keys import SessionKeys
from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.transport.packets import PacketReader, PacketWriter
from lbcproxy.transport.sizes import MAX_GARBAGE

__all__ = ["V2Transport"]


class V2Transport:
    """One side of an encrypted connection.

    Args:
        magic: The four bytes of the network, which both sides must agree on.
        initiating: Whether this side opened the connection.
        key: The key of this side; a new one by default.
        max_contents: See `PacketReader`.
    """

    def __init__(
        self,
        magic: bytes,
        *,
        initiating: bool,
        key: EphemeralKey | None = None,
        max_contents: int = MAX_CONTENTS,
    ) -> None:
        self._magic = magic
        self._initiating = initiating
        self._key = key or EphemeralKey()
        self._max_contents = max_contents
        self._theirs = b""
        self._is_closed = False
        self._garbage = b""
        self._reader: PacketReader | None = None
        self._writer: PacketWriter | None = None
        self._keys: SessionKeys | None = None
        self._shared_secret: bytes | None = None

    @property
    def public_key(self) -> bytes:
        """The 64 bytes that this side sends first."""
        return self._key.public

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """What a key log has of this connection, once the other side's public key is known."""
        if self._shared_secret is None:
            return None
        initiator_key = self._key.public if self._initiating else self._theirs
        return LoggedSecret(initiator_key, self._shared_secret, self._magic)

    @property
    def buffered(self) -> int:
        """Bytes that were received and wait for more."""
        return len(self._theirs) if self._reader is None else self._reader.buffered

    # Sending

    def garbage(self, data: bytes) -> bytes:
        """Return garbage to send after the public key; raises ValueError if it is too much."""
        if self._writer is not None:
            raise ValueError("the garbage has ended")
        self._garbage += data
        if len(self._garbage) > MAX_GARBAGE:
            raise ValueError(f"at most {MAX_GARBAGE:,} bytes of garbage are allowed")
        return data

    def terminator(self) -> bytes:
        """Return the end of the garbage; raises ValueError before the keys are agreed."""
        if self._keys is None or self._writer is not None:
            raise ValueError("a terminator comes once, after the other side's public key")
        keys = self._keys.initiator if self._initiating else self._keys.responder
        self._writer = PacketWriter(keys, self._garbage)
        return keys.terminator

    def packet(self, contents: bytes, *, decoy: bool = False) -> bytes:
        """Return a packet; the first that is not a decoy is the version packet.

        Raises:
            ValueError: The terminator has not been sent, or the contents are too long.
        """
        if self._writer is None:
            raise ValueError("a packet comes after the terminator")
        return self._writer.packet(contents, decoy=decoy)

    def packets(self, contents: Sequence[bytes]) -> bytes:
        """Return a packet for each of these contents; raises ValueError like `packet`."""
        if self._writer is None:
            raise ValueError("a packet comes after the terminator")
        if len(contents) == 1:  # as a rule when a node waits for an answer
            return self._writer.packet(contents[0])
        return b"".join(map(self._writer.packet, contents))

    # Receiving

    def receive(self, data: bytes) -> list[TransportEvent]:
        """Accept bytes of the other side, in any portions, and return what they complete."""
        if self._reader is not None:
            return self._reader.receive(data)
        self._theirs += data
        if len(self._theirs) < PUBLIC_KEY_SIZE:
            return []
        theirs, rest = self._theirs[:PUBLIC_KEY_SIZE], self._theirs[PUBLIC_KEY_SIZE:]
        self._theirs = theirs
        secret = self._shared_secret = self._key.shared_secret(theirs, initiating=self._initiating)
        self._keys = SessionKeys.derive(secret, self._magic)
        keys = self._keys.responder if self._initiating else self._keys.initiator
        self._reader = PacketReader(keys, self._max_contents, read=PUBLIC_KEY_SIZE)
        return [KeysAgreed(self._keys.session_id), *self._reader.receive(rest)]

    def close(self) -> list[TransportEvent]:
        """Return what the end of the other side's bytes means: nothing, between two packets."""
        if self._reader is not None:
            return self._reader.close()
        if self._is_closed:
            return []
        self._is_closed = True
        detail = f"in the public key, after {len(self._theirs)} bytes of it"
        return [Broken(BreakCause.CUT_OFF, detail, self._theirs)]
