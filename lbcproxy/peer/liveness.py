"""Whether the node is alive: our pings, the answers it owes us, and all deadlines of a peer.

Times are passed in, in seconds of one clock. Only `Wakeup` has a clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from lbcproxy.clock import Clock
from lbcproxy.peer.config import PeerConfig, Timeouts
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["AnswerDeadlines", "Keepalive", "Liveness", "Timers", "Wakeup"]

PING_NONCE_VERSION = 60001
"""The lowest protocol version at which a ping has a nonce and is answered (BIP31)."""
PAUSED_WITH_READING = frozenset({"idle", "stall"})
"""Deadlines that stand still while we do not read."""
ANSWERS: dict[str, tuple[str, ...]] = {
    "version": ("verack",),
    "mempool": ("inv",),
    "getblocks": ("inv",),
    "getdata": ("block", "merkleblock", "tx", "notfound"),
    "getheaders": ("headers",),
}
"""For each request the commands that answer it, any one of them. `ping` and `getaddr` may stay
unanswered."""


class Keepalive:
    """The last ping that was sent, and how long its pong took."""

    def __init__(self) -> None:
        self.nonce = 0
        """Of the ping that waits for its pong; 0 if none does."""
        self.at: float | None = None
        """The time of day at which the last ping was sent, in unix seconds."""
        self.seconds: float | None = None
        """How long the last pong took."""
        self._sent = 0.0

    def make(self, protocol_version: int) -> Ping:
        """Return a ping. Its nonce is random and never 0, which means none."""
        if protocol_version < PING_NONCE_VERSION:
            return Ping()
        return Ping(secrets.randbelow((1 << 64) - 1) + 1)

    def sent(self, record: object, now: float, wall: float) -> None:
        """Record a message that was sent, if it is a ping: ours or the user's."""
        if isinstance(record, Ping) and record.nonce is not None:
            self.nonce, self.at, self._sent = record.nonce, wall, now

    def received(self, record: Pong, now: float) -> None:
        """Record a pong. One that answers no ping of ours is ignored."""
        if record.nonce == self.nonce != 0:
            self.seconds = now - self._sent
            self.nonce = 0


class AnswerDeadlines:
    """The answers that the node owes us, and when they are due."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._deadlines: dict[str, float] = {}
        self._requested: dict[str, float] = {}

    def sent(self, command: str, now: float) -> None:
        """Record a request. Asking again extends the deadline."""
        wait = self._timeouts.headers if command == "getheaders" else self._timeouts.answer
        for answer in ANSWERS.get(command, ()):
            self._deadlines[answer], self._requested[answer] = now + wait, now

    def received(self, command: str) -> None:
        """Record an answer: any one of a group is enough."""
        for answers in ANSWERS.values():
            if command in answers:
                for answer in answers:
                    self._deadlines.pop(answer, None)

    def extend(self, seconds: float, now: float) -> None:
        """Extend all deadlines by the time for which we did not read, which ends now.

        What was requested within that time is only given the part of it that followed.
        """
        for answer in self._deadlines:
            self._deadlines[answer] += min(seconds, now - self._requested[answer])

    def overdue(self, now: float) -> list[str]:
        """Return the answers that are overdue, sorted, and stop waiting for them."""
        late = sorted(answer for answer, deadline in self._deadlines.items() if now >= deadline)
        for answer in late:
            del self._deadlines[answer]
        return late


class Timers:
    """Deadlines by name. Those in `paused_with_reading` stand still while we do not read."""

    def __init__(self, paused_with_reading: frozenset[str]) -> None:
        self._paused_with_reading = paused_with_reading
        self._deadlines: dict[str, float] = {}
        self._pauses: set[str] = set()
        self._paused_at = 0.0

    def pause(self, reason: str, now: float) -> None:
        """Record that we do not read, for a reason: the node is not blamed for its silence."""
        if not self._pauses:
            self._paused_at = now
        self._pauses.add(reason)

    def resume(self, reason: str, now: float) -> float | None:
        """Remove a reason; with the last one, return the seconds for which we did not read."""
        if reason not in self._pauses:
            return None
        self._pauses.remove(reason)
        return None if self._pauses else now - self._paused_at

    def set(self, name: str, time: float) -> None:
        """Set a deadline. It replaces an earlier one of that name."""
        self._deadlines[name] = time

    def cancel(self, name: str) -> None:
        """Remove a deadline, if it is set."""
        self._deadlines.pop(name, None)

    def clear(self) -> None:
        """Remove all deadlines."""
        self._deadlines.clear()

    @property
    def next(self) -> float | None:
        """The first deadline; None if none is running."""
        return min((self._deadlines[name] for name in self._running()), default=None)

    def due(self, now: float) -> list[str]:
        """Return the names that are due, the earliest first. The caller sets them again."""
        names = [name for name in self._running() if now >= self._deadlines[name]]
        return sorted(names, key=lambda name: self._deadlines[name])

    def _running(self) -> list[str]:
        if not self._pauses:
            return list(self._deadlines)
        return [name for name in self._deadlines if name not in self._paused_with_reading]


class Liveness:
    """What is known of the node being alive, and when to look again.

    `keepalive` has our pings, `answers` what the node owes us, `timers` all deadlines of a peer.

    Args:
        config: Has the timeouts.
    """

    def __init__(self, config: PeerConfig) -> None:
        self.keepalive = Keepalive()
        self.answers = AnswerDeadlines(config.timeouts)
        self.timers = Timers(PAUSED_WITH_READING)
        self._config = config
        self._ready = False

    def start_handshake(self, now: float) -> None:
        """Give the handshake its time, from now on."""
        self.timers.set("negotiate", now + self._config.timeouts.negotiate)

    def finish_handshake(self, now: float) -> None:
        """Set the deadlines of a peer whose handshake is complete."""
        self._ready = True
        self.timers.cancel("negotiate")
        if self._config.keepalive:
            self.timers.set("ping", now + self._config.timeouts.ping)
        self.timers.set("trickle", now + self._config.trickle)
        self.timers.set("stall", now + self._config.timeouts.stall_tick)
        self.alive(now)

    def alive(self, now: float) -> None:
        """Record a sign of life."""
        if self._ready:
            self.timers.set("idle", now + self._config.timeouts.idle)

    def pause(self, reason: str, now: float) -> None:
        """Record that we do not read, for a reason: the node is not blamed for that time."""
        self.timers.pause(reason, now)

    def resume(self, reason: str, now: float) -> None:
        """Remove a reason; with the last one we read again."""
        seconds = self.timers.resume(reason, now)
        if seconds is not None:
            self.answers.extend(seconds, now)
            self.alive(now)

    def sent(self, record: object, command: str, now: float, wall: float) -> None:
        """Record a message that was sent; `wall` is the time of day in unix seconds."""
        if self._ready:
            self.answers.sent(command, now)
        self.keepalive.sent(record, now, wall)

    def stop(self) -> None:
        """Remove all deadlines for good."""
        self._ready = False
        self.timers.clear()


class Wakeup:
    """A call at a time of a clock that notices when the process was stopped until then.

    What has arrived by then is read first: the process may have been stopped, or its machine asleep
    or busy, and no node is to be blamed for that.

    Args:
        clock: Makes the call.
        at: When, in seconds of that clock.
        last_read: Returns when bytes were last read, in seconds of that clock.
        then: Is called with whether bytes were read after the time was reached.
    """

    def __init__(
        self,
        clock: Clock,
        at: float,
        last_read: Callable[[], float],
        then: Callable[[bool], object],
    ) -> None:
        self.at = at
        self._clock = clock
        self._last_read = last_read
        self._then = then
        self._call = clock.callLater(max(0.0, at - clock.seconds()), self._due)

    @property
    def active(self) -> bool:
        """Whether the call is still pending."""
        return self._call.active()

    def cancel(self) -> None:
        """Cancel the call if it is pending."""
        if self.active:
            self._call.cancel()

    def _due(self) -> None:
        # The reactor may call before it reads.
        self._call = self._clock.callLater(0, lambda: self._then(self._last_read() > self.at))
