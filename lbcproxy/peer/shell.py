"""The shell of a peer: joins the core to a Twisted connection, a clock and the user's callbacks.

It takes no decision: it does what the core answers, in order, one message at a time.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.caches import PROCESS_NONCES, NonceCache
from lbcproxy.peer.callbacks import check_callbacks
from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.peer.connection import Connection
from lbcproxy.peer.core import CALLBACK, PeerCore
from lbcproxy.peer.effects import Deliver, Effect, End, Gone, Note, Read, Ready, Resolve, Write
from lbcproxy.peer.log import PeerLog
from lbcproxy.peer.wakeup import Wakeup
from lbcproxy.session import Direction, EndCause, Message

__all__ = ["PeerClosed", "Shell"]

_ids = itertools.count(1)


class PeerClosed(LbcproxyError):
    """The connection ended before what was waited for; the text says why."""


class Shell(Connection):
    """What `Peer` does by itself; see there for the arguments."""

    def __init__(
        self,
        config: PeerConfig,
        *,
        clock: Any,
        inbound: bool = True,
        callbacks: object = None,
        address: str = "",
        nonces: NonceCache = PROCESS_NONCES,
        wall: Callable[[], float] = time.time,
        receives: Direction = Direction.TO_CLIENT,
    ) -> None:
        super().__init__()
        if config.policy is Policy.TRANSPARENT:
            raise TypeError("a transparent peer is a RelayPeer")
        self.config = config
        self._callbacks = callbacks
        self._clock = clock
        self._wall = wall
        self._given_address = Endpoint.parse(address) if address else None
        self._log = PeerLog(self)
        self._tickets: dict[int, Deferred[bool]] = {}
        self._ticket = itertools.count(1)
        self._ready_waiters: list[Deferred[Any]] = []
        self._gone_waiters: list[Deferred[str]] = []
        self._effects: deque[Effect] = deque()
        self._pumping = False
        self._alarm: Wakeup | None = None
        self._heard = 0.0
        self._cut: Any = None
        self._gone = False
        self.connected_at: float | None = None
        """The time of day at which the connection was there."""
        self._inbound = inbound
        check_callbacks(callbacks)
        self.core = PeerCore(
            config,
            inbound=inbound,
            nonces=nonces,
            new_id=lambda: next(_ids),
            wall=wall,
            receives=receives,
        )
        """What decides."""

    def __str__(self) -> str:
        return f"{self.address} ({'inbound' if self._inbound else 'outbound'})"

    @property
    def address(self) -> Endpoint:
        """The node's address: as given, else the transport's."""
        return self._given_address or super().address

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that nobody has begun to end."""
        return self.is_open and not self.core.closed

    # The life of a peer.

    def disconnect(
        self, why: str = "disconnected by us", cause: EndCause = EndCause.STOPPED
    ) -> None:
        """End the connection. What waits in the queue is given up; may be called again."""
        if self.core.closed:
            return
        gone = [Gone()] if self.transport is None else []
        self._do([*self.core.close(why, cause), *gone])

    def when_ready(self) -> Deferred[Any]:
        """Give a Deferred of one's own that fires when the handshake is done.

        It fails with PeerClosed if the connection ends before.
        """
        if self.core.ready:
            return succeed(self)
        if self.core.closed:
            return fail(PeerClosed(self.core.closed))
        return _waiter(self._ready_waiters)

    def when_disconnected(self) -> Deferred[str]:
        """Give a Deferred of one's own that fires with the reason when the connection is gone."""
        core = self.core
        return succeed(core.closed) if self._gone else _waiter(self._gone_waiters)

    # What the connection tells.

    def opened(self) -> None:
        """Begin."""
        self.connected_at = self._wall()
        if self.core.closed:
            self.abort()
            return
        self._do(self.core.open(self._now(), self.address))

    def received(self, data: bytes) -> None:
        """Take bytes in."""
        if not self.core.closed:
            self._heard = self._now()
            self.core.feed(data)
            self._pump()

    def finished(self) -> None:
        """End: a node that closes its half wants nothing more."""
        self._do(self.core.close("closed by the node", EndCause.CLOSED))
        self.close()

    def closed(self, *, reset: bool) -> None:
        """Tell everybody who waits."""
        why = "connection lost" if reset else "closed by the node"
        cause = EndCause.RESET if reset else EndCause.CLOSED
        self._do([*self.core.close(why, cause), Gone()])

    def filled(self) -> None:
        """Hold messages back."""
        self.core.sender.filled(self._now())
        self._arm()

    def drained(self) -> None:
        """Send on."""
        self.core.sender.drained()
        self._pump()

    def pause(self, reason: str) -> None:
        """Stop reading for a reason; the node is not blamed for what it cannot tell us then."""
        super().pause(reason)
        self.core.away(self._now(), reason)

    def resume(self, reason: str) -> None:
        """Take a reason back; reading goes on when there is none left."""
        super().resume(reason)
        self.core.back(self._now(), reason)
        self._arm()

    # The shell itself.

    def _now(self) -> float:
        return float(self._clock.seconds())

    def _do(self, effects: Sequence[Effect]) -> None:
        """Do what the core answered, behind what it answered before."""
        self._effects += effects
        self._pump()

    def _pump(self) -> None:
        """Let the core go on as far as it can; one loop, however deep the callbacks call."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while True:
                if self._effects:
                    self._perform(self._effects.popleft())
                elif effects := self.core.flush(self._now()):
                    self._effects += effects
                elif self.core.pending:
                    self._effects += self.core.step(self._now())
                else:
                    break
        finally:
            self._pumping = False
        self._arm()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Write):
            self._log.sending(effect.record, effect.raw)
            self.write(effect.raw)
            self._call("on_write", len(effect.raw), effect.record)
        elif isinstance(effect, Resolve):
            self._resolve(effect)
        elif isinstance(effect, Read):
            self._was_read(effect)
        elif isinstance(effect, Deliver):
            self._deliver(effect.message)
        elif isinstance(effect, Note):
            self._log.note(effect)
        elif isinstance(effect, Ready):
            self._became_ready()
        elif isinstance(effect, End):
            self._end()
        else:
            self._ended(self.core.closed)

    def _was_read(self, effect: Read) -> None:
        """Tell who wants to know what was read."""
        self._log.received(effect)
        self._call("on_read", effect.size, effect.message, effect.error)

    def _resolve(self, effect: Resolve) -> None:
        deferred = self._tickets.pop(effect.ticket, None)
        if not self._tickets:
            self._tickets.clear()  # gives back the memory of a long queue
        if deferred is None:
            return
        if effect.error is not None:
            deferred.errback(Failure(effect.error))
        else:
            deferred.callback(effect.sent)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a callback, if there is one; what it raises costs this peer its connection."""
        callback = getattr(self._callbacks, name, None)
        if callback is None:
            return None
        try:
            return callback(self, *arguments)
        except Exception as error:
            self._callback_failed(name, Failure(error))
            return None

    def _callback_failed(self, name: str, failure: Failure) -> None:
        self._log.failure(name, failure)
        self.disconnect(f"{name} raised {failure.getErrorMessage()}", EndCause.FAILURE)

    def _deliver(self, message: Message) -> None:
        """Call the callbacks of a message, and go on when they are done."""
        calls = [("on_message", message), (f"on_{message.command}", message.record)]
        self._deliver_next(calls, None)

    def _deliver_next(self, calls: list[tuple[str, Any]], answer: Any) -> None:
        while calls and not self.core.closed:
            name, argument = calls.pop(0)
            answer = self._call(name, argument)
            if inspect.isawaitable(answer):
                self.pause(CALLBACK)
                waiting: Deferred[Any] = Deferred.fromCoroutine(_awaited(answer))
                waiting.addCallbacks(
                    lambda value: self._deliver_next(calls, value),
                    lambda failure, name=name: self._callback_failed(name, failure),
                )
                return
        self.resume(CALLBACK)
        self._do(self.core.delivered(answer, self._now()))

    def _became_ready(self) -> None:
        self._call("on_ready")
        waiters, self._ready_waiters = self._ready_waiters, []
        for waiter in waiters:
            waiter.callback(self)

    def _end(self) -> None:
        """Close in order; cut the connection if the node does not read the last words in time."""
        self._disarm()
        if self.is_open:
            self.close()
            if self.is_open:
                self._cut = self._clock.callLater(self.config.timeouts.close, self.abort)

    def _ended(self, why: str) -> None:
        """Run once, behind everything: cancel, then tell who waits for ready, then for the end."""
        if self._gone:
            return
        self._gone = True
        self._disarm()
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        ready, self._ready_waiters = self._ready_waiters, []
        gone, self._gone_waiters = self._gone_waiters, []
        for each in ready:
            each.errback(Failure(PeerClosed(why)))
        for waiter in gone:
            waiter.callback(why)
        self._call("on_disconnected", why)

    def _arm(self) -> None:
        """Be woken when something is due; a wake-up that is early enough is left as it is."""
        deadline = self.core.deadline
        if deadline is None:
            self._disarm()
            return
        if self._alarm is not None:
            if self._alarm.at <= deadline:
                return
            self._alarm.cancel()
        self._alarm = Wakeup(self._clock, deadline, lambda: self._heard, self._wake)

    def _wake(self, came_meanwhile: bool) -> None:
        self._alarm = None
        self._do(self.core.tick(self._now(), late=came_meanwhile))

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None


def _waiter(waiters: list[Deferred[Any]]) -> Deferred[Any]:
    """Give a Deferred that can be cancelled without harm to the others."""
    deferred: Deferred[Any] = Deferred(waiters.remove)
    waiters.append(deferred)
    return deferred


async def _awaited(answer: Any) -> Any:
    return await answer
