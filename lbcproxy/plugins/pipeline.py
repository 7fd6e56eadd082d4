"""The pipeline of a session: from what was received, through the plugins, to what is sent.

The order in each direction stays: what is delayed or waits for a decision holds what is after it.
The pipeline has no socket and no clock: its `PipelineHost` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lbcproxy.plugins.delivery_queue import DeliveryQueue, QueuedDelivery, not_sent
from lbcproxy.plugins.hook_caller import FailurePolicy, HookCaller
from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.host import PipelineHost
from lbcproxy.plugins.injection_limit import InjectionLimit
from lbcproxy.plugins.outcome import Outcome
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.plugins.verdicts import Raw, Sendable
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import Delivery
from lbcproxy.session.info import SessionInfo
from lbcproxy.session.message import Message
from lbcproxy.session.safe_reader import SafeReader
from lbcproxy.session.session import Session
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.record import MessageRecord

__all__ = ["CLOSED", "OPEN", "Pipeline"]

MAX_BUFFERED_BYTES = 16 << 20
"""Bytes that may wait in one direction before its sender is no longer read."""
MAX_QUEUED = 10_000
OPEN, CLOSED = FailurePolicy.OPEN, FailurePolicy.CLOSED


class Pipeline:
    """The queues of one session: what plugins decide about, in order, and what is sent.

    Args:
        core: The session's core, which parses what is received.
        chain: The plugins.
        host: What runs the pipeline.
        policy: What happens to a message whose plugin fails, a `FailurePolicy` or its value.
    """

    def __init__(
        self, core: Session, chain: PluginChain, host: PipelineHost, policy: str = OPEN
    ) -> None:
        self.core = core
        self.host = host
        self.info: SessionInfo | None = None
        self._reader = SafeReader(core)
        self._queues = {direction: DeliveryQueue() for direction in Direction}
        self._limits = {each: InjectionLimit(queue) for each, queue in self._queues.items()}
        self._held: set[Direction] = set()
        self._versions_shown: dict[Direction, int] = {}
        self._ready = False
        self._plugins = HookCaller(chain, host, self._view, policy)

    def _view(self, plugin: Hooks) -> LiveSession:
        return LiveSession(self, self.core, plugin.name)

    def change(self, chain: PluginChain) -> None:
        """Use other plugins from the next message on."""
        self._plugins.chain = chain
        self.core.set_buffered_commands(chain.commands)

    @property
    def chain(self) -> PluginChain:
        """The plugins."""
        return self._plugins.chain

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for a decision or for their time."""
        return sum(queue.buffered_bytes for queue in self._queues.values())

    def is_waiting(self, direction: Direction) -> bool:
        """Return whether something in a direction waits for a decision or for its time."""
        return not self._queues[direction].is_empty

    def start(self, info: SessionInfo) -> None:
        """Start the session: call the plugins' `on_start`."""
        self.info = info
        self._plugins.event("start")

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> None:
        """Process bytes that have arrived from one node."""
        queue = self._queues[direction]
        if queue.is_empty and self.core.can_forward_unparsed(direction, data):
            self.host.send(direction, data)  # before it is hashed: the node need not wait for that
            deliveries = self._reader.receive(direction, data, time_ns)
            queue.forwarded(deliveries)
            self.host.notify_delivered(direction, deliveries)
            return
        waited = self.core.is_partial(direction)
        deliveries = self._reader.receive(direction, data, time_ns)
        if queue.is_empty and not any(self._is_asked_for(each) for each in deliveries):
            queue.forwarded(deliveries)
            if not waited and not self.core.is_partial(direction):
                self._send(direction, deliveries, data)
            elif deliveries:
                self._send(direction, deliveries)
        else:
            for delivery in deliveries:
                self._put(direction, delivery)
            self._advance(direction)
        self.check_handshake()

    def offer(self, direction: Direction, delivery: Delivery) -> None:
        """Process a message that has been framed elsewhere."""
        self._put(direction, delivery)
        self._advance(direction)

    def finish(self, direction: Direction, time_ns: int) -> None:
        """Close a direction when everything in its queue has been sent."""
        for delivery in self._reader.end(direction, time_ns):
            self._put(direction, delivery)
        self._queues[direction].ended = True
        self._advance(direction)

    def release_partial(self, time_ns: int) -> None:
        """Forward messages that have not fully arrived, to free their memory."""
        for direction in Direction:
            for delivery in self._reader.release_partial(direction, time_ns):
                self._put(direction, delivery)
            self._advance(direction)

    def cut(self, time_ns: int) -> None:
        """Drop everything in the queues: the session broke off."""
        for direction, queue in self._queues.items():
            deliveries = [not_sent(each) for queued in queue.clear() for each in queued.deliveries]
            deliveries += map(not_sent, self._reader.end(direction, time_ns))
            if deliveries:
                self.host.notify_delivered(direction, deliveries)

    def end(self, why: str) -> None:
        """End the session: call the plugins' `on_end`."""
        self._plugins.event("end", why)

    def check_handshake(self) -> None:
        """Call the plugins' `on_handshake`, once, when both nodes have finished the handshake."""
        if not self._ready and self.core.is_ready:
            self._ready = True
            self._plugins.event("handshake")

    # What plugins do through their `LiveSession`.

    def inject(
        self, name: str, direction: Direction, messages: Sequence[Sendable], why: str = ""
    ) -> None:
        """Send messages of a plugin in a direction; see `LiveSession.inject`."""
        framed = [self._framed(each, direction) for each in messages]
        self._inject(direction, framed, f"{name}: inject" + (f": {why}" if why else ""))

    def later(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        """Call a plugin's function later."""
        self._plugins.later(name, seconds, call)

    # One message.

    def _put(self, direction: Direction, delivery: Delivery) -> None:
        entry = delivery.entries[0] if self._is_asked_for(delivery) else None
        self._queues[direction].put(QueuedDelivery([delivery], entry))

    def _is_asked_for(self, delivery: Delivery) -> bool:
        one_by_one = delivery.run is None and delivery.entries
        message = delivery.entries[0].message if one_by_one else None
        # Junk is not a message, and a long message that was forwarded in parts has no bytes.
        return message is not None and bool(message.raw) and self._plugins.is_for(message)

    def _advance(self, direction: Direction) -> None:
        """Decide about what waits for a decision, and send what is ready."""
        queue = self._queues[direction]
        while not queue.deciding:
            queued = queue.next_undecided()
            if queued is None:
                break
            queue.deciding = True
            self._decide(direction, queued)
        self._flush(direction)

    def _decide(self, direction: Direction, queued: QueuedDelivery) -> None:
        entry = queued.entry
        assert entry is not None
        assert entry.message is not None
        outcome = Outcome(entry.message, self._framed, self._check_limit)
        work, may_await = self._plugins.decide(outcome)
        if may_await:

            def decided() -> None:
                self._settle(direction, queued, outcome)
                self._advance(direction)

            self.host.run(work, decided)
            return
        try:
            work.send(None)
        except StopIteration:
            self._settle(direction, queued, outcome)

    def _settle(self, direction: Direction, queued: QueuedDelivery, outcome: Outcome) -> None:
        """Carry out what the plugins have decided about a message."""
        queue = self._queues[direction]
        queue.deciding = False
        assert queued.entry is not None
        if outcome.trail:  # otherwise no plugin decided anything: it is sent as it arrived
            deliveries = outcome.deliveries(
                queued.entry,
                lambda each, trail: self._injected(each, direction, trail),
                queued.deliveries[-1].packet,
            )
            queue.replace(
                queued,
                deliveries,
                injected=outcome.injected,
                injected_bytes=outcome.injected_bytes,
            )
        queued.close = outcome.close
        if outcome.message.command == "version":
            self._note_version(direction, outcome.messages)
        if outcome.across:
            try:
                self._inject(direction.other, outcome.across, "; ".join(outcome.trail))
            except OverflowError as error:
                self.host.complain(f"{'; '.join(outcome.trail)}: {error}", None)
        if outcome.delay:
            self.host.later(outcome.delay, lambda: self._due(direction, queued))
        else:
            queued.ready = True

    def _note_version(self, direction: Direction, shown: Sequence[Message | Raw]) -> None:
        """Remember the version that a node is shown: each leg has its own agreed version."""
        for each in shown:
            if isinstance(each, Message) and isinstance(each.record, Version):
                self._versions_shown[direction] = each.record.version
        client, upstream = self.core.client.version, self.core.upstream.version
        if client is None or upstream is None:
            return
        to_client = self._versions_shown.get(Direction.TO_CLIENT, upstream.version)
        to_upstream = self._versions_shown.get(Direction.TO_UPSTREAM, client.version)
        if (to_client, to_upstream) != (upstream.version, client.version):
            self.core.set_versions(
                min(client.version & 0xFFFFFFFF, to_client & 0xFFFFFFFF),
                min(upstream.version & 0xFFFFFFFF, to_upstream & 0xFFFFFFFF),
            )

    def _due(self, direction: Direction, queued: QueuedDelivery) -> None:
        queued.ready = True
        self._flush(direction)

    # Sending.

    def _flush(self, direction: Direction) -> None:
        queue = self._queues[direction]
        ready = queue.pop_ready()
        deliveries = [each for queued in ready for each in queued.deliveries]
        if deliveries:
            self._send(direction, deliveries)
            if injected := [queued for queued in ready if queued.injected_bytes]:
                self._limits[direction].sent(injected, full=self.host.is_full(direction))
        close = next((queued.close for queued in ready if queued.close is not None), None)
        if close is not None:
            self.host.close(close)
        self._hold_if_full(direction, queue)
        if queue.ended and not len(queue):
            queue.ended = False
            self.host.finish(direction)

    def _send(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None = None
    ) -> None:
        reported = self.host.send_deliveries(direction, deliveries, data)
        self.host.notify_delivered(direction, reported)

    def _hold_if_full(self, direction: Direction, queue: DeliveryQueue) -> None:
        """Stop reading while too much waits, and resume when half of it is gone."""
        if direction not in self._held:
            if queue.buffered_bytes > MAX_BUFFERED_BYTES or len(queue) > MAX_QUEUED:
                self._held.add(direction)
                self.host.hold(direction, True)
        elif queue.buffered_bytes <= MAX_BUFFERED_BYTES // 2 and len(queue) <= MAX_QUEUED // 2:
            self._held.remove(direction)
            self.host.hold(direction, False)

    # Injecting.

    def _inject(self, direction: Direction, framed: Sequence[Message | Raw], trail: str) -> None:
        """Queue messages; raises OverflowError if the receiver does not read."""
        self._check_limit(direction, sum(len(each.raw) for each in framed), len(framed))
        for each in framed:
            queued = QueuedDelivery([self._injected(each, direction, trail)], injected=1)
            self._queues[direction].inject(queued)
        self._advance(direction)

    def _check_limit(self, direction: Direction, size: int, messages: int) -> None:
        full = self.host.is_full(direction)
        self._limits[direction].check(size, messages, full=full)

    def _framed(self, sendable: Sendable, direction: Direction) -> Message | Raw:
        codec = self.core.codec_to(direction)
        if isinstance(sendable, MessageRecord):
            return Message.of(sendable, direction, codec)
        if isinstance(sendable, Message) and sendable.codec.params != codec.params:
            record = sendable.record  # the receiver expects another version, or no witness
            return sendable if record is None else Message.of(record, direction, codec)
        return sendable

    def _injected(self, framed: Message | Raw, direction: Direction, trail: str) -> Delivery:
        given = framed if isinstance(framed, Message) else framed.raw
        return self.core.inject(direction, self.host.now(), given, (trail,))
