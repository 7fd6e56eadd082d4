"""A session of a capture: its events, and the report on its legs."""

import pytest

from lbcproxy.capture.reading.captured_session import CapturedSession
from lbcproxy.capture.tcp.stream_events import Closed
from lbcproxy.session import Direction, End, EndCause, Stage
from lbcproxy.wire.envelope import frame
from tests.capture.reading.captured_legs import CLIENT, LOCAL, NODE, PROXY, REGTEST, leg
from tests.session.frames import verack, version

UP, DOWN = Direction
PING = frame(REGTEST.magic, "ping", bytes(8))
STATED = End(EndCause.PLUGIN, name="guard")


def session_of(*legs):
    """Return a session that has started, with its legs."""
    session = CapturedSession(7)
    session.legs += legs
    list(session.start(legs[0], REGTEST))
    return session


def kinds(events):
    """Return the names of some events."""
    return [type(each).__name__ for each in events]


def test_a_session_starts_once():
    """With what the file knows of it."""
    session = CapturedSession(7)
    session.begun, session.protocol_version = False, 60_000
    assert not session.is_connected
    assert list(session.connected(LOCAL, 5)) == []
    one = leg()
    [started] = session.start(one, REGTEST)
    assert (started.time_ns, started.from_start, started.protocol_version) == (5, False, 60_000)
    info = started.info
    assert (info.number, info.network, info.client) == (7, "lbry-regtest", CLIENT)
    assert (info.listen, info.upstream, info.local) == (PROXY, NODE, None)
    assert list(session.start(one, REGTEST)) == []
    assert not session.is_connected
    [started] = CapturedSession(8).start(one, REGTEST)
    assert (started.from_start, started.protocol_version) == (True, None)
    [connected] = session.connected(LOCAL, 6)
    assert (connected.info.local, connected.info.client, connected.time_ns) == (LOCAL, CLIENT, 6)
    assert session.is_connected


def test_what_passed_together_is_one_event():
    """As long as it is of the same direction and time."""
    one = leg()
    session = session_of(one)
    deliveries = [
        *one.data(UP, PING, 6),
        *one.data(UP, PING, 6),
        *one.data(UP, PING, 7),
        *one.data(DOWN, PING, 7),
        *one.data(DOWN, version(), 7),
    ]
    found = list(session.passed(deliveries))
    assert [(each.direction, each.time_ns, len(each.deliveries)) for each in found] == [
        (UP, 6, 2),
        (UP, 7, 1),
        (DOWN, 7, 2),
    ]
    assert list(session.passed([])) == []


def closed(direction, *, reset=False, time_ns=9):
    """Return that one side sends no more."""
    return Closed(1, direction is UP, reset, time_ns)


def test_each_direction_is_closed_once():
    """A second FIN is a repetition."""
    one = leg()
    session = session_of(one)
    for direction in Direction:
        [event] = session.closed(one, direction, closed(direction))
        assert kinds([event]) == ["DirectionClosed"]
        assert (event.direction, event.time_ns) == (direction, 9)
        assert list(session.closed(one, direction, closed(direction))) == []
    [ended] = session.leg_ended(one, 10)
    assert (ended.closed, ended.time_ns) == (True, 10)


def test_the_end_that_a_capture_states_is_said_once():
    """Before the first direction closes, though both legs and directions state it."""
    one = leg()
    session = session_of(one)
    found = list(session.closed(one, UP, closed(UP), STATED))
    assert kinds(found) == ["SessionEnding", "DirectionClosed"]
    assert (found[0].end, found[0].time_ns) == (STATED, 9)
    assert kinds(session.closed(one, DOWN, closed(DOWN), STATED)) == ["DirectionClosed"]


def test_a_session_whose_network_is_not_known_has_no_events():
    """Neither its end nor its directions."""
    session = CapturedSession(7)
    one = leg()
    session.legs.append(one)
    assert list(session.closed(one, UP, closed(UP), STATED)) == []
    assert list(session.leg_ended(one, 9)) == []


def test_a_reset_is_reported_at_the_end():
    """The first of several; after what was still to be read."""
    one = leg()
    session = session_of(one)
    assert list(session.closed(one, DOWN, closed(DOWN, reset=True, time_ns=8))) == []
    assert list(session.closed(one, UP, closed(UP, reset=True))) == []
    reset, ended = session.leg_ended(one, 10)
    assert kinds([reset]) == ["SessionReset"]
    assert (reset.direction, reset.time_ns, ended.closed) == (DOWN, 8, True)


@pytest.mark.parametrize("finished", [[], [UP], [DOWN]])
def test_a_session_that_nobody_closed(finished):
    """The capture ends first."""
    one = leg()
    session = session_of(one)
    for direction in finished:
        list(session.closed(one, direction, closed(direction)))
    [ended] = session.leg_ended(one, 10)
    assert not ended.closed


def test_the_leg_that_received_a_direction_reports_its_end():
    """The other one only if it is the only one left."""
    client, upstream = leg(UP), leg(DOWN)
    session = session_of(client, upstream)
    assert list(session.closed(upstream, UP, closed(UP))) == []
    assert kinds(session.closed(client, UP, closed(UP))) == ["DirectionClosed"]
    assert list(session.closed(client, DOWN, closed(DOWN))) == []
    assert list(session.leg_ended(upstream, 9)) == []
    assert kinds(session.closed(client, DOWN, closed(DOWN))) == ["DirectionClosed"]
    [ended] = session.leg_ended(client, 10)
    assert ended.closed


@pytest.mark.parametrize("last", [UP, DOWN])
def test_the_report_combines_both_legs(last):
    """Of each node what was received from it, whichever leg ends last."""
    legs = {UP: leg(UP), DOWN: leg(DOWN, time_ns=6)}
    session = session_of(*legs.values())
    list(legs[UP].data(UP, PING * 3, 20))
    list(legs[UP].data(DOWN, PING * 9, 21))  # sent by the proxy: it is on the other leg too
    list(legs[DOWN].data(DOWN, PING * 2, 25))
    list(legs[DOWN].data(UP, PING * 9, 26))
    list(legs[UP].gap(UP, 100, 27))
    list(legs[DOWN].gap(DOWN, 50, 28))
    assert list(session.leg_ended(legs[last.other], 29)) == []
    [ended] = session.leg_ended(legs[last], 30)
    report = ended.report
    assert (report.number, report.client, report.server) == (7, CLIENT, NODE)
    assert (report.begun_ns, report.ended_ns, report.missing) == (5, 28, 150)
    assert (report.to_upstream.messages, report.to_client.messages) == (3, 2)
    assert (ended.summary.client, ended.summary.upstream) == (report.to_upstream, report.to_client)


@pytest.mark.parametrize("both", [True, False])
def test_a_session_is_ready_if_the_nodes_have_shaken_hands(both):
    """Not one of them with the proxy."""
    client, upstream = leg(UP), leg(DOWN)
    session = session_of(client, upstream)
    for each in Direction:
        list(client.data(each, version() + verack(), 6))
        list(upstream.data(each, version(), 6))
    if both:
        for each in Direction:
            list(upstream.data(each, verack(), 7))
    list(session.leg_ended(client, 9))
    [ended] = session.leg_ended(upstream, 9)
    stages = {ended.report.to_upstream.stage, ended.report.to_client.stage}
    assert (stages == {Stage.READY}) is both
    assert both or Stage.READY not in stages
