"""A relay: one session of the proxy, which joins a client's connection to one to the upstream.

- It connects: it dials the upstream. What the client sends in the meantime is kept.
- It forwards: bytes from one leg go to the forwarder (`forwarding.py`), those of encrypted legs as
  frames (`transports/`); what comes back from there is written to the other leg. The
  inspector reads what passes and notifies the observers, such as the recorder.
- It closes: as one leg ends (in order, half-closed, reset), so does the other, after everything
  that was received before has been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault, StreamEnd
from lbcproxy.peer import RelayPeer
from lbcproxy.plugins.delivery_queue import bytes_to_send
from lbcproxy.proxy.connector import unreachable
from lbcproxy.proxy.deadlines import Deadlines, silence
from lbcproxy.proxy.forwarding import Forwarder, choose_forwarder, translating
from lbcproxy.proxy.graceful_close import GracefulClose
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.loop_guard import GuardedConnections
from lbcproxy.proxy.plugin_host import chain_for
from lbcproxy.proxy.settings import Answer, RelaySettings, Runtime, SessionOwner, no_answer
from lbcproxy.proxy.transports import LegTransports, transports_of
from lbcproxy.proxy.upstream_dial import UpstreamDial
from lbcproxy.proxy.wires import Wires
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
        answer: Returns what to send the client when dialling is over, such as a SOCKS reply.
        reached: The address that the client thinks it connected to, if that is not where we listen.
    """

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
        self._reached = reached
        self._wires = Wires(self, settings, runtime, is_answered_first=answer is not no_answer)
        self._pipes = self._wires.pipes
        self.hold, self.is_full = self._wires.hold, self._wires.is_full
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
        self.notify_delivered = self._inspector.delivered
        self.forwarder = choose_forwarder(self, chain, self._inspector, settings, runtime)
        self._transports = transports_of(self, settings, runtime, self._inspector, self._wires)
        self._incoming: Forwarder | LegTransports = self._transports or self.forwarder
        self._budgeted = 0  # bytes that the budget knows of
        self._half_closed: Deadlines | None = None
        self._dial = UpstreamDial(self, settings, runtime, answer)
        self._finished: set[Direction] = set()
        self._connections = GuardedConnections(runtime.loop_guard, self)
        self._was_reset = self._stopped = False
        self._closing = GracefulClose(runtime.clock)
        self._deadlines = Deadlines(
            runtime.clock,
            handshake=settings.handshake_timeout,
            idle=settings.idle_timeout,
            end=lambda detail: self.stop(End(EndCause.TIMEOUT, detail=detail)),
        )

    @property
    def client(self) -> RelayPeer:
        """The connection of the client."""
        return self._wires.client

    @property
    def upstream(self) -> RelayPeer:
        """The connection to the upstream."""
        return self._wires.upstream

    @property
    def held(self) -> int:
        """Bytes in memory: incomplete messages, early data, what plugins and faults hold."""
        of_transports = 0 if self._transports is None else self._transports.held
        waiting = self._wires.held + of_transports + self.forwarder.held
        return self.session.buffered_bytes + waiting

    def held_changed(self) -> None:
        """Tell the budget how much is held, if that has changed."""
        held = self.held
        if held != self._budgeted:
            self._budgeted = held
            self._runtime.budget.update(self)

    def reduce_memory(self) -> None:
        """Release incomplete messages unread; end the session if that does not help."""
        self.forwarder.reduce_memory()
        if self._wires.early.take():
            self.stop(_out_of_memory("for the upstream"))
        elif self._transports is not None and self._transports.held > self.held // 2:
            self.stop(_out_of_memory("in packets"))
        elif self._pipes.held:
            self.stop(_out_of_memory("in faults"))

    def plugins_changed(self) -> None:
        """Use the plugins as their files are now."""
        self.forwarder.change(self._settings)

    def stop(self, end: End = STOPPED) -> None:
        """End the session: send what has been received, then close both legs."""
        self._inspector.ending(end)
        self._stopped = True
        self._dial.cancel()
        self._pipes.release()
        for peer in (self.client, self.upstream):
            self._closing.close(peer, self._settings.stop_linger)

    def abort(self) -> None:
        """End the session at once."""
        self._inspector.ending(STOPPED_AT_ONCE)
        self._was_reset = True
        self._record_unsent()
        self._pipes.stop()
        self._dial.cancel()
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
            if not self._connections.add(peer, peer.address, reached, dialled=False):
                return
            self.forwarder.start(self._inspector.info)
            self._deadlines.start(self._is_ready)
            self._dial.start(self.upstream)

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Give bytes that arrived on a leg to the forwarder, as frames."""
        direction = self._wires.direction(peer)
        if self._wires.is_replaced(peer) or self._wires.other(peer) in self._wires.closed:
            return  # nobody will ever get it
        self._deadlines.alive()
        if self._half_closed is not None:
            self._half_closed.alive()
        self._incoming.received(direction, data)

    def peer_finished(self, peer: RelayPeer) -> None:
        """End the direction on the other leg too, after what plugins still hold."""
        if not self._wires.is_replaced(peer):
            self._incoming.finished(self._wires.direction(peer))

    # Calls from the forwarder (`Sender`).

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Write frames to the receiver, or keep them until the upstream is connected."""
        if self._transports is not None:
            self._transports.outgoing.send_frames(direction, data)
        else:
            self._wires.write(direction, data)

    def send_contents(self, direction: Direction, contents: Sequence[bytes]) -> None:
        """Send packets with these contents over an encrypted leg."""
        assert self._transports is not None
        self._transports.outgoing.send_contents(direction, contents)

    def finish_on(self, direction: Direction) -> None:
        """End a direction on the other leg too."""
        if direction in self._finished:
            return
        peer = self._wires.other(self._wires.receiver(direction))
        self._finished.add(direction)
        if not self._dial.is_dialling:  # otherwise the upstream may yet turn out to be unreachable
            self._inspector.ending(End(EndCause.CLOSED, direction))
        self._inspector.finished(direction)
        if peer in self._wires.closed:
            self._close_after_faults(self._wires.other(peer))
        if len(self._finished) == len(Direction):
            for each in (self.client, self.upstream):
                self._close_after_faults(each)
        else:
            self._pipes.after(self._wires.other(peer), self._wires.other(peer).finish)
            # A node that has been disconnected cannot keep the session open by staying silent.
            self._half_closed = silence(self._runtime.clock, self._settings.linger, self.stop)

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """Close the other leg in the same way."""
        self._connections.remove(peer)
        if self._wires.is_replaced(peer):
            return
        transports = self._transports if peer is self.upstream else None
        if transports is not None and transports.upstream_closed():
            return
        self._wires.closed.add(peer)
        self._pipes.forget(peer)
        direction, other = self._wires.direction(peer), self._wires.other(peer)
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
        self._dial.cancel()
        self._end_if_closed()

    def peer_full(self, peer: RelayPeer) -> None:
        """Stop reading from the other side: this one cannot take more."""
        self._wires.other(peer).pause("full")

    def peer_drained(self, peer: RelayPeer) -> None:
        """Continue reading; or reset, if this was all that the other side sent before its reset."""
        if peer is self._closing.breaking:
            peer.abort()
        self._pipes.go_on(peer)
        if not peer.full:
            self._wires.other(peer).resume("full")

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
            self._inspector.reset(self._wires.direction(self._wires.other(target)))
            self.client.abort()
            self.upstream.abort()

    # Calls from the dial (`DialOwner`).

    def upstream_joined(self) -> None:
        """Send the early data, and continue reading."""
        if self._transports is None or self._transports.is_answered:
            self.upstream_answered()
        local = self.upstream.local_address
        if not self._connections.add(self.upstream, local, self.upstream.address, dialled=True):
            return
        if answer := self._dial.answer(local):
            self.client.write(answer)
        self._wires.upstream_joined()
        if self._transports is not None:
            self._transports.joined()
        if Direction.TO_UPSTREAM in self._finished:
            self._inspector.ending(End(EndCause.CLOSED, Direction.TO_UPSTREAM))
            self._pipes.after(self.upstream, self.upstream.finish)

    def upstream_unreachable(self, error: BaseException) -> None:
        """End the client's leg: with a reset, unless something else has ended it."""
        self._wires.closed.add(self.upstream)
        if self.client in self._wires.closed:
            self._inspector.ending(End(EndCause.CLOSED, Direction.TO_UPSTREAM))
        elif not self._was_reset:
            self._inspector.ending(unreachable(error))
            if not self._stopped:
                self._was_reset = True
                self._record_unsent()
                self._inspector.reset(Direction.TO_CLIENT)
            answer = self._dial.answer(error)
            self.client.write(answer)
            if answer or self._stopped:
                self._closing.close(self.client, self._settings.stop_linger)
            else:
                self.client.abort()
        self._end_if_closed()

    # Calls from the transports (`TransportHost`).

    def use_plain(self) -> None:
        """Give bytes of both legs directly to the forwarder from now on."""
        self._transports, self._incoming = None, self.forwarder

    def translate(self, to_encrypted: Direction) -> None:
        """Have each message pass one by one: only one leg is encrypted."""
        self.forwarder = translating(
            self, self.forwarder, to_encrypted, self._inspector, self._settings, self._runtime
        )

    def send_deliveries(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None = None
    ) -> Sequence[Delivery]:
        """Send deliveries in the form of the receiver's leg; return what is to be reported."""
        if self._transports is not None:
            return self._transports.outgoing.send(direction, deliveries, data)
        self._wires.write(direction, bytes_to_send(deliveries) if data is None else data)
        return deliveries

    def upstream_answered(self) -> None:
        """Report that the upstream is connected, once it is known to speak what it was sent."""
        if self._dial.local is not None:
            self._inspector.connected(self._dial.local, self._dial.leads_to)

    def redial(self) -> None:
        """Connect to the upstream again: it does not speak v2."""
        self._dial.again(self._wires.replace_upstream())

    # Closing.

    def _close_after_faults(self, peer: RelayPeer) -> None:
        self._pipes.after(peer, partial(self._closing.close, peer, self._settings.linger))

    def _record_unsent(self) -> None:
        self._incoming.cut()
        self._inspector.cut()

    def _end_if_closed(self) -> None:
        is_upstream_open = self.upstream not in self._wires.closed and self.upstream.is_open
        if self.client not in self._wires.closed or is_upstream_open or not self._inspector.running:
            return
        self._closing.stop()
        self._deadlines.stop()
        if self._transports is not None:
            self._transports.stop()
        self._record_unsent()
        self.forwarder.end(self._inspector.why)
        self._pipes.stop()
        if self._half_closed is not None:
            self._half_closed.stop()
        self._runtime.budget.forget(self)
        self._inspector.ended()
        self._owner.session_ended(self)

    def _is_ready(self) -> bool:
        self._inspector.catch_up()
        return self.session.is_ready


def _out_of_memory(where: str) -> End:
    return End(EndCause.LIMIT, detail=f"too much waits {where}, for all sessions together")
