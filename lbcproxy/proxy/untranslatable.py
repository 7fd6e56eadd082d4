"""What one transport can say and the other cannot, message by message."""

from __future__ import annotations

from lbcproxy.plugin import Drop, LiveSession, Plugin
from lbcproxy.session import Direction, Message
from lbcproxy.transport.messages import is_unknown_type
from lbcproxy.wire.envelope import is_sound

__all__ = ["Untranslatable"]


class Untranslatable(Plugin):
    """Drops what cannot be sent over the other leg of a session with one encrypted leg.

    Args:
        to_encrypted: The direction in which messages leave on the encrypted leg.
    """

    def __init__(self, to_encrypted: Direction) -> None:
        self._to_encrypted = to_encrypted

    def on_message(self, session: LiveSession, message: Message) -> Drop | None:
        """Drop a wrong checksum, which no packet has; and a short type that has no command."""
        if message.direction is self._to_encrypted:
            if not is_sound(message.raw):
                return Drop("an encrypted packet cannot have a wrong checksum")
        elif is_unknown_type(message.command):
            return Drop("its short type is unknown, and has no command without encryption")
        return None
