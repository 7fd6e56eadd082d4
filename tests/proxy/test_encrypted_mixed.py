"""What one leg can say and the other cannot, and messages of any length between all legs."""

from __future__ import annotations

import pytest

from lbcproxy.proxy.budget import Budget
from lbcproxy.session import Delivery, EndCause
from lbcproxy.session.stream_reader import StreamReader
from lbcproxy.wire.envelope import frame
from tests.proxy.encrypted import (
    DOWN,
    MAGIC,
    UP,
    EncryptedScene,
    end_of,
    mixed,
    ping,
    ping_frame,
)

LONG = frame(MAGIC, "block", bytes(300_000))


def test_a_packet_without_a_command_does_not_reach_a_leg_that_is_not_encrypted():
    """Its bytes would be read as the beginning of a frame."""
    scene = mixed("client")
    scene.a.send_packets(b"\0ping", b"", ping(1))
    scene.settle()
    assert scene.upstream.got == ping_frame(1)
    assert [each.verdict for each in scene.observer.entries] == ["drop", "pass"]


def test_a_message_that_a_close_cuts_off_is_not_sent():
    """The session has ended because of the close."""
    scene = mixed("upstream")
    scene.client.arrive(ping_frame(1) + LONG[:200])
    scene.client.finish()
    assert scene.b.contents() == [ping(1)]
    assert scene.upstream.fin_sent
    assert end_of(scene).cause is EndCause.CLOSED
    cut = scene.observer.entries[-1]
    assert (cut.message, cut.verdict) == (None, "drop")


@pytest.mark.parametrize("step", [99_991, 1_000_000])
def test_what_is_not_read_any_more_still_passes_in_whole_messages(
    step: int, monkeypatch: pytest.MonkeyPatch
):
    """A defect of ours must not change what a node gets."""
    scene = mixed("upstream")

    def fails(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(StreamReader, "_deliver", fails)
    wrong = bytearray(ping_frame(9))
    wrong[-1] ^= 1
    stream = ping_frame(1) + bytes(wrong) + LONG + ping_frame(2)
    for start in range(0, len(stream), step):
        scene.client.arrive(stream[start : start + step])
        waits = len(stream) > start + step > len(ping_frame(1) + wrong)
        assert (scene.relay.held > 0) is waits
    assert scene.b.contents() == [ping(1), bytes((2,)) + LONG[24:], ping(2)]
    assert scene.relay.held == 0


def test_a_long_message_that_has_to_be_released_ends_the_session():
    """A packet cannot be sent in parts, so there is nothing to release it to."""
    budget = Budget(100_000)
    scene = mixed("upstream", budget=budget)
    scene.client.arrive(LONG[:90_000])
    assert 90_000 <= scene.relay.held < 100_000
    scene.client.arrive(LONG[90_000:110_000])
    end = end_of(scene)
    assert end.cause is EndCause.LIMIT
    assert budget.held == 0
    assert scene.b.contents() == []


def test_a_message_that_no_packet_can_hold_ends_the_session():
    """One byte less would fit."""
    for size, fits in ((2**24 - 2, True), (2**24 - 1, False)):
        scene = mixed("upstream")
        scene.client.arrive(frame(MAGIC, "block", bytes(size)))
        assert [len(each) for each in scene.b.contents()] == ([size + 1] if fits else [])
        if not fits:
            assert end_of(scene).cause is EndCause.NOT_EXPRESSIBLE


def test_what_plugins_make_may_be_several_messages():
    """Each in a packet of its own; also one without a payload."""
    scene = EncryptedScene().shake_hands()
    made = frame(MAGIC, "verack", b"") + ping_frame(1)
    scene.relay.send_deliveries(UP, [Delivery(b"", sent=made)])
    assert scene.b.contents() == [b"\0" + b"verack".ljust(12, b"\0"), ping(1)]


@pytest.mark.parametrize("size", [65_536, 65_537, 1_000_000, 8_000_000])
def test_long_messages_pass_between_all_legs(size: int):
    """In one piece; they are recorded as one."""
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    contents, raw = bytes((2,)) + payload, frame(MAGIC, "block", payload)
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(ping(1), contents, ping(2))
    assert scene.b.contents() == [ping(1), contents, ping(2)]
    scene.b.send_packets(contents)
    assert scene.a.contents() == [contents]
    assert scene.observer.passed_bytes(DOWN) == raw
    scene = mixed("client")
    scene.a.send_packets(contents)
    scene.upstream.arrive(raw[:70_000], raw[70_000:])
    scene.settle()
    assert scene.upstream.got == raw
    assert scene.a.contents() == [contents]
    scene = mixed("upstream")
    scene.client.arrive(raw[:70_000], raw[70_000:])
    scene.b.send_packets(contents)
    assert scene.b.contents() == [contents]
    scene.settle()
    assert scene.client.got == raw
    assert [each.length for each in scene.observer.entries][-2:] == [size, size]


def test_an_upstream_is_reported_once_whatever_it_speaks():
    """Before anything that has passed."""
    both = EncryptedScene().shake_hands()
    both.a.send_packets(ping(1))
    client = mixed("client")
    client.a.send_packets(ping(1))
    for scene in (both, client, mixed("upstream")):
        happened = [each[0] for each in scene.observer.events]
        assert happened.count("upstream connected") == 1
        assert happened.index("upstream connected") < happened.index("passed")
