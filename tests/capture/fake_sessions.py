"""Sessions that a test makes up, on a clock of its own, for any observer."""

import msgspec

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import (
    Decoy,
    Delivery,
    Direction,
    End,
    EndCause,
    LegTransport,
    Session,
    SessionInfo,
    SessionSummary,
    Transports,
)
from lbcproxy.session.events import TransportsAgreed
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.envelope import frame
from tests.session import frames
from tests.session.feed import Feed

__all__ = [
    "BOTH_V2",
    "CLIENT_V2",
    "CLOSED",
    "DOWN",
    "MIDNIGHT",
    "NETWORK",
    "OPAQUE",
    "SECOND",
    "UP",
    "FakeSessions",
    "frames_by_session",
    "ping",
]

NETWORK = networks.get("lbry-regtest")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CLOSED = End(EndCause.CLOSED, UP)
SECOND = 1_000_000_000
MIDNIGHT = 20_000 * 86_400 * SECOND
"""A midnight in 2024, in nanoseconds since 1970."""

_V2 = [LegTransport(Transport.V2, bytes((number,)) * 32) for number in (1, 2)]
BOTH_V2 = Transports(*_V2)
CLIENT_V2 = Transports(_V2[0], LegTransport())
OPAQUE = Transports(LegTransport(Transport.OPAQUE), LegTransport(Transport.OPAQUE))


def ping(number):
    """Return a frame that is unlike any other."""
    return frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))


class FakeSessions:
    """Sessions whose events `observer` handles, on a clock that each event moves by `step`."""

    def __init__(self, observer=None, *, step=SECOND // 1000):
        if observer is not None:
            self.observer = observer
        self.now = MIDNIGHT
        self.step = step
        self.sessions = {}

    @property
    def observer(self):
        """The feed of the sessions' observer."""
        return self._feed

    @observer.setter
    def observer(self, observer):
        self._feed = Feed(observer)

    def tick(self):
        """Return the time after another step."""
        self.now += self.step
        return self.now

    def start(self, number, *, host="10.0.0.1", connected=True, version=None):
        """Connect a client, and its upstream unless told otherwise.

        With a version, the two complete a handshake in which they agree on it.
        """
        info = SessionInfo(
            number=number,
            network=NETWORK.id,
            client=Endpoint(host, 1000 + number),
            listen=Endpoint("10.0.0.2", 9246),
            upstream=Endpoint("10.0.0.3", 9246),
        )
        self.sessions[number] = Session(number, NETWORK), info
        self.observer.started(info, self.tick())
        if connected:
            info = msgspec.structs.replace(info, local=Endpoint("10.0.0.2", 5000 + number))
            self.sessions[number] = self.sessions[number][0], info
            self.observer.upstream_connected(info, self.tick())
        if version is not None:
            for direction in Direction:
                self.receive(number, frames.version(version) + frames.verack(), direction)

    def receive(self, number, data, direction=UP):
        """Let a session receive bytes, and forward them."""
        core, info = self.sessions[number]
        now = self.tick()
        self.observer.passed(info, direction, core.receive(direction, data, now), now)

    def agree(self, number, transports):
        """Let the legs of a session agree on how they carry messages."""
        core, info = self.sessions[number]
        info = info.with_transports(transports)
        self.sessions[number] = core, info
        self.observer.handle(TransportsAgreed(info, self.tick()))

    def receive_packet(self, number, raw, form, direction=UP):
        """Let a session receive a message that came in an unusual packet, and forward it."""
        core, info = self.sessions[number]
        now = self.tick()
        deliveries = core.receive_packet(direction, raw, now, form)
        self.observer.passed(info, direction, deliveries, now)

    def receive_decoy(self, number, direction=UP):
        """Let a session receive a packet that is to be ignored, and forward it."""
        _, info = self.sessions[number]
        self.observer.passed(info, direction, [Delivery(b"", packet=Decoy(5))], self.tick())

    def reset(self, number, direction=DOWN):
        """Let one side reset the connection."""
        self.observer.reset(self.sessions[number][1], direction, self.tick())
        self.finish(number, End(EndCause.RESET, direction))

    def end(self, number, end=CLOSED):
        """Let both sides close the connection."""
        for direction in Direction:
            self.observer.finished(self.sessions[number][1], direction, self.tick())
        self.finish(number, end)

    def finish(self, number, end):
        """Send the event that a session has ended."""
        core, info = self.sessions.pop(number)
        summary = SessionSummary(
            info=info,
            end=end,
            protocol_version=core.protocol_version,
            client=core.client.statistics(),
            upstream=core.upstream.statistics(),
        )
        self.observer.ended(summary, self.tick())


def frames_by_session(path):
    """Return the frames of a capture by session and direction; none may have an error."""
    found = {}
    for entry in open_capture(path):
        assert entry.error is None, entry
        found.setdefault((entry.session, entry.direction), []).append(entry.raw)
    return found
