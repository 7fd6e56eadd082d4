"""The core of a full peer: bytes and times in, effects out. No socket, no clock, no callback.

The shell feeds it, does what it answers, and tells it when a callback is done; then the next
message comes. Statements in brackets, as (B7), are lbcd's behaviour, see docs/peer-lbcd.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.announce import make_version
from lbcproxy.peer.caches import NonceCache
from lbcproxy.peer.config import PeerConfig, StallMode
from lbcproxy.peer.effects import Deliver, Effect, End, Note, Read, Ready
from lbcproxy.peer.handshake import LOWEST_VERSION, Handshake, Phase, Step
from lbcproxy.peer.inventory import Inventory
from lbcproxy.peer.reactions import Reactions
from lbcproxy.peer.remote import Remote
from lbcproxy.peer.sender import Sender, resolved
from lbcproxy.peer.stall import Stall
from lbcproxy.peer.statistics import Counters
from lbcproxy.peer.timers import RUN_WHILE_READING, Timers
from lbcproxy.session import Direction, EndCause, Message
from lbcproxy.wire import Codec, Frame, Framer, Junk
from lbcproxy.wire.messages.handshake import Service, Version
from lbcproxy.wire.messages.inventory import InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = ["PeerCore"]

MOST_IN_HANDSHAKE = 65_536
BLOOM_COMMANDS = frozenset({"filterload", "filteradd", "filterclear"})
LIMIT, TIMEOUT = EndCause.LIMIT, EndCause.TIMEOUT
CALLBACK = "(callback)"
"""Why we do not read while a callback runs."""


class PeerCore(Reactions):
    """One full peer. Times are seconds of one clock; `wall` gives the time of day, unix seconds."""

    def __init__(
        self,
        config: PeerConfig,
        *,
        inbound: bool,
        nonces: NonceCache,
        new_id: Callable[[], int],
        wall: Callable[[], float],
        receives: Direction = Direction.TO_CLIENT,
    ) -> None:
        self.config = config
        self.inbound = inbound
        self.handshake = Handshake(config, inbound=inbound)
        self.inventory = Inventory(config.most_inventory)
        self.counters = Counters()
        self.remote = Remote()
        self.closed = ""
        """Why it is closed, in words; empty while it is not."""
        self.cause: EndCause | None = None  # the same for programs
        self._nonces = nonces
        self._new_id = new_id
        self._wall = wall
        self._receives = receives
        self._framer = Framer(config.network)
        self._codec = Codec(config.network, config.highest_version, "witness")
        self._stall = Stall(config.timeouts)
        self._timers = Timers(RUN_WHILE_READING)
        self.sender = Sender(config, self.counters, self._stall, self._timers, wall)
        self._items: deque[Frame | Junk] = deque()
        self._address = Endpoint("", 0)
        self._delivering: Message | None = None

    # What the shell asks.

    @property
    def protocol_version(self) -> int:
        """What was agreed; our own highest before that."""
        return self.sender.protocol_version

    @property
    def ready(self) -> bool:
        """Whether the handshake is done and the connection not closed."""
        return self.handshake.phase is Phase.DONE and not self.closed

    @property
    def pending(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._items) and self._delivering is None and not self.closed

    @property
    def held(self) -> int:
        """Bytes that came and are not taken in yet."""
        return self._framer.memory + sum(len(item.raw) for item in self._items)

    @property
    def deadline(self) -> float | None:
        """When `tick` is to be called next; never behind the end."""
        return None if self.closed else self._timers.next

    # What happens.

    def open(self, now: float, remote: Endpoint) -> list[Effect]:
        """Begin: the connection to this address is there."""
        self._address = remote
        self._timers.set("negotiate", now + self.config.timeouts.negotiate)
        return [] if self.inbound else self._our_version(now)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self.counters.bytes_received += len(data)
        self._items.extend(self._framer.feed(data))  # type: ignore[arg-type]  # whole frames only
        why = self._framer.desync_reason
        shaking = self.handshake.phase is not Phase.DONE and not self._items
        if shaking and self._framer.buffered > MOST_IN_HANDSHAKE:
            why = f"a frame of more than {MOST_IN_HANDSHAKE} bytes in the handshake"
        if why and not self._forgiving():
            self._items.append(Junk(self._framer.take_buffered(), why))

    def step(self, now: float) -> list[Effect]:
        """Take the next item in; call it again while `pending`."""
        item = self._items.popleft()
        if isinstance(item, Junk):
            read = Read(len(item.raw), None, item.why, item.raw)
            return self._malformed(now, read, cut_short=False)
        message = Message(item.command, self._receives, item.raw, self._codec, error=item.error)
        self.counters.received(item.command, len(item.raw), self._wall())
        size = len(item.raw)
        if record_of(item.command) is None or not self.handshake.knows(item.command):
            return self._unknown(now, Read(size, message, f"unknown command {item.command!r}"))
        if message.error is not None:
            cut_short = message.frame_error is None and message.cut_short
            return self._malformed(now, Read(size, message, message.error), cut_short=cut_short)
        self._alive(now)
        return [Read(size, message, None), *self._accept(message, now)]

    def delivered(self, answer: object, now: float) -> list[Effect]:
        """Go on behind a callback, which for `version` may have answered with a Reject."""
        message, self._delivering = self._delivering, None
        if message is None or self.closed:
            return []
        self._timers.cancel("callback")
        self.back(now)
        if self.handshake.phase is Phase.AWAIT_VERSION:
            return self._after_version(answer, now)
        if self.handshake.phase is Phase.AWAIT_VERACK and message.command == "verack":
            return self._after_verack(now)
        return []

    def away(self, now: float, why: str = CALLBACK) -> None:
        """Take note that we do not read for a reason; nobody is to blame for that time."""
        self._timers.leave(why, now)

    def back(self, now: float, why: str = CALLBACK) -> None:
        """Take a reason back; with the last we read again."""
        seconds = self._timers.back(why, now)
        if seconds is not None and not self.closed:
            self._stall.put_off(seconds, now)
            self._alive(now)

    def flush(self, now: float) -> list[Effect]:
        """Send the next message that waits, if it may go; call it again until it gives nothing."""
        return [] if self.closed else self.sender.flush(now)

    def queue(
        self, record: MessageRecord, now: float, *, witness: bool = False, ticket: int | None = None
    ) -> list[Effect]:
        """Take a message to be sent when its turn comes; call `flush` behind it."""
        if self.closed:
            return resolved(ticket, sent=False)
        return [*self.sender.queue(record, witness, ticket), *self._bounded()]

    def queue_raw(self, command: str, raw: bytes) -> list[Effect]:
        """Take a frame to be sent as it is when its turn comes; call `flush` behind it."""
        if self.closed:
            return []
        self.sender.queue_raw(command, raw)
        return self._bounded()

    def _bounded(self) -> list[Effect]:
        if (box := self.sender.outbox).memory <= self.config.most_queued:
            return []
        return self.close(f"{len(box)} messages of {box.size} bytes wait to be sent", LIMIT)

    def show(self, config: PeerConfig) -> None:
        """Have our own `version`, if it is still to be sent, made from another config."""
        self.config = config
        if self.remote.version is not None:
            agreed = min(config.highest_version, self.remote.version.version)
            self.sender.protocol_version = agreed
            encoding = self.handshake.encoding(self.remote.services)
            self._codec = Codec(config.network, agreed, encoding)

    def offer(self, command: str, raw: bytes, now: float) -> list[Effect]:
        """Send a frame before our `verack`, if it may still be offered."""
        if self.closed or not self.handshake.may_offer(command):
            return []
        return self.sender.send_raw(command, raw, now)

    def send_verack(self, now: float) -> list[Effect]:
        """Send our `verack` if it was held."""
        return [] if self.closed else self._take(Step(self.handshake.verack()), now)

    def queue_inventory(self, thing: InventoryVector, now: float) -> list[Effect]:
        """Announce something: a block at once, anything else with the next trickle."""
        inv = None if self.closed else self.inventory.queue(thing)
        return [] if inv is None else self.queue(inv, now)

    def tick(self, now: float, *, late: bool = False) -> list[Effect]:
        """Do what is due; `late` tells that something came while our process did not run."""
        if late and self.handshake.phase is not Phase.DONE:
            self._timers.set("negotiate", now + self.config.timeouts.negotiate)
        effects: list[Effect] = []
        for name in self._timers.due(now):
            if not self.closed:
                effects += self._due(name, now)
        return effects

    def close(self, why: str, cause: EndCause = EndCause.PROTOCOL) -> list[Effect]:
        """End it; what waits in the queue is given up."""
        if self.closed:
            return []
        self.cause = cause
        self.closed = why or "no reason given"
        self._timers.clear()
        self._items.clear()
        self._framer.take_buffered()  # taken out, so that its memory is free
        self.inventory.forget()
        return [Note("trace", f"disconnecting: {why}"), *self.sender.give_up(), End()]

    # Incoming messages.

    def _accept(self, message: Message, now: float) -> list[Effect]:
        command = message.command
        if self.handshake.phase is not Phase.DONE:
            refused = self.handshake.refusal(command)
            if refused is not None:
                return self._take(refused, now)
            if command == "version":
                return self._take_version(message, now)
            return self._deliver(message, now)
        if command in ("version", "verack"):
            return self._duplicate(command, now)
        if self.handshake.ends_late(command):
            return self.close(f"{command} after verack")
        if command in BLOOM_COMMANDS and not self.config.services & Service.BLOOM:
            return self._unsupported(command)
        self._stall.received(command)
        return [*self._automatic(message, now), *self._deliver(message, now)]

    def _automatic(self, message: Message, now: float) -> list[Effect]:
        """Do what is done before any callback."""
        record = message.record
        if isinstance(record, Ping) and record.nonce is not None and self.config.keepalive:
            return self.queue(Pong(record.nonce), now)
        if isinstance(record, Pong):
            self.sender.keepalive.received(record, now)
        return []

    def _deliver(self, message: Message, now: float) -> list[Effect]:
        self._delivering = message
        self.remote.heard(message.command)
        self.away(now)
        self._timers.set("callback", now + self.config.timeouts.callback)
        return [Deliver(message)]

    # The handshake.

    def _our_version(self, now: float) -> list[Effect]:
        """Send our `version`, whose nonce is known before it is sent (J1)."""
        in_use, wall = self.protocol_version, self._wall()
        try:
            version = make_version(
                self.config, self._address, inbound=self.inbound, in_use=in_use, wall=wall
            )
            self.sender.encode(version)
        except Exception as error:  # the user's functions, and what they gave
            return self._failed(f"no version can be made: {error}", EndCause.FAILURE)
        self._nonces.add(version.nonce or 0)
        return self.sender.send(version, now)

    def _take(self, step: Step, now: float) -> list[Effect]:
        effects = [effect for record in step.send for effect in self.sender.send(record, now)]
        if step.ignored:
            effects.append(Note("debug", f"ignoring {step.ignored}"))
        return [*effects, *self._failed(step.failed)] if step.failed else effects

    def _failed(self, why: str, cause: EndCause = EndCause.PROTOCOL) -> list[Effect]:
        return [Note("debug", f"cannot start peer: {why}"), *self.close(why, cause)]

    def _take_version(self, message: Message, now: float) -> list[Effect]:
        """Take the node's version (B4): whether it is ourselves, then who it is, then ask."""
        version = message.record
        assert isinstance(version, Version)
        if not self.config.allow_self_connections and version.nonce in self._nonces:
            return self._failed("disconnecting peer connected to self")
        if version.version < 0:
            return self._failed(f"protocol version {version.version} is negative")
        self.remote.introduced(version, self._new_id(), self._wall())
        self.sender.protocol_version = min(self.protocol_version, version.version)
        encoding = self.handshake.encoding(version.services)
        self._codec = Codec(self.config.network, self.protocol_version, encoding)
        return self._deliver(message, now)

    def _after_version(self, answer: object, now: float) -> list[Effect]:
        assert self.remote.version is not None
        if isinstance(answer, Reject):
            words = answer.reason.decode("utf-8", "replace")
            return self._take(Step((answer,), failed=words or "refused by us"), now)
        if self.remote.version.version < LOWEST_VERSION:
            # Without a reject: the node's version has none (B5).
            return self._failed(f"protocol version must be {LOWEST_VERSION} or greater")
        agreed = Note("debug", f"negotiated protocol version {self.protocol_version}")
        ours = self._our_version(now) if self.inbound else []
        if self.closed:
            return ours
        step = self.handshake.version_accepted(self.protocol_version)
        return [agreed, *ours, *self._take(step, now)]

    def _after_verack(self, now: float) -> list[Effect]:
        effects = self._take(self.handshake.verack_accepted(), now)
        self.sender.ready = True
        times = self.config.timeouts
        self._timers.cancel("negotiate")
        if self.config.keepalive:
            self._timers.set("ping", now + times.ping)
        self._timers.set("trickle", now + self.config.trickle)
        self._timers.set("stall", now + times.stall_tick)
        self._alive(now)
        return [*effects, Note("debug", "connected"), Ready()]

    # Time.

    def _alive(self, now: float) -> None:
        if self.handshake.phase is Phase.DONE:
            self._timers.set("idle", now + self.config.timeouts.idle)

    def _due(self, name: str, now: float) -> list[Effect]:
        times = self.config.timeouts
        if name == "negotiate":
            return self._failed("protocol negotiation timeout", TIMEOUT)
        if name == "idle":
            words = f"no answer for {times.idle:g} s"
            return [Note("warn", f"{words} -- disconnecting"), *self.close(words, TIMEOUT)]
        if name == "callback":
            return self.close(f"a callback has not ended in {times.callback:g} s", TIMEOUT)
        if name == "write":
            return self.close("the node does not read what is sent to it", TIMEOUT)
        if name == "ping":
            self._timers.set("ping", now + self.config.timeouts.ping)
            return self.queue(self.sender.keepalive.make(self.protocol_version), now)
        if name == "trickle":
            self._timers.set("trickle", now + self.config.trickle)
            return [each for inv in self.inventory.trickle() for each in self.queue(inv, now)]
        return self._look_for_stalls(now)

    def _look_for_stalls(self, now: float) -> list[Effect]:
        self._timers.set("stall", now + self.config.timeouts.stall_tick)
        late = [] if self.config.stall is StallMode.OFF else self._stall.overdue(now)
        if not late:
            return []
        words = f"appears to be stalled or misbehaving, {', '.join(late)} timeout"
        if self.config.stall is StallMode.LOG:
            return [Note("debug", words)]
        return [Note("debug", f"{words} -- disconnecting"), *self.close(words, TIMEOUT)]
