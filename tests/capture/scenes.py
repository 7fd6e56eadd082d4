"""Sessions made by a test on a clock of its own, told to any observer."""

import msgspec

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, End, EndCause, Session, SessionInfo, SessionSummary
from lbcproxy.wire.envelope import frame
from tests.session.feed import Feed
from tests.session.frames import verack, version

__all__ = ["CLOSED", "DOWN", "MIDNIGHT", "NETWORK", "SECOND", "UP", "Play", "held", "ping"]

NETWORK = networks.get("lbry-regtest")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CLOSED = End(EndCause.CLOSED, UP)
SECOND = 1_000_000_000
MIDNIGHT = 20_000 * 86_400 * SECOND


def ping(number):
    """A frame that is like no other."""
    return frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))


class Play:
    """Sessions that are told to `observer`; `now` moves on by a millisecond with each event."""

    def __init__(self, observer=None):
        if observer is not None:
            self.observer = observer
        self.now = MIDNIGHT
        self.sessions = {}

    @property
    def observer(self):
        """Sends events to what observes the sessions."""
        return self._feed

    @observer.setter
    def observer(self, observer):
        self._feed = Feed(observer)

    def tick(self):
        """Give the time, which goes on."""
        self.now += SECOND // 1000
        return self.now

    def begin(self, number, *, host="10.0.0.1", joined=True, agreed=None):
        """Have a client connect, and its upstream; with a version, they shake hands."""
        facts = SessionInfo(
            number=number,
            network=NETWORK.id,
            client=Endpoint(host, 1000 + number),
            listen=Endpoint("10.0.0.2", 9246),
            upstream=Endpoint("10.0.0.3", 9246),
        )
        self.sessions[number] = Session(number, NETWORK), facts
        self.observer.started(facts, self.tick())
        if joined:
            facts = msgspec.structs.replace(facts, local=Endpoint("10.0.0.2", 5000 + number))
            self.sessions[number] = self.sessions[number][0], facts
            self.observer.upstream_connected(facts, self.tick())
        if agreed is not None:
            for direction in Direction:
                self.pass_on(number, version(agreed) + verack(), direction)

    def pass_on(self, number, data, direction=UP):
        """Have bytes pass."""
        core, facts = self.sessions[number]
        now = self.tick()
        self.observer.passed(facts, direction, core.receive(direction, data, now), now)

    def reset(self, number, direction=DOWN):
        """Have one side break off."""
        self.observer.reset(self.sessions[number][1], direction, self.tick())
        self.over(number, End(EndCause.RESET, direction))

    def end(self, number, end=CLOSED):
        """Have both sides close."""
        for direction in Direction:
            self.observer.finished(self.sessions[number][1], direction, self.tick())
        self.over(number, end)

    def over(self, number, end):
        """Say that it is over."""
        core, facts = self.sessions.pop(number)
        summary = SessionSummary(
            info=facts,
            end=end,
            protocol_version=core.protocol_version,
            client=core.client.statistics(),
            upstream=core.upstream.statistics(),
        )
        self.observer.ended(summary, self.tick())


def held(path):
    """Give what a file holds, by session: the frames of each direction."""
    found = {}
    for entry in open_capture(path):
        assert entry.error is None, entry
        found.setdefault((entry.session, entry.direction), []).append(entry.raw)
    return found
