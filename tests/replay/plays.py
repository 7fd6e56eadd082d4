"""A recorded client that is replayed to a node in memory."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import Conversation, ReplayClient
from lbcproxy.wire import Frame, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.headers import Headers
from tests.proxy.transports import FakeTransport
from tests.replay.conversations import (
    BLOCKS,
    DOWN,
    HEADERS,
    NETWORK,
    SECOND,
    START,
    TALK,
    raw_of,
    version,
)

__all__ = ["ADDRESS", "Play"]

ADDRESS = Endpoint("10.0.0.1", 18444)


class Play:
    """A replay, and the node at its other end, who is played by hand."""

    def __init__(self, conversation: Conversation, **options: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.client = ReplayClient(
            self.reactor,
            conversation,
            ADDRESS,
            now=lambda: START + round(self.reactor.seconds() * SECOND),
            **{"timeout": 10.0, **options},
        )
        self.outcome: list[Any] = []
        self.framer = Framer(NETWORK)
        self.wire: FakeTransport

    def start(self, deadline: float | None = None) -> None:
        """Begin to connect."""
        running: Deferred[Any] = Deferred.fromCoroutine(self.client.run(deadline))
        running.addBoth(self.outcome.append)

    def accept(self) -> None:
        """Let the connection come about."""
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        assert (host, port) == ADDRESS
        self.wire = FakeTransport(self.reactor, factory.buildProtocol(None))
        self.wire.protocol.makeConnection(self.wire)

    def begin(self, **options: Any) -> None:
        """Do both."""
        self.start(**options)
        self.accept()

    def received(self) -> list[str]:
        """What has come since the last time: commands. Pings are answered at once."""
        self.wire.read()
        data, self.wire.got = self.wire.got, b""
        frames = [each for each in self.framer.feed(data) if isinstance(each, Frame)]
        for each in frames:
            if each.command == "ping":
                self.wire.arrive(frame(NETWORK.magic, "pong", each.payload))
        return [each.command for each in frames]

    def say(self, *said: Any) -> list[str]:
        """Say something, and return what comes then."""
        self.wire.arrive(b"".join(raw_of((DOWN, each)) for each in said))
        return self.received()

    def through(self) -> None:
        """Say all that was recorded."""
        assert self.received() == ["version"]
        assert self.say(version(2, 5, b"/node/"), VerAck()) == ["verack", "getheaders"]
        assert self.say(Headers(HEADERS)) == ["getdata"]
        assert self.say(*BLOCKS[:3], TALK[14][1]) == ["ping"]
        assert self.received() == ["getdata"]
        assert self.say(BLOCKS[3]) == ["ping"]

    def part(self) -> Any:
        """Let the connection end, and return what came of it."""
        self.wire.read()
        self.reactor.advance(10)
        [outcome] = self.outcome
        assert not self.wire.connected
        assert not self.reactor.getDelayedCalls()
        return outcome
