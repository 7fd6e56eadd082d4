"""Random sessions with encrypted legs: what is drawn, what happens, and what has to hold.

A case is drawn from a seed; only the relay's own keys and garbage are others each time. Each node
has a script of packets or frames, which arrive in random portions while the other node reads when
it likes. In some cases a byte is damaged on its way, a node closes, or the session is stopped.

Whatever happens, the other node gets the beginning of the script, in order, and all of it if
nothing was wrong; the relay holds little, raises nothing, logs no error, and is over in the end.
"""

from __future__ import annotations

import contextlib
import enum
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from twisted.logger import LogLevel, globalLogPublisher

from lbcproxy.faults import parse_fault
from lbcproxy.proxy.budget import Budget
from lbcproxy.session import EndCause
from lbcproxy.transport.curve import PUBLIC_KEY_SIZE
from lbcproxy.transport.detection import PREFIX_SIZE
from lbcproxy.transport.events import Broken, DecoyReceived, PacketReceived
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import MAX_CONTENTS, contents_of, parse_contents
from lbcproxy.transport.packets import OVERHEAD
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from tests.proxy.encrypted import DOWN, MAGIC, UP, EncryptedScene, Node, ping
from tests.proxy.transports import FakeTransport

__all__ = ["Case", "Legs", "Played", "drawn", "play"]

LONGEST = 80_000
"""Bytes of the longest payload: above 64 KiB messages pass in parts."""
MOST_HELD = 2 * (LONGEST + 65_536) + 2 * (262_144 + 65_536 // OVERHEAD * 100)
"""Bytes that a relay may hold: a packet and a read of each leg, and what waits for keys."""
MAX_STEPS = 20_000
"""So many are not needed by any case."""


class Legs(enum.Enum):
    """What the two nodes speak."""

    BOTH = "v2 and v2"
    CLIENT = "v2 and v1"
    UPSTREAM = "v1 and v2"
    FALLBACK = "v2, and v1 after it was tried"


class Case(NamedTuple):
    """A session that is drawn."""

    seed: int
    legs: Legs
    packets: int
    """In each script, at most."""
    damage: bool
    """Whether one byte of a node is changed, lost or added."""
    end: str
    """What ends it: `script` if both scripts do, otherwise what happens earlier."""
    forwarder: str
    """Whether messages go through plugins, and bytes through faults."""


class Played(NamedTuple):
    """What a case came to."""

    steps: int
    """Portions that arrived, reads of a node, closes, and moves of the clock."""
    packets: int
    """Packets and frames that the nodes sent."""
    held: int
    """Bytes that the relay held at most."""
    cause: EndCause


FRAME = re.compile(re.escape(MAGIC) + b"[a-z]{3}")
"""What begins a frame. Among gigabytes of packets a magic alone comes by chance."""
CLIENT_PORT = 1
"""Of the connection of a client in a scene."""
FAULTS: dict[str, tuple[str, ...]] = {
    "direct": (),
    "plugins": ("drop stream=upstream filter=mempool",),
    "faults": ("slicer stream=upstream average_size=50", "latency stream=downstream latency=1"),
}


def drawn(seed: int) -> Case:
    """Return a case."""
    chance = random.Random(seed)
    return Case(
        seed=seed,
        legs=chance.choice((Legs.BOTH, Legs.BOTH, Legs.BOTH, *Legs)),
        packets=chance.choice((0, 3, 10, 10, 30, 30, 1_400)),
        damage=chance.random() < 0.25,
        end=chance.choice(
            ("script", "script", "script", "finish", "reset", "stop", "abort", "late answer")
        ),
        forwarder=chance.choice(("direct", "direct", "plugins", "faults")),
    )


class Speaker:
    """A node that sends its script.

    Args:
        chance: Decides what is in it.
        socket: Where it sends it.
        case: Says how much.
    """

    def __init__(self, chance: random.Random, socket: FakeTransport, case: Case) -> None:
        self.chance = chance
        self.socket = socket
        self.is_damaged = False
        self.is_closed = False
        self.sent = 0
        """Bytes that were sent before the damage."""
        self.left = chance.randint(0, case.packets)
        self.damage_at: int | None = None
        self.packet_ends: list[int] = []
        """The offset in its stream at which each packet of the script ends."""
        self._pending = b""
        self._made = 0

    def says(self, data: bytes) -> None:
        """Have bytes sent later, in portions."""
        self._pending += data
        self._made += len(data)

    @property
    def made(self) -> int:
        """Bytes of its stream that have been made."""
        return self._made

    @property
    def has_wrong_key(self) -> bool:
        """Whether we have another key than it sent, so that neither side understands the other."""
        return self.is_damaged and self.sent < PUBLIC_KEY_SIZE

    def step(self) -> bool:
        """Send a portion; return whether there was one."""
        if self.is_closed or not self.socket.connected:
            return False
        if not self._pending and not self.make():
            return False
        size = self.chance.choice((1, 1, 3, 16, 20, 64, 100, 1_000, 10_000, 65_536))
        portion, self._pending = self._pending[:size], self._pending[size:]
        self.socket.arrive(self._spoiled(portion))
        return True

    def _spoiled(self, portion: bytes) -> bytes:
        at = self.damage_at
        if self.is_damaged or at is None or at >= self.sent + len(portion):
            self.sent += 0 if self.is_damaged else len(portion)
            return portion
        self.is_damaged = True
        offset, self.sent = at - self.sent, at
        before, byte, after = portion[:offset], portion[offset : offset + 1], portion[offset + 1 :]
        how = self.chance.choice(("changed", "lost", "doubled"))
        if how == "doubled":
            self.sent += 1  # the byte itself is right
            return before + byte + byte + after
        if how == "lost" and after and not after.startswith(byte):
            return before + after
        return before + bytes((byte[0] ^ (1 << self.chance.randrange(8)),)) + after

    def make(self) -> bool:
        """Make what is sent next; return whether there is anything."""
        raise NotImplementedError

    def expected(self) -> int:
        """Return how many items of the script may have come through."""
        whole = [end for end in self.packet_ends if end <= self.sent]
        return len(whole)


class EncryptingSpeaker(Speaker):
    """A node that encrypts."""

    def __init__(self, chance: random.Random, node: Node, case: Case) -> None:
        super().__init__(chance, node.socket, case)
        self.node = node
        self.script: list[bytes | int] = []
        """The contents of the packets it has made; for decoys, their size."""
        self.garbage = 0
        """Bytes of its garbage."""
        self._begun = self._finished = False
        self._initiating = node.transport._initiating

    def make(self) -> bool:
        transport = self.node.transport
        if not self._begun:
            if not self._initiating and not self.socket.got:
                return False
            self._begun = True
            self.garbage = self.chance.choice((0, 0, 1, 15, 16, 17, 100, 4_095))
            garbage = transport.garbage(self.chance.randbytes(self.garbage))
            self.says(transport.public_key + garbage)
        elif transport._keys is None:
            return False
        elif not self._finished:
            self._finished = True
            self.says(transport.terminator())
            for _ in range(self.chance.choice((0, 0, 1, 3))):
                self._packet(self.chance.choice((0, 1, 50)))
            self.says(transport.packet(self.chance.choice((b"", b"", b"version"))))
        elif self.left:
            for _ in range(min(self.left, self.chance.choice((1, 1, 5, 50)))):
                self.left -= 1
                self._packet(self._item())
        else:
            return False
        return True

    def _packet(self, item: bytes | int) -> None:
        self.script.append(item)
        is_decoy = isinstance(item, int)
        contents = bytes(item) if isinstance(item, int) else item
        self.says(self.node.transport.packet(contents, decoy=is_decoy))
        self.packet_ends.append(self.made)

    def _item(self) -> bytes | int:
        chance = self.chance
        kind = chance.randrange(100)
        if kind < 12:
            return chance.choice((0, 0, 1, 100, LONGEST if kind < 1 else 0))
        if kind < 15:
            return chance.choice((b"", b"\0", b"\0ping"))
        if kind < 20:
            return bytes((chance.randint(29, 255),)) + chance.randbytes(5)
        if kind < 30:
            return (
                b"\0" + chance.choice((b"ping", b"verack", b"odd\xff")).ljust(12, b"\0") + b"1" * 8
            )
        if kind < 32:
            return bytes((chance.choice((2, 21)),)) + bytes(chance.choice((65_536, LONGEST)))
        return ping(chance.getrandbits(60))

    def received(self) -> list[bytes | int]:
        """Return what has come, in the same form; raises AssertionError if that is broken."""
        self.node.events()
        found: list[bytes | int] = []
        for each in self.node.seen:
            if isinstance(each, Broken):
                assert self.has_wrong_key, each.detail
            if isinstance(each, PacketReceived):
                found.append(each.contents)
            elif isinstance(each, DecoyReceived):
                found.append(each.size)
        return found


class PlainSpeaker(Speaker):
    """A node that does not."""

    def __init__(self, chance: random.Random, socket: FakeTransport, case: Case) -> None:
        super().__init__(chance, socket, case)
        self._answers = socket.port != CLIENT_PORT
        self.script: list[bytes] = []
        """Its frames."""

    def make(self) -> bool:
        if not self.script:
            if self._answers and not self.socket.got:
                return False
            self._frame(frame(MAGIC, "version", bytes(86)))
        elif self.left:
            self.left -= 1
            self._frame(self._item())
        else:
            return False
        return True

    def _frame(self, made: bytes) -> None:
        self.script.append(made)
        self.says(made)
        self.packet_ends.append(self.made)

    def _item(self) -> bytes:
        chance = self.chance
        kind = chance.randrange(100)
        if kind < 10:
            wrong = bytearray(frame(MAGIC, "ping", chance.randbytes(8)))
            wrong[20] ^= 1
            return bytes(wrong)
        if kind < 12:
            return frame(MAGIC, "block", bytes(chance.choice((65_536, LONGEST))))
        return frame(MAGIC, chance.choice(("ping", "verack", "odd")), chance.randbytes(8))

    def received(self) -> bytes:
        """Return what has come."""
        self.socket.read()
        return self.socket.got


def translated(speaker: Speaker, target: Speaker, count: int) -> Any:
    """Return what the target gets of the first items of a script."""
    script: list[Any] = speaker.script[:count]  # type: ignore[attr-defined]
    if isinstance(speaker, EncryptingSpeaker):
        if isinstance(target, EncryptingSpeaker):
            return script
        messages = [parse_contents(each) for each in script if isinstance(each, bytes)]
        return b"".join(
            each.frame(MAGIC) for each in messages if each is not None and each.is_known
        )
    good = [each for each in script if frame(MAGIC, "", each[HEADER_SIZE:])[20:24] == each[20:24]]
    return [contents_of(each) for each in good]


class Session:
    """A relay, its two nodes, and the case that they play."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chance = chance = random.Random(case.seed ^ 0x5EED)
        self.budget = Budget(1 << 30)
        kinds = {
            Legs.CLIENT: (Transport.V2, Transport.V1),
            Legs.UPSTREAM: (Transport.V1, Transport.V2),
        }.get(case.legs, (Transport.AUTO, Transport.AUTO))
        self.scene = EncryptedScene(
            client_transport=kinds[0],
            upstream_transport=kinds[1],
            faults=tuple(map(parse_fault, FAULTS[case.forwarder])),
            budget=self.budget,
        )
        self.client: Speaker = self._speaker(UP)
        self.upstream: Speaker = self._speaker(DOWN)
        self.speakers = (self.client, self.upstream)
        if case.damage:
            chosen = chance.choice([each for each in self.speakers if _can_be_damaged(each)])
            chosen.damage_at = chance.choice((chance.randrange(64), chance.randrange(5_000)))
        self.is_joined = False
        self.steps = self.held = 0
        self.is_over = False
        """Whether it was ended before its scripts were."""

    def _speaker(self, direction: Any) -> Speaker:
        scene, case = self.scene, self.case
        if direction is UP and case.legs is not Legs.UPSTREAM:
            return EncryptingSpeaker(self.chance, scene.a, case)
        if direction is DOWN and case.legs in (Legs.BOTH, Legs.UPSTREAM):
            return EncryptingSpeaker(self.chance, scene.b, case)
        socket = scene.client if direction is UP else scene.upstream
        return PlainSpeaker(self.chance, socket, case)

    def play(self) -> Played:
        """Play it, and check what has to hold; raises AssertionError if it does not."""
        ends_at = self.chance.randrange(200)
        joins_at = self.chance.randrange(300 if self.case.end == "late answer" else 10)
        while self.steps < MAX_STEPS:
            if not self.is_joined and self.steps >= joins_at:
                self._join()
            if self.steps >= ends_at and not self.is_over:
                self._end_early()
            if not self._step() and self.is_joined:
                break
        assert self.steps < MAX_STEPS
        self._check_complete()
        return self._close()

    def _step(self) -> bool:
        """Do one thing; return whether anything moves."""
        self.steps += 1
        chance, scene = self.chance, self.scene
        what = chance.randrange(10)
        if what == 0:
            scene.clock.advance(chance.choice((0, 0.001)))
            return True
        if what < 4:
            self._read(chance.choice(self.speakers))
            return True
        order = list(self.speakers) if self.is_joined else [self.client]
        chance.shuffle(order)
        moved = any(each.step() for each in order)
        self.held = max(self.held, scene.relay.held)
        # A damaged length may claim all that a packet can have.
        most = MOST_HELD + (MAX_CONTENTS if self.case.damage else 0)
        assert self.held <= most, f"{self.held:,} bytes are held"
        if scene.relay._inspector.end is None:
            held, counted = scene.relay.held, self.budget.held
            # The first bytes of a client, of which it is not known what they are, do not count.
            assert 0 <= held - counted < PREFIX_SIZE, f"{held:,} bytes are held, not {counted:,}"
        if moved:
            return True
        before = self._state()
        self._rest()
        return self._state() != before

    def _rest(self) -> None:
        """Let everything that is due happen."""
        for _ in range(4):
            self.scene.settle()
            self.scene.clock.advance(0.01)
            for each in self.speakers:
                self._read(each)

    def _state(self) -> object:
        return [(len(each.socket.got), each.made, each.socket.connected) for each in self.speakers]

    def _read(self, speaker: Speaker) -> None:
        if isinstance(speaker, EncryptingSpeaker):
            speaker.node.events()
        else:
            speaker.socket.read()

    def _join(self) -> None:
        self.is_joined = True
        scene = self.scene
        if scene.dialling.called:
            return
        scene.answer()
        if self.case.legs is Legs.FALLBACK and not self.is_over:
            self._fall_back()

    def _fall_back(self) -> None:
        """Have the upstream not answer, as soon as it has our key."""
        scene = self.scene
        while scene.dials < 2 and scene.upstream.connected:
            self.steps += 1
            if not self.client.step():
                scene.clock.advance(1)
            scene.settle()
            if len(scene.upstream.got) == 64:
                how = self.chance.choice(("finish", "reset", "silence"))
                if how == "silence":
                    scene.clock.advance(5)
                else:
                    getattr(scene.upstream, how)()
                scene.settle()
            assert self.steps < MAX_STEPS
        if scene.dials == 2:
            self.upstream.socket = scene.redialled()

    def _end_early(self) -> None:
        end, scene = self.case.end, self.scene
        if end in ("script", "late answer"):
            return
        self.is_over = True
        speaker = self.chance.choice(self.speakers if self.is_joined else (self.client,))
        if end == "finish":
            speaker.is_closed = True
            if speaker.socket.connected:
                speaker.socket.finish()
        elif end == "reset":
            speaker.is_closed = True
            speaker.socket.reset()
        elif end == "stop":
            scene.relay.stop()
        else:
            scene.relay.abort()

    @property
    def _is_untried(self) -> bool:
        """Whether the session broke off before the upstream was sent anything in v1."""
        return self.case.legs is Legs.FALLBACK and self.scene.dials < 2

    def _check_complete(self) -> None:
        """Check what each node has got."""
        is_whole = not self.is_over and not any(each.is_damaged for each in self.speakers)
        for speaker, target in (self.speakers, self.speakers[::-1]):
            if target is self.upstream and self._is_untried:
                continue
            got = target.received()  # type: ignore[attr-defined]
            most = translated(speaker, target, speaker.expected())
            assert got == most[: len(got)], "what has come is not what was sent"
            if is_whole:
                if isinstance(speaker, EncryptingSpeaker) and isinstance(target, EncryptingSpeaker):
                    assert target.node.garbage == [speaker.garbage]
                assert len(got) == len(most), f"{len(got):,} of {len(most):,} have come"
            if isinstance(target, EncryptingSpeaker) and target.sent >= PREFIX_SIZE:
                assert FRAME.search(target.socket.got) is None, "a frame is on an encrypted wire"

    def _close(self) -> Played:
        """Have both nodes close; the session has to be over then, and nothing left."""
        scene = self.scene
        scene.settle()
        if scene.dialling is not None and not scene.dialling.called:
            scene.relay.stop()
        for socket in {id(each): each for each in (scene.client, scene.upstream)}.values():
            if socket.connected and socket.protocol.is_open:
                socket.finish()
        for _ in range(3):
            scene.settle()
            scene.clock.advance(61)
        [summary] = scene.observer.summaries
        assert len(scene.ended) == 1
        assert scene.calls_left == 0, "a call is still to be made"
        assert scene.left_behind == [], "timers are left behind"
        assert self.budget.held == 0, "something is still counted"
        assert scene.relay.session.defect is None
        packets = sum(len(each.packet_ends) for each in self.speakers)
        return Played(self.steps, packets, self.held, summary.end.cause)


def _can_be_damaged(speaker: Speaker) -> bool:
    """Whether damage is noticed: of a v1 stream only its checksums would tell."""
    return isinstance(speaker, EncryptingSpeaker)


@contextlib.contextmanager
def no_errors() -> Iterator[None]:
    """Fail if anything is logged as an error."""
    errors: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            errors.append(str(event.get("log_format")) + str(event.get("log_failure", "")))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert errors == []


def play(case: Case) -> Played:
    """Play a case; raises AssertionError, or what the relay raised, if something is wrong."""
    with no_errors():
        return Session(case).play()
