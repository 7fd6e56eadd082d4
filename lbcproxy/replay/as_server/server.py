"""A recorded node that listens: clients connect and find it as it was."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import CannotListen
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.rejected_clients import RejectedClients
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import Account
from lbcproxy.replay.as_server.replay_peer import Actor
from lbcproxy.replay.as_server.store import save
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import Direction, Message, Observer
from lbcproxy.text import printable

__all__ = ["BadPolicy", "Policy", "ReplayServer"]

LOG = Logger(namespace="lbcproxy.replay", observer=LOG_FILTER)
MOST_CLIENTS = 1024
MOST_UNKNOWN = 1000
MOST_UNKNOWN_BYTES = 16 << 20
IDLE = 1.0
HERE = Endpoint("127.0.0.1", 0)


class BadPolicy(ValueError):
    """What is to be done about unknown questions is not understood; the text says why."""


class Policy(msgspec.Struct, frozen=True):
    """What is done about a question that the recording has no answer to; by itself, nothing."""

    notfound: bool = False
    """Whether a `getdata` is answered with `notfound`. Other questions have no such answer."""
    upstream: Endpoint | None = None
    """A live node that is asked instead."""

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read `silence`, `notfound` or `pass:HOST:PORT`; raises BadPolicy."""
        kind, colon, rest = text.partition(":")
        if kind == "pass" and colon:
            try:
                return cls(upstream=Endpoint.parse(rest))
            except ValueError as error:
                raise BadPolicy(str(error)) from None
        if text not in ("silence", "notfound"):
            raise BadPolicy(f"{text!r} is not silence, notfound or pass:HOST:PORT")
        return cls(notfound=text == "notfound")


SILENCE = Policy()


class ReplayServer:
    """Plays one side of a conversation to every client that connects, each from its beginning.

    `reactor` needs Twisted's time and TCP. `side` is the node that is played, by the direction in
    which its messages went. A client that says nothing for `idle` seconds is told what comes next,
    if the recorded node had said it unasked; None for never. `observers` are told what passes,
    `ended` of each client that left and what became of its questions. With `save_to`, what a live
    node answered is written there together with the conversation, whenever a client has left.

    All is to be called in the reactor's thread.
    """

    def __init__(
        self,
        conversation: Conversation,
        reactor: Any,
        *,
        listen: Endpoint = HERE,
        side: Direction = Direction.TO_CLIENT,
        policy: Policy = SILENCE,
        observers: Sequence[Observer] = (),
        stream_above: int | None = None,
        idle: float | None = IDLE,
        save_to: Path | None = None,
        ended: Callable[[int, Account], object] = lambda *_: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.conversation = conversation
        self.reactor = reactor
        self.policy = policy
        self.observers = tuple(observers)
        self.stream_above = stream_above
        self.now = now
        self.deferred = DeferredInspection(reactor)
        self.answers = Answers(conversation, side)
        self.unknown: list[Message] = []
        """Questions, or the parts of them, that the recording has no answer to: the first 1,000,
        of 16 MiB at most."""
        self._unknown_size = 0
        self.played: Counter[int] = Counter()
        """How often each message was sent, by its place in the conversation."""
        self.idle = idle
        self._save_to = save_to
        self._saved = 0
        self.learned = 0
        """Messages that were added to the conversation."""
        self.address = listen
        """Where it listens; with port 0, the real one once it does."""
        self.ended = ended
        self._port: Any = None
        self._numbers = itertools.count(1)
        self._actors: set[Actor] = set()
        self._refused = RejectedClients(reactor)
        self._empty: list[Deferred[None]] = []

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._actors)

    def listen(self) -> Endpoint:
        """Begin to take clients, and give the address; raises CannotListen."""
        host, port = self.address
        try:
            self._port = self.reactor.listenTCP(port, _Clients(self), interface=host)
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

    def stop(self) -> Deferred[Any]:
        """Take no more clients and let go of those there are; fires when all are gone."""
        waits: list[Deferred[Any]] = []
        if self._port is not None:
            port, self._port = self._port, None
            waits.append(maybeDeferred(port.stopListening))
        if self._actors:
            empty: Deferred[None] = Deferred()
            self._empty.append(empty)
            waits.append(empty)
        for actor in list(self._actors):
            actor.disconnect("replay stopped")
        return DeferredList(waits)

    def abort(self) -> None:
        """Cut all connections."""
        for actor in list(self._actors):
            actor.abort()

    def new_actor(self, address: str = "") -> Actor | None:
        """Make the node for one more client; None if there are too many."""
        if len(self._actors) >= MOST_CLIENTS:
            why = f"there are {MOST_CLIENTS} clients already"
            self._refused.tell(self.address, address, why)
            return None
        actor = Actor(self, next(self._numbers))
        self._actors.add(actor)
        return actor

    def actor_gone(self, actor: Actor) -> None:
        """Take note that a client has left."""
        self._actors.discard(actor)
        account = actor.account
        LOG.info(
            "[#{session} {client}] replayed: {account}",
            session=actor.number,
            client=str(actor.address),
            account=account,
        )
        self._save()
        self.ended(actor.number, account)
        if not self._actors:
            waiting, self._empty = self._empty, []
            for each in waiting:
                each.callback(None)

    def note_unknown(self, question: Message) -> None:
        """Take note of an unknown question."""
        self._unknown_size += len(question.raw)
        if len(self.unknown) < MOST_UNKNOWN and self._unknown_size < MOST_UNKNOWN_BYTES:
            self.unknown.append(question)

    def learn(self, question: Message, answers: Sequence[Message]) -> None:
        """Add a question and its answers to the conversation, for all who ask it from now on."""
        for message in (question, *answers):
            self.answers.take(message, self.now())
        self.learned += 1 + len(answers)

    def _save(self) -> None:
        """Write what was learned; a disk that refuses it costs no client anything."""
        if self._save_to is None or self._saved == self.learned:
            return
        try:
            save(self.conversation, self._save_to)
        except CaptureError as error:
            LOG.error("what was learned is not saved: {error}", error=str(error))
            return
        new, self._saved = self.learned - self._saved, self.learned
        LOG.info("{path}: {new} new messages", path=str(self._save_to), new=new)


class _Clients(Factory):
    noisy = False

    def __init__(self, server: ReplayServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._server.new_actor(str(getattr(addr, "host", "")))
