"""Recording what a filter selects."""

import pytest

from lbcproxy.capture.recording.selection import select
from lbcproxy.filters import parse
from lbcproxy.session import Direction, Entry
from lbcproxy.session.entry import Delivery
from lbcproxy.wire.envelope import frame
from tests.capture.recordings import INFO
from tests.session.frames import NETWORK, ping, session, version

UP = Direction.TO_UPSTREAM
GETADDR = frame(NETWORK.magic, "getaddr", b"")


def received(data):
    """Return the deliveries of some bytes of a new session."""
    return session().receive(UP, data, 1)


def raws(deliveries):
    """Return the bytes of each delivery."""
    return [each.raw for each in deliveries]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ping", [ping(1), ping(2)]),
        ("ping.nonce == 2", [ping(2)]),
        ("getaddr", [GETADDR]),
        ("size > 0", [ping(1), ping(2)]),
        ("inv", []),
        ("inv or getaddr", [GETADDR]),
    ],
)
def test_messages_that_passed_together_are_split(text, want):
    """A delivery holds what one read brought; only what matches is recorded."""
    deliveries = received(ping(1) + GETADDR + ping(2))
    assert len(deliveries) == 1
    assert deliveries[0].run is not None
    assert raws(select(parse(text), INFO, deliveries)) == want


def test_a_message_that_passed_alone_is_kept_as_it_is():
    """With what was sent in its place."""
    [entry] = received(version())[0].entries
    delivery = Delivery(entry.raw, (entry,), b"something else")
    assert select(parse("version"), INFO, [delivery]) == [delivery]
    assert select(parse("ping"), INFO, [delivery]) == []
    assert select(parse('client == "127.0.0.1:40000"'), INFO, [delivery]) == [delivery]


def test_what_could_not_be_read_is_recorded_whatever_the_filter():
    """Nobody knows what it was."""
    unread = Delivery(b"bytes", (), unread=True)
    assert select(parse("ping"), INFO, [unread]) == [unread]
    assert select(parse("ping"), INFO, [Delivery(b"half of a message", ())]) == []


def test_no_payload_is_decoded_of_a_command_that_is_not_selected():
    """A filter costs nothing for the messages of an initial download that it passes over."""
    [delivery] = received(GETADDR + GETADDR)
    made = []

    class Run:
        frames = delivery.run.frames

        def __iter__(self):
            made.append(self)
            return iter(())

    assert select(parse("ping"), INFO, [Delivery(delivery.raw, (), run=Run())]) == []
    assert not made
    assert isinstance(delivery.entries[0], Entry)
