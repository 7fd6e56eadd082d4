"""A live node that answers the requests that the recording has no response to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer import NonceCache, Peer, PeerConfig
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, connect, reason_of
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.reactor import Reactor
from lbcproxy.replay.as_server.chain import BlockChain
from lbcproxy.replay.as_server.request_matcher import PendingRequest, RequestMatcher
from lbcproxy.session import Direction, Message

__all__ = ["ANSWER_TIMEOUT", "Upstream"]

LOG = Logger(namespace="lbcproxy.replay", observer=LOG_FILTER)
ANSWER_TIMEOUT = 10.0
"""Seconds to wait for a connection, and for the response to a request."""


class Upstream:
    """A connection to a node, opened for the first request, and again if it is lost.

    The caller must await a response before the next request.

    Args:
        reactor: Twisted's reactor.
        address: The node.
        config: The config of the client's side.
        chain: The recorded chain, for matching responses.
        speaks: The direction of the node's messages.
    """

    def __init__(
        self,
        reactor: Reactor,
        address: Endpoint,
        config: PeerConfig,
        chain: BlockChain,
        speaks: Direction,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._config = config
        self._chain = chain
        self._speaks = speaks
        self._peer: Peer | None = None
        self._matcher = RequestMatcher(chain)
        self._waiting: _PendingAnswer | None = None

    async def ask(self, request: Message) -> tuple[list[Message], int]:
        """Return the node's responses to a request, and the number of parts that they answer.

        No responses and 0 if it cannot be reached or does not respond in time; the reason is
        logged.
        """
        try:
            peer = await self._connected()
        except (*CONNECT_ERRORS, LbcproxyError) as error:
            why = reason_of(error)
            LOG.warn("cannot ask {where}: {why}", where=str(self._address), why=why)
            return [], 0
        waiting = self._waiting = _PendingAnswer(self._matcher.add_request(request))
        late = self._reactor.callLater(ANSWER_TIMEOUT, waiting.end)
        lost = peer.when_disconnected().addBoth(waiting.end)
        peer.forward(request.command, request.raw)
        await waiting.done
        self._waiting = None
        lost.cancel()
        if late.active():
            late.cancel()
        if waiting.over < len(waiting.asked):
            LOG.warn(
                "{where} has not answered {command}",
                where=str(self._address),
                command=request.command,
            )
        return waiting.answers, waiting.over

    def close(self) -> None:
        """Close the connection."""
        if self._peer is not None:
            self._peer.disconnect("the client has left")

    async def _connected(self) -> Peer:
        if self._peer is not None and self._peer.is_ready:
            return self._peer
        self._matcher = RequestMatcher(self._chain)
        peer = self._peer = Peer(
            self._config,
            inbound=False,
            clock=self._reactor,
            callbacks=_UpstreamCallbacks(self),
            nonces=NonceCache(),
            receives=self._speaks,
        )
        await connect(client_endpoint(self._reactor, self._address, ANSWER_TIMEOUT), peer)
        await peer.when_ready()
        return peer

    def received(self, message: Message) -> None:
        """Process a message of the node; unsolicited ones are ignored."""
        waiting = self._waiting
        if waiting is None:
            return
        answered = self._matcher.match_answer(message, len(waiting.answers))
        if any(each in waiting.asked for each in answered):
            waiting.answers.append(message)
            if waiting.over == len(waiting.asked):
                # Messages that belong to the last response may follow in the same read.
                self._reactor.callLater(0, waiting.end)


class _PendingAnswer:
    """A request that was sent to the node."""

    def __init__(self, asked: list[PendingRequest]) -> None:
        self.asked = asked
        self.answers: list[Message] = []
        self.done: Deferred[None] = Deferred()

    @property
    def over(self) -> int:
        """Number of its parts that are answered."""
        return sum(each.over for each in self.asked)

    def end(self, _: object = None) -> None:
        """Stop waiting."""
        if not self.done.called:
            self.done.callback(None)


class _UpstreamCallbacks:
    """The callbacks of the peer."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def on_message(self, _: Peer, message: Message) -> None:
        self._upstream.received(message)
