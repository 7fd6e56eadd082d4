"""A live node that is asked what the recording does not know."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer import NonceCache, Peer, PeerConfig
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, connect, reason_of
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.replay.as_server.chain import Chain
from lbcproxy.replay.as_server.request_matcher import Asked, Pairing
from lbcproxy.session import Direction, Message

__all__ = ["PATIENCE", "Upstream"]

LOG = Logger(namespace="lbcproxy.replay", observer=LOG_FILTER)
PATIENCE = 10.0
"""Seconds for a connection, and for the answer to a question."""


class Upstream:
    """A connection to a node, made at the first question, and again if it is lost.

    Who asks waits for the answer before the next question. `speaks` is the direction that the
    node's messages have.
    """

    def __init__(
        self, reactor: Any, address: Endpoint, config: PeerConfig, chain: Chain, speaks: Direction
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._config = config
        self._chain = chain
        self._speaks = speaks
        self._peer: Peer | None = None
        self._pairing = Pairing(chain)
        self._waiting: _Waiting | None = None

    async def ask(self, question: Message) -> tuple[list[Message], int]:
        """Return the node's answers to a question, and how many of its parts they answer.

        None of both if it cannot be reached or does not answer in time; why is logged.
        """
        try:
            peer = await self._connected()
        except (*CONNECT_ERRORS, LbcproxyError) as error:
            why = reason_of(error)
            LOG.warn("cannot ask {where}: {why}", where=str(self._address), why=why)
            return [], 0
        waiting = self._waiting = _Waiting(self._pairing.asked(question))
        late = self._reactor.callLater(PATIENCE, waiting.end)
        lost = peer.when_disconnected().addBoth(waiting.end)
        peer.forward(question.command, question.raw)
        await waiting.done
        self._waiting = None
        lost.cancel()
        if late.active():
            late.cancel()
        if waiting.over < len(waiting.asked):
            LOG.warn(
                "{where} has not answered {command}",
                where=str(self._address),
                command=question.command,
            )
        return waiting.answers, waiting.over

    def close(self) -> None:
        """Let the connection go."""
        if self._peer is not None:
            self._peer.disconnect("the client has left")

    async def _connected(self) -> Peer:
        if self._peer is not None and self._peer.is_ready:
            return self._peer
        self._pairing = Pairing(self._chain)
        peer = self._peer = Peer(
            self._config,
            inbound=False,
            clock=self._reactor,
            callbacks=_Callbacks(self),
            nonces=NonceCache(),
            receives=self._speaks,
        )
        await connect(client_endpoint(self._reactor, self._address, PATIENCE), peer)
        await peer.when_ready()
        return peer

    def heard(self, message: Message) -> None:
        """Take what the node says; what nobody asked it for is let go."""
        waiting = self._waiting
        if waiting is None:
            return
        answered = self._pairing.said(message, len(waiting.answers))
        if any(each in waiting.asked for each in answered):
            waiting.answers.append(message)
            if waiting.over == len(waiting.asked):
                # What belongs to the last answer may follow in the same read.
                self._reactor.callLater(0, waiting.end)


class _Waiting:
    """A question that was put to the node."""

    def __init__(self, asked: list[Asked]) -> None:
        self.asked = asked
        self.answers: list[Message] = []
        self.done: Deferred[None] = Deferred()

    @property
    def over(self) -> int:
        """How many of its parts are answered."""
        return sum(each.over for each in self.asked)

    def end(self, _: object = None) -> None:
        """Wait no longer."""
        if not self.done.called:
            self.done.callback(None)


class _Callbacks:
    """What the peer calls."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def on_message(self, _: Peer, message: Message) -> None:
        self._upstream.heard(message)
