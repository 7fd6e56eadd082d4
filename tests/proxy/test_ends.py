"""How sessions end: what the client's connection shows, and what a capture says of it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as DialTimeout
from twisted.python.failure import Failure

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import RST, Section
from lbcproxy.capture.recording.triggers import reason_of_end
from lbcproxy.endpoint import Endpoint
from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.socks import reply_to
from lbcproxy.session import Direction, End, EndCause
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import NETWORK, Recording, Scene

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
PING = frame(NETWORK.magic, "ping", bytes(8))
ELSEWHERE = (Endpoint("10.0.0.4", 1), Endpoint("10.0.0.5", 2))
CLOSES = """
from lbcproxy.plugin import *
class Guard(Plugin):
    def on_ping(self, session, message):
        return Close("proxy stopped by guard: bad block")
"""
CLOSES_ITSELF = """
from lbcproxy.plugin import *
class Guard(Plugin):
    def on_start(self, session):
        session.later(1, lambda: session.close("client reset"))
"""


class Taped:
    """A scene and the capture of it."""

    def __init__(self, path, **others):
        self.path = path
        self.written = io.BytesIO()
        recorder = Recorder(self.written.write, network=NETWORK.id)
        self.scene = Scene(before=[recorder], **others)

    def report(self):
        """Return what the capture has about its session."""
        self.path.write_bytes(self.written.getvalue())
        found = []
        capture = open_capture(self.path)
        capture.on_session_ended = found.append
        list(capture)
        [report] = found
        return report

    @property
    def has_reset(self):
        """Whether an RST stands in the capture."""
        packets = pcapng.read(io.BytesIO(self.written.getvalue()))
        segments = [dissect(each, Fragments()) for each in packets if not isinstance(each, Section)]
        return any(each.flags & RST for each in segments)


@pytest.fixture
def plugins(tmp_path):
    """Load a plugin of a text."""

    def load(text):
        path = tmp_path / "guard.py"
        path.write_text(text)
        return Plugins((PluginFile(PluginSpec(str(path))),))

    return load


WHILE_DIALLING = {
    "stop": (lambda scene: scene.relay.stop(), End(EndCause.STOPPED)),
    "budget": (
        lambda scene: scene.relay.reduce_memory(),
        End(
            EndCause.LIMIT,
            detail="too much waits for the upstream, for all sessions together",
        ),
    ),
    "handshake": (
        lambda scene: scene.clock.advance(31),
        End(EndCause.TIMEOUT, detail="no handshake in 30 s"),
    ),
}


@pytest.mark.parametrize("upstreams", [1, 2])
@pytest.mark.parametrize("how", ["stop", "budget", "handshake"])
def test_an_orderly_end_while_the_upstream_is_dialled_is_orderly(tmp_path, how, upstreams):
    """The client gets a FIN, and no node is said to have broken anything off."""
    more = {"upstreams": ELSEWHERE} if upstreams == 2 else {}
    taped = Taped(tmp_path / "x.pcapng", handshake_timeout=30, **more)
    scene = taped.scene
    scene.client.arrive(PING)
    ends, end = WHILE_DIALLING[how]
    ends(scene)
    scene.settle()
    assert "abort" not in scene.client.calls
    assert scene.client.calls[-1] == "close"
    assert not [each for each in scene.observer.events if each[0] == "reset"]
    assert [each.end for each in scene.observer.summaries] == [end]
    assert taped.report().end == end
    assert not taped.has_reset
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


@pytest.mark.parametrize("text", [CLOSES, CLOSES_ITSELF])
def test_a_plugin_may_end_a_session_while_the_upstream_is_dialled(tmp_path, plugins, text):
    """In order, and the capture says that it was the plugin, whatever its words are."""
    taped = Taped(tmp_path / "x.pcapng", plugins=plugins(text))
    scene = taped.scene
    scene.client.arrive(PING)
    scene.clock.advance(1)
    scene.settle()
    assert "abort" not in scene.client.calls
    [summary] = scene.observer.summaries
    assert summary.end == End(EndCause.PLUGIN, None, summary.end.detail, "guard")
    assert taped.report().end == summary.end
    assert taped.report().how == f"plugin guard: {summary.end.detail}"
    assert not taped.has_reset
    assert reason_of_end(summary, was_reset=False) == ("refused", "dropped")


def test_a_client_that_closes_while_the_upstream_is_dialled_has_ended_the_session(tmp_path):
    """No node caused it; a capture once had a reset by the node after it."""
    taped = Taped(tmp_path / "x.pcapng")
    scene = taped.scene
    scene.client.arrive(PING)
    scene.client.protocol.connectionLost(Failure(Exception()))
    scene.client.connected = False
    scene.settle()
    assert taped.report().end.by is UP
    taped = Taped(tmp_path / "y.pcapng")
    scene = taped.scene
    scene.client.disconnecting = True
    scene.client.read()  # closed in order
    scene.settle()
    assert [each.end for each in scene.observer.summaries] == [End(EndCause.CLOSED, UP)]
    assert taped.report().end == End(EndCause.CLOSED, UP)
    assert not taped.has_reset


@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.parametrize("error", [Refused(), DialTimeout(), DNSLookupError()])
def test_an_upstream_that_cannot_be_reached_is_why(tmp_path, error, half_closed):
    """The client is reset, as it would be without us; also one that has only sent its FIN."""
    taped = Taped(tmp_path / "x.pcapng")
    scene = taped.scene
    scene.client.arrive(PING)
    if half_closed:
        scene.client.finish()
    scene.dialling.errback(Failure(error))
    scene.settle()
    assert "abort" in scene.client.calls
    [summary] = scene.observer.summaries
    assert (summary.end.cause, summary.end.by) == (EndCause.UNREACHABLE, DOWN)
    assert taped.report().end == summary.end
    assert taped.has_reset
    assert reason_of_end(summary, was_reset=True) == ()


def test_a_socks_client_of_an_unreachable_upstream_gets_a_reply_and_is_closed_in_order(tmp_path):
    """A reset could overtake the answer; the capture has what the upstream did."""
    taped = Taped(tmp_path / "x.pcapng", answer=reply_to)
    scene = taped.scene
    scene.dialling.errback(Failure(Refused()))
    scene.settle()
    assert "abort" not in scene.client.calls
    assert scene.client.got
    assert taped.report().end.cause is EndCause.UNREACHABLE


def test_a_socks_client_is_closed_in_order_by_a_stop(tmp_path):
    """With an answer: it waits for one."""
    taped = Taped(tmp_path / "x.pcapng", answer=reply_to)
    taped.scene.relay.stop()
    taped.scene.settle()
    assert "abort" not in taped.scene.client.calls
    assert taped.scene.client.got
    assert taped.report().end == End(EndCause.STOPPED)
    assert not taped.has_reset


def test_the_node_that_closes_first_ended_the_session(tmp_path):
    """By what was seen of both sides, and so does the capture have it."""
    for number, sender in enumerate(Direction):
        taped = Taped(tmp_path / f"{number}.pcapng")
        scene = taped.scene.answer()
        (scene.client if sender is UP else scene.upstream).finish()
        scene.settle()
        (scene.upstream if sender is UP else scene.client).finish()
        scene.settle()
        assert taped.report().end == End(EndCause.CLOSED, sender)
        assert taped.report().how == ("client closed" if sender is UP else "server closed")


CAUSES = st.sampled_from(sorted(set(EndCause) - {EndCause.OPEN, EndCause.SILENT}))
TEXTS = st.text(max_size=60) | st.sampled_from(
    ["proxy stopped", "client closed", "upstream unreachable: x", "silent", "open at the end"]
)


@pytest.mark.slow
@given(
    cause=CAUSES, by=st.sampled_from([None, *Direction]), name=TEXTS, words=st.tuples(TEXTS, TEXTS)
)
@settings(max_examples=200)
def test_no_detail_changes_what_is_decided(tmp_path_factory, cause, by, name, words):
    """Rings, captures and their readers go by the cause; the words are only shown."""
    found = []
    for detail in words:
        end = End(cause, by, detail, name)
        taped = Taped(tmp_path_factory.getbasetemp() / "ends.pcapng", observer=Recording())
        scene = taped.scene.answer()
        scene.client.arrive(PING)
        scene.relay.stop(end)
        scene.settle()
        [summary] = scene.observer.summaries
        report = taped.report()
        assert summary.end == report.end == end
        found.append(
            (
                reason_of_end(summary, was_reset=False),
                report.end.cause,
                report.end.by,
                scene.client.got,
            )
        )
    assert found[0] == found[1]
