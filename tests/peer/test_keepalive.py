"""Tests of our pings and the node's pongs, and the reverse (docs/peer-lbcd.md P)."""

from typing import Any

import msgspec
import pytest

from lbcproxy.peer import Policy
from lbcproxy.peer.liveness import Keepalive
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import CONFIG, NOW, Callbacks, Wired, connect, encoded


def ready(number: int = 70013, callbacks: Callbacks | None = None, **changes: Any) -> Wired:
    """A peer after its handshake with a node of some version."""
    config = msgspec.structs.replace(CONFIG, **changes)
    return connect(config, callbacks=callbacks).shake_hands(number)


def pings(wired: Wired) -> list[Ping]:
    """The pings that were sent."""
    return [each for each in wired.sent if isinstance(each, Ping)]


def test_the_first_ping_goes_out_after_two_minutes():
    """Not a moment before, and then every two minutes."""
    wired = ready()
    wired.pass_time(119.9)
    assert wired.commands == []
    wired.pass_time(0.1)
    assert wired.commands == ["ping"]
    wired.pass_time(119.9)
    assert wired.commands == ["ping"]
    wired.pass_time(0.1)
    assert wired.commands == ["ping", "ping"]


def test_a_ping_goes_out_whatever_the_traffic():
    """It measures the way as well as it keeps it open (P1)."""
    wired = ready()
    for _ in range(12):
        wired.pass_time(10)
        wired.feed(GetAddr())
        wired.peer.send(GetAddr())
    assert wired.commands.count("ping") == 1


def test_the_interval_can_be_set():
    """As all times of a peer."""
    wired = ready(timeouts=msgspec.structs.replace(CONFIG.timeouts, ping=7))
    wired.pass_time(21)
    assert len(pings(wired)) == 3


def test_nonces_are_random_and_not_zero():
    """Zero means no ping; a nonce that can be guessed lets a node lie about its distance."""
    nonces = {Keepalive().make(70013).nonce for _ in range(200)}
    assert len(nonces) == 200
    assert None not in nonces
    assert 0 not in nonces
    assert max(nonce.bit_length() for nonce in nonces if nonce) > 60


def test_a_pong_with_the_nonce_tells_how_long_it_took():
    """The time the ping was sent stays known (P4)."""
    wired = ready()
    wired.pass_time(120)
    [ping] = pings(wired)
    waiting = wired.peer.snapshot()
    assert (waiting.ping_nonce, waiting.ping_at) == (ping.nonce, NOW + 120)
    assert waiting.ping_seconds is None
    wired.pass_time(0.25, step=0.05)
    wired.feed(Pong(ping.nonce or 0))
    answered = wired.peer.snapshot()
    assert (answered.ping_nonce, answered.ping_at) == (0, NOW + 120)
    assert answered.ping_seconds == pytest.approx(0.25)


def test_a_pong_with_another_nonce_means_nothing():
    """But callbacks receive it."""
    wired = ready()
    wired.pass_time(120)
    [ping] = pings(wired)
    wired.feed(Pong((ping.nonce or 0) ^ 1))
    assert wired.peer.snapshot().ping_nonce == ping.nonce
    assert wired.peer.snapshot().ping_seconds is None
    assert len(wired.callbacks.of("on_pong")) == 1


def test_a_late_pong_of_an_older_ping_means_nothing():
    """The last ping is the one that is measured (P2)."""
    wired = ready()
    wired.pass_time(240)
    old, new = pings(wired)
    wired.feed(Pong(old.nonce or 0))
    assert wired.peer.snapshot().ping_seconds is None
    wired.pass_time(2)
    wired.feed(Pong(new.nonce or 0))
    assert wired.peer.snapshot().ping_seconds == pytest.approx(2)


def test_a_second_pong_changes_nothing():
    """Each ping is measured once."""
    wired = ready()
    wired.pass_time(120)
    [ping] = pings(wired)
    wired.pass_time(1)
    wired.feed(Pong(ping.nonce or 0))
    wired.pass_time(5)
    wired.feed(Pong(ping.nonce or 0))
    assert wired.peer.snapshot().ping_seconds == pytest.approx(1)


def test_a_pong_without_a_ping_means_nothing():
    """Not even with nonce 0, which means none."""
    wired = ready()
    wired.feed(Pong(0))
    assert wired.peer.snapshot().ping_seconds is None
    assert not wired.closed


def test_a_ping_of_the_user_s_is_measured_too():
    """The last one counts, ours or the user's."""
    wired = ready()
    wired.peer.send(Ping(99))
    wired.pass_time(3)
    wired.feed(Pong(99))
    assert wired.peer.snapshot().ping_seconds == pytest.approx(3)


def test_a_ping_of_the_user_s_with_nonce_zero_is_never_matched():
    """And takes the place of the one that was waited for (P4)."""
    wired = ready()
    wired.peer.send(Ping(99))
    wired.peer.send(Ping(0))
    wired.feed(Pong(0), Pong(99))
    assert wired.peer.snapshot().ping_seconds is None


def test_a_ping_that_waits_is_not_measured_yet():
    """Its time begins when it is handed to the transport."""
    wired = ready()
    wired.peer.core.sender.filled(0)
    wired.peer.send(Ping(99))
    wired.pass_time(5)
    assert wired.peer.snapshot().ping_nonce == 0
    wired.peer.drained()
    wired.pass_time(1)
    wired.feed(Pong(99))
    assert wired.peer.snapshot().ping_seconds == pytest.approx(1)


def test_a_ping_is_answered_before_the_callback():
    """So that a slow callback does not make us look slow (P3)."""
    seen: list[int] = []
    callbacks = Callbacks(on_ping=lambda peer, ping: seen.append(peer.snapshot().queued_bytes))
    wired = ready(callbacks=callbacks)
    wired.feed(Ping(5))
    assert wired.sent == [Pong(5)]
    assert seen == [24 + 8]  # the pong waits for its turn already


def test_pings_are_answered_in_order():
    """Each with its own nonce."""
    wired = ready()
    wired.feed(Ping(1), Ping(2), Ping(0))
    assert wired.sent == [Pong(1), Pong(2), Pong(0)]


def test_at_version_60000_pings_have_no_nonce_and_no_answer():
    """BIP31 came with 60001."""
    wired = ready(60000)
    wired.feed(Ping())
    assert wired.commands == []
    assert wired.callbacks.of("on_ping") == [(Ping(),)]
    wired.pass_time(120)
    assert wired.sent == [Ping()]
    assert wired.peer.snapshot().ping_nonce == 0
    assert wired.peer.snapshot().ping_at is None


def test_at_version_60001_pings_have_a_nonce_and_an_answer():
    """The lowest version that has both."""
    wired = ready(60001)
    wired.feed(Ping(3))
    wired.pass_time(120)
    assert wired.sent[0] == Pong(3)
    assert pings(wired)[0].nonce


def test_a_pong_at_version_60000_ends_the_connection():
    """The command does not exist there (I)."""
    wired = ready(60000, policy=Policy.STRICT)
    wired.feed(encoded(Pong(0)))
    assert wired.closed
    assert wired.callbacks.of("on_pong") == []


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("command", ["ping", "pong"])
def test_a_short_ping_or_pong_does_not_end_a_tolerant_connection(command: str, size: int):
    """Bitcoin Core notes the one and drops the other."""
    wired = ready(70016)
    wired.feed(frame(CONFIG.network.magic, command, bytes(size)), Ping(5))
    assert not wired.closed
    assert wired.sent == [Pong(5)]


def test_without_keepalive_we_neither_ping_nor_answer():
    """For a user that passes pings on between two nodes."""
    wired = ready(keepalive=False)
    wired.feed(Ping(1))
    wired.pass_time(250)
    assert wired.commands == []
    assert len(wired.callbacks.of("on_ping")) == 1
