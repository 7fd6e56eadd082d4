"""The core of a peer: bytes and times in, effects out. It has no socket, clock or callback.

The shell feeds it, performs the effects it returns, and tells it when a callback is done. Then the
next message is processed. Statements in brackets, such as (B7), are lbcd's behaviour, see
docs/peer-lbcd.md.
"""

from __future__ import annotations

from collections.abc import Callable

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import violations
from lbcproxy.peer.caches import NonceCache
from lbcproxy.peer.config import PeerConfig, StallMode
from lbcproxy.peer.effects import Deliver, Disconnect, Effect, Log, Read, Ready
from lbcproxy.peer.handshake import MIN_VERSION, Handshake, Phase, Response, make_version
from lbcproxy.peer.inventory import PeerInventory
from lbcproxy.peer.liveness import Liveness
from lbcproxy.peer.receiver import MessageReceiver
from lbcproxy.peer.sender import MessageSender, resolve
from lbcproxy.peer.statistics import Counters, RemoteNode
from lbcproxy.session import Direction, EndCause, Message
from lbcproxy.wire import Junk
from lbcproxy.wire.messages.handshake import Service, Version
from lbcproxy.wire.messages.inventory import InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = ["CALLBACK", "PeerCore"]

BLOOM_COMMANDS = frozenset({"filterload", "filteradd", "filterclear"})
CALLBACK = "(callback)"
"""The reason for which we do not read while a callback runs."""


class PeerCore:
    """Everything a peer decides.

    Times are seconds of one clock.

    Args:
        config: What the peer is and how it behaves.
        inbound: Whether the node connected to us.
        nonces: The nonces of the `version` messages we sent.
        new_id: Returns the next id of a peer.
        wall: Returns the time of day, in unix seconds.
        direction: The direction of the messages that arrive.
    """

    def __init__(
        self,
        config: PeerConfig,
        *,
        inbound: bool,
        nonces: NonceCache,
        new_id: Callable[[], int],
        wall: Callable[[], float],
        direction: Direction = Direction.TO_CLIENT,
    ) -> None:
        self.config = config
        self.inbound = inbound
        self.handshake = Handshake(config, inbound=inbound)
        self.inventory = PeerInventory(config.most_inventory)
        self.counters = Counters()
        self.remote = RemoteNode()
        self.closed = ""
        """Why the peer is closed, for people; empty while it is not."""
        self.cause: EndCause | None = None
        """Why the peer is closed, for programs."""
        self._nonces = nonces
        self._new_id = new_id
        self._wall = wall
        self.liveness = Liveness(config)
        self.sender = MessageSender(config, self.counters, self.liveness, wall)
        self.receiver = MessageReceiver(config, self.counters, direction, wall)
        self._address = Endpoint("", 0)
        self._delivering: Message | None = None

    # State.

    @property
    def protocol_version(self) -> int:
        """The negotiated version; before that our own highest."""
        return self.sender.protocol_version

    @property
    def ready(self) -> bool:
        """Whether the handshake is complete and the peer not closed."""
        return self.handshake.phase is Phase.DONE and not self.closed

    @property
    def pending(self) -> bool:
        """Whether `step` has something to do."""
        return self.receiver.pending and self._delivering is None and not self.closed

    @property
    def deadline(self) -> float | None:
        """When to call `tick` next; None if never."""
        return None if self.closed else self.liveness.timers.next

    # Events.

    def open(self, now: float, remote: Endpoint) -> list[Effect]:
        """Begin: the connection to this address is established."""
        self._address = remote
        self.liveness.start_handshake(now)
        return [] if self.inbound else self._our_version(now)

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived. `step` processes them."""
        handshaking = self.handshake.phase is not Phase.DONE
        self.receiver.feed(data, handshaking=handshaking, forgiving=self._is_forgiving())

    def step(self, now: float) -> list[Effect]:
        """Process the next message. Call it again while `pending`."""
        message = self.receiver.next()
        if isinstance(message, Junk):
            read = Read(len(message.raw), None, message.why, message.raw)
            return [read, *self._malformed(None, message.why, now)]
        command, size = message.command, len(message.raw)
        if record_of(command) is None or not self.handshake.knows(command):
            error = f"unknown command {command!r}"
            return [Read(size, message, error), *self._unknown(message, error, now)]
        read = Read(size, message, message.error)
        if message.error is not None:
            if (accepted := self.receiver.without_excess(message)) is not None:
                return [Read(size, message, None), *self._accept(accepted, now)]
            cut_short = message.frame_error is None and message.cut_short
            return [read, *self._malformed(message, message.error, now, cut_short=cut_short)]
        return [read, *self._accept(message, now)]

    def delivered(self, answer: object, now: float) -> list[Effect]:
        """Continue after a callback. For `version` its answer may be a `Reject`."""
        message, self._delivering = self._delivering, None
        if message is None or self.closed:
            return []
        self.liveness.timers.cancel("callback")
        self.liveness.resume(CALLBACK, now)
        if self.handshake.phase is Phase.AWAIT_VERSION:
            return self._after_version(answer, now)
        if self.handshake.phase is Phase.AWAIT_VERACK and message.command == "verack":
            return self._after_verack(now)
        return []

    def tick(self, now: float, *, late: bool = False) -> list[Effect]:
        """Do what is due.

        Args:
            now: The time.
            late: Whether something arrived while our process did not run.
        """
        if late and self.handshake.phase is not Phase.DONE:
            self.liveness.start_handshake(now)
        effects: list[Effect] = []
        for name in self.liveness.timers.due(now):
            if not self.closed:
                effects += self._due(name, now)
        return effects

    # Requests of the user.

    def flush(self, now: float) -> list[Effect]:
        """Send the next queued message if it may be sent. Call it again while it has effects."""
        return [] if self.closed else self.sender.flush(now)

    def queue(
        self, record: MessageRecord, now: float, *, witness: bool = False, ticket: int | None = None
    ) -> list[Effect]:
        """Queue a message. Call `flush` afterwards."""
        if self.closed:
            return resolve(ticket, sent=False)
        return [*self.sender.queue(record, witness, ticket), *self._check_queue()]

    def queue_raw(self, command: str, raw: bytes) -> list[Effect]:
        """Queue a frame that is sent as it is. Call `flush` afterwards."""
        if self.closed:
            return []
        self.sender.queue_raw(command, raw)
        return self._check_queue()

    def queue_inventory(self, vector: InventoryVector, now: float) -> list[Effect]:
        """Announce a block at once, anything else with the next batch."""
        inv = None if self.closed else self.inventory.queue(vector)
        return [] if inv is None else self.queue(inv, now)

    def offer(self, command: str, raw: bytes, now: float) -> list[Effect]:
        """Send a frame before our `verack`, if it may still be offered."""
        if self.closed or not self.handshake.may_offer(command):
            return []
        return self.sender.send_raw(command, raw, now)

    def send_verack(self, now: float) -> list[Effect]:
        """Send our `verack` if it was held."""
        return [] if self.closed else self._respond(Response(self.handshake.verack()), now)

    def configure(self, config: PeerConfig) -> None:
        """Replace the config that our own `version` is made from."""
        self.config = config
        if self.remote.version is not None:
            self._negotiate(config.highest_version, self.remote.version)

    def close(self, why: str, cause: EndCause = EndCause.PROTOCOL) -> list[Effect]:
        """Close the peer. Queued messages are not sent."""
        if self.closed:
            return []
        self.cause = cause
        self.closed = why or "no reason given"
        self.liveness.stop()
        self.receiver.clear()
        self.inventory.clear()
        return [Log("trace", f"disconnecting: {why}"), *self.sender.discard(), Disconnect()]

    # Incoming messages.

    def _accept(self, message: Message, now: float) -> list[Effect]:
        command = message.command
        if self.handshake.phase is not Phase.DONE:
            refusal = self.handshake.refusal(command)
            if refusal is not None:
                return self._respond(refusal, now)
            if command == "version":
                return self._accept_version(message, now)
            return self._deliver(message, now)
        if command in ("version", "verack"):
            return self._react(violations.duplicate(command, strict=self.handshake.strict), now)
        if self.handshake.is_too_late(command):
            return self.close(f"{command} after verack")
        if command in BLOOM_COMMANDS and not self.config.services & Service.BLOOM:
            return self._react(violations.unsupported(command, self.protocol_version), now)
        self.liveness.answers.received(command)
        return [*self._answer(message, now), *self._deliver(message, now)]

    def _answer(self, message: Message, now: float) -> list[Effect]:
        """Do what comes before any callback (P3)."""
        record = message.record
        if isinstance(record, Ping) and record.nonce is not None and self.config.keepalive:
            return self.queue(Pong(record.nonce), now)
        if isinstance(record, Pong):
            self.liveness.keepalive.received(record, now)
        return []

    def _deliver(self, message: Message, now: float) -> list[Effect]:
        self._delivering = message
        self.remote.received(message.command)
        self.liveness.pause(CALLBACK, now)
        self.liveness.timers.set("callback", now + self.config.timeouts.callback)
        return [Deliver(message)]

    # Violations of the protocol.

    def _unknown(self, message: Message, error: str, now: float) -> list[Effect]:
        if self.handshake.phase is not Phase.DONE:
            return self._respond(self.handshake.unreadable(message.command, error), now)
        if self.handshake.strict:
            return self._malformed(message, error, now)
        return self._react(violations.unknown(message.command), now)

    def _malformed(
        self, message: Message | None, error: str, now: float, *, cut_short: bool = False
    ) -> list[Effect]:
        """React to a message that cannot be decoded, or to bytes that are none (M1 to M8)."""
        if self.handshake.phase is not Phase.DONE:
            command = "version" if message is None else message.command
            return self._respond(self.handshake.unreadable(command, error), now)
        ignored = "" if message is None or self.handshake.strict else message.command
        forgiven = self._is_forgiving() and not cut_short
        address = str(self._address)
        return self._react(
            violations.malformed(error, address, ignored=ignored, forgiven=forgiven), now
        )

    def _is_forgiving(self) -> bool:
        return self.handshake.phase is Phase.DONE and self.config.forgives(self._address.host)

    def _react(self, reaction: violations.Reaction, now: float) -> list[Effect]:
        """Do what follows from a violation after the handshake."""
        effects: list[Effect] = [*reaction.log]
        strict = self.handshake.strict
        has_reject = violations.has_reject(self.protocol_version, strict=strict)
        if reaction.reject is not None and has_reject:
            effects += self.sender.send_last(reaction.reject, now)
        if reaction.close:
            return [*effects, *self.close(reaction.close)]
        self.liveness.alive(now)
        return effects

    # The handshake.

    def _our_version(self, now: float) -> list[Effect]:
        """Send our `version`. Its nonce is recorded before it is sent (J1)."""
        protocol_version, wall = self.protocol_version, self._wall()
        try:
            version = make_version(
                self.config,
                self._address,
                inbound=self.inbound,
                protocol_version=protocol_version,
                wall=wall,
            )
            self.sender.encode(version)
        except Exception as error:  # of the user's functions, or of what they returned
            return self._fail(f"no version can be made: {error}", EndCause.FAILURE)
        assert version.nonce is not None
        self._nonces.add(version.nonce)
        return self.sender.send(version, now)

    def _respond(self, response: Response, now: float) -> list[Effect]:
        """Do what follows from a message of the handshake."""
        effects = [effect for record in response.send for effect in self.sender.send(record, now)]
        if response.ignored:
            effects.append(Log("debug", f"ignoring {response.ignored}"))
        return [*effects, *self._fail(response.failed)] if response.failed else effects

    def _fail(self, why: str, cause: EndCause = EndCause.PROTOCOL) -> list[Effect]:
        return [Log("debug", f"cannot start peer: {why}"), *self.close(why, cause)]

    def _accept_version(self, message: Message, now: float) -> list[Effect]:
        """Check the node's version and deliver it (B4)."""
        version = message.record
        assert isinstance(version, Version)
        if not self.config.allow_self_connections and version.nonce in self._nonces:
            return self._fail("disconnecting peer connected to self")
        if version.version < 0:
            return self._fail(f"protocol version {version.version} is negative")
        self.remote.introduce(version, self._new_id(), self._wall())
        self._negotiate(self.protocol_version, version)
        return self._deliver(message, now)

    def _negotiate(self, ours: int, version: Version) -> None:
        self.sender.protocol_version = min(ours, version.version)
        encoding = self.handshake.encoding(version.services)
        self.receiver.agree(self.protocol_version, encoding)

    def _after_version(self, answer: object, now: float) -> list[Effect]:
        assert self.remote.version is not None
        if isinstance(answer, Reject):
            reason = answer.reason.decode("utf-8", "replace")
            return self._respond(Response((answer,), failed=reason or "refused by us"), now)
        if self.remote.version.version < MIN_VERSION:
            # Without a reject: the node's version does not have it (B5).
            return self._fail(f"protocol version must be {MIN_VERSION} or greater")
        negotiated = Log("debug", f"negotiated protocol version {self.protocol_version}")
        ours = self._our_version(now) if self.inbound else []
        if self.closed:
            return ours
        response = self.handshake.version_accepted(self.protocol_version)
        return [negotiated, *ours, *self._respond(response, now)]

    def _after_verack(self, now: float) -> list[Effect]:
        effects = self._respond(self.handshake.verack_accepted(), now)
        self.sender.ready = True
        self.liveness.finish_handshake(now)
        return [*effects, Log("debug", "connected"), Ready()]

    # Time and bounds.

    def _check_queue(self) -> list[Effect]:
        """Close the peer if more waits to be sent than may."""
        if (outbox := self.sender.outbox).memory <= self.config.most_queued:
            return []
        why = f"{len(outbox)} messages of {outbox.size} bytes wait to be sent"
        return self.close(why, EndCause.LIMIT)

    def _due(self, name: str, now: float) -> list[Effect]:
        times = self.config.timeouts
        if name == "negotiate":
            return self._fail("protocol negotiation timeout", EndCause.TIMEOUT)
        if name == "idle":
            why = f"no answer for {times.idle:g} s"
            entry = Log("warn", f"{why} -- disconnecting")
            return [entry, *self.close(why, EndCause.TIMEOUT)]
        if name == "callback":
            why = f"a callback has not ended in {times.callback:g} s"
            return self.close(why, EndCause.TIMEOUT)
        if name == "write":
            return self.close("the node does not read what is sent to it", EndCause.TIMEOUT)
        if name == "ping":
            self.liveness.timers.set("ping", now + times.ping)
            return self.queue(self.liveness.keepalive.make(self.protocol_version), now)
        if name == "trickle":
            self.liveness.timers.set("trickle", now + self.config.trickle)
            return [each for inv in self.inventory.trickle() for each in self.queue(inv, now)]
        return self._check_answers(now)

    def _check_answers(self, now: float) -> list[Effect]:
        """Deal with a node that owes us an answer (S2 to S7)."""
        self.liveness.timers.set("stall", now + self.config.timeouts.stall_tick)
        late = [] if self.config.stall is StallMode.OFF else self.liveness.answers.overdue(now)
        if not late:
            return []
        why = f"appears to be stalled or misbehaving, {', '.join(late)} timeout"
        if self.config.stall is StallMode.LOG:
            return [Log("debug", why)]
        return [Log("debug", f"{why} -- disconnecting"), *self.close(why, EndCause.TIMEOUT)]
