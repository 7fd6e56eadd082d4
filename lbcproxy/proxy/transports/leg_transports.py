"""What each leg of a session speaks, and how what comes over one leg is said on the other.

It stands between the sockets of a relay and its forwarder, which knows only v1 frames:

    node -- bytes --> LegTransports -- frames --> forwarder -- deliveries --> LegTransports --> node

If both legs turn out to be v1, bytes go directly to the forwarder from then on.

On encrypted legs (BIP324) the handshakes are ours. Our public keys are sent at once, since neither
node would go on without them. After that each step of one node is repeated towards the other: the
garbage has the same length, decoys have the same size, and contents of packets stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twisted.logger import Logger

from lbcproxy.faults import StreamEnd
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.proxy.transports.outgoing import Outgoing
from lbcproxy.proxy.transports.packet_receiver import PacketReceiver, report_broken
from lbcproxy.proxy.transports.packet_sender import PacketSender
from lbcproxy.proxy.transports.time_limits import TimeLimits
from lbcproxy.proxy.transports.transport_host import TransportHost
from lbcproxy.proxy.transports.waiting import Waiting, frames_of
from lbcproxy.proxy.wires import Wires
from lbcproxy.session import Direction, End, EndCause, LegTransport
from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.detection import Detected, detect
from lbcproxy.transport.events import Broken, KeysAgreed, TransportEvent
from lbcproxy.transport.kind import Transport

if TYPE_CHECKING:
    from lbcproxy.proxy.transports.encrypted_leg import EncryptedLeg

__all__ = ["HANDSHAKE_TIMEOUT", "SILENCE", "LegTransports"]

HANDSHAKE_TIMEOUT = 60.0
"""Seconds in which a node has to do the handshake of its leg. Bitcoin Core has the same limit."""
SILENCE = 5.0
"""Seconds after which an upstream that does not answer our key is taken for one that speaks v1."""
_KEYS = "keys"
"""Why a leg is not read."""
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
LOG = Logger(namespace="lbcproxy.session", observer=LOG_FILTER)


class LegTransports:
    """The transports of the two legs of a session. Legs are named by what their node sends.

    Args:
        host: The relay.
        settings: What the operator decided.
        runtime: Clock and key log.
        inspector: Reads and reports what passes.
        wires: The connections.
    """

    def __init__(
        self,
        host: TransportHost,
        settings: RelaySettings,
        runtime: Runtime,
        inspector: Inspector,
        wires: Wires,
    ) -> None:
        self._host = host
        self._wires = wires
        self._magic = settings.network.magic
        self._choice = {UP: settings.client_transport, DOWN: settings.upstream_transport}
        self._runtime = runtime
        self._inspector = inspector
        self._kinds: dict[Direction, Transport] = {}
        """What is known: of the client by what it began with, then of the upstream."""
        self._legs: dict[Direction, EncryptedLeg] = {}
        self._receivers: dict[Direction, PacketReceiver] = {}
        self.outgoing = Outgoing(wires, host.held_changed)
        """What the nodes are sent."""
        self._waiting = {direction: Waiting() for direction in Direction}
        self._buffered = {UP: 0, DOWN: 0}
        """Bytes that waited in each leg when it had last been read."""
        self._start = b""
        self._is_joined = self._is_settled = False
        self.is_answered = False
        """Whether the upstream speaks what it is sent, as far as that can be known."""
        self._limits = TimeLimits(runtime.clock)

    @property
    def held(self) -> int:
        """Bytes that wait: of incomplete packets, and for the keys of the other leg."""
        of_legs = sum(leg.buffered for leg in self._legs.values())
        waiting = sum(each.size for each in self._waiting.values()) + self.outgoing.held
        return of_legs + waiting + len(self._start)

    # What happens on the legs.

    def joined(self) -> None:
        """Begin with a connected upstream."""
        self._is_joined = True
        if DOWN in self._legs:
            self._begin_upstream()

    def received(self, direction: Direction, data: bytes) -> None:
        """Accept bytes that a node has sent."""
        if direction is UP and UP not in self._kinds:
            self._start += data
            self._detect()
            return
        if direction is DOWN:
            self._hear_upstream()
        leg = self._legs.get(direction)
        if leg is not None:
            is_usual, before = self._is_settled and leg.is_finished, self._buffered[direction]
            self._handle(direction, leg.receive(data))
            self._buffered[direction] = leg.buffered
            if not is_usual:
                self._limits.note_read()
            elif self._buffered[direction] == before:
                return  # after the handshake nothing else that is held changes here
        elif self._is_settled:
            self._received_plain(direction, data)
        else:
            self._wait(direction, data)
        self._host.held_changed()

    def finished(self, direction: Direction) -> bool:
        """Handle that a node sends nothing more; return False if that is no end of the session."""
        if direction is UP and UP not in self._kinds and self._start:
            self._decide_client(Transport.V1)
        elif direction is DOWN and self.can_fall_back:
            self._fall_back("it closed the connection")
            return False
        leg = self._legs.get(direction)
        if leg is not None:
            self._handle(direction, leg.close())
            self._host.held_changed()
        if self._is_settled or not self._waiting[direction]:
            self._finish(direction)
        else:
            self._waiting[direction].has_ended = True
        return True

    def upstream_closed(self) -> bool:
        """Handle that the upstream is gone; return whether it is being dialled again."""
        if self.can_fall_back:
            self._fall_back("it closed the connection")
            return True
        self._host.upstream_answered()  # it did not, but there was a connection to it
        return False

    @property
    def can_fall_back(self) -> bool:
        """Whether the upstream may be one that speaks v1: it has not answered our key."""
        if self._inspector.end is not None or self.is_answered or DOWN not in self._legs:
            return False
        return self._is_joined and self._choice[DOWN] is Transport.AUTO

    def cut(self) -> None:
        """Report what waits, here and in the forwarder, as not sent: nothing can be any more."""
        for direction, waiting in self._waiting.items():
            self._inspector.unsent(direction, frames_of(waiting.take(), self._magic))
        self._host.forwarder.cut()

    def stop(self) -> None:
        """Stop the timers: the session is over."""
        self._limits.stop()

    # Which transports there are.

    def _detect(self) -> None:
        if self._choice[UP] is Transport.V1:
            self._decide_client(Transport.V1)
            return
        detected = detect(self._start, self._magic)
        if detected is not Detected.UNDECIDED:
            self._decide_client(Transport.V2 if detected is Detected.V2 else Transport.V1)

    def _decide_client(self, kind: Transport) -> None:
        """Continue with what the client speaks, and with what the upstream is to be sent."""
        if kind is Transport.V1 and self._choice[UP] is Transport.V2:
            who = "client does not encrypt" if self._start else "upstream speaks first"
            detail = f"the {who}, but client_transport demands that the client encrypts"
            self._host.stop(End(EndCause.PROTOCOL, UP if self._start else DOWN, detail))
            return
        chosen = self._choice[DOWN]
        upstream = kind if chosen is Transport.AUTO else chosen
        self._kinds = {UP: kind, DOWN: upstream}
        try:
            for direction, of_leg in self._kinds.items():
                if of_leg is Transport.V2:
                    self._legs[direction] = self._new_leg(direction)
        except MissingLibrary as error:
            self._pass_unread(str(error))
            return
        if UP in self._legs:
            self._begin(UP)
        if upstream is Transport.V1:
            self._answered()
        elif self._is_joined:
            self._begin_upstream()
        self._settle()
        start, self._start = self._start, b""
        if start:
            self.received(UP, start)

    def _new_leg(self, direction: Direction) -> EncryptedLeg:
        from lbcproxy.proxy.transports.encrypted_leg import (
            EncryptedLeg,  # it needs libraries for encryption
        )

        initiating, sends = direction is DOWN, direction.other
        return EncryptedLeg(
            self._magic,
            initiating=initiating,
            write=partial(self._wires.write, sends),
            fault=self._wires.pipes.of_handshake("upstream" if initiating else "downstream"),
            close=partial(self._close_by_fault, sends),
        )

    def _close_by_fault(self, direction: Direction, name: str) -> None:
        end = partial(self._host.fault_ended, self._wires.receiver(direction), StreamEnd(by=name))
        self._limits.after(0, lambda _: end())  # after what is being done

    def _begin(self, direction: Direction) -> None:
        self._legs[direction].begin()
        self._limits.after(HANDSHAKE_TIMEOUT, partial(self._handshake_due, direction))

    def _begin_upstream(self) -> None:
        self._begin(DOWN)
        if self._choice[DOWN] is Transport.AUTO:
            self._wait_for_answer()

    def _hear_upstream(self) -> None:
        """Note that the upstream has sent something."""
        if UP not in self._kinds:  # it speaks first, which no node does that encrypts
            self._decide_client(Transport.V1)
        if not self.is_answered:
            self._answered()

    def _answered(self) -> None:
        self.is_answered = True
        if self._is_joined:
            self._host.upstream_answered()

    def _fall_back(self, why: str) -> None:
        """Dial the upstream again, with v1."""
        LOG.info(
            "[#{session}] the upstream does not encrypt ({why}): connecting again without",
            session=self._host.number,
            why=why,
        )
        del self._legs[DOWN]
        self._kinds[DOWN] = Transport.V1
        self._is_joined, self.is_answered = False, True
        self._host.redial()
        self._settle()
        self._host.held_changed()

    def _settle(self) -> None:
        """Begin to forward, once each leg is v1 or has its keys."""
        if self._is_settled or any(not leg.session_id for leg in self._legs.values()):
            return
        self._is_settled = True
        if not self._legs:
            self.stop()
            self.outgoing.begin({})
            self._host.use_plain()
        else:
            self.outgoing.begin(self._begin_packets())
        for direction, waiting in self._waiting.items():
            received = waiting.take()
            self._wires.hold(direction, False, _KEYS)
            for each in received:
                if isinstance(each, bytes):
                    self._received_plain(direction, each)
                else:
                    self._receivers[direction].handle((each,))
            if waiting.has_ended:
                self._finish(direction)

    def _finish(self, direction: Direction) -> None:
        self.outgoing.end(direction)
        self._host.forwarder.finished(direction)

    def _begin_packets(self) -> dict[Direction, PacketSender]:
        senders = {}
        self._inspector.agreed(*(self._described(direction) for direction in (UP, DOWN)))
        self._host.session.transports = self._inspector.info.transports
        for direction, leg in self._legs.items():
            self._host.session.trust_checksums(direction)
            target = self._legs.get(direction.other)
            self._receivers[direction] = PacketReceiver(
                direction, self._magic, self._host, self._inspector, target
            )
            sends = direction.other
            senders[sends] = PacketSender(leg, self._magic, self._complainer(sends))
            if target is None:
                self._host.translate(direction.other)
                leg.end_garbage(0)
                leg.send_version()
        return senders

    def _described(self, direction: Direction) -> LegTransport:
        leg = self._legs.get(direction)
        return LegTransport() if leg is None else LegTransport(Transport.V2, leg.session_id)

    def _complainer(self, direction: Direction) -> Callable[[str], object]:
        return lambda what: self._host.stop(End(EndCause.NOT_EXPRESSIBLE, direction, what))

    def _pass_unread(self, why: str) -> None:
        """Forward what cannot be decrypted here, as if the operator had chosen `opaque`."""
        LOG.warn("[#{session}] it is not read: {why}", session=self._host.number, why=why)
        self._legs.clear()
        start, self._start = self._start, b""
        self._inspector.pass_unread(why)
        self._kinds = dict.fromkeys(Direction, Transport.OPAQUE)
        self._answered()
        self._settle()
        if start:
            self._host.forwarder.received(UP, start)

    # Packets.

    def _handle(self, direction: Direction, events: Sequence[TransportEvent]) -> None:
        early = 0
        while not self._is_settled and early < len(events):
            self._handle_early(direction, events[early])
            early += 1
        if early < len(events):
            self._receivers[direction].handle(events[early:])

    def _handle_early(self, direction: Direction, event: TransportEvent) -> None:
        if isinstance(event, KeysAgreed):
            self._agreed(direction, event)
        elif isinstance(event, Broken):
            report_broken(self._host, self._inspector, direction, event)
        else:
            self._wait(direction, event)

    def _received_plain(self, direction: Direction, data: bytes) -> None:
        """Forward bytes of a leg that is not encrypted."""
        self._host.forwarder.received(direction, data)
        session = self._host.session
        if self.outgoing.encrypts(direction) and (why := session.desync_reason(direction)):
            self._complainer(direction)(f"bytes that are not a message: {why}")

    def _agreed(self, direction: Direction, event: KeysAgreed) -> None:
        leg = self._legs[direction]
        leg.session_id = event.session_id
        if self._runtime.log_key is not None and leg.logged_secret is not None:
            self._runtime.log_key(leg.logged_secret)
        self._settle()

    def _wait(self, direction: Direction, what: TransportEvent | bytes) -> None:
        self._waiting[direction].add(what)
        if self._waiting[direction].is_full:
            self._wires.hold(direction, True, _KEYS)

    # Time.

    def _wait_for_answer(self, _: bool = False) -> None:
        """Begin to wait; the time that faults hold our key does not count."""
        held = self._wires.pipes.holds(self._wires.upstream)
        silence = min(SILENCE, self._runtime.dial_timeout / 2)
        self._limits.after(silence, self._wait_for_answer if held else self._upstream_silent)

    def _upstream_silent(self, _: bool) -> None:
        if self.can_fall_back:
            self._fall_back("it does not answer")

    def _handshake_due(self, direction: Direction, read_late: bool) -> None:
        leg = self._legs.get(direction)  # none after falling back
        if leg is None or leg.is_finished:
            return
        if read_late:  # the process was stopped: the node gets its full time again
            self._limits.after(HANDSHAKE_TIMEOUT, partial(self._handshake_due, direction))
            return
        who = "client" if direction is UP else "upstream"
        detail = f"no encrypted handshake with the {who} in {HANDSHAKE_TIMEOUT:g} s"
        self._host.stop(End(EndCause.TIMEOUT, detail=detail))
