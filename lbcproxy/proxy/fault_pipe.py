"""The faults of a session at work: what stands between what a relay reads and what it writes.

A direction without faults has no pipe: the relay then writes to the peer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from typing import Protocol as Interface

from twisted.logger import Logger

from lbcproxy.faults import Fault, FaultChain, StreamEnd, random_of
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["FaultOwner", "FaultPipe", "FaultPipes"]

MOST = 4 << 20
"""Bytes that may wait in one direction; above, its source is not read."""
LONGEST = 3600.0
"""Seconds for which a timer is set at once: no system takes any number."""
FULL = "faults"
LOG = Logger(namespace="lbcproxy.session", observer=LOG_FILTER)


class FaultOwner(Interface):
    """A session that has faults."""

    number: int
    client: RelayPeer
    upstream: RelayPeer

    def faults_moved(self) -> None:
        """Something went out, or waits."""

    def fault_ended(self, target: RelayPeer, end: StreamEnd) -> None:
        """A fault ends the session, by way of the leg that it acts on."""


class FaultPipe:
    """One direction, from a peer that is read to one that is written to."""

    def __init__(
        self, chain: FaultChain, source: RelayPeer, target: RelayPeer, clock: Any, owner: FaultOwner
    ) -> None:
        self.chain = chain
        self._source = source
        self._target = target
        self._clock = clock
        self._owner = owner
        self._timer: Any = None
        self._pumping = False
        self._stopped = False

    def write(self, data: bytes) -> None:
        """Take what was read."""
        self.chain.put(data, self._clock.seconds())
        self.pump()

    def end(self, then: Callable[[], object]) -> None:
        """Do something when all that was written before has gone out."""
        self.chain.put(StreamEnd(then), self._clock.seconds())
        self.pump()

    def change(self, faults: Sequence[Fault]) -> None:
        """Have other faults; nothing of what waits is lost."""
        self.chain.change(faults, self._clock.seconds())
        self.pump()

    def pump(self) -> None:
        """Let go out what is due and the target takes; see when to come again."""
        if self._pumping or not self._runs():
            return
        self._pumping = True
        try:
            while not self._target.full and (
                (what := self.chain.next(self._clock.seconds())) is not None
            ):
                self._do(what)
        finally:
            self._pumping = False
        if self._runs():  # what came out may have ended the session
            self._settle()

    def _settle(self) -> None:
        """See when to come again, and whether to read on meanwhile."""
        self._arm()
        held = self.chain.buffered_bytes
        if held > MOST:
            self._source.pause(FULL)
        elif held <= MOST // 2:
            self._source.resume(FULL)
        self._owner.faults_moved()

    def release(self) -> None:
        """Let all go out at once; there are no faults from then on."""
        for what in self.chain.release():
            self._do(what)
        self.stop()

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True
        self._disarm()
        self._source.resume(FULL)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _runs(self) -> bool:
        return not self._stopped

    def _do(self, what: bytes | StreamEnd) -> None:
        if isinstance(what, bytes):
            self._target.write(what)
        elif what.then is not None:
            what.then()
        else:
            self._owner.fault_ended(self._target, what)

    def _arm(self) -> None:
        """Set a timer for what is due next; while the target is full, its drain is awaited."""
        self._disarm()
        now = self._clock.seconds()
        due = None if self._target.full else self.chain.due(now)
        if due is not None:
            wait = min(max(0.0, due - now), LONGEST)
            self._timer = self._clock.callLater(wait, self.pump)


class FaultPipes:
    """Both directions of a session. Faults act from when both legs are there."""

    def __init__(self, owner: FaultOwner, clock: Any, seed: int, faults: Sequence[Fault]) -> None:
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

    @property
    def words(self) -> str:
        """The faults that act on this session, in words."""
        acting = [each for pipe in self._by_target.values() for each in pipe.chain.faults]
        return ", ".join(str(fault) for fault in acting)

    def to(self, target: RelayPeer) -> RelayPeer | FaultPipe:
        """Give what takes the bytes for a peer: the peer itself, where there are no faults."""
        return self._by_target.get(target, target)

    def after(self, target: RelayPeer, then: Callable[[], object]) -> bool:
        """Do something when all that waits for a peer has gone out; give whether it may take."""
        pipe = self._by_target.get(target)
        if pipe is None:
            then()
            return False
        pipe.end(then)
        return True

    def begin(self) -> None:
        """Act from now on, and say in the log which faults there are for this session."""
        self._begun = True
        self.change(self._faults)
        if words := self.words:
            number, client = self._owner.number, self._owner.client.address
            text = f"faults: {words}"
            LOG.info("[#{session} {client}] {text}", session=number, client=client, text=text)

    def change(self, faults: Sequence[Fault]) -> None:
        """Have other faults."""
        self._faults = tuple(faults)
        if not self._begun:
            return
        owner = self._owner
        ways = (
            ("upstream", owner.client, owner.upstream),
            ("downstream", owner.upstream, owner.client),
        )
        for stream, source, target in ways:
            own = [
                fault for fault in self._faults if fault.stream == stream and not fault.by_message
            ]
            pipe = self._by_target.get(target)
            if pipe is not None:
                pipe.change(own)
            elif own and target.is_open:
                self._by_target[target] = self._make(own, source, target)

    def go_on(self, target: RelayPeer) -> None:
        """Write on: a peer takes more again."""
        if (pipe := self._by_target.get(target)) is not None:
            pipe.pump()

    def sweep(self) -> None:
        """Forget the directions that have no faults any more."""
        for target, pipe in list(self._by_target.items()):
            if pipe.chain.is_empty:
                pipe.stop()
                del self._by_target[target]

    def release(self) -> None:
        """Let all go out at once, without faults from then on."""
        self._begun = False
        pipes = dict(self._by_target)
        self._by_target.clear()
        for pipe in pipes.values():
            pipe.release()

    def forget(self, target: RelayPeer) -> None:
        """Write no more to a peer, whose connection is gone."""
        if (pipe := self._by_target.pop(target, None)) is not None:
            pipe.stop()

    def stop(self) -> None:
        """Do nothing more."""
        self._begun = False
        for pipe in self._by_target.values():
            pipe.stop()

    def _make(self, faults: Sequence[Fault], source: RelayPeer, target: RelayPeer) -> FaultPipe:
        random = partial(random_of, self._seed, self._owner.number)
        chain = FaultChain(faults, random, self._clock.seconds())
        pipe = FaultPipe(chain, source, target, self._clock, self._owner)
        pipe.pump()
        return pipe
