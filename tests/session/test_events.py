"""Events of a session, as values."""

from lbcproxy.session.events import Delivered, SessionStarted
from tests.session.frames import INFO, NOW, UP, ping, session, session_ended


def messages(data: bytes, **settings) -> int:
    """Return how many messages there are in what a session delivers of some bytes."""
    deliveries = session(**settings).receive(UP, data, NOW)
    return Delivered(INFO, UP, deliveries, NOW).messages


def test_messages_are_counted_the_same_in_a_run_and_one_by_one():
    """How they are read says nothing about how many passed."""
    assert messages(ping() * 3) == 3
    assert messages(ping() * 3, buffered_commands=None) == 3


def test_junk_and_gaps_do_not_count_as_messages():
    """They are entries that nobody has sent as messages."""
    assert messages(b"noise that is not a message" + ping()) == 1
    gap = session().gap(UP, 100, NOW)
    assert Delivered(INFO, UP, gap, NOW).messages == 0


def test_a_session_starts_at_its_beginning_and_ends_closed_unless_said_otherwise():
    """Only a capture knows of other sessions."""
    started, ended = SessionStarted(INFO, NOW), session_ended(INFO, NOW)
    assert started.from_start
    assert started.protocol_version is None
    assert ended.closed
    assert ended.info is INFO
