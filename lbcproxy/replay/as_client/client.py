"""A recorded client played against a real node: the connection around its script."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, connect, reason_of
from lbcproxy.replay.as_client.pace import CAUSAL, Pace
from lbcproxy.replay.as_client.script import ClientScript
from lbcproxy.replay.comparing.difference import Report
from lbcproxy.replay.comparing.ignored_fields import Ignored
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
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
    UpstreamConnected,
)
from lbcproxy.text import printable

__all__ = ["ReplayClient", "ReplayFailed"]

HOW = {
    EndCause.CLOSED: "the node closed the connection",
    EndCause.RESET: "the node broke the connection off",
}
"""What a report says of a node that ended the connection."""
LINGER = 5.0
"""Seconds in which a node may read the last words."""


class ReplayFailed(LbcproxyError):
    """There was no connection to play on; the text says to whom and why."""


class ReplayClient:
    """Plays the client of a conversation to the node at an address, once.

    ```python
    report = await ReplayClient(reactor, load("sync.pcapng"), Endpoint("127.0.0.1", 18444)).run()
    assert report.same, str(report)
    ```
    `timeout` is how long to wait for the connection, and for each answer, in seconds of `reactor`;
    `now` gives the time of day in nanoseconds. Observers are told of the live conversation as of a
    session of a proxy. With `pace=STEP`, `ask` is called with each message before it is sent, and
    `step` sends it.
    """

    def __init__(
        self,
        reactor: Any,
        conversation: Conversation,
        address: Endpoint,
        *,
        ignored: Ignored | None = None,
        pace: Pace = CAUSAL,
        timeout: float = 10.0,
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
        self.script = ClientScript(conversation, ignored or Ignored(), pace=pace, timeout=timeout)
        self._peer = RelayPeer(self)
        self._connecting: Deferred[Any] | None = None
        self._info: SessionInfo | None = None
        self._alarm: Any = None
        self._asked: int | None = None
        self._pumping = self._parting = False
        self._end: End | None = None
        self._over: Deferred[None] = Deferred()

    async def run(self, deadline: float | None = None) -> Report:
        """Connect, play, part, and say what differs; raises ReplayFailed without a connection.

        `deadline` is in seconds from now: what has not been played then is left.
        """
        limit = None if deadline is None else self._reactor.callLater(deadline, self.stop)
        try:
            if await self._connect():
                await self._over
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        return self.script.report()

    def step(self) -> None:
        """Send the message that `ask` was called with."""
        self._asked = None
        self.script.step()
        self._go_on()

    def stop(self) -> None:
        """End here; the report is of what was played."""
        self._ends_by(End(EndCause.STOPPED, detail="stopped"))
        self.script.stop()
        if self._peer.is_open:
            self._go_on()
        elif self._connecting is not None:
            self._connecting.cancel()

    def abort(self) -> None:
        """End at once."""
        self.stop()
        self._peer.abort()

    async def _connect(self) -> bool:
        """Connect; False if it was stopped before."""
        if self.script.done:
            return False
        endpoint = client_endpoint(self._reactor, self._address, self._timeout + 1)
        self._connecting = connect(endpoint, self._peer)
        self._connecting.addTimeout(self._timeout, self._reactor)  # of a name's look-up as well
        where = printable(str(self._address))
        try:
            await self._connecting
        except (TooLate, ConnectingCancelledError):
            if not self.script.done:
                raise ReplayFailed(f"{where}: no connection in {self._timeout:g} s") from None
        except CONNECT_ERRORS as error:
            raise ReplayFailed(f"{where}: {reason_of(error)}") from None
        return self._info is not None

    # What the peer tells.

    def peer_connected(self, peer: RelayPeer) -> None:
        """Begin."""
        self._guard(self._begin, peer)

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Hear what the node says, and go on."""
        self._guard(self._hear, data)

    def peer_finished(self, peer: RelayPeer) -> None:
        """End: a node that closes its half wants nothing more."""
        self._guard(self._ended, EndCause.CLOSED)
        self._close()

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Say that it is over."""
        broke = reset and not peer.aborted
        self._guard(self._ended, EndCause.RESET if broke else EndCause.CLOSED)
        self._disarm()
        self._guard(self._sum_up)
        if not self._over.called:
            self._over.callback(None)

    def peer_full(self, peer: RelayPeer) -> None:
        """Nothing: it is asked before each message."""

    def peer_drained(self, peer: RelayPeer) -> None:
        """Go on."""
        self._go_on()

    # The play.

    def _guard(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call something; what it raises is a defect, which `run` raises, and no divergence."""
        try:
            call(*arguments)
        except Exception:
            if not self._over.called:
                self._over.errback(Failure())
            self._peer.abort()

    def _go_on(self) -> None:
        self._guard(self._pump)

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
        self.script.begin(self._reactor.seconds())
        self._pump()

    def _hear(self, data: bytes) -> None:
        now = self._now()
        deliveries = self.script.receive(data, self._reactor.seconds(), now)
        self._tell(Direction.TO_CLIENT, deliveries, now)
        self._pump()

    def _pump(self) -> None:
        """Send what is to be sent, and be woken when more may be."""
        if self._pumping or self._parting or self._info is None or not self._peer.is_open:
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
                self._tell(Direction.TO_UPSTREAM, deliveries, now)
        finally:
            self._pumping = False
        self._disarm()
        if self.script.done:
            self._ends_by(End(EndCause.PLAYED))
            self._finish(Direction.TO_UPSTREAM)
            self._close()
            return
        if (message := self.script.next_step) is not None and self._asked != self.script.place:
            self._asked = self.script.place
            self._ask(message)
        deadline = self.script.deadline(self._reactor.seconds())
        if deadline is not None and not self._peer.full:
            wait = max(0.0, deadline - self._reactor.seconds())
            self._alarm = self._reactor.callLater(wait, self._go_on)

    def _close(self) -> None:
        """Close in order; cut the connection if the node does not read the last words in time."""
        self._parting = True
        self._disarm()
        self._peer.close()
        if self._peer.is_open:
            self._alarm = self._reactor.callLater(LINGER, self._peer.abort)

    def _ends_by(self, end: End) -> None:
        """Take note of why the session ends, and tell it; of several reasons the first stays."""
        if self._end is not None:
            return
        self._end = end
        if self._info is not None:
            self._notify(SessionEnding(self._info, end, self._now()))

    def _ended(self, cause: EndCause) -> None:
        now = self._now()
        if self._end is not None or self._info is None:
            return
        self._tell(Direction.TO_CLIENT, self.script.closed(now, HOW[cause]), now)
        self._ends_by(End(cause, Direction.TO_CLIENT))
        if cause is EndCause.RESET:
            self._notify(SessionReset(self._info, Direction.TO_CLIENT, now))
        else:
            self._finish(Direction.TO_CLIENT)

    def _finish(self, direction: Direction) -> None:
        assert self._info is not None
        self._notify(DirectionClosed(self._info, direction, self._now()))

    def _sum_up(self) -> None:
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

    def _tell(self, direction: Direction, deliveries: Sequence[Delivery], now: int) -> None:
        if deliveries and self._info is not None:
            self._notify(Delivered(self._info, direction, deliveries, now))

    def _notify(self, event: SessionEvent) -> None:
        for observer in self._session_observers:
            observer.handle(event)

    def _disarm(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
