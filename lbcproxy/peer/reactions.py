"""What a peer does about messages that it cannot take: unreadable, unknown, or out of place.

The strict policy is lbcd's: they end the connection. The tolerant one is Bitcoin Core's: one by one
they are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.config import PeerConfig
from lbcproxy.peer.effects import Effect, Note, Read
from lbcproxy.peer.handshake import Handshake, Phase, Step
from lbcproxy.peer.remote import Remote
from lbcproxy.peer.sender import Sender
from lbcproxy.session import EndCause, Message
from lbcproxy.wire.messages.reject import Reject, RejectCode

__all__ = ["Reactions"]

BLOOM_ENFORCED = 70011
REJECTS = 70002
NO_REJECTS = 70016
"""From which version on nodes have no `reject` any more: Core 0.20 took it out, 0.21 has this."""


class Reactions(ABC):
    """The part of a peer's core that refuses and ignores."""

    config: PeerConfig
    handshake: Handshake
    sender: Sender
    remote: Remote
    _address: Endpoint

    @property
    @abstractmethod
    def protocol_version(self) -> int:
        """What was agreed."""

    @abstractmethod
    def close(self, why: str, cause: EndCause = EndCause.PROTOCOL) -> list[Effect]:
        """End it."""

    @abstractmethod
    def _alive(self, now: float) -> None:
        """Take note that the node is there."""

    @abstractmethod
    def _accept(self, message: Message, now: float) -> list[Effect]:
        """Take in a message that can be read."""

    @abstractmethod
    def _take(self, step: Step, now: float) -> list[Effect]:
        """Do what follows from a message of the handshake."""

    def _unsupported(self, command: str) -> list[Effect]:
        if self.protocol_version >= BLOOM_ENFORCED:
            words = f"sent an unsupported {command} request"
            return [Note("debug", f"{words} -- disconnecting"), *self.close(words)]
        return [Note("debug", f"ignoring {command}: bloom filters are not offered")]

    def _duplicate(self, command: str, now: float) -> list[Effect]:
        words = f"duplicate {command} message"
        if not self.handshake.strict:
            return [Note("debug", f"ignoring {words}")]
        reject = Reject(command.encode(), RejectCode.DUPLICATE, words.encode())
        return [*self._say_last(reject, now), *self.close(words)]

    def _unknown(self, now: float, read: Read) -> list[Effect]:
        assert read.message is not None
        command = read.message.command
        if self.handshake.phase is not Phase.DONE:
            why = f"unknown command {command!r} in the handshake"
            return [read, *self._take(self.handshake.unreadable(command, why), now)]
        if self.handshake.strict:
            return self._malformed(now, read, cut_short=False)
        self._alive(now)
        return [read, Note("debug", f"ignoring unknown command {command!r}")]

    def _malformed(self, now: float, read: Read, *, cut_short: bool) -> list[Effect]:
        """Answer what cannot be read (M1 to M8): on regtest a neighbour is forgiven.

        Core, and so a tolerant peer, leaves a frame out that it cannot read, and goes on.
        """
        error = read.error or ""
        if self.handshake.phase is not Phase.DONE:
            if read.message is not None and self._is_verack(read.message):
                return [read, *self._accept(read.message, now)]
            command = "version" if read.message is None else read.message.command
            return [read, *self._take(self.handshake.unreadable(command, error), now)]
        if read.message is not None and not self.handshake.strict:
            self._alive(now)
            return [read, Note("debug", f"ignoring {read.message.command}: {error}")]
        if self._forgiving() and not cut_short:
            self._alive(now)
            return [read, Note("error", f"allowed test error: {error}")]
        reason = f"can't read message from {self._address}: {error}"
        reject = Reject(b"malformed", RejectCode.MALFORMED, reason.encode())
        said = self._say_last(reject, now)
        return [read, Note("error", reason), *said, *self.close(reason)]

    def _is_verack(self, message: Message) -> bool:
        """Whether it is a `verack` but for what comes after it, at which Core does not look."""
        awaited = self.handshake.phase is Phase.AWAIT_VERACK and not self.handshake.strict
        too_long = message.codec.refusal("verack", message.length)
        return awaited and message.command == "verack" and message.frame_error == too_long

    def _forgiving(self) -> bool:
        return self.handshake.phase is Phase.DONE and self.config.forgives(self._address.host)

    def _say_last(self, reject: Reject, now: float) -> list[Effect]:
        """Send a last word behind all that waits, if the node's version has it (M1)."""
        agreed = self.protocol_version
        none = agreed < REJECTS or (agreed >= NO_REJECTS and not self.handshake.strict)
        if self.remote.version is not None and none:
            return []
        return [*self.sender.flush_all(now), *self.sender.send(reject, now)]
