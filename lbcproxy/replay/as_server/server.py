"""Replays a recorded node: listens, and answers clients as the node did."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from lbcproxy.deprecated import DeprecatedAttribute, renamed_parameters
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import CannotListen
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.rejected_clients import RejectedClients
from lbcproxy.reactor import ListeningPort, Reactor
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import ReplayStats
from lbcproxy.replay.as_server.policy import SILENCE, BadPolicy, UnansweredPolicy
from lbcproxy.replay.as_server.replay_peer import ReplayPeer
from lbcproxy.replay.as_server.store import save
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import Direction, Message, Observer
from lbcproxy.text import printable
from lbcproxy.transport.curve import require_libraries
from lbcproxy.transport.kind import Transport

__all__ = ["BadPolicy", "ReplayServer", "UnansweredPolicy"]

LOG = Logger(namespace="lbcproxy.replay", observer=LOG_FILTER)
MAX_CLIENTS = 1024
MAX_UNKNOWN = 1000
MAX_UNKNOWN_BYTES = 16 << 20
IDLE = 1.0
HERE = Endpoint("127.0.0.1", 0)


class ReplayServer:
    """Plays one side of a conversation to every client that connects, each from its beginning.

    All methods must be called in the reactor's thread.

    Args:
        conversation: The recorded session.
        reactor: Twisted's reactor (time and TCP).
        listen: Where to listen; port 0 for a free one.
        side: The node that is played, by the direction of its messages.
        policy: What to do about requests that the recording has no response to.
        observers: Notified of the sessions, like the observers of a proxy.
        transport: How clients are spoken to: V1, V2 for encrypted connections (BIP324), or AUTO for
            what each client begins with.
        stream_above: Messages with a longer payload (bytes) are passed to observers in parts.
        idle: Seconds after which an idle client is sent the next unsolicited messages; None for
            never.
        save_to: Where the conversation is written, with the responses of a live node, whenever a
            client has left.
        ended: Called with the number of a client that left, and how its requests were answered.
        now: Returns the time in nanoseconds since 1970.
    """

    actor_gone = DeprecatedAttribute("peer_gone")
    looks = DeprecatedAttribute("deferred")
    new_actor = DeprecatedAttribute("new_peer")

    def __init__(
        self,
        conversation: Conversation,
        reactor: Reactor,
        *,
        listen: Endpoint = HERE,
        side: Direction = Direction.TO_CLIENT,
        policy: UnansweredPolicy = SILENCE,
        observers: Sequence[Observer] = (),
        transport: Transport = Transport.AUTO,
        stream_above: int | None = None,
        idle: float | None = IDLE,
        save_to: Path | None = None,
        ended: Callable[[int, ReplayStats], object] = lambda *_: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.conversation = conversation
        self.reactor = reactor
        self.policy = policy
        self.observers = tuple(observers)
        if transport is Transport.V2:
            require_libraries()
        self.transport = transport
        self.stream_above = stream_above
        self.now = now
        self.deferred = DeferredInspection(reactor)
        self.answers = Answers(conversation, side)
        self.unknown: list[Message] = []
        """Requests, or parts of them, without a response: the first 1,000, up to 16 MiB."""
        self._unknown_size = 0
        self.played: Counter[int] = Counter()
        """How often each message was sent, by its position in the conversation."""
        self.idle = idle
        self._save_to = save_to
        self._saved = 0
        self.learned = 0
        """Number of messages that were added to the conversation."""
        self.address = listen
        """Where it listens; with port 0, the actual port once it does."""
        self.ended = ended
        self._port: ListeningPort | None = None
        self._numbers = itertools.count(1)
        self._peers: set[ReplayPeer] = set()
        self._refused = RejectedClients(reactor)
        self._empty: list[Deferred[None]] = []

    @property
    def clients(self) -> int:
        """Number of connected clients."""
        return len(self._peers)

    def listen(self) -> Endpoint:
        """Start listening, and return the address; raises CannotListen."""
        host, port = self.address
        try:
            self._port = self.reactor.listenTCP(port, _ReplayPeerFactory(self), interface=host)
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CannotListen(f"cannot listen at {self.address}: {why}") from error
        self.address = Endpoint(host, self._port.getHost().port)
        LOG.info(
            "{network}: listening at {listen}, as {agent} of {path}",
            network=self.conversation.network.id,
            listen=str(self.address),
            agent=printable(self.answers.version.user_agent or b""),
            path=str(self.conversation.path),
        )
        return self.address

    def stop(self) -> Deferred[list[tuple[bool, object]]]:
        """Stop listening and disconnect all clients; fires when all are gone."""
        waits: list[Deferred[Any]] = []
        if self._port is not None:
            port, self._port = self._port, None
            waits.append(maybeDeferred(port.stopListening))
        if self._peers:
            empty: Deferred[None] = Deferred()
            self._empty.append(empty)
            waits.append(empty)
        for peer in list(self._peers):
            peer.disconnect("replay stopped")
        return DeferredList(waits)

    def abort(self) -> None:
        """Abort all connections."""
        for peer in list(self._peers):
            peer.abort()

    def new_peer(self, address: str = "") -> ReplayPeer | None:
        """Return the node for a new client, or None if there are too many clients."""
        if len(self._peers) >= MAX_CLIENTS:
            why = f"there are {MAX_CLIENTS} clients already"
            self._refused.record(self.address, address, why)
            return None
        peer = ReplayPeer(self, next(self._numbers))
        self._peers.add(peer)
        return peer

    def peer_gone(self, peer: ReplayPeer) -> None:
        """Record that a client has left."""
        self._peers.discard(peer)
        stats = peer.stats
        LOG.info(
            "[#{session} {client}] replayed: {stats}",
            session=peer.number,
            client=str(peer.address),
            stats=stats,
        )
        self._save()
        self.ended(peer.number, stats)
        if not self._peers:
            waiting, self._empty = self._empty, []
            for each in waiting:
                each.callback(None)

    @renamed_parameters(question="request")
    def note_unknown(self, request: Message) -> None:
        """Record a request without a response."""
        self._unknown_size += len(request.raw)
        if len(self.unknown) < MAX_UNKNOWN and self._unknown_size < MAX_UNKNOWN_BYTES:
            self.unknown.append(request)

    @renamed_parameters(question="request")
    def learn(self, request: Message, answers: Sequence[Message]) -> None:
        """Add a request and its responses to the conversation, for all later clients."""
        for message in (request, *answers):
            self.answers.learn(message, self.now())
        self.learned += 1 + len(answers)

    def _save(self) -> None:
        """Write the conversation if it has grown; an error does not affect clients."""
        if self._save_to is None or self._saved == self.learned:
            return
        try:
            save(self.conversation, self._save_to)
        except CaptureError as error:
            LOG.error("what was learned is not saved: {error}", error=str(error))
            return
        new, self._saved = self.learned - self._saved, self.learned
        LOG.info("{path}: {new} new messages", path=str(self._save_to), new=new)


class _ReplayPeerFactory(Factory):
    noisy = False

    def __init__(self, server: ReplayServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._server.new_peer(str(getattr(addr, "host", "")))
