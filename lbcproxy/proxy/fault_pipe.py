"""Apply the faults of a session to its bytes, between what a relay reads and what it writes.

A direction without faults has no pipe: the relay then writes directly to the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol as Interface

from twisted.logger import Logger

from lbcproxy.clock import Clock, DelayedCall
from lbcproxy.faults import Fault, FaultChain, StreamEnd, random_of
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["FaultOwner", "FaultPipe", "FaultPipes"]

MAX_BUFFERED = 4 << 20
"""Bytes that may wait in one direction; above that its source is not read."""
MAX_TIMER = 3600.0
"""Seconds of the longest timer: operating systems limit them. A longer wait takes several."""
PAUSE_REASON = "faults"
LOG = Logger(namespace="lbcproxy.session", observer=LOG_FILTER)


class FaultOwner(Interface):
    """A session that has faults."""

    number: int

    @property
    def client(self) -> RelayPeer:
        """The connection of the client."""

    @property
    def upstream(self) -> RelayPeer:
        """The connection to the upstream."""

    def faults_moved(self) -> None:
        """Bytes were written, or the number that waits has changed."""

    def fault_ended(self, target: RelayPeer, end: StreamEnd) -> None:
        """A fault ends the session, starting with the leg that it acts on."""


class FaultPipe:
    """One direction, from a peer that is read to one that is written to."""

    def __init__(
        self,
        chain: FaultChain,
        source: RelayPeer,
        target: RelayPeer,
        clock: Clock,
        owner: FaultOwner,
    ) -> None:
        self.chain = chain
        self._source = source
        self._target = target
        self._clock = clock
        self._owner = owner
        self._timer: DelayedCall | None = None
        self._pumping = False
        self._stopped = False

    def write(self, data: bytes) -> None:
        """Pass bytes through the faults to the target."""
        self.chain.put(data, self._clock.seconds())
        self.pump()

    def read_from(self, source: RelayPeer) -> None:
        """Hold another peer if too much waits."""
        self._source = source

    def end(self, then: Callable[[], object]) -> None:
        """Call `then` after everything written before has been sent."""
        self.chain.put(StreamEnd(then), self._clock.seconds())
        self.pump()

    def change(self, faults: Sequence[Fault]) -> None:
        """Replace the faults; no bytes that wait are lost."""
        self.chain.change(faults, self._clock.seconds())
        self.pump()

    def pump(self) -> None:
        """Write what is due, as long as the target accepts it, and set the next timer."""
        if self._pumping or self._stopped:
            return
        self._pumping = True
        try:
            while not self._target.full and (
                (what := self.chain.next(self._clock.seconds())) is not None
            ):
                self._do(what)
        finally:
            self._pumping = False
        if not self._stopped:  # what was written may have ended the session
            self._settle()

    def _settle(self) -> None:
        """Set the next timer, and pause or resume the source."""
        self._arm()
        held = self.chain.buffered_bytes
        if held > MAX_BUFFERED:
            self._source.pause(PAUSE_REASON)
        elif held <= MAX_BUFFERED // 2:
            self._source.resume(PAUSE_REASON)
        self._owner.faults_moved()

    def release(self) -> None:
        """Write everything at once, and stop."""
        for what in self.chain.release():
            self._do(what)
        self.stop()

    def stop(self) -> None:
        """Stop: cancel the timer and let the source be read."""
        self._stopped = True
        self._disarm()
        self._source.resume(PAUSE_REASON)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _do(self, what: bytes | StreamEnd) -> None:
        if isinstance(what, bytes):
            self._target.write(what)
        elif what.then is not None:
            what.then()
        else:
            self._owner.fault_ended(self._target, what)

    def _arm(self) -> None:
        """Set a timer for what is due next. A full target calls again when it has drained."""
        self._disarm()
        now = self._clock.seconds()
        due = None if self._target.full else self.chain.due(now)
        if due is not None:
            wait = min(max(0.0, due - now), MAX_TIMER)
            self._timer = self._clock.callLater(wait, self.pump)


class FaultPipes:
    """The pipes of both directions. Faults take effect once both legs are connected."""

    def __init__(self, owner: FaultOwner, clock: Clock, seed: int, faults: Sequence[Fault]) -> None:
        self._owner = owner
        self._clock = clock
        self._seed = seed
        self._faults = tuple(faults)
        self._begun = False
        self._by_target: dict[RelayPeer, FaultPipe] = {}

    @property
    def held(self) -> int:
        """Bytes that wait."""
        return sum(pipe.chain.buffered_bytes for pipe in self._by_target.values())

    def holds(self, target: RelayPeer) -> bool:
        """Whether bytes for a peer wait."""
        pipe = self._by_target.get(target)
        return pipe is not None and pipe.chain.buffered_bytes > 0

    @property
    def description(self) -> str:
        """The faults that affect this session, for the log."""
        acting = [each for pipe in self._by_target.values() for each in pipe.chain.faults]
        return ", ".join(str(fault) for fault in acting)

    def to(self, target: RelayPeer) -> RelayPeer | FaultPipe:
        """Return where to write the bytes for a peer: to the peer itself if there are no faults."""
        return self._by_target.get(target, target)

    def after(self, target: RelayPeer, then: Callable[[], object]) -> bool:
        """Call `then` after all bytes that wait for a peer; return whether that may take time."""
        pipe = self._by_target.get(target)
        if pipe is None:
            then()
            return False
        pipe.end(then)
        return True

    def of_handshake(self, stream: str) -> Fault | None:
        """Return the fault that acts on the handshake of an encrypted leg, and log it."""
        for fault in self._faults:
            if fault.of_handshake and fault.stream in (stream, "both"):
                random = random_of(self._seed, self._owner.number, fault)
                if random.random() < fault.toxicity:
                    self._log(str(fault))
                    return fault
        return None

    def begin(self) -> None:
        """Start to apply the faults, and log them."""
        self._begun = True
        self.change(self._faults)
        if description := self.description:
            self._log(description)

    def _log(self, description: str) -> None:
        number, client = self._owner.number, self._owner.client.address
        text = f"faults: {description}"
        LOG.info("[#{session} {client}] {text}", session=number, client=client, text=text)

    def change(self, faults: Sequence[Fault]) -> None:
        """Replace the faults of both directions."""
        self._faults = tuple(faults)
        if not self._begun:
            return
        owner = self._owner
        directions = (
            ("upstream", owner.client, owner.upstream),
            ("downstream", owner.upstream, owner.client),
        )
        for stream, source, target in directions:
            own = [fault for fault in self._faults if fault.stream == stream and fault.by_byte]
            pipe = self._by_target.get(target)
            if pipe is not None:
                pipe.change(own)
            elif own and target.is_open:
                self._by_target[target] = self._make(own, source, target)

    def go_on(self, target: RelayPeer) -> None:
        """Continue to write to a peer that has drained."""
        if (pipe := self._by_target.get(target)) is not None:
            pipe.pump()

    def sweep(self) -> None:
        """Remove the pipes that have no faults any more."""
        for target, pipe in list(self._by_target.items()):
            if pipe.chain.is_empty:
                pipe.stop()
                del self._by_target[target]

    def release(self) -> None:
        """Write everything at once, and apply no faults from then on."""
        self._begun = False
        pipes = dict(self._by_target)
        self._by_target.clear()
        for pipe in pipes.values():
            pipe.release()

    def forget(self, target: RelayPeer) -> None:
        """Stop writing to a peer whose connection is gone."""
        if (pipe := self._by_target.pop(target, None)) is not None:
            pipe.stop()

    def replace(self, old: RelayPeer, new: RelayPeer) -> None:
        """Stop writing to a connection that is given up; what it has sent still passes."""
        self.forget(old)
        for pipe in self._by_target.values():
            pipe.read_from(new)

    def stop(self) -> None:
        """Stop both pipes."""
        self._begun = False
        for pipe in self._by_target.values():
            pipe.stop()

    def _make(self, faults: Sequence[Fault], source: RelayPeer, target: RelayPeer) -> FaultPipe:
        random = partial(random_of, self._seed, self._owner.number)
        chain = FaultChain(faults, random, self._clock.seconds())
        pipe = FaultPipe(chain, source, target, self._clock, self._owner)
        pipe.pump()
        return pipe
