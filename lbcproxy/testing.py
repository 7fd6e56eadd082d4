"""A session in memory, to test plugins with: no socket, no sleep.

from lbcproxy.testing import Trial
from lbcproxy.wire.messages.keepalive import Ping

def test_no_ping_passes():
trial = Trial(NoPing())
assert trial.to_upstream(Ping(1)) == "drop"
assert trial.upstream_got == []
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.plugin import Plugin
from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.plugins.pipeline import OPEN, Pipeline
from lbcproxy.proxy.plugin_host import PluginHost
from lbcproxy.session import Delivery, Direction, End, Entry, Message, Session, SessionInfo
from lbcproxy.session.end import STOPPED
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.framer import Frame, Framer
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.record import MessageRecord

__all__ = ["Trial", "load_plugin"]

EPOCH_NS = 1_700_000_000_000_000_000


def _version(number: int, nonce: int, agent: bytes) -> Version:
    nobody = NetAddress(0, bytes(16), 0)
    return Version(number, 1, EPOCH_NS // 10**9, nobody, nobody, nonce, agent, 0, True)


def load_plugin(file: str, **settings: Any) -> list[Any]:
    """Make the plugins of a file, as `run -s` would; raises `loading.BadPlugin`."""
    return [hooks.plugin for hooks in PluginFile(PluginSpec(file, settings)).hooks()]


class Trial:
    """A client, an upstream and plugins between them; `clock` is Twisted's, moved by `advance`.

    The handshake is done already, unless `handshake` says no; the two agree on `protocol_version`,
    or on the network's.
    """

    number = 1

    def __init__(
        self,
        *plugins: Plugin,
        network: str = "lbry-regtest",
        policy: str = OPEN,
        limit: float = 10.0,
        protocol_version: int | None = None,
        handshake: bool = True,
    ) -> None:
        self.network = networks.get(network)
        self.clock = Clock()
        self.complaints: list[str] = []
        """What plugins did wrong, in words."""
        self.entries: list[Entry] = []
        """All that passed or did not, as a capture has it."""
        self.closed: str | None = None
        """Why a plugin has ended the session, if one has."""
        self.ended: set[Direction] = set()
        """Directions whose end has gone through."""
        self.held: set[Direction] = set()
        """Directions that are not read, as too much waits."""
        self.full: set[Direction] = set()
        """Directions in which nobody reads; the test says it."""
        self._sent: dict[Direction, bytes] = dict.fromkeys(Direction, b"")
        chain = PluginChain([Hooks(type(each).__name__, each) for each in plugins])
        self._core = Session(1, self.network, buffered_commands=chain.commands)
        self._hosting = PluginHost(self, self.clock, self._now, limit, self.complaints.append)
        self.pipeline = Pipeline(self._core, chain, self._hosting, policy)
        here = Endpoint("127.0.0.1", 9246)
        self.pipeline.start(
            SessionInfo(
                number=1,
                network=network,
                client=Endpoint("10.0.0.1", 50_000),
                listen=here,
                upstream=Endpoint("10.0.0.2", self.network.port),
            )
        )
        if handshake:
            self._shake_hands(protocol_version or self.network.protocol_version)

    # What the nodes do.

    def to_upstream(self, *messages: MessageRecord | bytes) -> str:
        """Have the client send records or bytes; give the verdict on the last."""
        return self._send(Direction.TO_UPSTREAM, messages)

    def to_client(self, *messages: MessageRecord | bytes) -> str:
        """Have the upstream send."""
        return self._send(Direction.TO_CLIENT, messages)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def end(self, why: str = "client closed") -> None:
        """End the session."""
        for direction in Direction:
            self.pipeline.finish(direction, self._now())
        self.pipeline.end(why)
        self._hosting.stop()

    # What came of it.

    @property
    def upstream_got(self) -> list[Message]:
        """What the upstream has received since the handshake."""
        return self._got(Direction.TO_UPSTREAM)

    @property
    def client_got(self) -> list[Message]:
        """What the client has received since the handshake."""
        return self._got(Direction.TO_CLIENT)

    def bytes_to(self, direction: Direction) -> bytes:
        """Give the bytes that went in a direction since the handshake."""
        return self._sent[direction]

    # What the plugins' host asks for.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Keep what goes out."""
        self._sent[direction] += data

    def tell_passed(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Keep what is told."""
        self.entries += [entry for each in deliveries for entry in each.entries]

    def finish_on(self, direction: Direction) -> None:
        """Keep that a direction has ended."""
        self.ended.add(direction)

    def stop(self, end: End = STOPPED) -> None:
        """Keep that the session is to end."""
        self.closed = end.text

    def hold(self, direction: Direction, held: bool) -> None:
        """Keep whether a direction is read."""
        (self.held.add if held else self.held.discard)(direction)

    def is_full(self, direction: Direction) -> bool:
        """Say whether anybody reads in a direction."""
        return direction in self.full

    def _send(self, direction: Direction, messages: Sequence[MessageRecord | bytes]) -> str:
        before = len(self.entries)
        for each in messages:
            raw = each if isinstance(each, bytes) else self._framed(each, direction)
            self.pipeline.receive(direction, raw, self._now())
        own = [each for each in self.entries[before:] if each.verdict != EntryVerdict.INJECT]
        return own[-1].verdict if own else "held"

    def _framed(self, record: MessageRecord, direction: Direction) -> bytes:
        return Message.of(record, direction, self._core.codec_to(direction.other)).raw

    def _got(self, direction: Direction) -> list[Message]:
        framer = Framer(self.network)
        items = framer.feed(self._sent[direction]) + framer.close()
        codec = self._core.codec_to(direction)
        return [
            Message(each.command, direction, each.raw, codec, error=each.error)
            for each in items
            if isinstance(each, Frame)
        ]

    def _shake_hands(self, protocol_version: int) -> None:
        for direction in Direction:
            nonce = len(direction)
            agent = b"/client/" if direction is Direction.TO_UPSTREAM else b"/upstream/"
            self._send(direction, [_version(protocol_version, nonce, agent)])
        for direction in Direction:
            self._send(direction, [VerAck()])
        self._sent = dict.fromkeys(Direction, b"")
        self.entries.clear()

    def _now(self) -> int:
        return EPOCH_NS + round(self.clock.seconds() * 1e9)
