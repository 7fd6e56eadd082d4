"""The recorded node for one client: a `Peer` that sends what a `ReplayCursor` returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredLock

from lbcproxy.clock import DelayedCall
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, Peer, PeerConfig, StallMode
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.reactor import Reactor
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import (
    OutgoingMessage,
    ReplayCursor,
    ReplayStats,
    UnansweredRequest,
)
from lbcproxy.replay.as_server.policy import UnansweredPolicy
from lbcproxy.replay.as_server.request_types import in_batches
from lbcproxy.replay.as_server.upstream import Upstream
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import Direction, End, EndCause, Message, Observer, Session, SessionInfo
from lbcproxy.transport.kind import Transport

__all__ = ["ReplayOwner", "ReplayPeer", "config_of"]

MAX_WAITING = 1 << 20
"""Bytes that may be queued for a client; then no further message is read from the file."""


def config_of(answers: Answers, transport: Transport = Transport.V1) -> PeerConfig:
    """Return a peer's config with the values of the recorded node's `version`."""
    version = answers.version
    height = version.start_height or 0
    return PeerConfig(
        network=answers.conversation.network,
        transport=transport,
        user_agent=version.user_agent or b"",
        services=version.services,
        protocol_version=max(0, version.version) or None,
        relay=version.relay is not False,
        newest_block=lambda: (answers.chain.tip or bytes(32), height),
        offers=tuple(answers.offers),
        stall=StallMode.OFF,
    )


class ReplayOwner(Protocol):
    """The server that plays a recorded node to its clients; `ReplayServer` describes the rest."""

    conversation: Conversation
    answers: Answers
    reactor: Reactor
    policy: UnansweredPolicy
    observers: tuple[Observer, ...]
    stream_above: int | None
    now: Callable[[], int]
    deferred: DeferredInspection
    played: Counter[int]
    idle: float | None
    transport: Transport

    def peer_gone(self, peer: ReplayPeer) -> None:
        """A client has left."""

    def note_unknown(self, request: Message) -> None:
        """The recording has no response to a request."""

    def learn(self, request: Message, answers: Sequence[Message]) -> None:
        """A live node has responded to a request."""


class ReplayPeer(Peer):
    """The recorded node for one client. Nothing is read from the client while it is answered."""

    def __init__(self, server: ReplayOwner, number: int) -> None:
        super().__init__(
            config_of(server.answers, server.transport),
            inbound=True,
            clock=server.reactor,
            callbacks=_ReplayPeerCallbacks(self),
            nonces=NonceCache(),  # the tested node may be in the same process
            receives=server.answers.speaker.other,
        )
        self.number = number
        self._server = server
        self._cursor: ReplayCursor | None = None
        self._send_lock = DeferredLock()
        self._outbox_room: Deferred[None] | None = None
        self._upstream: Upstream | None = None
        self._idle: DelayedCall | None = None
        session = Session(number, self.config.network, stream_above=server.stream_above)
        self._inspector = Inspector(session, server.observers, server.now, server.deferred)

    @property
    def stats(self) -> ReplayStats:
        """How the client's requests were answered."""
        if self._cursor is None:
            return ReplayStats(0, {}, len(self._server.answers.unsolicited))
        return self._cursor.stats

    # Events of the connection, which observers are notified of.

    def opened(self) -> None:
        """Report the client."""
        recorded = self._server.conversation.info
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

    def agreed(self) -> None:
        """Report how messages are carried."""
        self._inspector.agreed(self.leg_transport, self.leg_transport)

    def received(self, data: bytes) -> None:
        """Report what the client sent."""
        self._inspector.received(Direction.TO_UPSTREAM, data)
        super().received(data)

    def write(self, data: bytes) -> None:
        """Report what is sent to the client."""
        self._inspector.received(Direction.TO_CLIENT, data)
        super().write(data)

    # Callbacks of the peer.

    def handshake_done(self) -> None:
        """Send what precedes any request."""
        version, wants = self.core.protocol_version, self.core.handshake.wants_addrv2
        self._cursor = ReplayCursor(
            self._server.answers, version, self._server.played, addrv2=wants
        )
        self._send_unsolicited(self._cursor.begin())

    def data_written(self) -> None:
        """Continue sending if little enough is queued."""
        if self.core.sender.outbox.size <= MAX_WAITING:
            self._continue_sending()

    async def handle(self, message: Message) -> None:
        """Answer a message of the client."""
        if self._cursor is not None:
            self._stop_idle_timer()
            await self._send(self._cursor.handle(message))
            self._start_idle_timer()

    def disconnected(self, why: str) -> None:
        """Report the end of the session."""
        self._stop_idle_timer()
        self._continue_sending()
        if self._upstream is not None:
            self._upstream.close()
        self._inspector.cut()
        self._inspector.ending(self._end_of(why))
        self._inspector.ended()
        self._server.peer_gone(self)

    def _end_of(self, why: str) -> End:
        """Return why the session ended; only the client can be the cause at the other end."""
        cause = self.core.cause or EndCause.CLOSED
        if cause in (EndCause.CLOSED, EndCause.RESET):
            return End(cause, Direction.TO_UPSTREAM)
        return End(cause, detail=why)

    async def _send(self, said: Iterator[OutgoingMessage | UnansweredRequest]) -> None:
        """Send messages one after another, as the client reads."""
        await self._send_lock.acquire()
        try:
            for each in said:
                if self.core.closed:
                    return
                if isinstance(each, UnansweredRequest):
                    await self._unknown(each.message)
                    continue
                self.forward(*each)
                if self.core.sender.outbox.size > MAX_WAITING:
                    self._outbox_room = Deferred()
                    await self._outbox_room
        finally:
            self._send_lock.release()

    async def _unknown(self, request: Message) -> None:
        """Apply the policy to a request that the recording has no response to."""
        assert self._cursor is not None
        policy = self._server.policy
        if policy.upstream is not None:
            await self._ask_upstream(request, policy.upstream)
            return
        self._server.note_unknown(request)
        if policy.notfound and request.command == "getdata":
            self.forward(*self._cursor.not_found(request))

    async def _ask_upstream(self, request: Message, node: Endpoint) -> None:
        """Send a live node's responses, and add them to the conversation."""
        assert self._cursor is not None
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
        for part in in_batches(request):
            said, parts = await self._upstream.ask(part)
            if parts:
                self._cursor.found(part, parts)
                self._server.learn(part, said)
            else:
                self._server.note_unknown(part)
            for each in said:
                self.forward(each.command, each.raw)
            if self.core.closed:
                return

    def _continue_sending(self) -> None:
        room, self._outbox_room = self._outbox_room, None
        if room is not None:
            room.callback(None)

    def _send_unsolicited(self, said: Iterator[OutgoingMessage]) -> None:
        """Send messages that are not a response."""
        running: Deferred[None] = Deferred.fromCoroutine(self._send(said))
        running.addCallbacks(
            lambda _: self._start_idle_timer(),
            lambda failure: self._callback_failed("replay", failure),
        )

    def _start_idle_timer(self) -> None:
        """Start the timer that sends unsolicited messages to an idle client."""
        self._stop_idle_timer()
        if self._cursor is None or self._cursor.is_over or self.core.closed:
            return
        if self._server.idle is not None:
            self._idle = self._server.reactor.callLater(self._server.idle, self._continue)

    def _continue(self) -> None:
        self._idle = None
        if self._cursor is not None:
            self._send_unsolicited(self._cursor.continue_unsolicited())

    def _stop_idle_timer(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()


class _ReplayPeerCallbacks:
    """The callbacks of the peer."""

    def __init__(self, peer: ReplayPeer) -> None:
        self._peer = peer

    def on_ready(self, _: Peer) -> None:
        self._peer.handshake_done()

    async def on_message(self, _: Peer, message: Message) -> None:
        await self._peer.handle(message)

    def on_write(self, *_: object) -> None:
        self._peer.data_written()

    def on_disconnected(self, _: Peer, why: str) -> None:
        self._peer.disconnected(why)
