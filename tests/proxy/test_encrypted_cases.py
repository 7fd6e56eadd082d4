"""Random sessions with encrypted legs: a few of those that `script/fuzz --transport` plays."""

from __future__ import annotations

from collections import Counter

import pytest

from lbcproxy.proxy.transports.packet_receiver import PacketReceiver
from lbcproxy.session import EndCause
from tests.proxy.encrypted_cases import Legs, drawn, play

CASES = 250


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_what_a_node_sends_comes_through_or_the_session_ends(first: int):
    """In order, whatever the portions, and nothing is left: see `encrypted_cases`."""
    for seed in range(first, first + 50):
        play(drawn(seed))


def test_the_cases_have_all_that_is_to_be_tried():
    """All combinations of legs, and ends of several kinds."""
    cases = [drawn(seed) for seed in range(CASES)]
    assert {each.legs for each in cases} == set(Legs)
    assert {each.forwarder for each in cases} == {"direct", "plugins", "faults"}
    ends = Counter(play(each).cause for each in cases[:60])
    assert set(ends) >= {EndCause.CLOSED, EndCause.PROTOCOL, EndCause.STOPPED}


def test_a_relay_that_loses_something_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """The cases would not be worth anything otherwise."""
    monkeypatch.setattr(PacketReceiver, "_forward_unusual", lambda *_: None)
    with pytest.raises(AssertionError, match="what has come is not what was sent|have come"):
        _play_all()


def _play_all() -> None:
    for seed in range(CASES):
        play(drawn(seed))
