"""Nodes that break the encrypted transport: memory stays bounded, and the end says what and where.

Each case has either the client or the upstream as the hostile node.
"""

from __future__ import annotations

import pytest

from lbcproxy.proxy.budget import Budget
from lbcproxy.session import Direction, EndCause
from lbcproxy.transport.events import DecoyReceived
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.sizes import OVERHEAD
from tests.proxy.encrypted import DOWN, UP, EncryptedScene, Node, end_of, ping

NODES = ("client", "upstream")
GARBAGE_STAGE = 4_095 + 16
"""Bytes after a public key in which the terminator has to come."""
LARGEST = 2**24 - 1
"""Bytes of contents that a packet can claim."""
PIECE = 65_536


class Attack:
    """A scene with a hostile node, and how much the relay has held at most.

    Its own handshake is up to the hostile node: the other node has sent all of it that it can.
    """

    def __init__(self, who: str, **settings: object) -> None:
        self.who = who
        self.scene = EncryptedScene(**settings)
        self.hostile: Node = self.scene.a if who == "client" else self.scene.b
        self.victim: Node = self.scene.b if who == "client" else self.scene.a
        self.held = 0

    @property
    def direction(self) -> Direction:
        """Where what the hostile node sends should go."""
        return UP if self.who == "client" else DOWN

    def begin(self) -> Attack:
        """Have both nodes send their keys, and the victim all of its handshake."""
        self.scene.a.begin()
        self.scene.answer()
        self.scene.b.events()
        self.scene.b.begin()
        self.victim.events()
        self.victim.finish_handshake()
        self.hostile.events()
        return self

    def shake_hands(self) -> Attack:
        """Have the hostile node behave until the handshake is done."""
        self.scene.shake_hands()
        return self

    def send(self, data: bytes, piece: int = PIECE) -> None:
        """Send bytes in pieces, as long as they are read."""
        for at in range(0, len(data), piece):
            if not self.hostile.socket.reading:
                return
            self.hostile.send(data[at : at + piece])
            self.scene.settle()
            self.held = max(self.held, self.scene.relay.held)

    def end(self, cause: EndCause = EndCause.PROTOCOL) -> str:
        """Return what the end says; the session has to be over, with nothing left behind."""
        end = end_of(self.scene)
        assert end.cause is cause
        assert self.scene.calls_left == 0
        assert self.victim.socket.disconnecting or not self.victim.socket.connected
        return end.text


@pytest.fixture(params=NODES)
def who(request: pytest.FixtureRequest) -> str:
    """Which node is hostile."""
    return str(request.param)


def damaged(packet: bytes, at: int = -1) -> bytes:
    """Return a packet with a flipped bit."""
    wrong = bytearray(packet)
    wrong[at] ^= 1
    return bytes(wrong)


def claim(node: Node, size: int) -> bytes:
    """Return the first bytes of a packet that claims a size."""
    lengths = node.transport._writer._lengths
    return lengths.apply(size).to_bytes(3, "little")


def test_a_wrong_terminator_ends_the_session(who: str):
    """Once 4,111 bytes have come that have none."""
    attack = Attack(who).begin()
    terminator = damaged(attack.hostile.transport.terminator())
    attack.send(terminator + bytes(GARBAGE_STAGE - 17), 1_000)
    assert attack.scene.observer.summaries == []
    attack.send(bytes(1))
    said = f"{who}: encrypted transport: no terminator in 4,111 bytes after the public key"
    assert attack.end() == said
    assert attack.held <= GARBAGE_STAGE


@pytest.mark.parametrize("size", [4_095, 4_096])
def test_garbage_has_a_limit(who: str, size: int):
    """The longest passes, one byte more ends the session."""
    attack = Attack(who).begin()
    node = attack.hostile.transport
    attack.send(bytes(size))
    node._garbage = bytes(size)  # it refuses to send that much
    attack.send(node.terminator() + node.packet(b"") + node.packet(ping(1)))
    assert attack.held <= GARBAGE_STAGE
    if size > 4_095:
        assert "no terminator" in attack.end()
        assert attack.victim.contents() == []
    else:
        assert attack.victim.contents() == [ping(1)]
        assert attack.victim.garbage == [size]


@pytest.mark.parametrize("number", [1, 224, 225])
def test_a_bad_tag_ends_the_session(who: str, number: int):
    """With the number of the packet; also at the changes of keys. Nothing of it is sent."""
    attack = Attack(who)
    if number == 1:
        attack.begin()
        node = attack.hostile.transport
        attack.send(node.terminator() + damaged(node.packet(b"")))
        assert not attack.victim.is_open
    else:
        attack.shake_hands()
        attack.hostile.send_packets(*map(ping, range(2, number)))
        attack.send(damaged(attack.hostile.transport.packet(ping(number))))
        assert len(attack.victim.contents()) == number - 2
    text = attack.end()
    assert text.startswith(f"{who}: encrypted transport: packet {number}, at byte ")
    assert text.endswith("has a wrong tag")


def test_the_longest_packet_is_held_until_its_tag_is_checked(who: str):
    """16 MiB, and counted all the time."""
    attack = Attack(who).shake_hands()
    packet = attack.hostile.transport.packet(ping(1).ljust(LARGEST, b"\0"))
    for at in range(0, len(packet) - 1, 4 << 20):
        attack.hostile.send(packet[at : min(at + (4 << 20), len(packet) - 1)])
        assert attack.scene.relay.held == min(at + (4 << 20), len(packet) - 1)
    assert attack.victim.contents() == []
    attack.hostile.send(packet[-1:])
    assert [len(each) for each in attack.victim.contents()] == [LARGEST]
    assert attack.scene.relay.held == 0


def test_a_claim_reserves_nothing(who: str):
    """Only what has come is held, and no more once it is certain that it is not all."""
    budget = Budget(1 << 20)
    attack = Attack(who, budget=budget).shake_hands()
    attack.send(claim(attack.hostile, LARGEST) + bytes(100))
    assert attack.held == budget.held == 103
    attack.hostile.socket.finish()
    assert budget.held == 0
    end = end_of(attack.scene)
    assert end.cause is EndCause.CLOSED
    [cut] = attack.scene.observer.entries
    assert cut.error is not None
    assert "packet 2" in cut.error or "packet 3" in cut.error


def test_a_long_claim_ends_the_session_where_memory_is_short(who: str):
    """And no other: one with less in it continues."""
    budget = Budget(1 << 20)
    other = EncryptedScene(budget=budget).shake_hands()
    packet = other.a.transport.packet(ping(1))
    other.a.send(packet[:20])
    attack = Attack(who, budget=budget).shake_hands()
    attack.send(claim(attack.hostile, LARGEST) + bytes(2 << 20))
    text = attack.end(EndCause.LIMIT)
    assert text == ("too much waits in packets, for all sessions together")
    assert attack.held <= budget.most + PIECE
    other.a.send(packet[20:])
    assert other.b.contents() == [ping(1)]
    assert budget.held == 0


def test_a_flood_of_empty_decoys_is_passed_on_and_not_kept(who: str):
    """Each as one."""
    attack = Attack(who).shake_hands()
    decoys = [attack.hostile.transport.packet(b"", decoy=True) for _ in range(3_000)]
    attack.send(b"".join(decoys))
    assert attack.victim.events() == [DecoyReceived(0)] * 3_000
    assert attack.held < OVERHEAD


def test_a_flood_of_long_decoys_is_passed_on_as_fast_as_it_is_read(who: str):
    """One at a time is held; a victim that does not read stops the flood."""
    attack = Attack(who).shake_hands()
    for _ in range(3):
        attack.send(attack.hostile.transport.packet(bytes(4_000_000), decoy=True))
        assert attack.victim.events() == [DecoyReceived(4_000_000)]
    assert attack.held <= 4_000_000 + OVERHEAD
    for _ in range(3):
        attack.hostile.send(attack.hostile.transport.packet(bytes(4_000_000), decoy=True))
    assert not attack.hostile.socket.reading
    assert len(attack.hostile.socket.incoming) == 2
    assert len(attack.victim.socket.waiting) == 4_000_000 + OVERHEAD


def test_decoys_before_the_other_leg_has_its_keys_are_bounded():
    """The client is not read any further, until the upstream has answered."""
    budget = Budget(1 << 20)
    attack = Attack("client", budget=budget)
    node = attack.hostile
    node.begin()
    node.events()
    decoys = (
        b"".join(node.transport.packet(b"", decoy=True) for _ in range(20_000))
        if (terminator := node.transport.terminator())
        else b""
    )
    attack.scene.answer()
    for at in range(0, len(terminator + decoys), 4_000):
        node.send((terminator + decoys)[at : at + 4_000])
    assert not node.socket.reading
    assert attack.scene.relay.held <= 262_144 + 4_000 * 100 // OVERHEAD + 4_000
    assert budget.held == attack.scene.relay.held
    attack.victim.events()
    attack.victim.begin()
    attack.scene.settle()
    assert node.socket.reading
    passed = [each for each in attack.victim.events() if isinstance(each, DecoyReceived)]
    assert len(passed) == 20_000
    assert budget.held == attack.scene.relay.held == 0


@pytest.mark.parametrize("sent", [0, 16, 63, 64])
def test_silence_in_the_handshake_has_an_end(who: str, sent: int):
    """After a minute. Without a timeout in the settings a client may take its time to begin."""
    attack = Attack(who, upstream_transport=Transport.V2)
    if who == "client":
        attack.hostile.send(attack.hostile.transport.public_key[: sent or 16])
        attack.scene.answer()
    else:
        attack.scene.a.begin()
        attack.scene.answer()
        attack.scene.a.events()
        attack.scene.a.finish_handshake()
        if sent:
            attack.hostile.send(attack.hostile.transport.public_key[:sent])
    attack.scene.clock.advance(59)
    assert attack.scene.observer.summaries == []
    attack.scene.clock.advance(1)
    assert attack.end(EndCause.TIMEOUT) == f"no encrypted handshake with the {who} in 60 s"


def test_a_byte_a_second_is_too_slow(who: str):
    """For the handshake, that is. What has come is held, and no more."""
    attack = Attack(who, upstream_transport=Transport.V2)
    if who == "upstream":
        attack.scene.a.begin()
    attack.scene.answer()
    if who == "upstream":
        attack.scene.a.events()
        attack.scene.a.finish_handshake()
    seconds = 0
    for byte in attack.hostile.transport.public_key + bytes(1_000):
        attack.hostile.send(bytes((byte,)))
        attack.scene.clock.advance(1)
        seconds += 1
        attack.held = max(attack.held, attack.scene.relay.held)
        if attack.hostile.socket.disconnecting:
            break
    assert 60 <= seconds <= 64
    assert attack.held < 500
    assert attack.end(EndCause.TIMEOUT) == f"no encrypted handshake with the {who} in 60 s"


@pytest.mark.parametrize("key", [bytes(64), b"\xff" * 64])
def test_any_64_bytes_are_a_key(who: str, key: bytes):
    """Nobody who sends these knows the secret, so the terminator does not come."""
    attack = Attack(who)
    if who == "client":
        attack.hostile.send(key)
        attack.scene.answer()
        attack.victim.events()
        attack.victim.begin()
    else:
        attack.scene.a.begin()
        attack.scene.answer()
        attack.hostile.send(key)
    attack.send(bytes(GARBAGE_STAGE))
    assert "no terminator" in attack.end()


def handshake(node: Node) -> bytes:
    """Return the rest of a handshake, after the key, and the first message."""
    transport = node.transport
    garbage = transport.garbage(b"garbage")
    return garbage + transport.terminator() + transport.packet(b"") + transport.packet(ping(1))


@pytest.mark.parametrize("how", ["finish", "reset"])
def test_a_close_at_any_byte_of_the_handshake_ends_the_session(who: str, how: str):
    """In order or not; nothing is left. A message that has come whole is passed on."""
    whole = len(handshake(Attack(who).begin().hostile))
    for size in (*range(0, whole, 3), whole):
        attack = Attack(who).begin()
        attack.hostile.send(handshake(attack.hostile)[:size])
        getattr(attack.hostile.socket, how)()
        attack.scene.settle()
        contents = attack.victim.contents() if attack.victim.socket.connected else []
        if how == "finish":
            assert contents == ([ping(1)] if size == whole else [])
            attack.victim.socket.finish()
        end = end_of(attack.scene)
        assert end.cause is (EndCause.CLOSED if how == "finish" else EndCause.RESET)
        assert end.by is attack.direction
        assert attack.scene.calls_left == 0


@pytest.mark.parametrize("size", range(0, 64, 7))
@pytest.mark.parametrize("how", ["finish", "reset"])
def test_a_client_that_closes_in_its_key_ends_the_session(size: int, how: str):
    """While the upstream is being dialled, and after."""
    for is_dialled in (False, True):
        scene = EncryptedScene()
        scene.a.send(scene.a.transport.public_key[:size])
        if is_dialled:
            scene.answer()
        getattr(scene.client, how)()
        scene.settle()
        if not is_dialled and how == "finish":
            scene.answer()
        scene.settle()
        if how == "finish":
            scene.upstream.finish()
        end = end_of(scene)
        assert end.cause in (EndCause.CLOSED, EndCause.RESET)
        assert scene.calls_left == 0
        assert scene.dials <= 2
