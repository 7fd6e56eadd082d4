"""A handshake is over when both nodes have sent `version` and `verack`, and for nobody before."""

import io
import itertools

import pytest

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.capture.recording.triggers import reason_of_end
from lbcproxy.capture.tools.summary import summarise
from lbcproxy.plugin import Plugin
from lbcproxy.service.events import Events
from lbcproxy.session import End, EndCause, Stage
from lbcproxy.session.events import SessionEnded
from lbcproxy.testing import Trial
from lbcproxy.wire.messages.handshake import VerAck
from tests.capture.fake_sessions import DOWN, NETWORK, UP, FakeSessions
from tests.session.frames import session, verack, version

SAYINGS = [
    [(UP, version()), (UP, verack())],
    [(DOWN, version()), (DOWN, verack())],
]
ORDERS = [
    order
    for order in itertools.permutations([0, 0, 1, 1])
    if order[0] == 0  # the other half is the same with the sides changed
]


def messages_in(order):
    """Return the messages of both sides, in an order of sides."""
    sayings = [iter(each) for each in SAYINGS]
    return [next(sayings[side]) for side in order]


@pytest.mark.parametrize("order", sorted(set(ORDERS)))
def test_neither_is_ready_before_both_have_said_all(order):
    """Whatever the order; it was enough that one had."""
    core = session()
    for number, (direction, raw) in enumerate(messages_in(order), 1):
        core.receive(direction, raw, number)
        stages = {core.client.stage, core.upstream.stage}
        assert (Stage.READY in stages) is (number == 4)
        assert core.is_ready is (number == 4)
    assert core.client.statistics().stage is core.upstream.statistics().stage is Stage.READY


@pytest.mark.parametrize("said", range(5))
@pytest.mark.parametrize("order", sorted(set(ORDERS)))
def test_the_log_a_ring_and_info_say_the_same(tmp_path, order, said, monkeypatch):
    """Of a session that ends when so much of it was said."""
    file = io.BytesIO()
    lines, summaries = [], []
    events = Events()
    monkeypatch.setattr(events, "_log", lambda _, text: lines.append(text))
    play = FakeSessions(Recorder(file.write, network=NETWORK.id))
    play.start(1)
    for direction, raw in messages_in(order)[:said]:
        play.receive(1, raw, direction)
    record = play.observer.handle

    def handle(event):
        record(event)
        events.handle(event)
        if isinstance(event, SessionEnded):
            summaries.append(event.summary)

    monkeypatch.setattr(play.observer, "handle", handle)
    play.end(1, End(EndCause.CLOSED, UP))
    ready = said == 4
    assert lines[-1].endswith(", no handshake") is not ready
    assert ("refused" in reason_of_end(summaries[0], was_reset=False)) is not ready
    path = tmp_path / "x.pcapng"
    path.write_bytes(file.getvalue())
    [found] = summarise(open_capture(path)).to_dict()["sessions"]
    stages = [found[way]["stage"] for way in ("to_upstream", "to_client")]
    assert stages == ["ready", "ready"] if ready else "ready" not in stages


def test_plugins_are_notified_once_when_both_handshakes_are_complete():
    """Not when one has."""

    class Counting(Plugin):
        calls = 0

        def on_handshake(self, session):
            self.calls += 1

    plugin = Counting()
    trial = Trial(plugin, handshake=False)
    trial._send(UP, [version()])
    trial._send(DOWN, [version()])
    trial.to_upstream(VerAck())
    assert plugin.calls == 0
    trial.to_client(VerAck())
    assert plugin.calls == 1
