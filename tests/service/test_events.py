"""The log of what happens to sessions."""

import pytest

from lbcproxy.service.events import Events
from tests.capture.fake_sessions import BOTH_V2, CLIENT_V2, OPAQUE, FakeSessions, ping


@pytest.mark.parametrize(
    ("transports", "line"),
    [
        (BOTH_V2, f"encrypted: {BOTH_V2}"),
        (CLIENT_V2, f"encrypted: {CLIENT_V2}"),
        (OPAQUE, "opaque: nothing is read"),
    ],
)
def test_the_log_says_how_the_legs_carry_messages(monkeypatch, transports, line):
    """Once, with the session ids that the operators of the nodes can compare."""
    lines = []
    events = Events()
    monkeypatch.setattr(events, "_log", lambda _, text: lines.append(text))
    sessions = FakeSessions(events)
    sessions.start(1)
    sessions.agree(1, transports)
    sessions.receive(1, ping(1))
    sessions.receive_decoy(1)
    assert lines[2:] == [line]
    for leg in (transports.client, transports.upstream):
        assert leg.session_id.hex() in line
    assert events.farewell() == "stopped: 1 sessions, 1 messages"


def test_a_session_in_the_clear_has_no_line_more(monkeypatch):
    """Logs are compared by scripts."""
    lines = []
    events = Events()
    monkeypatch.setattr(events, "_log", lambda _, text: lines.append(text))
    sessions = FakeSessions(events)
    sessions.start(1)
    sessions.receive(1, ping(1))
    assert lines == ["client connect", "upstream connect 10.0.0.3:9246"]
