"""Replays a recorded client against a real node: the connection that runs its script."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from lbcproxy.clock import DelayedCall
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.dial import (
    CONNECT_ERRORS,
    client_endpoint,
    connect,
    reason_of,
    transports_to_try,
)
from lbcproxy.reactor import Reactor
from lbcproxy.replay.as_client.leg import ClientLeg
from lbcproxy.replay.as_client.pace import CAUSAL, Pace
from lbcproxy.replay.as_client.script import ClientScript
from lbcproxy.replay.comparing.difference import ComparisonReport
from lbcproxy.replay.comparing.ignored_fields import IgnoredFields
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    LegTransport,
    Message,
    Observer,
    SessionInfo,
    SessionObserver,
    SessionSummary,
)
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    SessionReset,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.text import printable
from lbcproxy.transport.events import Broken
from lbcproxy.transport.kind import Transport

__all__ = ["ReplayClient", "ReplayFailed"]

CLOSE_REASONS = {
    EndCause.CLOSED: "the node closed the connection",
    EndCause.RESET: "the node reset the connection",
}
"""What a report says about a node that ended the connection."""
LINGER = 5.0
"""Seconds in which the node may read what was sent last."""


class ReplayFailed(LbcproxyError):
    """There was no connection to the node; the text has its address and the reason."""


class ReplayClient:
    """Plays the client of a conversation to the node at an address, once.

    ```python
    report = await ReplayClient(reactor, load("sync.pcapng"), Endpoint("127.0.0.1", 18444)).run()
    assert report.same, str(report)
    ```

    Args:
        reactor: Twisted's reactor.
        conversation: The recorded session.
        address: The node to connect to.
        ignored: The fields and commands that are not compared.
        pace: When messages are sent.
        timeout: Seconds to wait for the connection, and for each response.
        transport: V1, V2 for an encrypted connection (BIP324), or AUTO for V2 and then V1 if the
            node cannot encrypt.
        observers: Notified of the live session, like the observers of a proxy.
        ask: With `pace=STEP`, called with each message before it is sent; `step` sends it.
        now: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        reactor: Reactor,
        conversation: Conversation,
        address: Endpoint,
        *,
        ignored: IgnoredFields | None = None,
        pace: Pace = CAUSAL,
        timeout: float = 10.0,
        transport: Transport = Transport.V1,
        observers: Sequence[Observer] = (),
        ask: Callable[[Message], object] = lambda _: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._timeout = timeout
        self._observers = observers
        self._session_observers: list[SessionObserver] = []
        self._ask = ask
        self._now = now
        self._network = conversation.network
        self.script = ClientScript(
            conversation, ignored or IgnoredFields(), pace=pace, timeout=timeout
        )
        self._transports = transports_to_try(transport)
        self._peer = ClientLeg(self, self._network, self._transports[0])
        self._agreed: Deferred[bool] = Deferred()
        self._connecting: Deferred[object] | None = None
        self._info: SessionInfo | None = None
        self._timer: DelayedCall | None = None
        self._asked_for: int | None = None
        self._pumping = self._closing = False
        self._end: End | None = None
        self._finished: Deferred[None] = Deferred()

    async def run(self, deadline: float | None = None) -> ComparisonReport:
        """Connect, play the conversation, disconnect, and return the differences.

        Args:
            deadline: Seconds from now; messages that have not been played by then are left out.

        Raises:
            ReplayFailed: If there is no connection.
        """
        limit = None if deadline is None else self._reactor.callLater(deadline, self.stop)
        try:
            if await self._establish():
                await self._finished
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        return self.script.report()

    def step(self) -> None:
        """Send the message that `ask` was called with."""
        self._asked_for = None
        self.script.step()
        self._continue()

    def stop(self) -> None:
        """Stop; the report covers what was played so far."""
        self._set_end(End(EndCause.STOPPED, detail="stopped"))
        self.script.stop()
        if self._info is not None and self._peer.is_open:
            self._continue()
        elif self._peer.is_open:
            self._peer.close()
        elif self._connecting is not None:
            self._connecting.cancel()

    def abort(self) -> None:
        """Stop and abort the connection."""
        self.stop()
        self._peer.abort()

    async def _establish(self) -> bool:
        """Connect, encrypted if that is wanted; return False if it was stopped before."""
        for transport in self._transports:
            self._peer = ClientLeg(self, self._network, transport)
            self._agreed = Deferred()
            if not await self._connect():
                return False
            waiting = self._reactor.callLater(self._timeout, self._peer.abort)
            agreed = await self._agreed
            if waiting.active():
                waiting.cancel()
            if agreed or self._finished.called:
                return True
            if self.script.done:
                return False
        raise ReplayFailed(f"{printable(str(self._address))}: it does not encrypt (BIP324)")

    async def _connect(self) -> bool:
        """Connect; return False if it was stopped before."""
        if self.script.done:
            return False
        endpoint = client_endpoint(self._reactor, self._address, self._timeout + 1)
        self._connecting = connect(endpoint, self._peer)
        self._connecting.addTimeout(self._timeout, self._reactor)  # type: ignore[arg-type]  # covers name resolution too
        where = printable(str(self._address))
        try:
            await self._connecting
        except (TooLate, ConnectingCancelledError):
            if not self.script.done:
                raise ReplayFailed(f"{where}: no connection in {self._timeout:g} s") from None
        except CONNECT_ERRORS as error:
            raise ReplayFailed(f"{where}: {reason_of(error)}") from None
        return not self.script.done

    # Callbacks of the peer.

    def peer_connected(self, peer: RelayPeer) -> None:
        """Do nothing: the script starts when messages can be sent."""

    def peer_agreed(self, peer: RelayPeer) -> None:
        """Start the script."""
        self._call_safely(self._begin, peer)
        if not self._agreed.called:
            self._agreed.callback(True)

    def peer_broken(self, peer: RelayPeer, broken: Broken) -> None:
        """End: the rest cannot be read."""
        detail = f"encrypted transport: {broken.detail}"
        self._call_safely(self._peer_ended, End(EndCause.PROTOCOL, detail=detail), detail)
        self._close()

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Process data from the node, and continue."""
        self._call_safely(self._process, data)

    def peer_finished(self, peer: RelayPeer) -> None:
        """Close: a node that closes its sending side wants nothing more."""
        if not self._agreed.called:
            peer.close()
            return
        self._call_safely(self._connection_ended, EndCause.CLOSED)
        self._close()

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Report the end of the session, if it had begun."""
        if not self._agreed.called:
            self._agreed.callback(False)
            return
        broke = reset and not peer.aborted
        self._call_safely(self._connection_ended, EndCause.RESET if broke else EndCause.CLOSED)
        self._cancel_timer()
        self._call_safely(self._report_end)
        if not self._finished.called:
            self._finished.callback(None)

    def peer_full(self, peer: RelayPeer) -> None:
        """Do nothing: `full` is checked before each message."""

    def peer_drained(self, peer: RelayPeer) -> None:
        """Continue."""
        self._continue()

    # Playing the script.

    def _call_safely(self, call: Callable[..., None], *arguments: object) -> None:
        """Call a function; an exception is a defect, which `run` raises, not a difference."""
        try:
            call(*arguments)
        except Exception:
            if not self._finished.called:
                self._finished.errback(Failure())
            self._peer.abort()

    def _continue(self) -> None:
        self._call_safely(self._pump)

    def _begin(self, peer: RelayPeer) -> None:
        self._info = SessionInfo(
            number=1,
            network=self._network.id,
            client=peer.local_address,
            listen=self._address,
            upstream=self._address,
            local=peer.local_address,
        )
        found = (each.session_started(self._info) for each in self._observers)
        self._session_observers = [each for each in found if each is not None]
        self._notify(SessionStarted(self._info, self._now()))
        self._notify(UpstreamConnected(self._info, self._now()))
        self._report_transport(peer.leg_transport)
        self.script.begin(self._reactor.seconds())
        self._pump()

    def _report_transport(self, transport: LegTransport) -> None:
        assert self._info is not None
        if transport != LegTransport():
            self._info = msgspec.structs.replace(
                self._info, client_transport=transport, upstream_transport=transport
            )
            self._notify(TransportsAgreed(self._info, self._now()))

    def _process(self, data: bytes) -> None:
        now = self._now()
        deliveries = self.script.receive(data, self._reactor.seconds(), now)
        self._report_deliveries(Direction.TO_CLIENT, deliveries, now)
        self._pump()

    def _pump(self) -> None:
        """Send what is due, and schedule a call for when more may be."""
        if self._pumping or self._closing or self._info is None or not self._peer.is_open:
            return
        self._pumping = True
        try:
            while not self._peer.full:
                now = self._now()
                deliveries = self.script.send(self._reactor.seconds(), now)
                if not deliveries:
                    break
                for each in deliveries:
                    self._peer.write(each.raw)
                self._report_deliveries(Direction.TO_UPSTREAM, deliveries, now)
        finally:
            self._pumping = False
        self._cancel_timer()
        if self.script.done:
            self._set_end(End(EndCause.PLAYED))
            self._finish(Direction.TO_UPSTREAM)
            self._close()
            return
        if (
            message := self.script.next_step
        ) is not None and self._asked_for != self.script.position:
            self._asked_for = self.script.position
            self._ask(message)
        deadline = self.script.deadline(self._reactor.seconds())
        if deadline is not None and not self._peer.full:
            wait = max(0.0, deadline - self._reactor.seconds())
            self._timer = self._reactor.callLater(wait, self._continue)

    def _close(self) -> None:
        """Close the connection; abort it if the node does not read the rest in time."""
        self._closing = True
        self._cancel_timer()
        self._peer.close()
        if self._peer.is_open:
            self._timer = self._reactor.callLater(LINGER, self._peer.abort)

    def _set_end(self, end: End) -> None:
        """Record and report why the session ends; only the first reason counts."""
        if self._end is not None:
            return
        self._end = end
        if self._info is not None:
            self._notify(SessionEnding(self._info, end, self._now()))

    def _connection_ended(self, cause: EndCause) -> None:
        self._peer_ended(End(cause, Direction.TO_CLIENT), CLOSE_REASONS[cause])

    def _peer_ended(self, end: End, reason: str) -> None:
        now = self._now()
        if self._end is not None or self._info is None:
            return
        self._report_deliveries(Direction.TO_CLIENT, self.script.closed(now, reason), now)
        self._set_end(end)
        if end.cause is EndCause.RESET:
            self._notify(SessionReset(self._info, Direction.TO_CLIENT, now))
        else:
            self._finish(Direction.TO_CLIENT)

    def _finish(self, direction: Direction) -> None:
        assert self._info is not None
        self._notify(DirectionClosed(self._info, direction, self._now()))

    def _report_end(self) -> None:
        if self._info is None:
            return
        session = self.script.session
        summary = SessionSummary(
            info=self._info,
            end=self._end or End(EndCause.FAILURE),
            protocol_version=session.protocol_version,
            client=session.client.statistics(),
            upstream=session.upstream.statistics(),
        )
        self._notify(SessionEnded(summary, self._now()))

    def _report_deliveries(
        self, direction: Direction, deliveries: Sequence[Delivery], now: int
    ) -> None:
        if deliveries and self._info is not None:
            self._notify(Delivered(self._info, direction, deliveries, now))

    def _notify(self, event: SessionEvent) -> None:
        for observer in self._session_observers:
            observer.handle(event)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
