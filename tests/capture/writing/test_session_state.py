"""How far a session has got: what a file needs to continue it."""

import msgspec
import pytest

from lbcproxy.capture.writing.session_state import (
    SessionState,
    from_next_message,
    without_records,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Decoy, Delivery, Direction, End, EndCause, Transports
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnding,
    SessionReset,
    TransportsAgreed,
    UpstreamConnected,
)
from tests.capture.fake_sessions import CLIENT_V2
from tests.capture.recordings import INFO
from tests.session.frames import broken, ping, session, verack, version

UP, DOWN = Direction
PART = Delivery(b"part of a message")
DECOY = Delivery(b"", packet=Decoy(5))


def state_after(*data):
    """Return the state after both nodes have sent the same bytes."""
    core, state = session(), SessionState(INFO)
    for each in data:
        for direction in Direction:
            state.deliver(direction, core.receive(direction, each, 1))
    return state


def test_a_new_session_has_got_nowhere():
    """Nothing is negotiated, closed or under way."""
    state = SessionState(INFO)
    assert (state.info, state.connected, state.end) == (INFO, False, None)
    assert not state.has_transports
    assert (state.protocol_version, state.ended, state.inside) == (None, set(), set())


@pytest.mark.parametrize(("transports", "known"), [(CLIENT_V2, True), (Transports(), False)])
def test_it_knows_the_transports_that_are_worth_a_note(transports, known):
    """Every file that has the session says them again."""
    state = SessionState(INFO)
    info = INFO.with_transports(transports)
    state.follow(TransportsAgreed(info, 1))
    assert (state.info, state.has_transports) == (info, known)
    assert state.copy().has_transports is known


def test_a_decoy_is_no_part_of_a_message():
    """After it a file may end, and before one a message may be under way."""
    state = SessionState(INFO)
    state.deliver(UP, [DECOY])
    assert state.inside == set()
    state.deliver(UP, [PART, DECOY])
    assert state.inside == {UP}
    state.deliver(UP, [DECOY])
    assert state.inside == {UP}
    [message] = session().receive(UP, version(), 1)
    state.deliver(UP, [message, DECOY])
    assert state.inside == set()


def test_it_follows_the_events_of_its_session():
    """A reset is followed by the end, which nothing continues."""
    state = SessionState(INFO)
    info = msgspec.structs.replace(INFO, local=Endpoint("10.0.0.2", 5000))
    state.follow(UpstreamConnected(info, 1))
    assert (state.info, state.connected) == (info, True)
    state.follow(Delivered(info, UP, (PART,), 2))
    state.follow(Delivered(info, DOWN, (PART,), 2))
    assert state.inside == {UP, DOWN}
    end = End(EndCause.PLUGIN, name="guard")
    state.follow(SessionEnding(info, end, 3))
    assert state.end == end
    state.follow(DirectionClosed(info, UP, 4))
    assert (state.ended, state.inside) == ({UP}, {DOWN})
    state.follow(SessionReset(info, DOWN, 5))
    assert (state.ended, state.inside) == ({UP}, {DOWN})


def test_a_copy_is_independent():
    """What happens later does not change it."""
    state = SessionState(INFO)
    state.deliver(UP, [PART])
    state.close_direction(DOWN)
    other = state.copy()
    state.deliver(DOWN, [PART])
    state.close_direction(UP)
    assert (other.ended, other.inside) == ({DOWN}, {UP})
    assert other.info is state.info


@pytest.mark.parametrize("number", [60_000, 70_013])
def test_the_version_is_that_which_messages_are_decoded_with(number):
    """A `version` itself comes before that is known."""
    assert state_after(version(number)).protocol_version is None
    assert state_after(version(number), verack()).protocol_version == number
    assert state_after(version(number), verack(), ping(1) + ping(2)).protocol_version == number


def test_a_message_is_under_way_until_it_is_complete():
    """Of what was delivered together, the last counts."""
    state = SessionState(INFO)
    [complete] = session().receive(UP, ping(1), 1)
    state.deliver(UP, [])
    assert state.inside == set()
    state.deliver(UP, [complete, PART])
    assert state.inside == {UP}
    state.deliver(UP, [])
    assert state.inside == {UP}
    state.deliver(UP, [PART, complete])
    assert state.inside == set()


def test_what_follows_the_end_of_a_message():
    """Recording begins there if it is switched on in the middle of one."""
    first, second = session().receive(UP, ping(1), 1) + session().receive(UP, ping(2), 1)
    assert from_next_message([PART, PART]) is None
    assert from_next_message([]) is None
    assert from_next_message([PART, first, second]) == [second]
    assert from_next_message([first]) == []


@pytest.mark.parametrize("data", [ping(1) + ping(2), version(), broken(version())])
def test_a_delivery_without_what_was_decoded_of_it(data):
    """It can be decoded again."""
    [delivery] = session().receive(UP, data, 1)
    assert [each.message.record for each in delivery.entries]
    found = without_records(delivery)
    assert found is not delivery
    assert (found.raw, found.sent) == (delivery.raw, delivery.sent)
    for before, after in zip(delivery.entries, found.entries, strict=True):
        assert after.message is not before.message
        assert (after.number, after.command, after.raw) == (
            before.number,
            before.command,
            before.raw,
        )
        assert after.message.record == before.message.record
        assert after.message.frame_error == before.message.frame_error


def test_what_is_no_message_is_kept_as_it_is():
    """Nothing was decoded of it."""
    [gap] = session().gap(UP, 70, 1)
    assert without_records(PART) is PART
    assert without_records(gap) is gap
