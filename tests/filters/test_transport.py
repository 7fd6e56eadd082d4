"""`transport`: how the leg carries messages that a message came by."""

import pytest

from lbcproxy.filters import BadFilter, parse
from lbcproxy.session import Direction
from tests.capture.fake_sessions import BOTH_V2, CLIENT_V2, OPAQUE, FakeSessions, ping

UP, DOWN = Direction


def entry_and_info(transports, direction):
    """Return an entry of a session, and the session."""
    found = []
    sessions = FakeSessions()
    sessions.observer = Seen(found)
    sessions.start(1)
    if transports is not None:
        sessions.agree(1, transports)
    sessions.receive(1, ping(1), direction)
    return found[0].deliveries[0].entries[0], found[0].info


class Seen:
    """Keeps deliveries."""

    def __init__(self, found):
        self.found = found

    def session_started(self, _info):
        return self

    def handle(self, event):
        if hasattr(event, "deliveries"):
            self.found.append(event)


@pytest.mark.parametrize(
    ("transports", "direction", "expected"),
    [
        *((BOTH_V2, direction, "v2") for direction in Direction),
        *((OPAQUE, direction, "opaque") for direction in Direction),
        *((None, direction, "v1") for direction in Direction),
        (CLIENT_V2, UP, "v2"),
        (CLIENT_V2, DOWN, "v1"),
    ],
)
def test_it_is_that_of_the_leg_on_which_the_message_was_received(transports, direction, expected):
    """Legs need not be alike."""
    entry, info = entry_and_info(transports, direction)
    for text in ("v1", "v2", "opaque"):
        assert parse(f"transport == '{text}'")(entry, info) is (text == expected)
        assert parse(f"transport in ['{text}']")(entry, info) is (text == expected)


def test_without_its_session_nothing_is_known():
    """Neither is true, whatever it is compared with."""
    entry, _ = entry_and_info(BOTH_V2, UP)
    for text in ("transport == 'v1'", "transport == 'v2'", "transport"):
        assert not parse(text)(entry)


def test_other_transports_are_an_error():
    """A slip would match nothing, silently."""
    with pytest.raises(BadFilter, match="a transport is one of v1, v2, opaque"):
        parse("transport == 'v3'")


def test_nothing_is_decoded_for_it():
    """As for the addresses of a session."""
    assert not parse("transport == 'v2'").needs_record
