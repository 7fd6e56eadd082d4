"""The shell of a peer: connects the core to a Twisted connection, a clock and the user's callbacks.

It decides nothing: it performs the core's effects, in order, one message at a time.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from lbcproxy.clock import Clock, DelayedCall
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.caches import NonceCache
from lbcproxy.peer.callbacks import CallbackDispatcher
from lbcproxy.peer.config import PeerConfig, Policy, Transport
from lbcproxy.peer.connection import Connection
from lbcproxy.peer.core import CALLBACK, PeerCore
from lbcproxy.peer.effects import (
    Deliver,
    Disconnect,
    Disconnected,
    Effect,
    Log,
    Read,
    Ready,
    Resolve,
    Write,
)
from lbcproxy.peer.liveness import Wakeup
from lbcproxy.peer.log import PeerLog
from lbcproxy.session import Direction, EndCause, Message
from lbcproxy.transport.events import Broken
from lbcproxy.transport.frames import AcceptingTransport, Carrier, FrameTransport

__all__ = ["PeerClosed", "Shell"]

T = TypeVar("T")

_ids = itertools.count(1)


class PeerClosed(LbcproxyError):
    """The connection ended before what was waited for happened. The text says why."""


class Waiters(Generic[T]):
    """Deferreds for one event, a separate one for each caller.

    One that is cancelled, or whose callbacks raise, does not affect the others.
    """

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []

    def add(self) -> Deferred[T]:
        """Return another Deferred."""
        deferred: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(deferred)
        return deferred

    def take(self) -> list[Deferred[T]]:
        """Return all that wait, and forget them."""
        waiting, self._waiting = self._waiting, []
        return waiting


class Shell(Connection):
    """Runs a core on a connection. `Peer`, its only direct subclass, documents the arguments."""

    def __init__(
        self,
        config: PeerConfig,
        *,
        clock: Clock,
        inbound: bool,
        callbacks: object,
        address: str,
        nonces: NonceCache,
        wall: Callable[[], float],
        receives: Direction,
    ) -> None:
        super().__init__(Endpoint.parse(address) if address else None)
        if config.policy is Policy.TRANSPARENT:
            raise TypeError("a transparent peer is a RelayPeer")
        self.config = config
        carrier = _carrier(config, inbound=inbound)
        if carrier is not None:
            self.carry_by(carrier)
        self.connected_at: float | None = None
        """The time of day at which the connection was established, in unix seconds."""
        self.core = PeerCore(
            config,
            inbound=inbound,
            nonces=nonces,
            new_id=lambda: next(_ids),
            wall=wall,
            direction=receives,
        )
        self._clock = clock
        self._wall = wall
        self._callbacks = CallbackDispatcher(self, callbacks, self._callback_failed)
        self._log = PeerLog(self)
        self._tickets: dict[int, Deferred[bool]] = {}
        self._ticket = itertools.count()
        self._ready_waiters: Waiters[Any] = Waiters()
        self._disconnect_waiters: Waiters[str] = Waiters()
        self._effects: deque[Effect] = deque()
        self._pumping = False
        self._wakeup: Wakeup | None = None
        self._last_read = 0.0
        self._abort_call: DelayedCall | None = None
        self._disconnected = False

    def __str__(self) -> str:
        return f"{self.address} ({'inbound' if self.core.inbound else 'outbound'})"

    @property
    def is_connected(self) -> bool:
        """Whether the connection is established and nobody has begun to end it."""
        return self.is_open and not self.core.closed

    # Requests of the user.

    def disconnect(
        self, why: str = "disconnected by us", cause: EndCause = EndCause.STOPPED
    ) -> None:
        """End the connection. Queued messages are not sent. Calling it again does nothing.

        Args:
            why: The reason for people, as `when_disconnected` returns it.
            cause: The reason for programs.
        """
        if self.core.closed:
            return
        gone = [Disconnected()] if self.transport is None else []
        self._apply([*self.core.close(why, cause), *gone])

    def when_ready(self) -> Deferred[Self]:
        """Return a Deferred, for this call only, that fires when the handshake is complete.

        It fails with `PeerClosed` if the connection ends before.
        """
        if self.core.ready:
            return succeed(self)
        if self.core.closed:
            return fail(PeerClosed(self.core.closed))
        return self._ready_waiters.add()

    def when_disconnected(self) -> Deferred[str]:
        """Return a Deferred, for this call only, that fires with why the connection is gone."""
        return succeed(self.core.closed) if self._disconnected else self._disconnect_waiters.add()

    # Events of the connection.

    def opened(self) -> None:
        """Begin."""
        self.connected_at = self._wall()
        if self.core.closed:
            self.abort()
            return
        self._apply(self.core.open(self._now(), self.address))

    def received(self, data: bytes) -> None:
        """Process bytes."""
        if not self.core.closed:
            self._last_read = self._now()
            self.core.feed(data)
            self._pump()

    def broken(self, broken: Broken) -> None:
        """End: the rest cannot be read."""
        self.disconnect(f"encrypted transport: {broken.detail}", EndCause.PROTOCOL)

    def finished(self) -> None:
        """End: a node that closes its half of the connection wants nothing more."""
        self._apply(self.core.close("closed by the node", EndCause.CLOSED))

    def closed(self, *, reset: bool) -> None:
        """Tell everyone who waits."""
        why = "connection lost" if reset else "closed by the node"
        cause = EndCause.RESET if reset else EndCause.CLOSED
        self._apply([*self.core.close(why, cause), Disconnected()])

    def filled(self) -> None:
        """Stop sending."""
        self.core.sender.filled(self._now())
        self._set_wakeup()

    def drained(self) -> None:
        """Continue to send."""
        self.core.sender.drained()
        self._pump()

    def pause(self, reason: str) -> None:
        """Stop reading, for a reason. The node is not blamed for its silence until then."""
        super().pause(reason)
        self.core.liveness.pause(reason, self._now())

    def resume(self, reason: str) -> None:
        """Remove a reason to stop reading. Reading continues when none is left."""
        super().resume(reason)
        self.core.liveness.resume(reason, self._now())
        self._set_wakeup()

    # Effects.

    def _now(self) -> float:
        return self._clock.seconds()

    def _apply(self, effects: Sequence[Effect]) -> None:
        """Perform the core's effects, after those that it returned before."""
        self._effects += effects
        self._pump()

    def _pump(self) -> None:
        """Run the core as far as it can go, in one loop however deeply callbacks call back."""
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
        self._set_wakeup()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Write):
            self._log.sending(effect.record, effect.raw)
            self.write(effect.raw)
            self._callbacks.call("on_write", len(effect.raw), effect.record)
        elif isinstance(effect, Resolve):
            self._resolve(effect)
        elif isinstance(effect, Read):
            self._was_read(effect)
        elif isinstance(effect, Deliver):
            self._deliver(effect.message)
        elif isinstance(effect, Log):
            self._log.write(effect)
        elif isinstance(effect, Ready):
            self._became_ready()
        elif isinstance(effect, Disconnect):
            self._close()
        else:
            self._finish()

    def _was_read(self, effect: Read) -> None:
        self._log.received(effect)
        self._callbacks.call("on_read", effect.size, effect.message, effect.error)

    def _resolve(self, effect: Resolve) -> None:
        deferred = self._tickets.pop(effect.ticket, None)
        if not self._tickets:
            self._tickets.clear()  # frees the memory of a long queue
        if deferred is None:
            return
        if effect.error is not None:
            deferred.errback(Failure(effect.error))
        else:
            deferred.callback(effect.sent)

    def _deliver(self, message: Message) -> None:
        """Call the callbacks of a message, and continue when they are done."""
        answer = self._callbacks.run(self._calls(message))
        if isinstance(answer, Deferred):
            self.pause(CALLBACK)
            answer.addCallbacks(self._delivered, lambda _: None)
        else:
            self._delivered(answer)

    def _calls(self, message: Message) -> Iterator[tuple[str, object]]:
        for call in (("on_message", message), (f"on_{message.command}", message.record)):
            if self.core.closed:
                return
            yield call

    def _delivered(self, answer: object) -> None:
        self.resume(CALLBACK)
        self._apply(self.core.delivered(answer, self._now()))

    def _callback_failed(self, name: str, failure: Failure) -> None:
        self._log.failure(name, failure)
        self.disconnect(f"{name} raised {failure.getErrorMessage()}", EndCause.FAILURE)

    def _became_ready(self) -> None:
        self._callbacks.call("on_ready")
        for waiter in self._ready_waiters.take():
            waiter.callback(self)

    def _close(self) -> None:
        """Close the connection; abort it if the node does not read what was sent in time."""
        self._cancel_wakeup()
        if self.is_open:
            self.close()
            if self.is_open:
                self._abort_call = self._clock.callLater(self.config.timeouts.close, self.abort)

    def _finish(self) -> None:
        """Cancel every timer, then tell who waits for ready, then who waits for the end. Once."""
        if self._disconnected:
            return
        self._disconnected = True
        why = self.core.closed
        self._cancel_wakeup()
        if self._abort_call is not None and self._abort_call.active():
            self._abort_call.cancel()
        ready, disconnected = self._ready_waiters.take(), self._disconnect_waiters.take()
        for each in ready:
            each.errback(Failure(PeerClosed(why)))
        for waiter in disconnected:
            waiter.callback(why)
        self._callbacks.call("on_disconnected", why)

    # Timers.

    def _set_wakeup(self) -> None:
        """Call the core when something is due. A call that comes early enough is kept."""
        deadline = self.core.deadline
        if deadline is None:
            self._cancel_wakeup()
            return
        if self._wakeup is not None:
            if self._wakeup.at <= deadline:
                return
            self._wakeup.cancel()
        self._wakeup = Wakeup(self._clock, deadline, lambda: self._last_read, self._tick)

    def _tick(self, late: bool) -> None:
        self._wakeup = None
        self._apply(self.core.tick(self._now(), late=late))

    def _cancel_wakeup(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
        self._wakeup = None


def _carrier(config: PeerConfig, *, inbound: bool) -> Carrier | None:
    """Return what carries the messages of a peer; None if nothing has to be done to them."""
    transport, magic = config.transport, config.network.magic
    if transport is Transport.V1 or (transport is Transport.AUTO and not inbound):
        return None
    if inbound:
        return AcceptingTransport(magic, only_v2=transport is Transport.V2)
    return FrameTransport(magic, initiating=True)
