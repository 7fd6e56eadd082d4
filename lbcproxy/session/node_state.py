"""What is known of one of the two nodes, from the messages it sent."""

from __future__ import annotations

from collections import Counter
from enum import Enum

import msgspec

from lbcproxy.session.command_counter import CommandNames
from lbcproxy.session.message import Message
from lbcproxy.wire.framer import Run
from lbcproxy.wire.messages.handshake import Version

__all__ = ["HANDSHAKE", "NodeState", "NodeStatistics", "Stage"]


class Stage(Enum):
    """How far a node is in its handshake, judged by what it has sent."""

    NEW = "new"
    VERSION_SEEN = "version seen"
    VERACK_SEEN = "verack seen"
    READY = "ready"
    """Both nodes have sent `version` and `verack`."""


# The stage after a command; any other command, or the same again, does not change it.
TRANSITIONS = {
    (Stage.NEW, "version"): Stage.VERSION_SEEN,
    (Stage.VERSION_SEEN, "verack"): Stage.VERACK_SEEN,
}
HANDSHAKE = frozenset(command for _, command in TRANSITIONS)
"""The commands of the handshake."""


class NodeStatistics(msgspec.Struct, frozen=True):
    """What a node has said of itself and how much it has sent, at one moment."""

    stage: Stage
    version: int | None
    """The protocol version it advertised."""
    services: int | None
    user_agent: bytes | None
    start_height: int | None
    relay: bool | None
    bytes: int
    """All bytes it sent, headers and junk included."""
    junk_bytes: int
    messages: int
    commands: dict[str, int]
    """Messages by command; unknown commands after the first hundred as `(others)`."""
    protocol_version: int | None = None
    """The negotiated version: the lower of both, once both are known."""

    def not_ready(self) -> NodeStatistics:
        """Return the same, for a node whose peer has not finished the handshake."""
        if self.stage is not Stage.READY:
            return self
        return msgspec.structs.replace(self, stage=Stage.VERACK_SEEN)


class NodeState:
    """The state of one node, as its messages show it; the same for client and upstream."""

    def __init__(self) -> None:
        self.other: NodeState | None = None
        """The other node of the session, if there is one."""
        self._sent = Stage.NEW
        self.version: Version | None = None
        self.protocol_version: int | None = None
        self.bytes = 0
        self.junk_bytes = 0
        self.commands: Counter[str] = Counter()
        self._names = CommandNames()

    @property
    def stage(self) -> Stage:
        """How far it is in its handshake; it is ready when the other node is, too."""
        if self._sent is not Stage.VERACK_SEEN:
            return self._sent
        other = self.other
        ready = other is None or other._sent is Stage.VERACK_SEEN
        return Stage.READY if ready else Stage.VERACK_SEEN

    def see(self, message: Message) -> None:
        """Record a message that the node has sent."""
        self.commands[self._names.counted_as(message.command)] += 1
        stage = TRANSITIONS.get((self._sent, message.command))
        if stage is None:
            return
        if stage is Stage.VERSION_SEEN:
            record = message.record
            if not isinstance(record, Version) or message.error is not None:
                return  # no node would accept it as a version either
            self.version = record
        elif message.frame_error not in (None, message.codec.refusal("verack", message.length)):
            return  # its checksum is wrong; Core accepts one that is only too long
        self._sent = stage

    def see_run(self, run: Run) -> None:
        """Record several messages at once, none of which belongs to the handshake."""
        self.commands.update(run.commands)

    def statistics(self) -> NodeStatistics:
        """Return what is known now, as a value that does not change."""
        version = self.version
        return NodeStatistics(
            stage=self.stage,
            version=None if version is None else version.version,
            services=None if version is None else version.services,
            user_agent=None if version is None else version.user_agent,
            start_height=None if version is None else version.start_height,
            relay=None if version is None else version.relay,
            bytes=self.bytes,
            junk_bytes=self.junk_bytes,
            messages=self.commands.total(),
            commands=dict(self.commands),
            protocol_version=self.protocol_version,
        )
