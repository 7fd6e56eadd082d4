"""Replays a capture as a node: each client gets a session of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network
from lbcproxy.pytest_plugin.loop import Loop
from lbcproxy.pytest_plugin.settings import Settings
from lbcproxy.reactor import Reactor
from lbcproxy.replay import Conversation, ReplayServer, UnansweredPolicy, load
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.store import save
from lbcproxy.session import Direction, Message
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["CaptureReplay", "conversations"]

LIVE = frozenset({"version", "verack", "ping", "pong"})
"""Commands that are sent live, so that recorded ones need not be played."""


def conversations(path: Path, network: Network | None) -> Sequence[Conversation]:
    """Return the sessions of a capture that have a handshake.

    Raises:
        NoConversation: If there is none.
        OSError, CaptureError, UnknownNetwork: If the file cannot be read.
    """
    sides: dict[int, set[Direction]] = {}
    try:
        for entry in open_capture(path, network):
            if entry.command == "version" and entry.verdict != EntryVerdict.INJECT:
                sides.setdefault(entry.session, set()).add(entry.direction)
    except CaptureError:
        pass  # the part before the damage is played
    numbers = [number for number, met in sides.items() if len(met) == len(Direction)]
    if len(numbers) < 2:
        return [load(path, network=network)]
    return [load(path, session=number, network=network) for number in numbers]


class CaptureReplay:
    """Replays all sessions of a capture; `upstream` answers the requests that it cannot."""

    new: int = 0

    def __init__(
        self, loop: Loop, settings: Settings, path: Path, upstream: Endpoint | None
    ) -> None:
        self._loop = loop
        self._cuts = settings.unknown == "fail"
        policy = UnansweredPolicy(notfound=settings.unknown == "notfound", upstream=upstream)
        self._loaded = conversations(path, settings.chosen_network)
        played = [each for each in self._loaded if settings.session in (None, each.number)]
        if not played:
            load(path, session=settings.session, network=settings.chosen_network)  # says why
        self._notices = [notice for each in played for notice in each.notices]
        transport = settings.listening_transport
        self.servers = [
            _Server(each, loop.reactor, cuts=self._cuts, policy=policy, transport=transport)
            for each in played
        ]
        self.address = loop.call(self._listen)

    def unknown(self) -> Sequence[tuple[Message, Answers]]:
        """Return the requests without a response, and what the session of each answers."""
        return [(each, server.answers) for server in self.servers for each in list(server.unknown)]

    def play_count(self) -> int:
        """Return the number of recorded messages that were sent."""
        return sum(
            times
            for server in self.servers
            for position, times in list(server.played.items())
            if server.conversation.turns[position].command not in LIVE
        )

    def unplayed(self) -> Sequence[str]:
        """Return descriptions of the node's recorded messages that were not sent."""
        return [
            f"{turn.number:,} {turn.command} {server.conversation.glance(turn).summary()}".rstrip()
            for server in self.servers
            for turn in server.conversation.turns
            if turn.direction is server.answers.speaker
            and turn.command not in LIVE
            and not server.played[turn.position]
        ]

    def details(self) -> str:
        """Return descriptions of what could not be played."""
        return "\n".join(self._notices)

    def stop(self) -> None:
        """Disconnect all clients."""
        self._loop.call(self._stop)
        self.new = sum(server.learned for server in self.servers)

    def keep(self, path: Path) -> None:
        """Write all sessions, with the responses that were added."""
        first, *more = self._loaded
        save(first, path, *more)

    def close(self) -> None:
        """Delete the temporary files."""
        for each in self._loaded:
            each.close()

    def _listen(self) -> Endpoint:
        port = self._loop.reactor.listenTCP(0, _SessionFactory(self.servers), interface="127.0.0.1")
        self._port = port
        return Endpoint("127.0.0.1", port.getHost().port)

    async def _stop(self) -> None:
        await self._port.stopListening()
        for server in self.servers:
            stopped = server.stop()
            server.abort()
            await stopped


class _Server(ReplayServer):
    """One session; with `cuts`, a request without a response ends the connection at once."""

    def __init__(
        self, conversation: Conversation, reactor: Reactor, *, cuts: bool, **more: Any
    ) -> None:
        super().__init__(conversation, reactor, **more)
        self._cuts = cuts

    def note_unknown(self, question: Message) -> None:
        """Record the request; the client should not have to wait for its timeout."""
        super().note_unknown(question)
        if self._cuts:
            self.reactor.callLater(0, self.stop)  # disconnects all clients


class _SessionFactory(Factory):
    """Assigns sessions to clients in order; further clients get the last session."""

    noisy = False

    def __init__(self, servers: Sequence[ReplayServer]) -> None:
        self._servers = servers
        self._met = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        server = self._servers[min(self._met, len(self._servers) - 1)]
        self._met += 1
        return server.new_peer()
