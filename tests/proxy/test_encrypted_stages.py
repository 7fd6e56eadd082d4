"""Encrypted legs that end, fail or are dialled again, at every stage of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionRefusedError as Refused

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import parse_fault
from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.budget import Budget
from lbcproxy.session import EndCause
from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.envelope import frame
from tests.proxy.encrypted import (
    DOWN,
    MAGIC,
    UP,
    VERSION_V1,
    EncryptedScene,
    end_of,
    ping,
    ping_frame,
)
from tests.proxy.transports import UPSTREAM

V2 = Transport.V2
LONG = frame(MAGIC, "block", bytes(300_000))


def fresh() -> EncryptedScene:
    """Return a scene in which the client has sent nothing."""
    return EncryptedScene()


def dialling() -> EncryptedScene:
    """Return a scene in which the client has sent its key, and a message."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.a.events()
    scene.a.finish_handshake()
    scene.a.send_packets(ping(1))
    return scene


def unanswered() -> EncryptedScene:
    """Return a scene in which the upstream has our key, and has not answered it."""
    scene = dialling()
    scene.answer()
    scene.settle()
    return scene


def redialling() -> EncryptedScene:
    """Return a scene in which the upstream is dialled again."""
    scene = unanswered()
    scene.clock.advance(5)
    scene.settle()
    assert scene.dials == 2
    return scene


def redialled() -> EncryptedScene:
    """Return a scene in which the upstream speaks v1."""
    scene = redialling()
    scene.redialled()
    scene.settle()
    return scene


def agreed() -> EncryptedScene:
    """Return a scene with keys on both legs, in which the upstream's version packet lacks."""
    scene = unanswered()
    scene.b.events()
    scene.b.begin()
    scene.settle()
    return scene


def open_() -> EncryptedScene:
    """Return a scene after the handshake."""
    return EncryptedScene().shake_hands()


STAGES = (fresh, dialling, unanswered, redialling, redialled, agreed, open_)
WITH_UPSTREAM = (unanswered, redialled, agreed, open_)
STOPS: dict[str, Callable[[EncryptedScene], object]] = {
    "stop": lambda scene: scene.relay.stop(),
    "abort": lambda scene: scene.relay.abort(),
    "client resets": lambda scene: scene.client.reset(),
    "upstream resets": lambda scene: scene.upstream.reset(),
    "client closes": lambda scene: scene.client.finish(),
    "upstream closes": lambda scene: scene.upstream.finish(),
}


@pytest.mark.parametrize(
    ("stage", "how"),
    [
        (stage, how)
        for stage in STAGES
        for how in STOPS
        if stage in WITH_UPSTREAM or not how.startswith("upstream")
    ],
)
def test_a_session_ends_in_every_stage(stage: Callable[[], EncryptedScene], how: str):
    """Once, with nothing left behind, and without dialling because of that."""
    scene = stage()
    is_connected = stage in WITH_UPSTREAM
    dials, falls_back = scene.dials, stage is unanswered and how.startswith("upstream")
    STOPS[how](scene)
    scene.settle()
    assert scene.dials == dials + falls_back
    if not is_connected and how == "client closes":
        (scene.redialled if stage is redialling else scene.answer)()
        scene.settle()
    if falls_back:
        scene.relay.stop()
        scene.settle()
    if how == "client closes":
        dials = scene.dials
        scene.upstream.finish()
        scene.settle()
        if scene.dials > dials:  # what the client has sent before may still get there
            scene.redialled().finish()
            scene.settle()
            assert scene.upstream.got == ping_frame(1)
    elif how == "upstream closes":
        scene.client.finish()
    end = end_of(scene)
    assert len(scene.ended) == 1
    assert scene.calls_left == 0
    if how in ("stop", "abort"):
        assert end.cause is EndCause.STOPPED
    elif not falls_back:
        assert end.cause in (EndCause.RESET, EndCause.CLOSED)
        assert end.by in (UP if how.startswith("client") else DOWN, None)


def test_an_upstream_that_closes_before_the_client_begins_ends_the_session():
    """It cannot be one that does not encrypt: it has not been asked."""
    for how in ("finish", "reset"):
        scene = fresh().answer()
        getattr(scene.upstream, how)()
        scene.settle()
        assert scene.dials == 1
        scene.client.finish()
        end = end_of(scene)
        assert (end.cause is EndCause.RESET) is (how == "reset")
        assert end.by is DOWN


def test_what_a_client_has_sent_is_recorded_though_there_is_no_upstream():
    """As dropped, and before the reset: nothing comes after that in a capture."""
    scene = dialling()
    scene.dialling.errback(Refused())
    assert end_of(scene).cause is EndCause.UNREACHABLE
    [entry] = scene.observer.entries
    assert (entry.command, entry.verdict) == ("ping", "drop")
    assert entry.trail == ("the session broke off",)
    happened = [each[0] for each in scene.observer.events]
    assert happened.index("passed") < happened.index("reset")


def test_what_plugins_send_before_there_are_keys_is_counted(tmp_path: Path):
    """It waits, so it is memory."""
    path = tmp_path / "early.py"
    path.write_text(
        "from lbcproxy.plugin import Plugin, Raw\n"
        "class Early(Plugin):\n"
        "    def on_start(self, session):\n"
        "        session.inject('to_upstream', Raw(bytes(5000)))\n"
    )
    budget = Budget(1 << 20)
    EncryptedScene(budget=budget, plugins=Plugins((PluginFile(PluginSpec(str(path))),)))
    assert budget.held == 5_000


def test_what_waits_is_counted_no_more_after_falling_back():
    """The steps of the client's handshake waited for the upstream's keys; now there are none."""
    budget = Budget(1 << 20)
    scene = EncryptedScene(budget=budget)
    scene.a.begin()
    scene.a.events()
    scene.a.finish_handshake()
    scene.answer()
    assert budget.held > 0
    scene.upstream.reset()
    assert budget.held == scene.relay.held == 0


def test_a_client_waits_as_long_as_the_upstream_is_dialled():
    """Its own part of the handshake is done; so the time for it is over for nobody."""
    scene = dialling()
    scene.clock.advance(500)
    scene.settle()
    assert scene.observer.summaries == []
    scene.answer()
    scene.b.events()
    scene.b.begin()
    scene.b.events()
    assert scene.b.contents() == []
    assert scene.a.is_open is False
    scene.b.finish_handshake()
    scene.a.events()
    assert scene.a.is_open
    assert scene.observer.passed_bytes(UP) == ping_frame(1)


def test_of_several_upstreams_the_one_that_was_connected_is_dialled_again():
    """The others may be other nodes."""
    seen: list[tuple[Endpoint, ...]] = []
    first = Endpoint("10.0.0.9", 9246)

    class Several(EncryptedScene):
        def __init__(self) -> None:
            def dial(upstreams: tuple[Endpoint, ...]) -> object:
                seen.append(upstreams)
                return self

            super().__init__(upstreams=(first, UPSTREAM), dial=dial)

    scene = Several()
    scene.a.begin()
    scene.answer()
    scene.upstream.reset()
    scene.settle()
    scene.redialled()
    assert seen == [(first, UPSTREAM), (UPSTREAM,)]


def test_a_socks_client_gets_its_answer_first_and_once():
    """Also one that does not wait for it, and though the upstream is dialled twice."""
    answers: list[object] = []

    def answer(outcome: object) -> bytes:
        answers.append(outcome)
        return b"an answer"

    scene = EncryptedScene(answer=answer)
    scene.a.begin()
    scene.settle()
    assert scene.client.got == b""
    scene.answer()
    scene.settle()
    assert scene.client.got[:9] == b"an answer"
    assert len(scene.client.got) == 9 + 64
    scene.upstream.reset()
    scene.settle()
    scene.redialled()
    scene.settle()
    assert len(answers) == 1
    assert scene.client.got.count(b"an answer") == 1


def test_faults_hold_the_upstream_that_is_there():
    """Not the one that was given up: it would be read without end."""
    fault = parse_fault("latency latency=3600000 stream=downstream")
    scene = EncryptedScene(faults=(fault,))
    scene.a.begin()
    scene.answer()
    scene.upstream.reset()
    scene.settle()
    upstream = scene.redialled()
    for _ in range(100):
        upstream.arrive(LONG)
    assert not upstream.reading
    assert scene.relay.held <= (4 << 20) + 2 * len(LONG)


def test_without_the_libraries_bytes_pass_unread(monkeypatch: pytest.MonkeyPatch):
    """Also where the operator wants v2; it is said once, and leaves no timer behind."""

    def missing(*_: object, **__: object) -> None:
        raise MissingLibrary("coincurve")

    monkeypatch.setattr("lbcproxy.proxy.transports.leg_transports.LegTransports._new_leg", missing)
    for settings in ({}, {"client_transport": Transport.V1, "upstream_transport": V2}):
        scene = EncryptedScene(**settings).answer()
        scene.client.arrive(bytes(range(64)))
        scene.upstream.arrive(bytes(3))
        scene.client.finish()
        scene.upstream.finish()
        scene.settle()
        assert scene.upstream.got == bytes(range(64))
        assert scene.client.got == bytes(3)
        assert {each.message for each in scene.observer.entries} == {None}
        [(client, upstream)] = scene.observer.agreed
        assert client.kind is upstream.kind is Transport.OPAQUE
        assert scene.calls_left == 0


def test_a_client_that_has_to_encrypt_gets_nothing_in_plain():
    """Not from an upstream that speaks first, and not by closing early."""
    scene = EncryptedScene(client_transport=V2).answer()
    scene.upstream.arrive(VERSION_V1)
    assert end_of(scene).cause is EndCause.PROTOCOL
    assert scene.client.got == b""
    scene = EncryptedScene(client_transport=V2).answer()
    scene.client.arrive(MAGIC)
    scene.client.finish()
    assert end_of(scene).cause is EndCause.PROTOCOL
    assert scene.upstream.got == b""
    scene = EncryptedScene(client_transport=V2).answer()
    scene.client.finish()
    scene.settle()
    scene.upstream.finish()
    assert end_of(scene).cause is EndCause.CLOSED


# A process that stands still.


def stopped_for(scene: EncryptedScene, seconds: float, arrives: Callable[[], object]) -> None:
    """Have the process stand still; what arrives meanwhile is read after it has gone on.

    The reactor makes the calls that are due before it reads.
    """
    scene.clock.rightNow += seconds
    scene.clock.callLater(0, arrives)
    scene.clock.advance(0)


def test_an_answer_that_came_while_we_stood_still_counts():
    """The upstream is not dialled again without encryption: it has answered in time."""
    scene = unanswered()
    scene.b.events()
    stopped_for(scene, 30, scene.b.begin)
    scene.settle()
    assert scene.dials == 1
    assert scene.b.contents() == [ping(1)]


def test_a_handshake_gets_its_full_time_again_after_we_stood_still():
    """The nodes are not to blame. Without a byte after that it is over."""
    scene = agreed()
    stopped_for(scene, 100, lambda: scene.b.send(b"garbage"))
    scene.clock.advance(59)
    assert scene.observer.summaries == []
    scene.clock.advance(1)
    assert end_of(scene).cause is EndCause.TIMEOUT
