"""A relay: a client's connection and the upstream's, joined. All that a session does to sockets.

Bytes go on as they came, at once; then they are looked at. Reading stops while the other side
cannot take more. What ends on one leg ends on the other in the same way: in order, half, or by a
reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import End, Fault
from lbcproxy.peer import Peer, PeerConfig, Policy
from lbcproxy.peer.dial import EXPECTED, connect, reason_of
from lbcproxy.peer.log import GATE
from lbcproxy.proxy.deadlines import Deadlines
from lbcproxy.proxy.pipe import Pipes
from lbcproxy.proxy.settings import Owner, RelaySettings
from lbcproxy.proxy.watch import Watch
from lbcproxy.session import Direction, Session, SessionFacts, Stage

__all__ = ["Relay"]

BEFORE_UPSTREAM = 262_144
"""Bytes taken from a client before the upstream is there."""


class Relay:
    """One session's two peers."""

    log = Logger(observer=GATE)

    def __init__(self, number: int, settings: RelaySettings, owner: Owner) -> None:
        self.number = number
        self._settings = settings
        self._owner = owner
        config = PeerConfig(network=settings.network, policy=Policy.TRANSPARENT)
        self.client = Peer(config, self)
        self.upstream = Peer(config, self)
        self._session = Session(
            number,
            settings.network,
            client=self.client.side,
            upstream=self.upstream.side,
            numbers=settings.numbers,
            stream_above=settings.stream_above,
        )
        self._watch = Watch(
            self._session, settings.observers, settings.now, settings.looks, self._tell_held
        )
        self._pipes = Pipes(self, settings.clock, settings.seed, settings.faults)
        self._waiting: list[bytes] = []
        self._waits = 0  # the bytes of it
        self._told = 0  # what the budget knows of them and of messages not whole yet
        self._half: Deadlines | None = None
        self._dialling: Deferred[Any] | None = None
        self._finished: set[Direction] = set()
        self._closed: set[Peer] = set()
        self._ends: dict[Peer, tuple[Endpoint, ...]] = {}
        self._breaking: Peer | None = None
        self._broken = False
        self._why = ""
        self._timers: list[Any] = []
        self._deadlines = Deadlines(
            settings.clock,
            handshake=settings.handshake_timeout,
            idle=settings.idle_timeout,
            end=self.stop,
        )

    @property
    def session(self) -> Session:
        """The core, with what is known of both sides."""
        return self._session

    @property
    def held(self) -> int:
        """Bytes of messages not whole yet, of what waits for the upstream, and in faults."""
        return self._session.held + self._waits + self._pipes.held

    def _tell_held(self) -> None:
        """Have the budget know, where it has changed."""
        held = self.held
        if held != self._told:
            self._told = held
            self._settings.budget.update(self)

    def shed(self) -> None:
        """Read the messages that are under way no further; end, if it waits for an upstream."""
        self._watch.let_go()
        if self._waiting:
            self._waiting.clear()
            self._waits = 0
            self.stop("too much waits for the upstream, for all sessions together")
        elif self._pipes.held:
            self.stop("too much waits in faults, for all sessions together")

    def stop(self, why: str = "proxy stopped") -> None:
        """End the session: send what has been received, then close both legs."""
        self._why = self._why or why
        if self._dialling is not None:
            self._dialling.cancel()
        self._pipes.release()
        for peer in (self.client, self.upstream):
            self._close(peer, self._settings.stop_linger)

    def abort(self) -> None:
        """End the session at once."""
        self._why = self._why or "proxy stopped at once"
        self._broken = True
        self._watch.cut()
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
        self._why = self._why or "the upstream is this proxy itself"
        self.abort()

    # What the peers tell.

    def peer_connected(self, peer: Peer) -> None:
        """Dial when the client is there; join when the upstream is."""
        if peer is self.client:
            self._watch.started(
                SessionFacts(
                    number=self.number,
                    network=self._settings.network.id,
                    client=peer.address,
                    listen=peer.local_address,
                    upstream=self._settings.upstream,
                )
            )
            if not self._is_new(peer, peer.address, peer.local_address):
                return
            self._deadlines.start(self._is_ready)
            self._dialling = connect(self._settings.dial(), self.upstream)
            self._dialling.addCallbacks(self._joined, self._not_joined)

    def peer_received(self, peer: Peer, data: bytes) -> None:
        """Send bytes on, then look at them."""
        direction = self._direction(peer)
        other = self._other(peer)
        if other in self._closed:
            return  # nobody will ever get it
        self._deadlines.alive()
        if self._half is not None:
            self._half.alive()
        if other.is_open:
            self._pipes.to(other).write(data)
        else:
            self._waiting.append(data)
            self._waits += len(data)
            self._tell_held()
            if self._waits > BEFORE_UPSTREAM:
                self.client.pause("upstream")
        self._watch.received(direction, data)

    def peer_finished(self, peer: Peer) -> None:
        """End the direction on the other leg too."""
        direction = self._direction(peer)
        if direction in self._finished:
            return
        self._finished.add(direction)
        self._why = self._why or f"{self._name(peer)} closed"
        self._watch.finished(direction)
        if len(self._finished) == len(Direction):
            for each in (self.client, self.upstream):
                self._pipes.after(each, partial(self._close, each, self._settings.linger))
        else:
            self._pipes.after(self._other(peer), self._other(peer).finish)
            # Whoever has been thrown out may not stay for ever by saying nothing.
            self._half = Deadlines(
                self._settings.clock,
                handshake=None,
                idle=self._settings.linger,
                end=lambda _: self.stop(),
            )
            self._half.start(lambda: True)

    def peer_closed(self, peer: Peer, *, reset: bool) -> None:
        """Close the other leg in the same way."""
        self._closed.add(peer)
        self._pipes.forget(peer)
        if peer in self._ends:
            dialler, listener = self._ends.pop(peer)
            self._settings.connections.remove(dialler, listener, dialled=peer is self.upstream)
        direction, other = self._direction(peer), self._other(peer)
        if reset and not peer.aborted and not self._broken:
            self._broken = True
            self._why = self._why or f"{self._name(peer)} reset"
            self._watch.reset(direction)
            if self._pipes.after(other, partial(self._abort_soon, other)):
                self._later(self._settings.linger, other.abort)
        elif not self._broken:
            self.peer_finished(peer)
            self._pipes.after(other, partial(self._close, other, self._settings.linger))
        if self._dialling is not None:
            self._dialling.cancel()
        self._end_if_over()

    def peer_full(self, peer: Peer) -> None:
        """Read no more of what the peer cannot take."""
        self._other(peer).pause("full")

    def peer_drained(self, peer: Peer) -> None:
        """Read on; or break off, if that was all that the other had sent before its reset."""
        if peer is self._breaking:
            peer.abort()
        self._pipes.go_on(peer)
        if not peer.full:
            self._other(peer).resume("full")

    # Faults.

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Have other faults; what waits in those there were is not lost."""
        self._pipes.change(faults)

    def faults_moved(self) -> None:
        """Take note of what waits, and that bytes still pass."""
        self._pipes.sweep()
        self._tell_held()
        if self._half is not None:
            self._half.alive()

    def fault_ended(self, target: Peer, end: End) -> None:
        """End the session as a fault wants it: in order by way of one leg, or both by a reset."""
        self._why = self._why or f"fault {end.by}"
        if not end.reset:
            self._close(target, self._settings.linger)
        elif not self._broken:
            self._broken = True
            self._watch.reset(self._direction(self._other(target)))
            self.client.abort()
            self.upstream.abort()

    # Dialling.

    def _joined(self, _peer: Peer) -> None:
        """Send what the client said meanwhile, and read on."""
        self._dialling = None
        self._watch.connected(self.upstream.local_address)
        if not self._is_new(self.upstream, self.upstream.local_address, self.upstream.address):
            return
        self._pipes.begin()
        waiting, self._waiting, self._waits = self._waiting, [], 0
        for data in waiting:
            self._pipes.to(self.upstream).write(data)
        self._tell_held()
        self.client.resume("upstream")
        if Direction.TO_UPSTREAM in self._finished:
            self._pipes.after(self.upstream, self.upstream.finish)

    def _not_joined(self, failure: Failure) -> None:
        """End the client's leg as a refused connection would: with a reset."""
        self._dialling = None
        self._closed.add(self.upstream)
        self._why = self._why or f"upstream unreachable: {reason_of(failure.value)}"
        if not failure.check(*EXPECTED):
            self.log.failure("session {number}: cannot dial", failure, number=self.number)
        if not self._broken:
            self._broken = True
            self._watch.reset(Direction.TO_CLIENT)
        self.client.abort()
        self._end_if_over()

    def _is_new(self, peer: Peer, *ends: Endpoint) -> bool:
        """Whether a connection, by who dialled and who listened, does not lead from us to us."""
        dialler, listener = self._ends[peer] = ends
        known = self._settings.connections
        return known.add(dialler, listener, self, dialled=peer is self.upstream)

    # Closing.

    def _close(self, peer: Peer, linger: float) -> None:
        """Close in order, and cut it if the node does not read what waits in time."""
        if peer.is_open:
            peer.close()
            self._later(linger, peer.abort)

    def _abort_soon(self, peer: Peer) -> None:
        """Mirror a reset, after what the sender had sent before it."""
        if peer.is_open:
            self._breaking = peer
            wait = self._settings.linger if peer.full else 0
            self._later(wait, peer.abort)

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers.append(self._settings.clock.callLater(seconds, call))

    def _end_if_over(self) -> None:
        if self.client not in self._closed or not self._watch.running:
            return
        if self.upstream not in self._closed and self.upstream.is_open:
            return
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._deadlines.stop()
        self._pipes.stop()
        if self._half is not None:
            self._half.stop()
        self._settings.budget.forget(self)
        self._watch.ended(self._why)
        self._owner.relay_ended(self)

    def _is_ready(self) -> bool:
        self._watch.catch_up()
        sides = (self._session.client, self._session.upstream)
        return all(side.stage is Stage.READY for side in sides)

    def _direction(self, peer: Peer) -> Direction:
        return Direction.TO_UPSTREAM if peer is self.client else Direction.TO_CLIENT

    def _other(self, peer: Peer) -> Peer:
        return self.upstream if peer is self.client else self.client

    def _name(self, peer: Peer) -> str:
        return "client" if peer is self.client else "upstream"
