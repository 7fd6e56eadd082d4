"""Both sides of an encrypted connection, in memory."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.transport.ciphers import REKEY_INTERVAL
from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    DecoyReceived,
    GarbageReceived,
    KeysAgreed,
    PacketReceived,
    TransportEvent,
    Unread,
    VersionReceived,
)
from lbcproxy.transport.keys import TERMINATOR_SIZE, SessionKeys
from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.transport.sizes import MAX_GARBAGE, OVERHEAD, TAG_SIZE
from lbcproxy.transport.v2 import V2Transport
from tests.transport.sides import KEYS, MAGIC, opened, pair


def in_portions(transport: V2Transport, data: bytes, sizes: Iterable[int]) -> list[TransportEvent]:
    """Return the events of bytes that come in portions of these sizes, and then the rest."""
    events: list[TransportEvent] = []
    for size in sizes:
        events += transport.receive(data[:size])
        data = data[size:]
    return events + transport.receive(data)


def test_a_handshake_and_a_message_each_way():
    """Both sides see the same session id, and each other's garbage, version and packets."""
    initiator, responder = pair()
    [agreed] = responder.receive(initiator.public_key)
    answer = responder.public_key + responder.garbage(b"noise") + responder.terminator()
    answer += responder.packet(b"") + responder.packet(b"\x12pong")
    events = initiator.receive(answer)
    assert events == [agreed, GarbageReceived(5), VersionReceived(b""), PacketReceived(b"\x12pong")]
    sent = initiator.terminator() + initiator.packet(b"") + initiator.packet(b"\x13ping")
    events = responder.receive(sent)
    assert events == [GarbageReceived(0), VersionReceived(b""), PacketReceived(b"\x13ping")]
    assert initiator.close() == responder.close() == []
    assert initiator.buffered == responder.buffered == 0


@settings(max_examples=60)
@given(
    garbage=st.binary(max_size=MAX_GARBAGE),
    packets=st.lists(st.tuples(st.binary(max_size=400), st.booleans()), max_size=12),
    sizes=st.lists(st.integers(0, 600)),
    from_initiator=st.booleans(),
)
def test_any_split_gives_the_same(garbage, packets, sizes, from_initiator):
    """For any garbage, decoys anywhere (also before the version packet), and either role."""
    sender, receiver = pair() if from_initiator else pair()[::-1]
    sender.receive(receiver.public_key)
    stream = sender.public_key + sender.garbage(garbage) + sender.terminator()
    expected: list[TransportEvent] = [GarbageReceived(len(garbage))]
    is_version_due = True
    for contents, decoy in packets:
        stream += sender.packet(contents, decoy=decoy)
        if decoy:
            expected.append(DecoyReceived(len(contents)))
        else:
            expected.append((VersionReceived if is_version_due else PacketReceived)(contents))
            is_version_due = False
    [agreed, *events] = in_portions(receiver, stream, sizes)
    assert isinstance(agreed, KeysAgreed)
    assert events == expected


def test_every_prefix_is_waited_for():
    """And each says what is missing when the connection ends there."""
    sender, receiver = pair()
    sender.receive(receiver.public_key)
    stream = sender.public_key + sender.garbage(b"noise") + sender.terminator()
    handshake = len(stream)
    stream += sender.packet(b"") + sender.packet(b"\x12abcd")
    whole = {handshake + OVERHEAD, len(stream)}
    for size in range(len(stream) + 1):
        _, receiver = pair()
        receiver.receive(stream[:size])
        ending = receiver.close()
        if size in whole:
            assert ending == []
        else:
            [broken] = ending
            assert isinstance(broken, Broken)
            assert broken.cause is BreakCause.CUT_OFF
        assert receiver.close() == []


def test_keys_change():
    """In both directions, past three periods."""
    initiator, responder = opened()
    for number in range(3 * REKEY_INTERVAL + 10):
        contents = number.to_bytes(4)
        assert responder.receive(initiator.packet(contents)) == [PacketReceived(contents)]
        assert initiator.receive(responder.packet(contents)) == [PacketReceived(contents)]


@pytest.mark.parametrize("number", [3, REKEY_INTERVAL, REKEY_INTERVAL + 1])
def test_a_changed_byte_breaks_the_connection(number: int):
    """Any byte after the length; the packets before it are read, what follows is left unread."""
    initiator, responder = opened()
    for _ in range(number - 3):  # the version packet was the first
        responder.receive(initiator.packet(b"\x12"))
    good = initiator.packet(b"before")
    bad = bytearray(initiator.packet(b"payload"))
    bad[-1] ^= 1
    [first, broken] = responder.receive(good + bytes(bad) + b"more")
    assert first == PacketReceived(b"before")
    assert isinstance(broken, Broken)
    assert broken.cause is BreakCause.BAD_TAG
    assert f"packet {number}, at byte" in broken.detail
    assert broken.rest == bytes(bad) + b"more"
    assert responder.receive(b"even more") == [Unread(b"even more")]
    assert responder.close() == []


def test_changed_garbage_breaks_the_connection():
    """The first packet authenticates it, also if that is a decoy."""
    for decoy in (False, True):
        sender, receiver = pair()
        sender.receive(receiver.public_key)
        sender.garbage(b"garbage")
        stream = sender.public_key + b"Garbage" + sender.terminator()
        events = receiver.receive(stream + sender.packet(b"", decoy=decoy))
        assert isinstance(events[-1], Broken)
        assert events[-1].cause is BreakCause.BAD_TAG


@pytest.mark.parametrize("step", [1, 100, 5_000])
def test_a_missing_terminator_breaks_the_connection(step: int):
    """After no more bytes than garbage may have; at most one portion is buffered."""
    _, receiver = pair()
    receiver.receive(KEYS[0].public)
    limit, noise = MAX_GARBAGE + TERMINATOR_SIZE, bytes(10_000)
    events: list[TransportEvent] = []
    sent = 0
    while not events:
        events += receiver.receive(noise[:step])
        sent += step
        assert receiver.buffered < limit
    assert limit <= sent < limit + step
    [broken] = events
    assert isinstance(broken, Broken)
    assert broken.cause is BreakCause.NO_TERMINATOR
    assert len(broken.rest) == sent


def test_the_longest_garbage():
    """4,095 bytes are allowed, and no more."""
    sender, receiver = pair()
    sender.receive(receiver.public_key)
    garbage = sender.garbage(bytes(MAX_GARBAGE))
    with pytest.raises(ValueError, match="4,095"):
        sender.garbage(b"!")
    _, receiver = pair()
    receiver.receive(sender.public_key + garbage)
    sender, _ = pair()
    sender.receive(receiver.public_key)
    assert receiver.receive(sender.terminator()) == [GarbageReceived(MAX_GARBAGE)]


def test_a_long_packet_is_refused_by_its_length():
    """Before any of it is buffered."""
    initiator, responder = opened(max_contents=1_000)
    assert responder.receive(initiator.packet(bytes(1_000))) == [PacketReceived(bytes(1_000))]
    packet = initiator.packet(bytes(1_001))
    [broken] = responder.receive(packet[:3])
    assert isinstance(broken, Broken)
    assert broken.cause is BreakCause.TOO_LONG
    assert "1,001 bytes; at most 1,000" in broken.detail
    assert broken.rest == packet[:3]


def test_the_longest_packet():
    """16,777,215 bytes of contents; one more does not fit the format."""
    initiator, responder = opened()
    [received] = responder.receive(initiator.packet(bytes(MAX_CONTENTS)))
    assert isinstance(received, PacketReceived)
    assert len(received.contents) == MAX_CONTENTS
    with pytest.raises(ValueError, match="16,777,216"):
        initiator.packet(bytes(MAX_CONTENTS + 1))


def test_another_magic_is_not_understood():
    """The keys differ, so the terminator is not found."""
    sender = V2Transport(b"\xf9\xbe\xb4\xd9", initiating=True, key=KEYS[0])
    _, receiver = pair()
    sender.receive(receiver.public_key)
    events = receiver.receive(sender.public_key + sender.terminator() + sender.packet(b""))
    assert [type(each) for each in events] == [KeysAgreed]


def test_what_comes_too_early_is_refused():
    """A terminator before the keys, a packet before the terminator, garbage after it."""
    initiator, responder = pair()
    with pytest.raises(ValueError, match="public key"):
        initiator.terminator()
    initiator.receive(responder.public_key)
    for early in (lambda: initiator.packet(b""), lambda: initiator.packets([])):
        with pytest.raises(ValueError, match="after the terminator"):
            early()
    initiator.terminator()
    for wrong in (initiator.terminator, lambda: initiator.garbage(b"x")):
        with pytest.raises(ValueError, match=r"garbage|terminator"):
            wrong()


def test_decoys_only():
    """Any number of them may come before the version packet; none is kept."""
    sender, receiver = pair()
    sender.receive(receiver.public_key)
    receiver.receive(sender.public_key + sender.terminator())
    for number in range(1_000):
        decoy = sender.packet(bytes(number), decoy=True)
        assert receiver.receive(decoy) == [DecoyReceived(number)]
        assert receiver.buffered == 0
    assert receiver.receive(sender.packet(b"future")) == [VersionReceived(b"future")]


@pytest.mark.parametrize("size", [4_095, 4_096, 70_000])
@pytest.mark.parametrize("portion", [3, 4_000, 100_000])
def test_long_packets_come_in_portions(size: int, portion: int):
    """Nothing is lost between them, nor after the last one."""
    sender, receiver = opened()
    contents = [bytes((number,)) * size for number in range(1, 4)]
    stream = sender.packets(contents)
    sizes = [portion] * (len(stream) // portion)
    events = in_portions(receiver, stream, sizes)
    assert events == [PacketReceived(each) for each in contents]
    assert receiver.buffered == 0


def test_sizes_on_the_wire():
    """A packet has 20 bytes more than its contents."""
    initiator, _ = opened()
    for size in (0, 1, 300):
        assert len(initiator.packet(bytes(size))) == size + OVERHEAD == size + 4 + TAG_SIZE


def test_keys_do_not_show():
    """No text of any object has a key in it."""
    initiator, _ = opened()
    assert initiator.logged_secret is not None
    secret = initiator.logged_secret.secret
    keys = SessionKeys.derive(secret, MAGIC)
    text = "".join(map(repr, (initiator, keys, keys.initiator, KEYS[0])))
    secrets = [*keys.initiator, *keys.responder, secret, bytes([1]) * 32]
    assert not any(each.hex() in text or repr(each)[2:-1] in text for each in secrets)
