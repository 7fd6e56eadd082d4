"""The recorded node as one client meets it: our `Peer`, which says what a `Place` has it say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, Peer, PeerConfig, StallMode
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import Account, Place, Said, Unknown
from lbcproxy.replay.as_server.questions import in_batches
from lbcproxy.replay.as_server.upstream import Upstream
from lbcproxy.session import Direction, End, EndCause, Message, Session, SessionInfo

if TYPE_CHECKING:
    from lbcproxy.replay.as_server.server import ReplayServer

__all__ = ["Actor", "config_of"]

MOST_WAITING = 1 << 20
"""Bytes that may wait to be sent to a client before the next message is read from the file."""


def config_of(answers: Answers) -> PeerConfig:
    """Make a peer's config of what the recorded node told of itself."""
    version = answers.version
    height = version.start_height or 0
    return PeerConfig(
        network=answers.conversation.network,
        user_agent=version.user_agent or b"",
        services=version.services,
        protocol_version=max(0, version.version) or None,
        relay=version.relay is not False,
        newest_block=lambda: (answers.chain.tip or bytes(32), height),
        offers=tuple(answers.offers),
        stall=StallMode.OFF,
    )


class Actor(Peer):
    """One client's recorded node. Nothing is read from the client while it is being answered."""

    def __init__(self, server: ReplayServer, number: int) -> None:
        super().__init__(
            config_of(server.answers),
            inbound=True,
            clock=server.reactor,
            callbacks=_Callbacks(self),
            nonces=NonceCache(),  # who plays and who is tested may be one process
            receives=server.answers.speaker.other,
        )
        self.number = number
        self._server = server
        self._place: Place | None = None
        self._line = DeferredLock()
        self._room: Deferred[None] | None = None
        self._upstream: Upstream | None = None
        self._idle: Any = None
        session = Session(number, self.config.network, stream_above=server.stream_above)
        self._inspector = Inspector(session, server.observers, server.now, server.deferred)

    @property
    def account(self) -> Account:
        """What became of the client's questions."""
        if self._place is None:
            return Account(0, {}, len(self._server.answers.unasked))
        return self._place.account

    # What the connection tells, and the observers are told.

    def opened(self) -> None:
        """Tell who connected."""
        recorded = self._server.conversation.facts
        self._inspector.started(
            SessionInfo(
                number=self.number,
                network=self.config.network.id,
                client=self.address,
                listen=self.local_address,
                upstream=recorded.upstream,
            )
        )
        super().opened()

    def received(self, data: bytes) -> None:
        """Show what the client says."""
        self._inspector.received(Direction.TO_UPSTREAM, data)
        super().received(data)

    def write(self, data: bytes) -> None:
        """Show what it is told."""
        self._inspector.received(Direction.TO_CLIENT, data)
        super().write(data)

    # What the peer tells.

    def become_ready(self) -> None:
        """Return what comes before any question."""
        version, wants = self.core.protocol_version, self.core.handshake.wants_addrv2
        self._place = Place(self._server.answers, version, self._server.played, addrv2=wants)
        self._say_unasked(self._place.begin())

    def wrote(self) -> None:
        """Send on, if little enough waits."""
        if self.core.sender.outbox.size <= MOST_WAITING:
            self._go_on()

    async def take(self, message: Message) -> None:
        """Answer the client."""
        if self._place is not None:
            self._rest()
            await self._say(self._place.take(message))
            self._wait()

    def gone(self, why: str) -> None:
        """Tell that it is over."""
        self._rest()
        self._go_on()
        if self._upstream is not None:
            self._upstream.close()
        self._inspector.cut()
        self._inspector.ending(self._end_of(why))
        self._inspector.ended()
        self._server.actor_gone(self)

    def _end_of(self, why: str) -> End:
        """Return why the session ended: the node at the other end is the client."""
        cause = self.core.cause or EndCause.CLOSED
        if cause in (EndCause.CLOSED, EndCause.RESET):
            return End(cause, Direction.TO_UPSTREAM)
        return End(cause, detail=why)

    async def _say(self, said: Iterator[Said | Unknown]) -> None:
        """Send one after another, as the client reads."""
        await self._line.acquire()
        try:
            for each in said:
                if self.core.closed:
                    return
                if isinstance(each, Unknown):
                    await self._unknown(each.message)
                    continue
                self.forward(*each)
                if self.core.sender.outbox.size > MOST_WAITING:
                    self._room = Deferred()
                    await self._room
        finally:
            self._line.release()

    async def _unknown(self, question: Message) -> None:
        """Do what is to be done about a question that the recording has no answer to."""
        assert self._place is not None
        policy = self._server.policy
        if policy.upstream is not None:
            await self._pass(question, policy.upstream)
            return
        self._server.note_unknown(question)
        if policy.notfound and question.command == "getdata":
            self.forward(*self._place.not_found(question))

    async def _pass(self, question: Message, node: Endpoint) -> None:
        """Have a live node answer, and learn what it says."""
        assert self._place is not None
        answers = self._server.answers
        if self._upstream is None:
            client = self.core.remote.version
            config = PeerConfig(
                network=self.config.network,
                user_agent=None if client is None else client.user_agent,
                services=0 if client is None else client.services,
                protocol_version=self.core.protocol_version,
            )
            self._upstream = Upstream(
                self._server.reactor, node, config, answers.chain, answers.speaker
            )
        for part in in_batches(question):
            said, parts = await self._upstream.ask(part)
            if parts:
                self._place.found(part, parts)
                self._server.learn(part, said)
            else:
                self._server.note_unknown(part)
            for each in said:
                self.forward(each.command, each.raw)
            if self.core.closed:
                return

    def _go_on(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _say_unasked(self, said: Iterator[Said]) -> None:
        """Say something that no message of the client waits for."""
        running: Deferred[None] = Deferred.fromCoroutine(self._say(said))
        running.addCallbacks(
            lambda _: self._wait(), lambda failure: self._callback_failed("replay", failure)
        )

    def _wait(self) -> None:
        """Lead the client on if it asks nothing for a while."""
        self._rest()
        if self._place is None or self._place.is_over or self.core.closed:
            return
        if self._server.idle is not None:
            self._idle = self._server.reactor.callLater(self._server.idle, self._lead_on)

    def _lead_on(self) -> None:
        self._idle = None
        if self._place is not None:
            self._say_unasked(self._place.go_on())

    def _rest(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()


class _Callbacks:
    """What the peer calls."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def on_ready(self, _: Peer) -> None:
        self._actor.become_ready()

    async def on_message(self, _: Peer, message: Message) -> None:
        await self._actor.take(message)

    def on_write(self, *_: object) -> None:
        self._actor.wrote()

    def on_disconnected(self, _: Peer, why: str) -> None:
        self._actor.gone(why)
