"""A network between two ends of TCP, what passes a tap on it, and scenes to be played there.

A `Scene` is a seed and the features that may occur; the same scene gives the same packets. Each
pair of addresses is a `Line` of its own, with one connection after the other; lines are mixed by
time. Segments go by the tap on their way, and may be lost, repeated and reordered on either side of
it. A stray is put in at the tap and reaches its target at once, so that what it meets is known.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.endpoint import Endpoint
from tests.capture.tcp_model import End
from tests.capture.tcp_read import SERVER_PORT
from tests.capture.tcp_states import LINUX_STEP, State
from tests.capture.tcp_truth import MS, SECOND, WRAP, Connection, signed

START_NS = 1_700_000_000 * SECOND
FEATURES = (
    "abort",  # connections end by RST
    "disorder",
    "idle",  # connections that carry nothing or are refused
    "keep-alive",
    "late",  # segments repeated long after, also into a later connection
    "loss",
    "repeat",
    "restart",  # a host forgets its connections
    "scale",  # large windows by the option, else at most 65,535 bytes
    "small",  # windows of a few segments
    "strays",
    "wrap",  # sequence numbers wrap soon
)
MOST_PACKETS = 10_000
Message = Callable[[random.Random], bytes]


class Scene(NamedTuple):
    """What is to be played: a seed, how much, and which features may occur."""

    seed: int
    lines: int = 1
    connections: int = 1
    writes: int = 3
    features: frozenset[str] = frozenset()


class Passed(NamedTuple):
    """A segment as it passed the tap; `side` is who sent it, `of` is None for strays."""

    time_ns: int
    segment: Segment
    side: int
    of: Connection | None


class Stray(NamedTuple):
    """A stray that only later segments of its side prove to be one."""

    at: int
    """How many segments had passed the tap before it."""
    side: int
    of: Connection


def noise(chance: random.Random) -> bytes:
    """Return what an application writes, if nothing else is asked for."""
    return chance.randbytes(chance.choice((1, 10, 100, 1000, 3000)))


class Line:
    """Two ends, the network between them, and the connections they have one after the other."""

    def __init__(self, scene: Scene, number: int, message: Message = noise) -> None:
        self.chance = random.Random(f"{scene.seed} {number}")
        self.scene, self.message = scene, message
        self.now = START_NS + self.chance.randrange(SECOND)
        self.ends_at = (Endpoint(f"10.0.0.{number + 1}", 40_000), Endpoint("10.1.0.1", SERVER_PORT))
        self.connections: list[Connection] = []
        self.passed: list[Passed] = []
        self.strays: list[Stray] = []
        self.stray_packets = 0
        self.early_answers = 0
        """Stray SYN-ACKs before the true one: each may be told as a connection that was refused."""
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        has = scene.features.__contains__
        chance = self.chance
        self._loss = chance.choice((0.02, 0.1)) if has("loss") else 0.0
        self._repeat = 0.03 if has("repeat") else 0.0
        self._late = 0.03 if has("late") else 0.0
        self._jitter = chance.choice((2, 20)) * MS if has("disorder") else 0
        self._delay = chance.choice((1, 5, 30)) * MS
        window = chance.choice((2_000, 8_000)) if has("small") else 65_535
        scales: tuple[int | None, int | None] = (None, None)
        if has("scale"):
            window = chance.choice((200_000, 4_000_000))
            scales = (7, chance.choice((7, 3, None)))
        mss = chance.choice((100, 536, 1460))
        listens = not (has("idle") and chance.random() < 0.2)
        self.ends = tuple(
            End(self, side, listens=side == 1 and listens, mss=mss, window=window, scale=scale)
            for side, scale in enumerate(scales)
        )
        self._iss = WRAP - chance.randrange(3000) if has("wrap") else chance.getrandbits(32)

    # The network.

    def _at(self, delay: int, do: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, do, arguments))

    def timer(self, delay: int, end: End, kind: str, generation: int) -> None:
        """Call `end.expire(kind, generation)` after a while."""
        self._at(delay, end.expire, kind, generation)

    def transmit(self, end: End, segment: tuple[int, int, int, bytes, int, int | None]) -> None:
        """Send a segment on its way to the tap."""
        sequence, acknowledgment, flags, payload, window, scale = segment
        side = end.side
        made = Segment(
            self.ends_at[side],
            self.ends_at[1 - side],
            sequence % WRAP,
            acknowledgment % WRAP,
            flags,
            payload,
            window,
            scale,
        )
        self._hop(self._tap, side, made, end.connection)

    def _hop(self, do: Callable[..., None], *arguments: Any) -> None:
        chance = self.chance
        delay = self._delay + (chance.randrange(self._jitter) if self._jitter else 0)
        if not self._loss or chance.random() >= self._loss:
            self._at(delay, do, *arguments)
        if self._repeat and chance.random() < self._repeat:
            self._at(delay + chance.randrange(5 * MS), do, *arguments)
        if self._late and chance.random() < self._late:
            self._at(delay + chance.choice((200 * MS, SECOND, 20 * SECOND)), do, *arguments)

    def _tap(self, side: int, segment: Segment, of: Connection | None) -> None:
        self.passed.append(Passed(self.now, segment, side, of))
        if of is not None and of.initial[side] is not None and segment.payload:
            of.passes(side, of.place_of(side, segment.sequence), len(segment.payload))
        self._hop(self._arrive, side, segment, of)

    def _arrive(self, side: int, segment: Segment, of: Connection | None) -> None:
        self.ends[1 - side].receive(segment, of)

    # What is played.

    def play(self) -> None:
        """Play the scene until nothing moves any more."""
        self._at(0, self._connect)
        heap = self._heap
        while heap:
            assert len(self.passed) < MOST_PACKETS, "the ends never come to rest"
            self.now, _, do, arguments = heapq.heappop(heap)
            do(*arguments)

    def _connect(self, waited: int = 0) -> None:
        """Begin the next connection, once the ports are free or have been waited for."""
        if len(self.connections) == self.scene.connections:
            return
        client, chance = self.ends[0], self.chance
        if not client.is_free() and waited < 20:
            self._at(200 * MS, self._connect, waited + 1)
            return
        if not client.is_free():
            client.vanish()
        connection = Connection(len(self.connections) + 1)
        self.connections.append(connection)
        client.connect(connection, self._next_iss())
        script = self._script(connection)
        self._at(chance.choice((0, MS, 80 * MS)), self._act, connection, script)

    def _next_iss(self) -> int:
        """Return where the client begins to count: anywhere, or above the connection before."""
        client, chance = self.ends[0], self.chance
        if len(self.connections) == 1:
            return self._iss
        if client.state == State.TIME_WAIT or chance.random() < 0.3:
            return client.nxt + LINUX_STEP
        clock = client.iss + (self.now - START_NS) // 64 + 100_000
        return chance.choice((chance.getrandbits(32), client.nxt + LINUX_STEP, clock)) % WRAP

    def _script(self, connection: Connection) -> list[Callable[[], None]]:
        """Return what the applications do, in order: writes, strays among them, and an end."""
        chance, features = self.chance, self.scene.features
        idle = "idle" in features and chance.random() < 0.3
        count = 0 if idle else chance.randint(1, max(self.scene.writes, 1))
        script = [self._writes(connection, chance.randrange(2)) for _ in range(count)]
        if "strays" in features and not idle:
            for _ in range(chance.randint(1, 3)):
                script.insert(chance.randrange(len(script) + 1), self._strays(connection))
            # Who goes on, proves that what came between was stray.
            script += [self._writes(connection, side) for side in (0, 1)]
        if "keep-alive" in features:
            script.insert(chance.randrange(len(script) + 1), self._keeps_alive(connection))
        endings = ["fin 0", "fin 1", "fin both", "fin slow"]
        if "abort" in features:
            endings += ["abort 0", "abort 1", "close and abort", "forged"]
        if "restart" in features:
            endings += ["restart 0", "restart 1"]
        if len(self.connections) == self.scene.connections:
            endings.append("open")
        script += self._ending(connection, chance.choice(endings))
        return script

    def _ending(self, connection: Connection, how: str) -> list[Callable[[], None]]:
        def each(do: Callable[[End], None], *sides: int) -> Callable[[], None]:
            def act() -> None:
                for side in sides:
                    end = self.ends[side]
                    if end.connection is connection and not end.is_free():
                        do(end)

            return act

        def nothing() -> None:
            pass

        first = self.chance.randrange(2)
        return {
            "fin 0": [each(End.close, 0), each(End.close, 1)],
            "fin 1": [each(End.close, 1), each(End.close, 0)],
            "fin both": [each(End.close, 0, 1)],
            "fin slow": [
                each(End.close, first),
                self._writes(connection, 1 - first),
                nothing,
                each(End.close, 1 - first),
            ],
            "abort 0": [each(End.abort, 0)],
            "abort 1": [each(End.abort, 1)],
            "close and abort": [each(End.close, first), each(End.abort, first)],
            "forged": [lambda: self._forge_reset(connection, first), self._writes(connection, 0)],
            "restart 0": [each(End.vanish, 0)],
            "restart 1": [each(End.vanish, 1), self._writes(connection, 0)],
            "open": [],
        }[how]

    def _act(self, connection: Connection, script: list[Callable[[], None]]) -> None:
        """Do what comes next, or begin the next connection after the last."""
        chance = self.chance
        if not script:
            gap = chance.choice((0, 0, 10 * MS, 300 * MS, 5 * SECOND, 100 * SECOND))
            self._at(gap, self._connect)
            return
        script.pop(0)()
        self._at(
            chance.choice((0, MS, 20 * MS, 150 * MS, 2 * SECOND)), self._act, connection, script
        )

    def _writes(self, connection: Connection, side: int) -> Callable[[], None]:
        def write() -> None:
            end = self.ends[side]
            if end.connection is connection and end.may_write():
                end.write(self.message(self.chance))

        return write

    def _keeps_alive(self, connection: Connection) -> Callable[[], None]:
        def keep_alive() -> None:
            end = self.ends[self.chance.randrange(2)]
            if end.connection is connection:
                end.keep_alive()

        return keep_alive

    # Strays.

    def _strays(self, connection: Connection) -> Callable[[], None]:
        def stray() -> None:
            target = self.ends[self.chance.randrange(2)]
            if target.connection is not connection:
                return
            if target.state == State.SYN_SENT:
                self._early(connection, target)
            elif target.state == State.ESTABLISHED:
                kind = self.chance.choice(
                    (self._far, self._old, self._reset_zero, self._reset_near, self._syn)
                )
                kind(connection, target)

        return stray

    def _inject(
        self,
        target: End,
        sequence: int,
        flags: int,
        payload: bytes = b"",
        *,
        proof: bool = False,
        of: Connection | None = None,
        acknowledgment: int | None = None,
    ) -> None:
        """Put a segment in at the tap, in the other side's name.

        With `proof` only what that side sends later tells that it is a stray; one that is obeyed is
        `of` the connection.
        """
        side = 1 - target.side
        connection = target.connection
        assert connection is not None
        if acknowledgment is None:
            acknowledgment = target.nxt
        if not flags & ACK:
            acknowledgment = 0
        source, to = self.ends_at[side], self.ends_at[target.side]
        segment = Segment(source, to, sequence % WRAP, acknowledgment % WRAP, flags, payload)
        if proof:
            self.strays.append(Stray(len(self.passed), side, connection))
        self.stray_packets += 1
        self.passed.append(Passed(self.now, segment, side, of))
        target.receive(segment, None)

    def _distance(self, target: End) -> int:
        """Return how far is beyond any window."""
        least = max(2 * target.capacity, 1 << 20)
        distance = self.chance.choice((least, 1 << 24, 1 << 30)) + self.chance.randrange(1 << 20)
        return distance * self.chance.choice((1, -1))

    def _early(self, connection: Connection, target: End) -> None:
        """An answer to a SYN that does not acknowledge it."""
        flags = self.chance.choice((RST, RST | ACK, SYN | ACK))
        wrong = target.nxt + self.chance.randrange(1 << 20, 1 << 31)
        self.early_answers += flags == SYN | ACK
        self._inject(target, self.chance.getrandbits(32), flags, acknowledgment=wrong)

    def _far(self, connection: Connection, target: End) -> None:
        """Bytes, a FIN or an RST that no receiver could take."""
        flags, payload = self.chance.choice(
            ((ACK | PSH, b"x" * 50), (ACK | FIN, b""), (ACK | FIN, b"yz"), (RST, b""), (ACK, b""))
        )
        self._inject(target, target.rcv_nxt + self._distance(target), flags, payload)

    def _old(self, connection: Connection, target: End) -> None:
        """Bytes the receiver already has, but other ones."""
        side = 1 - target.side
        size = min(connection.got[side], self.chance.randint(1, 50))
        if size:
            payload = bytes(size)
            self._inject(target, target.rcv_nxt - size, ACK, payload)

    def _reset_zero(self, connection: Connection, target: End) -> None:
        """An RST that a firewall made up: both ends ignore it."""
        if abs(signed(-target.rcv_nxt)) > max(2 * target.capacity, 1 << 20):
            self._inject(target, 0, self.chance.choice((RST, RST | ACK)))

    def _reset_near(self, connection: Connection, target: End) -> None:
        """An RST in the window, but not at the next number: a receiver challenges it."""
        side = 1 - target.side
        place = max(connection.tap_next[side], connection.got[side])
        ahead = place - connection.got[side] + self.chance.randint(1, target.capacity // 2)
        if ahead < target.capacity:
            self._inject(target, target.rcv_nxt + ahead, RST, proof=True)

    def _syn(self, connection: Connection, target: End) -> None:
        """A SYN, or its answer, in the middle of a connection: a receiver challenges it."""
        sequence = self.chance.choice((self.chance.getrandbits(32), target.rcv_nxt + 5000))
        flags = SYN | ACK if target.side == 0 or self.chance.random() < 0.3 else SYN
        self._inject(target, sequence, flags, proof=True)

    def _forge_reset(self, connection: Connection, side: int) -> None:
        """Reset one end in the name of the other, with the number that it obeys."""
        target = self.ends[1 - side]
        if target.connection is not connection or target.state != State.ESTABLISHED:
            return
        if connection.tap_next[side] == connection.got[side] and not connection.tap_ahead[side]:
            self._inject(target, target.rcv_nxt, RST, of=connection)
            connection.broken = True


def played(scene: Scene, message: Message = noise) -> list[Line]:
    """Return the lines of a scene, after they have been played."""
    lines = [Line(scene, number, message) for number in range(scene.lines)]
    for line in lines:
        line.play()
    return lines


def together(lines: list[Line]) -> list[Passed]:
    """Return what passed the tap on all lines, by time."""
    if len(lines) == 1:
        return lines[0].passed
    return sorted((each for line in lines for each in line.passed), key=lambda each: each.time_ns)
