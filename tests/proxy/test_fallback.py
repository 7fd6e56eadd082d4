"""Sessions with several upstreams: observers are notified once one is connected."""

import io
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionRefusedError as Refused

from lbcproxy.capture import open_capture
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction
from lbcproxy.session.events import SessionStarted, UpstreamConnected
from lbcproxy.wire.envelope import frame
from tests.proxy.termination import CLIENT
from tests.proxy.termination import Scene as TerminateScene
from tests.proxy.transports import NETWORK, UPSTREAM, Recording, Scene

UP = Direction.TO_UPSTREAM
PING = frame(NETWORK.magic, "ping", bytes(8))
FIRST = Endpoint("10.0.0.9", 9246)


class Facts(Recording):
    """Keeps the upstream of each notification, and when it came."""

    def __init__(self) -> None:
        super().__init__()
        self.upstreams: list[tuple[str, Endpoint, int]] = []

    def handle(self, event) -> None:
        if isinstance(event, SessionStarted | UpstreamConnected):
            kind = "started" if isinstance(event, SessionStarted) else "connected"
            self.upstreams.append((kind, event.info.upstream, event.time_ns))
        super().handle(event)


def test_observers_are_notified_of_the_upstream_that_was_connected():
    """When it is known, and with the time of that: the times of a capture do not go back."""
    scene = Scene(Facts(), upstreams=(FIRST, UPSTREAM))
    scene.client.arrive(PING)
    scene.clock.advance(3)
    assert scene.observer.events == []
    scene.answer()
    scene.client.arrive(PING)
    now = 3 * 10**9 + 1
    assert scene.observer.upstreams == [("started", UPSTREAM, now), ("connected", UPSTREAM, now)]
    assert [words[0] for words in scene.observer.events] == [
        "started",
        "passed",
        "upstream connected",
        "passed",
    ]


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_session_that_never_connects_is_reported_too(gives_up: bool):
    """Whether all refuse, or the client goes."""
    scene = Scene(upstreams=(FIRST, UPSTREAM))
    scene.client.arrive(PING)
    if gives_up:
        scene.client.reset()
    else:
        scene.dialling.errback(Refused(111))
    scene.settle()
    happened = scene.observer.events
    assert [each[0] for each in happened] == ["started", "passed", "reset", "ended"]
    assert scene.observer.passed_bytes(UP) == PING
    assert scene.calls_left == 0


def test_a_capture_has_the_upstream_that_was_taken(tmp_path: Path):
    """It stands with the first packet of the session, where readers look for it."""
    out = io.BytesIO()
    recorder = Recorder(out.write, network=NETWORK.id)
    scene = Scene(before=(recorder,), upstreams=(FIRST, UPSTREAM))
    scene.client.arrive(PING)
    scene.answer()
    scene.client.reset()
    scene.settle()
    path = tmp_path / "taken.pcapng"
    path.write_bytes(out.getvalue())
    capture = open_capture(path)
    found: list[str | None] = []
    capture.on_session_ended = lambda report: found.append(report.upstream)
    assert [entry.raw for entry in capture] == [PING]
    assert found == [str(UPSTREAM)]


def test_terminate_reports_the_upstream_that_was_connected():
    """What the client said before comes first, as it happened."""
    scene = TerminateScene(upstreams=(FIRST, UPSTREAM))
    scene.says("client", CLIENT)
    assert scene.observer.events == []
    scene.answer()
    assert [words[0] for words in scene.observer.events][:3] == [
        "started",
        "passed",
        "upstream connected",
    ]
    scene.client.reset()
    scene.settle()
    assert scene.observer.summaries[0].info.upstream == UPSTREAM
