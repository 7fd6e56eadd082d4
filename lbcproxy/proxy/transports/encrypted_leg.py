"""Our end of an encrypted connection to one of the nodes of a session (BIP324)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from lbcproxy.faults import Fault, HandshakeFault
from lbcproxy.session import Decoy
from lbcproxy.transport.damage import PacketDamage
from lbcproxy.transport.events import TransportEvent, VersionReceived
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.sizes import MAX_GARBAGE
from lbcproxy.transport.v2 import V2Transport

__all__ = ["EncryptedLeg"]


class EncryptedLeg:
    """Encrypts what one node is sent, and decrypts what it sends.

    Contents that are sent before the handshake allows it wait, in order.

    Args:
        magic: The four bytes of the network.
        initiating: Whether we opened the connection.
        write: Writes bytes to the node.
        fault: A fault that makes the handshake another one.
        close: Called with the name of the fault if that closes the leg.
    """

    def __init__(
        self,
        magic: bytes,
        *,
        initiating: bool,
        write: Callable[[bytes], object],
        fault: Fault | None = None,
        close: Callable[[str], object] = bool,
    ) -> None:
        self._transport = V2Transport(magic, initiating=initiating)
        self._write = write
        self._fault_name = "" if fault is None else fault.name
        self._fault: HandshakeFault = HandshakeFault() if fault is None else fault.attributes
        self._close = close
        self._is_open = False
        self._waiting: list[tuple[bytes, PacketDamage | None]] = []
        self._waiting_size = 0
        self.session_id = b""
        """What the node can compare, once the keys are agreed."""
        self.is_finished = False
        """Whether the node's version packet has come."""

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """What a key log has of this connection, once the keys are agreed."""
        return self._transport.logged_secret

    @property
    def buffered(self) -> int:
        """Bytes that wait: of incomplete packets, and for the end of the handshake."""
        return self._transport.buffered + self._waiting_size

    def begin(self) -> None:
        """Send our public key. Garbage may follow later."""
        self._write(self._transport.public_key)
        self._reached("key")

    def receive(self, data: bytes) -> list[TransportEvent]:
        """Return what bytes of the node complete."""
        events = self._transport.receive(data)
        if not self.is_finished:
            self.is_finished = any(isinstance(each, VersionReceived) for each in events)
        return events

    def close(self) -> list[TransportEvent]:
        """Return what the end of the node's bytes has cut off."""
        return self._transport.close()

    def end_garbage(self, size: int) -> None:
        """Send so many bytes of garbage, and their end."""
        size = size if self._fault.garbage is None else self._fault.garbage
        garbage = secrets.token_bytes(size)
        self._transport.garbage(garbage[:MAX_GARBAGE])
        terminator = self._transport.terminator()
        is_ended = self._fault.terminator and self._fault.close != "garbage"
        self._write(garbage + terminator if is_ended else garbage)
        self._reached("garbage")

    def send_version(self) -> None:
        """Send the version packet, which is empty as a rule, and what has waited for it."""
        self._is_open = True
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        version = self._transport.packet(secrets.token_bytes(self._fault.version))
        if self._fault.close == "version":
            waiting = []
        self._write(version + b"".join(self._packet(*each) for each in waiting))
        self._reached("version")

    def send_decoy(self, decoy: Decoy) -> None:
        """Send a packet that the node ignores."""
        self._write(self._transport.packet(bytes(decoy.size), decoy=True))

    def send(self, contents: Sequence[bytes]) -> None:
        """Send a packet for each of these contents."""
        if self._is_open:
            self._write(self._transport.packets(contents))
        else:
            for each in contents:
                self._wait(each)

    def send_damaged(self, contents: bytes, damage: PacketDamage) -> None:
        """Send a packet that the node cannot decrypt, so that it ends the connection."""
        if self._is_open:
            self._write(self._packet(contents, damage))
        else:
            self._wait(contents, damage)

    def _reached(self, step: str) -> None:
        """Send nothing more if the fault says so."""
        if self._fault.close == step:
            self._write = _send_nothing
            self._close(self._fault_name)

    def _packet(self, contents: bytes, damage: PacketDamage | None) -> bytes:
        packet = self._transport.packet(contents)
        return packet if damage is None else damage.applied(packet)

    def _wait(self, contents: bytes, damage: PacketDamage | None = None) -> None:
        self._waiting.append((contents, damage))
        self._waiting_size += len(contents)


def _send_nothing(data: bytes) -> None:
    """Do nothing: the leg is being closed."""
