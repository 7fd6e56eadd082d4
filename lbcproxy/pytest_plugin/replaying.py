"""A recorded node: each client meets a session of the capture."""

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
from lbcproxy.replay import Conversation, ReplayServer, UnansweredPolicy, load
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.store import save
from lbcproxy.session import Direction, Message
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["Replayed", "conversations"]

LIVE = frozenset({"version", "verack", "ping", "pong"})
"""Said live, so that it is no matter whether the recorded ones were."""


def conversations(path: Path, network: Network | None) -> Sequence[Conversation]:
    """Read the sessions of a capture that have a handshake.

    Raises NoConversation if there is none, OSError, CaptureError or UnknownNetwork if the file
    cannot be read.
    """
    sides: dict[int, set[Direction]] = {}
    try:
        for entry in open_capture(path, network):
            if entry.command == "version" and entry.verdict != EntryVerdict.INJECT:
                sides.setdefault(entry.session, set()).add(entry.direction)
    except CaptureError:
        pass  # what stands before the damage is played
    numbers = [number for number, met in sides.items() if len(met) == len(Direction)]
    if len(numbers) < 2:
        return [load(path, network=network)]
    return [load(path, session=number, network=network) for number in numbers]


class Replayed:
    """Plays all sessions of a capture; with `upstream`, what it does not know is asked there."""

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
        self.servers = [
            _Server(each, loop.reactor, policy=policy, cuts=self._cuts) for each in played
        ]
        self.address = loop.call(self._listen)

    def unknown(self) -> Sequence[tuple[Message, Answers]]:
        """Return the questions without an answer, and who was asked."""
        return [(each, server.answers) for server in self.servers for each in list(server.unknown)]

    def play_count(self) -> int:
        """Count the recorded messages that were sent."""
        return sum(
            times
            for server in self.servers
            for position, times in list(server.played.items())
            if server.conversation.turns[position].command not in LIVE
        )

    def unplayed(self) -> Sequence[str]:
        """Name what the recorded node said and nobody was told."""
        return [
            f"{turn.number:,} {turn.command} {server.conversation.glance(turn).summary()}".rstrip()
            for server in self.servers
            for turn in server.conversation.turns
            if turn.direction is server.answers.speaker
            and turn.command not in LIVE
            and not server.played[turn.position]
        ]

    def words(self) -> str:
        """Return what of the capture could not be played."""
        return "\n".join(self._notices)

    def stop(self) -> None:
        """Let all clients go."""
        self._loop.call(self._stop)
        self.new = sum(server.learned for server in self.servers)

    def keep(self, path: Path) -> None:
        """Write all sessions together with what was learned."""
        first, *more = self._loaded
        save(first, path, *more)

    def close(self) -> None:
        """Let go of what is kept."""
        for each in self._loaded:
            each.close()

    def _listen(self) -> Endpoint:
        port: Any = self._loop.reactor.listenTCP(0, _Clients(self.servers), interface="127.0.0.1")
        self._port = port
        return Endpoint("127.0.0.1", port.getHost().port)

    async def _stop(self) -> None:
        await self._port.stopListening()
        for server in self.servers:
            stopped = server.stop()
            server.abort()
            await stopped


class _Server(ReplayServer):
    """One session; a question without an answer ends the connection at once, if it is to."""

    def __init__(
        self, conversation: Conversation, reactor: Any, *, cuts: bool, **more: Any
    ) -> None:
        super().__init__(conversation, reactor, **more)
        self._cuts = cuts

    def note_unknown(self, question: Message) -> None:
        """Take note of it; who waits for the answer is not to wait until it gives up."""
        super().note_unknown(question)
        if self._cuts:
            self.reactor.callLater(0, self.stop)  # lets go of all clients


class _Clients(Factory):
    """The first client meets the first session, the next the next; more meet the last."""

    noisy = False

    def __init__(self, servers: Sequence[ReplayServer]) -> None:
        self._servers = servers
        self._met = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        server = self._servers[min(self._met, len(self._servers) - 1)]
        self._met += 1
        return server.new_peer()
