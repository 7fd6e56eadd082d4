"""Messages held by hand: in a relay over transports in memory, with the time handed in."""

import pytest
from twisted.internet.task import Clock

from lbcproxy.filters import BadFilter
from lbcproxy.plugins.verdicts import Drop
from lbcproxy.proxy.interception import MAX_HELD, Interception
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.errors import BadRecord
from tests.proxy.packets import raw_got
from tests.proxy.transports import NETWORK


def ping(nonce):
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


PONG = frame(NETWORK.magic, "pong", bytes(8))


@pytest.fixture
def scene(make_scene):
    """Return a scene whose pings are held, over either transport."""
    interception = Interception(Clock())
    interception.hold("ping")
    scene = make_scene(interception=interception)
    interception._clock = scene.clock
    scene.interception = interception
    return scene.answer()


def got(scene):
    scene.upstream.read()
    return scene.upstream.got


def test_what_the_filter_matches_waits_and_what_comes_after_it_too(scene):
    """The other direction goes on."""
    scene.client.arrive(PONG, ping(1), PONG)
    assert got(scene) == PONG
    [held] = scene.interception.held
    assert (held.number, held.session, held.message.command) == (1, 1, "ping")
    scene.upstream.arrive(PONG)
    scene.client.read()
    assert scene.client.got == PONG
    scene.interception.decide(1, None)
    assert got(scene) == PONG + ping(1) + PONG
    assert scene.interception.held == ()


def test_each_is_decided_about_for_itself(scene):
    """Dropped, edited, replaced by any bytes; the record says so."""
    scene.client.arrive(ping(1), ping(2), ping(3), ping(4))
    scene.interception.decide(1, Drop("not this one"))
    scene.interception.edit(2, nonce=77)
    scene.interception.decide(3, None)
    scene.interception.edit(4, raw=b"anything")
    assert got(scene) == ping(77) + ping(3) + raw_got(scene.upstream, b"anything")
    entries = [entry for each in scene.observer.deliveries for entry in each.entries]
    assert [each.verdict for each in entries] == ["drop", "rewrite", "pass", "rewrite"]
    assert entries[0].trail == ("intercept: drop: not this one",)
    assert "edited by hand" in entries[1].trail[0]


def test_an_edit_that_cannot_be_leaves_the_message_waiting(scene):
    """One may try again."""
    scene.client.arrive(ping(1))
    with pytest.raises(BadRecord):
        scene.interception.edit(1, nonce=-1)
    with pytest.raises(TypeError):
        scene.interception.edit(1, nonsense=1)
    assert len(scene.interception.held) == 1
    with pytest.raises(KeyError):
        scene.interception.decide(9, None)


@pytest.mark.parametrize(("after", "passes"), [("release", True), ("drop", False)])
def test_a_decision_is_not_awaited_for_ever(scene, after, passes):
    """By the policy."""
    scene.interception.timeout, scene.interception.after = 10, after
    scene.client.arrive(ping(1), PONG)
    scene.clock.advance(9)
    assert got(scene) == b""
    scene.clock.advance(1)
    assert got(scene) == (ping(1) if passes else b"") + PONG


def test_without_a_filter_nothing_is_held_and_what_waits_is_released(scene):
    """At once, in order."""
    scene.client.arrive(ping(1), PONG)
    scene.interception.hold(None)
    scene.relay.plugins_changed()
    scene.client.arrive(ping(2))
    assert got(scene) == ping(1) + PONG + ping(2)


def test_another_filter_is_for_the_messages_to_come(scene):
    """In sessions that are open."""
    scene.interception.hold("pong")
    scene.relay.plugins_changed()
    scene.client.arrive(ping(1), PONG)
    assert got(scene) == ping(1)
    with pytest.raises(BadFilter):
        scene.interception.hold("pnog")
    assert scene.interception.filter.text == "pong"


def test_the_end_of_a_session_lets_go_of_what_it_holds(scene):
    """Nobody can decide about it any more."""
    scene.client.arrive(ping(1))
    scene.client.reset()
    scene.clock.advance(0)
    assert scene.interception.held == ()
    assert scene.ended


def test_what_is_held_is_bounded(scene):
    """Further ones pass."""
    scene.interception.hold("ping or pong")
    scene.interception._held = dict.fromkeys(range(-MAX_HELD, 0))
    scene.client.arrive(ping(1))
    assert got(scene) == ping(1)
