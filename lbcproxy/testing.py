"""A session in memory to test plugins with, without sockets and without sleeping.

Usage::

from lbcproxy.testing import Trial
from lbcproxy.wire.messages.keepalive import Ping

def test_no_ping_passes():
trial = Trial(NoPing())
assert trial.to_upstream(Ping(1)) == "drop"
assert trial.upstream_got == []
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.deprecated import DeprecatedAttribute
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
    unknown = NetAddress(0, bytes(16), 0)
    return Version(number, 1, EPOCH_NS // 10**9, unknown, unknown, nonce, agent, 0, True)


def load_plugin(file: str, **settings: object) -> list[Plugin]:
    """Return the plugins of a file, loaded as `run -s` does.

    Args:
        file: A path, or the name of a plugin that comes with lbcproxy.
        settings: The settings of the plugins.

    Raises:
        BadPlugin: The file cannot be loaded, or has no plugin.
    """
    loaded = PluginFile(PluginSpec(file, settings)).hooks()
    return [hooks.plugin for hooks in loaded if isinstance(hooks.plugin, Plugin)]


class Trial:
    """A client, an upstream, and plugins between them.

    Args:
        plugins: The plugins, in order.
        network: The network's id.
        policy: What happens to a message whose plugin fails: `open` or `closed`.
        limit: Seconds that an `async` hook may take.
        protocol_version: The version that the nodes negotiate; the network's by default.
        handshake: Whether the nodes have finished the handshake when the trial starts.
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
        """What plugins did wrong, for people."""
        self.entries: list[Entry] = []
        """What a capture of the session contains."""
        self.closed: str | None = None
        """Why a plugin closed the session; None if none did."""
        self.ended: set[Direction] = set()
        """Directions that are closed."""
        self.held: set[Direction] = set()
        """Directions that are not read because too much waits."""
        self.full: set[Direction] = set()
        """Directions whose receiver does not read; a test adds them."""
        self._sent: dict[Direction, bytes] = dict.fromkeys(Direction, b"")
        chain = PluginChain([Hooks(type(each).__name__, each) for each in plugins])
        self._core = Session(1, self.network, buffered_commands=chain.commands)
        self._host = PluginHost(self, self.clock, self._now, limit, self.complaints.append)
        self.pipeline = Pipeline(self._core, chain, self._host, policy)
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
        """Send from the client.

        Args:
            messages: Records, or bytes as they are on the wire.

        Returns:
            The verdict on the last message, as `pass` or `drop`; `held` if it waits.
        """
        return self._send(Direction.TO_UPSTREAM, messages)

    def to_client(self, *messages: MessageRecord | bytes) -> str:
        """Send from the upstream; see `to_upstream`."""
        return self._send(Direction.TO_CLIENT, messages)

    def advance(self, seconds: float) -> None:
        """Advance the clock by so many seconds."""
        self.clock.advance(seconds)

    def end(self, why: str = "client closed") -> None:
        """End the session; `why` is passed to the plugins' `on_end`."""
        for direction in Direction:
            self.pipeline.finish(direction, self._now())
        self.pipeline.end(why)
        self._host.stop()

    # What the nodes have received.

    @property
    def upstream_got(self) -> list[Message]:
        """The messages that the upstream has received since the handshake."""
        return self._got(Direction.TO_UPSTREAM)

    @property
    def client_got(self) -> list[Message]:
        """The messages that the client has received since the handshake."""
        return self._got(Direction.TO_CLIENT)

    def bytes_to(self, direction: Direction) -> bytes:
        """Return the bytes that were sent in a direction since the handshake."""
        return self._sent[direction]

    # What `PluginHost` needs of a relay.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Record bytes that are sent."""
        self._sent[direction] += data

    tell_passed = DeprecatedAttribute("notify_delivered")

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Record entries."""
        self.entries += [entry for each in deliveries for entry in each.entries]

    def finish_on(self, direction: Direction) -> None:
        """Record that a direction is closed."""
        self.ended.add(direction)

    def stop(self, end: End = STOPPED) -> None:
        """Record why the session is closed."""
        self.closed = end.text

    def hold(self, direction: Direction, held: bool) -> None:
        """Record whether a direction is read."""
        (self.held.add if held else self.held.discard)(direction)

    def is_full(self, direction: Direction) -> bool:
        """Return whether the receiver in a direction does not read."""
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
