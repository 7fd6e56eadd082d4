"""A relay: one session of the proxy, which joins a client's connection to one to the upstream.

It does three things, and everything that a session does to sockets is here:

- It connects: it dials the upstream. What the client sends in the meantime is kept (early data).
- It forwards: bytes from one leg go to the forwarder (`forwarding.py`), which calls `send_on` with
  what to write to the other leg. Reading stops while the other side cannot take more.
- It closes: as one leg ends (in order, half-closed, reset), so does the other, after everything
  that was received before has been sent.

The inspector reads what passes and notifies the observers, such as the recorder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault, StreamEnd
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.dial import CONNECT_ERRORS, connect
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy.connector import unreachable
from lbcproxy.proxy.deadlines import Deadlines, silence
from lbcproxy.proxy.early_data import EarlyData
from lbcproxy.proxy.fault_pipe import FaultPipes
from lbcproxy.proxy.forwarding import choose_forwarder
from lbcproxy.proxy.graceful_close import GracefulClose
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.plugin_host import chain_for
from lbcproxy.proxy.settings import Answer, RelaySettings, Runtime, SessionOwner, no_answer
from lbcproxy.session import Delivery, Direction, End, EndCause, Session, SessionInfo
from lbcproxy.session.end import STOPPED, STOPPED_AT_ONCE

__all__ = ["Relay"]


class Relay:
    """One session: two legs, and what passes between them.

    Args:
        number: The number of the session.
        settings: What the operator decided.
        runtime: What the session uses while it runs: clock, observers, budget.
        owner: Is told when the session has ended.
        answer: Returns what to send the client when dialling is over, such as a SOCKS reply, from
            our address on the upstream leg or from the error. It is not part of the traffic.
        reached: The address that the client thinks it connected to, if that is not where we listen.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self,
        number: int,
        settings: RelaySettings,
        runtime: Runtime,
        owner: SessionOwner,
        *,
        answer: Answer = no_answer,
        reached: Endpoint | None = None,
    ) -> None:
        self.number = number
        self._settings = settings
        self._runtime = runtime
        self._owner = owner
        self._answer = answer
        self._reached = reached
        self.client = RelayPeer(self)
        self.upstream = RelayPeer(self)
        chain = chain_for(number, settings, runtime)
        self.session = Session(
            number,
            settings.network,
            client=self.client.side,
            upstream=self.upstream.side,
            numbers=runtime.numbers,
            stream_above=settings.stream_above,
            buffered_commands=chain.commands,
        )
        self._inspector = Inspector(
            self.session, runtime.observers, runtime.now, runtime.inspections, self.held_changed
        )
        self._forwarder = choose_forwarder(self, chain, self._inspector, settings, runtime)
        self._pipes = FaultPipes(self, runtime.clock, settings.seed, settings.faults)
        self._early = EarlyData()
        self._budgeted = 0  # bytes that the budget knows of
        self._half_closed: Deadlines | None = None
        self._dial = runtime.dial(settings.upstreams)
        self._dialling: Deferred[Any] | None = None
        self._finished: set[Direction] = set()
        self._closed: set[RelayPeer] = set()
        self._registered: dict[RelayPeer, tuple[Endpoint, ...]] = {}
        self._was_reset = self._stopped = False
        self._closing = GracefulClose(runtime.clock)
        self._deadlines = Deadlines(
            runtime.clock,
            handshake=settings.handshake_timeout,
            idle=settings.idle_timeout,
            end=partial(self._end, EndCause.TIMEOUT),
        )

    @property
    def held(self) -> int:
        """Bytes in memory: incomplete messages, early data, what plugins and faults hold."""
        waiting = self._early.size + self._forwarder.held + self._pipes.held
        return self.session.buffered_bytes + waiting

    def held_changed(self) -> None:
        """Tell the budget how much is held, if that has changed."""
        held = self.held
        if held != self._budgeted:
            self._budgeted = held
            self._runtime.budget.update(self)

    def reduce_memory(self) -> None:
        """Release incomplete messages unread; end the session if that does not help."""
        self._forwarder.reduce_memory()
        if self._early.take():
            self._end(EndCause.LIMIT, "too much waits for the upstream, for all sessions together")
        elif self._pipes.held:
            self._end(EndCause.LIMIT, "too much waits in faults, for all sessions together")

    def plugins_changed(self) -> None:
        """Use the plugins as their files are now."""
        self._forwarder.change(self._settings)

    def stop(self, end: End = STOPPED) -> None:
        """End the session: send what has been received, then close both legs."""
        self._inspector.ending(end)
        self._stopped = True
        if self._dialling is not None:
            self._dialling.cancel()
        self._pipes.release()
        for peer in (self.client, self.upstream):
            self._closing.close(peer, self._settings.stop_linger)

    def _end(self, cause: EndCause, detail: str) -> None:
        """End the session in order, for a reason of our own."""
        self.stop(End(cause, detail=detail))

    def abort(self) -> None:
        """End the session at once."""
        self._inspector.ending(STOPPED_AT_ONCE)
        self._was_reset = True
        self._record_unsent()
        self._pipes.stop()
        if self._dialling is not None:
            self._dialling.cancel()
        self.client.abort()
        self.upstream.abort()

    @property
    def listen(self) -> Endpoint:
        """Where clients of this session's proxy come in."""
        return self._settings.listen

    def leads_back(self) -> None:
        """End at once: the way from the client leads through its own listener again."""
        self._inspector.ending(End(EndCause.LOOP))
        self.abort()

    # Calls from the legs (`PeerOwner`).

    def peer_connected(self, peer: RelayPeer) -> None:
        """Dial the upstream when the client has connected."""
        if peer is self.client:
            self._inspector.started(
                SessionInfo(
                    number=self.number,
                    network=self._settings.network.id,
                    client=peer.address,
                    listen=peer.local_address,
                    upstream=self._settings.upstream,
                ),
                upstream_known=len(self._settings.upstreams) == 1,
            )
            reached = self._reached or peer.local_address
            if not self._register(peer, peer.address, reached):
                return
            self._forwarder.start(self._inspector.info)
            self._deadlines.start(self._is_ready)
            self._dialling = connect(self._dial, self.upstream)
            self._dialling.addCallbacks(self._joined, self._not_joined)

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Give bytes that arrived on a leg to the forwarder."""
        direction = self._direction(peer)
        other = self._other(peer)
        if other in self._closed:
            return  # nobody will ever get it
        self._deadlines.alive()
        if self._half_closed is not None:
            self._half_closed.alive()
        self._forwarder.received(direction, data)

    def peer_finished(self, peer: RelayPeer) -> None:
        """End the direction on the other leg too, after what plugins still hold."""
        self._forwarder.finished(self._direction(peer))

    # Calls from the forwarder (`Sender`).

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Write bytes to the receiver, or keep them until the upstream is connected."""
        receiver = self._receiver(direction)
        if receiver.is_open:
            self._pipes.to(receiver).write(data)
        elif receiver not in self._closed:  # the upstream, which is still being dialled
            self._early.add(data)
            self.held_changed()
            if self._early.is_full:
                self.client.pause("upstream")

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Tell the observers what the plugins decided about messages."""
        self._inspector.delivered(direction, deliveries)

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading from the sender of a direction, or continue."""
        sender = self._other(self._receiver(direction))
        (sender.pause if held else sender.resume)("plugins")

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver of a direction reads less than is sent."""
        return self._receiver(direction).full

    def finish_on(self, direction: Direction) -> None:
        """End a direction on the other leg too."""
        if direction in self._finished:
            return
        peer = self._other(self._receiver(direction))
        self._finished.add(direction)
        if self._dialling is None:  # otherwise the upstream may yet turn out to be unreachable
            self._inspector.ending(End(EndCause.CLOSED, direction))
        self._inspector.finished(direction)
        if peer in self._closed:
            self._close_after_faults(self._other(peer))
        if len(self._finished) == len(Direction):
            for each in (self.client, self.upstream):
                self._close_after_faults(each)
        else:
            self._pipes.after(self._other(peer), self._other(peer).finish)
            # A node that has been disconnected cannot keep the session open by staying silent.
            self._half_closed = silence(self._runtime.clock, self._settings.linger, self.stop)

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Close the other leg in the same way."""
        self._closed.add(peer)
        self._pipes.forget(peer)
        if peer in self._registered:
            dialler, listener = self._registered.pop(peer)
            self._runtime.loop_guard.remove(dialler, listener, dialled=peer is self.upstream)
        direction, other = self._direction(peer), self._other(peer)
        if reset and not peer.aborted and not self._was_reset:
            self._was_reset = True
            self._inspector.ending(End(EndCause.RESET, direction))
            self._record_unsent()
            self._inspector.reset(direction)
            linger = self._settings.linger
            if self._pipes.after(other, partial(self._closing.abort_soon, other, linger)):
                self._closing.later(linger, other.abort)
        elif not self._was_reset:
            self.peer_finished(peer)
            if direction in self._finished:  # otherwise plugins still hold something
                self._close_after_faults(other)
        if self._dialling is not None:
            self._dialling.cancel()
        self._end_if_closed()

    def peer_full(self, peer: RelayPeer) -> None:
        """Stop reading from the other side: this one cannot take more."""
        self._other(peer).pause("full")

    def peer_drained(self, peer: RelayPeer) -> None:
        """Continue reading; or reset, if this was all that the other side sent before its reset."""
        if peer is self._closing.breaking:
            peer.abort()
        self._pipes.go_on(peer)
        if not peer.full:
            self._other(peer).resume("full")

    # Faults.

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Use other faults; what waits in the previous ones is not lost."""
        self._pipes.change(faults)
        self._settings = msgspec.structs.replace(self._settings, faults=tuple(faults))
        self.plugins_changed()

    def faults_moved(self) -> None:
        """Update the budget, and note that bytes still pass."""
        self._pipes.sweep()
        self.held_changed()
        if self._half_closed is not None:
            self._half_closed.alive()

    def fault_ended(self, target: RelayPeer, end: StreamEnd) -> None:
        """End the session as a fault demands: close one leg in order, or reset both."""
        self._inspector.ending(End(EndCause.FAULT, name=end.by))
        if not end.reset:
            self._closing.close(target, self._settings.linger)
        elif not self._was_reset:
            self._was_reset = True
            self._inspector.reset(self._direction(self._other(target)))
            self.client.abort()
            self.upstream.abort()

    # Dialling.

    def _joined(self, _peer: RelayPeer) -> None:
        """Send the early data, and continue reading."""
        self._dialling = None
        self._inspector.connected(self.upstream.local_address, self._dial.leads_to)
        if not self._register(self.upstream, self.upstream.local_address, self.upstream.address):
            return
        if answer := self._answer(self.upstream.local_address):
            self.client.write(answer)
        self._pipes.begin()
        for data in self._early.take():
            self._pipes.to(self.upstream).write(data)
        self.held_changed()
        self.client.resume("upstream")
        if Direction.TO_UPSTREAM in self._finished:
            self._inspector.ending(End(EndCause.CLOSED, Direction.TO_UPSTREAM))
            self._pipes.after(self.upstream, self.upstream.finish)

    def _not_joined(self, failure: Failure) -> None:
        """End the client's leg: with a reset, unless something else has ended it."""
        self._dialling = None
        self._closed.add(self.upstream)
        if not failure.check(*CONNECT_ERRORS):
            self.log.failure("session {number}: cannot dial", failure, number=self.number)
        assert failure.value is not None
        if self.client in self._closed:
            self._inspector.ending(End(EndCause.CLOSED, Direction.TO_UPSTREAM))
        elif not self._was_reset:
            self._inspector.ending(unreachable(failure.value))
            if not self._stopped:
                self._was_reset = True
                self._inspector.reset(Direction.TO_CLIENT)
            answer = self._answer(failure.value)
            self.client.write(answer)
            if answer or self._stopped:
                self._closing.close(self.client, self._settings.stop_linger)
            else:
                self.client.abort()
        self._end_if_closed()

    def _register(self, peer: RelayPeer, *ends: Endpoint) -> bool:
        """Register a connection; return False if it leads from this process back to itself."""
        dialler, listener = self._registered[peer] = ends
        known = self._runtime.loop_guard
        return known.add(dialler, listener, self, dialled=peer is self.upstream)

    # Closing.

    def _close_after_faults(self, peer: RelayPeer) -> None:
        """Close in order, after what waits in faults has been sent."""
        self._pipes.after(peer, partial(self._closing.close, peer, self._settings.linger))

    def _record_unsent(self) -> None:
        """Record what will not be sent any more."""
        self._forwarder.cut()
        self._inspector.cut()

    def _end_if_closed(self) -> None:
        if self.client not in self._closed or not self._inspector.running:
            return
        if self.upstream not in self._closed and self.upstream.is_open:
            return
        self._closing.stop()
        self._deadlines.stop()
        self._record_unsent()
        self._forwarder.end(self._inspector.why)
        self._pipes.stop()
        if self._half_closed is not None:
            self._half_closed.stop()
        self._runtime.budget.forget(self)
        self._inspector.ended()
        self._owner.session_ended(self)

    def _is_ready(self) -> bool:
        self._inspector.catch_up()
        return self.session.is_ready

    def _direction(self, peer: RelayPeer) -> Direction:
        return Direction.TO_UPSTREAM if peer is self.client else Direction.TO_CLIENT

    def _receiver(self, direction: Direction) -> RelayPeer:
        return self.upstream if direction is Direction.TO_UPSTREAM else self.client

    def _other(self, peer: RelayPeer) -> RelayPeer:
        return self.upstream if peer is self.client else self.client
