"""Sessions that are recorded to files, on a clock of the test's."""

import msgspec

from lbcproxy import networks
from lbcproxy.background import Background
from lbcproxy.capture import (
    Recording,
    RecordingSettings,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, End, EndCause, Session, SessionInfo, SessionSummary
from lbcproxy.wire.envelope import frame
from tests.session.feed import Feed

NETWORK = networks.get("lbry-regtest")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
SECOND = 1_000_000_000
MIDNIGHT = 20_000 * 86_400 * SECOND


def ping(number):
    """A frame that is like no other."""
    return frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))


class Scene:
    """Sessions that are recorded below a folder, on a clock of the test's."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.now = MIDNIGHT
        self.told = []
        self.disk = Background(1 << 24)
        settings.setdefault("pattern", str(folder / "x.pcapng"))
        self.recording = Recording(
            RecordingSettings(**settings),
            self.disk,
            lambda text, bad: self.told.append((text, bad)),
            network=NETWORK.id,
            name="main",
            changes=False,
            now=lambda: self.now,
        )
        self.feed = Feed(self.recording)
        self.recording.open()
        self.sessions = {}

    def begin(self, number):
        """Let a client connect, and its upstream."""
        facts = SessionInfo(
            number=number,
            network=NETWORK.id,
            client=Endpoint("10.0.0.1", 1000 + number),
            listen=Endpoint("10.0.0.2", 9246),
            upstream=Endpoint("10.0.0.3", 9246),
        )
        self.sessions[number] = Session(number, NETWORK), facts
        self.feed.started(facts, self.now)
        joined = msgspec.structs.replace(facts, local=Endpoint("10.0.0.2", 5000))
        self.sessions[number] = self.sessions[number][0], joined
        self.feed.upstream_connected(joined, self.now)

    def pass_on(self, number, data, direction=UP):
        """Let bytes pass."""
        core, facts = self.sessions[number]
        deliveries = core.receive(direction, data, self.now)
        self.feed.passed(facts, direction, deliveries, self.now)

    def end(self, number):
        """Let both sides close."""
        core, facts = self.sessions.pop(number)
        for direction in Direction:
            self.feed.finished(facts, direction, self.now)
        sides = (core.client.statistics(), core.upstream.statistics())
        summary = SessionSummary(
            info=facts,
            end=End(EndCause.CLOSED, Direction.TO_UPSTREAM),
            protocol_version=None,
            client=sides[0],
            upstream=sides[1],
        )
        self.feed.ended(summary, self.now)

    def close(self):
        """Wait for the disk, and return the files by name."""
        self.recording.close()
        assert self.disk.close(10)
        return self.files

    @property
    def files(self):
        """Return the existing files."""
        return sorted(self.folder.rglob("*.pcapng"))
