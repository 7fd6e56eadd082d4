"""How the bytes of a session get from one leg to the other.

The relay connects, closes and keeps back-pressure; a forwarder decides what is sent on, and when.
Without plugins bytes are written at once and inspected afterwards. With plugins they go through a
pipeline, which inspects them first and may hold, change or drop messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.pipeline import Pipeline
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.plugin_host import PipelineOwner, PluginHost, chain_for
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.proxy.untranslatable import Untranslatable
from lbcproxy.session import Delivery, Direction, Session, SessionInfo

__all__ = [
    "DirectForwarder",
    "Forwarder",
    "PluginForwarder",
    "Sender",
    "choose_forwarder",
    "translating",
]


class Sender(PipelineOwner, Protocol):
    """What a forwarder needs of its relay."""

    session: Session

    def send_contents(self, direction: Direction, contents: Sequence[bytes]) -> None:
        """Send packets with these contents over an encrypted leg."""

    def send_deliveries(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None = None
    ) -> Sequence[Delivery]:
        """Send deliveries in the form of the receiver's leg; return what is to be reported."""

    def held_changed(self) -> None:
        """Tell the budget how much the session holds."""


class Forwarder(Protocol):
    """What becomes of bytes between the legs of a session."""

    @property
    def held(self) -> int:
        """Bytes of messages that wait for a decision."""

    def start(self, info: SessionInfo) -> None:
        """Begin: a client has connected."""

    def received(self, direction: Direction, data: bytes) -> None:
        """Forward bytes, or keep them for a decision."""

    def received_packets(
        self, direction: Direction, frames: Iterable[bytes], contents: Sequence[bytes]
    ) -> None:
        """Forward messages of an encrypted leg, given as frames and as contents of packets."""

    def offer(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Forward deliveries that have been read elsewhere."""

    def finished(self, direction: Direction) -> None:
        """End a direction on the other leg too, after what is still held."""

    def change(self, settings: RelaySettings) -> None:
        """Use the plugins and faults of other settings from now on."""

    def reduce_memory(self) -> None:
        """Hold no incomplete message any longer; it passes unread."""

    def cut(self) -> None:
        """Give up what is held: nothing can be sent any more."""

    def end(self, why: str) -> None:
        """Tell the plugins that the session is over, and stop their timers."""


class DirectForwarder:
    """Bytes are written at once and inspected afterwards, so that no node waits for us."""

    held = 0

    def __init__(self, relay: Sender, inspector: Inspector) -> None:
        self._relay = relay
        self._inspector = inspector

    def start(self, info: SessionInfo) -> None:
        """Do nothing: there are no plugins to start."""

    def received(self, direction: Direction, data: bytes) -> None:
        """Forward bytes, then have them inspected."""
        self._relay.send_on(direction, data)
        self._inspector.received(direction, data)

    def received_packets(
        self, direction: Direction, frames: Iterable[bytes], contents: Sequence[bytes]
    ) -> None:
        """Forward packets, then have their frames made and inspected."""
        self._relay.send_contents(direction, contents)
        self._inspector.received_frames(direction, frames, sum(map(len, contents)))

    def offer(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Forward deliveries, then have them reported."""
        reported = self._relay.send_deliveries(direction, deliveries)
        self._inspector.delivered(direction, reported)

    def finished(self, direction: Direction) -> None:
        """End a direction on the other leg too."""
        self._relay.finish_on(direction)

    def change(self, settings: RelaySettings) -> None:
        """Do nothing: a session that began without plugins has none to its end."""

    def reduce_memory(self) -> None:
        """Hold no incomplete message any longer; it passes unread."""
        self._inspector.release_partial()

    def cut(self) -> None:
        """Do nothing: nothing is held."""

    def end(self, why: str) -> None:
        """Do nothing."""


class PluginForwarder:
    """Bytes go through a pipeline of plugins; what they decide is sent on in order."""

    def __init__(
        self,
        relay: Sender,
        host: PluginHost,
        pipeline: Pipeline,
        inspector: Inspector,
        runtime: Runtime,
        last: Sequence[Hooks] = (),
    ) -> None:
        self._relay = relay
        self._last = last  # hooks after all that can be configured
        self._host = host
        self._pipeline = pipeline
        self._inspector = inspector
        self._runtime = runtime
        self._finished: set[Direction] = set()

    @property
    def held(self) -> int:
        """Bytes of messages that wait for a decision."""
        return self._pipeline.buffered_bytes

    def start(self, info: SessionInfo) -> None:
        """Call the plugins' `on_start`."""
        self._pipeline.start(info)

    def received(self, direction: Direction, data: bytes) -> None:
        """Have bytes go through the plugins."""
        self._host.receive(self._pipeline, direction, data, self._inspector.lost)
        self._relay.held_changed()

    def received_packets(
        self, direction: Direction, frames: Iterable[bytes], contents: Sequence[bytes]
    ) -> None:
        """Have messages go through the plugins."""
        self.received(direction, b"".join(frames))

    def offer(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Have deliveries go through the plugins."""
        for each in deliveries:
            self._pipeline.offer(direction, each)
        self._pipeline.check_handshake()
        self._relay.held_changed()

    def finished(self, direction: Direction) -> None:
        """End a direction on the other leg too, once the plugins have decided all of it."""
        if direction not in self._finished:
            self._finished.add(direction)
            self._pipeline.finish(direction, self._runtime.now())

    def change(self, settings: RelaySettings) -> None:
        """Use the plugins and faults of other settings; those that stay keep what they remember."""
        chain = chain_for(self._relay.number, settings, self._runtime, self._pipeline.chain)
        chain.plugins.extend(self._last)
        self._pipeline.change(chain)

    def add_last(self, hooks: Hooks) -> None:
        """Have messages go through more hooks after all others, also after a change."""
        self._last = (*self._last, hooks)
        self._pipeline.change(PluginChain([*self._pipeline.chain.plugins, hooks]))

    def reduce_memory(self) -> None:
        """Hold no incomplete message any longer; it passes unread."""
        self._pipeline.release_partial(self._runtime.now())

    def cut(self) -> None:
        """Give up what is held: nothing can be sent any more."""
        self._pipeline.cut(self._runtime.now())

    def end(self, why: str) -> None:
        """Call the plugins' `on_end`, and stop their timers."""
        self._pipeline.end(why)
        self._host.stop()


def choose_forwarder(
    relay: Sender,
    chain: PluginChain,
    inspector: Inspector,
    settings: RelaySettings,
    runtime: Runtime,
    last: Sequence[Hooks] = (),
) -> Forwarder:
    """Return how a relay forwards bytes: through plugins, if its chain has any."""
    plugins = settings.plugins
    host = PluginHost(
        relay, runtime.clock, runtime.now, plugins.limit, send_deliveries=relay.send_deliveries
    )
    pipeline = host.pipeline(relay.session, chain, plugins.policy)
    if pipeline is None:
        return DirectForwarder(relay, inspector)
    return PluginForwarder(relay, host, pipeline, inspector, runtime, last)


def translating(
    relay: Sender,
    forwarder: Forwarder,
    to_encrypted: Direction,
    inspector: Inspector,
    settings: RelaySettings,
    runtime: Runtime,
) -> Forwarder:
    """Return the forwarder of a session of which one leg is encrypted.

    Each message passes by itself, so that one that the other leg cannot carry can be dropped.
    """
    hooks = Hooks("transport", Untranslatable(to_encrypted))
    if isinstance(forwarder, PluginForwarder):
        forwarder.add_last(hooks)
        return forwarder
    chain = PluginChain([hooks])
    made = choose_forwarder(relay, chain, inspector, settings, runtime, last=(hooks,))
    relay.session.set_buffered_commands(None)
    made.start(inspector.info)
    return made
