"""A peer on a transport in memory. The test plays the node at the other end.

`connect(CONFIG, inbound=False)` returns a `Wired`: the `peer`, its `clock`, the messages it `sent`,
and the calls of its callbacks in `told`. The node sends with `feed` and `shake_hands`.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.peer import NonceCache, Peer, PeerConfig, Policy
from lbcproxy.wire import Codec, Frame, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.record import MessageRecord
from tests.proxy.transports import FakeTransport

__all__ = [
    "BITCOIN",
    "CONFIG",
    "MAINNET",
    "NOW",
    "REGTEST",
    "Callbacks",
    "Wire",
    "Wired",
    "connect",
    "encoded",
    "version",
]

MAINNET = networks.get("lbry-mainnet")
REGTEST = networks.get("lbry-regtest")
BITCOIN = networks.get("bitcoin-mainnet")
CONFIG = PeerConfig(network=MAINNET, user_agent_name="test", user_agent_version="1")
NOW = 1_700_000_000.0
"""The time of day when a clock shows 0."""
HIGHEST = 70016
"""A version at which every message of ours may be written."""


def version(number: int = 70013, **fields: Any) -> Version:
    """Return a node's `version` message with default values for the fields that are not given."""
    usual: dict[str, Any] = {
        "services": 1,
        "timestamp": int(NOW),
        "addr_recv": NetAddress(1, bytes(16), 9246),
        "addr_from": NetAddress(1, bytes(16), 9246),
        "nonce": 0x1122334455667788,
        "user_agent": b"/node:1.0/",
        "start_height": 100,
        "relay": True,
    }
    return Version(version=number, **{**usual, **fields})


def encoded(
    record: MessageRecord, at: int = HIGHEST, *, network: Network = MAINNET, witness: bool = True
) -> bytes:
    """Return the frame of a message, encoded for a protocol version."""
    codec = Codec(network, at, "witness" if witness else "base")
    return frame(network.magic, record.command, codec.encode(record))


class Wire(FakeTransport):
    """A transport in memory whose node has any address."""

    host = "10.0.0.1"

    def getPeer(self) -> Any:
        kind = IPv6Address if ":" in self.host else IPv4Address
        return kind("TCP", self.host, self.port)


MADE: list["Wired"] = []
"""All that were made since the list was cleared."""


class Callbacks:
    """Every callback of a peer. Each call is recorded in `calls`; `on` has what it does then.

    `Callbacks(on_version=lambda peer, record: Reject(...))`.
    """

    def __init__(self, **on: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.on = on

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self.on]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)

        def call(peer: Peer, *arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            return self.on[name](peer, *arguments) if name in self.on else None

        return call

    def names(self, *but: str) -> list[str]:
        """Which callbacks were called, in order, without some."""
        return [words[0] for words in self.calls if words[0] not in but]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of one callback."""
        return [words[1:] for words in self.calls if words[0] == name]


class Wired:
    """A peer and the node at its other end."""

    def __init__(
        self,
        config: PeerConfig,
        *,
        inbound: bool,
        host: str,
        port: int,
        callbacks: Callbacks,
        clock: Clock,
        **options: Any,
    ) -> None:
        self.config, self.clock, self.callbacks = config, clock, callbacks
        options.setdefault("nonces", NonceCache())
        options.setdefault("wall", lambda: NOW + clock.seconds())
        self.peer = Peer(config, inbound=inbound, clock=clock, callbacks=callbacks, **options)
        self.wire = Wire(clock, self.peer, port)
        self.wire.host = host
        MADE.append(self)

    def end(self) -> None:
        """Disconnect, and let the node read or be aborted."""
        self.peer.disconnect()
        self.read()
        self.clock.advance(self.config.timeouts.close)
        self.clock.advance(0)

    def open(self) -> "Wired":
        """Establish the connection."""
        self.peer.makeConnection(self.wire)
        return self

    # The node.

    def feed(self, *things: MessageRecord | bytes) -> "Wired":
        """Let the node send messages, or bytes as they are, in one segment."""
        self.wire.arrive(b"".join(self.frame(each) for each in things))
        return self

    def frame(self, thing: MessageRecord | bytes) -> bytes:
        """Return the bytes of a message as the node encodes it."""
        if isinstance(thing, bytes):
            return thing
        at = HIGHEST if isinstance(thing, Version) else self.peer.core.protocol_version
        return encoded(thing, at, network=self.config.network)

    def shake_hands(self, number: int = 70013, **fields: Any) -> "Wired":
        """Complete the handshake; what was sent and recorded until then is discarded.

        The handshake has to succeed.
        """
        self.feed(version(number, **fields), VerAck())
        assert self.peer.is_ready
        self.read()
        self.wire.got = b""
        self.callbacks.calls.clear()
        return self

    def read(self) -> "Wired":
        """Let the node read everything, and run what follows from that."""
        before = -1
        while before != (before := len(self.wire.got)):
            self.wire.read()
            self.clock.advance(0)
        return self

    def pass_time(self, seconds: float, step: float = 1.0) -> "Wired":
        """Let time pass in steps. The node reads and is silent."""
        whole, rest = divmod(seconds, step)
        for each in [step] * int(whole) + [rest] * (rest > 0):
            self.clock.advance(each)
            self.read()
        return self

    # What the node sees.

    @property
    def bytes_sent(self) -> bytes:
        """Everything written to the transport, whether the node has read it or not."""
        return self.wire.got + self.wire.waiting

    @property
    def sent(self) -> list[MessageRecord]:
        """The messages that were written to the transport."""
        return [self._decoded(each) for each in self._frames()]

    @property
    def commands(self) -> list[str]:
        """Their commands."""
        return [each.command for each in self._frames()]

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """The calls of the callbacks."""
        return self.callbacks.calls

    @property
    def closed(self) -> bool:
        """Whether the peer has ended the connection, or it is lost."""
        return not self.wire.connected or self.wire.disconnecting or self.wire.aborted

    @property
    def calls_left(self) -> int:
        """How many delayed calls are pending."""
        return len(self.clock.getDelayedCalls())

    def _frames(self) -> list[Frame]:
        network = msgspec.structs.replace(self.config.network, protocol_version=HIGHEST)
        framer = Framer(network)
        frames = framer.feed(self.bytes_sent)
        assert framer.buffered == 0, "the last frame is cut off"
        for each in frames:
            assert isinstance(each, Frame)
            assert each.error is None, each.error
        return frames  # type: ignore[return-value]

    def _decoded(self, each: Frame) -> MessageRecord:
        at = HIGHEST if each.command == "version" else self.peer.core.protocol_version
        codec = Codec(self.config.network, at, "auto")
        return codec.decode(each.command, each.raw[24:])


def connect(
    config: PeerConfig = CONFIG,
    *,
    inbound: bool = True,
    host: str = "10.0.0.1",
    port: int = 9246,
    callbacks: Callbacks | None = None,
    clock: Clock | None = None,
    opened: bool = True,
    policy: Policy | None = None,
    **options: Any,
) -> Wired:
    """Return a peer whose connection was just established, or is not yet (`opened=False`).

    `policy` is short for a config with that policy; `options` are those of `Peer`.
    """
    if policy is not None:
        config = msgspec.structs.replace(config, policy=policy)
    wired = Wired(
        config,
        inbound=inbound,
        host=host,
        port=port,
        callbacks=callbacks or Callbacks(),
        clock=clock or Clock(),
        **options,
    )
    return wired.open() if opened else wired
