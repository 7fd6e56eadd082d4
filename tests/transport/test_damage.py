"""Packets that are damaged on purpose: the receiver notices, and nothing else is changed."""

from __future__ import annotations

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.transport.damage import PacketDamage, WrongLength, WrongTag
from lbcproxy.transport.events import BreakCause, Broken, PacketReceived
from tests.transport.sides import opened

CONTENTS = b"\x12" + bytes(8)


@pytest.mark.parametrize("bit", [0, 7, 8, 127])
def test_one_bit_of_a_tag(bit: int):
    """The only one that differs; all before it arrives."""
    one, other = opened()
    sound = one.packet(CONTENTS)
    packet = one.packet(CONTENTS)
    damaged = WrongTag(bit).applied(packet)
    assert damaged[:-16] == packet[:-16]
    assert int.from_bytes(damaged[-16:], "little") ^ int.from_bytes(packet[-16:], "little") == (
        1 << bit
    )
    first, second = other.receive(sound + damaged)
    assert first == PacketReceived(CONTENTS)
    assert isinstance(second, Broken)
    assert second.cause is BreakCause.BAD_TAG


@pytest.mark.parametrize(
    ("claimed", "cause"),
    [(0, BreakCause.BAD_TAG), (8, BreakCause.BAD_TAG), (2_000_000, BreakCause.TOO_LONG)],
)
def test_another_length(claimed: int, cause: BreakCause):
    """The receiver reads what is claimed."""
    one, other = opened(max_contents=1_000_000)
    packet = one.packet(CONTENTS)
    damaged = WrongLength(claimed).applied(packet)
    assert damaged[3:] == packet[3:]
    [broken] = other.receive(damaged)
    assert isinstance(broken, Broken)
    assert broken.cause is cause
    if cause is BreakCause.TOO_LONG:
        assert f"claims {claimed:,} bytes" in broken.detail


def test_a_length_that_is_too_long_by_little_is_waited_for():
    """Then the tag is wrong."""
    one, other = opened()
    assert other.receive(WrongLength(10).applied(one.packet(CONTENTS))) == []
    [broken] = other.receive(b"x")
    assert isinstance(broken, Broken)
    assert broken.cause is BreakCause.BAD_TAG


@pytest.mark.parametrize(
    ("damage", "words"),
    [(WrongTag(3), "bit 3 of its tag is wrong"), (WrongLength(1000), "it claims 1,000 bytes")],
)
def test_in_words(damage: PacketDamage, words: str):
    """For the trail."""
    assert str(damage) == words
