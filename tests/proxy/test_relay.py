"""Tests of the relay over transports in memory: what reaches the nodes, in what order, and when."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as DialTimeout
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from lbcproxy.capture.ip.segments import MAX_PAYLOAD
from lbcproxy.peer.connection import LARGE_READ
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import (
    LINGER,
    NETWORK,
    STOP_LINGER,
    WATERMARK,
    FakeTransport,
    Recording,
    Scene,
)

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
PING = frame(NETWORK.magic, "ping", bytes(8))
PONG = frame(NETWORK.magic, "pong", bytes(8))
LOTS = bytes(WATERMARK + 1)
BEFORE_UPSTREAM = 262_144


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was logged as warning or worse."""
    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.warn:
            failure = event.get("log_failure")
            found.append(repr(failure.value) if failure else event["log_format"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def sides(scene: Scene, sender: str) -> tuple[FakeTransport, FakeTransport, Direction]:
    """The transport of one side, that of the other, and the direction from one to the other."""
    if sender == "client":
        return scene.client, scene.upstream, UP
    return scene.upstream, scene.client, DOWN


both_ways = pytest.mark.parametrize("sender", ["client", "upstream"])


# Bytes.


@both_ways
def test_bytes_are_sent_on_before_they_are_looked_at(sender: str):
    """Looking may take its time or fail; the node on the other side must not wait for it."""
    scene = Scene().answer()
    source, sink, direction = sides(scene, sender)
    seen: list[bytes] = []
    scene.observer.on_passed = lambda: seen.append(sink.waiting)
    source.arrive(PING)
    assert seen == [PING]
    assert scene.observer.events[-1] == ("passed", direction, PING)


@both_ways
def test_half_a_message_is_sent_on_at_once(sender: str):
    """A tap holds nothing back: whoever measures or throttles sees the chunks as they came."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(PING[:10])
    assert sink.waiting == PING[:10]
    source.arrive(PING[10:])
    assert sink.waiting == PING


@given(
    st.lists(st.tuples(st.sampled_from(["client", "upstream"]), st.binary(min_size=1)), max_size=30)
)
def test_any_bytes_arrive_in_order_and_unchanged(chunks: list[tuple[str, bytes]]):
    """Whatever passes, messages or not, each node gets what the other one sent."""
    scene = Scene().answer()
    sent = {"client": b"", "upstream": b""}
    for sender, data in chunks:
        sides(scene, sender)[0].arrive(data)
        sent[sender] += data
    scene.settle()
    scene.client.finish()
    scene.upstream.finish()
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (sent["client"], sent["upstream"])
    assert scene.observer.passed_bytes(UP) == sent["client"]
    assert scene.observer.passed_bytes(DOWN) == sent["upstream"]


def test_small_writes_are_not_held_back_by_the_kernel():
    """Without TCP_NODELAY a ping may wait 40 ms for company; nodes set it, so must we."""
    scene = Scene().answer()
    assert "nodelay True" in scene.client.calls
    assert "nodelay True" in scene.upstream.calls


# Back-pressure.


@both_ways
def test_a_full_side_stops_the_other_from_being_read(sender: str):
    """A slow node must slow the other down, not fill our memory."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(LOTS[:-1])
    assert source.reading
    source.arrive(b"x")
    assert not source.reading
    sink.read(100)
    assert not source.reading  # drained means empty, so that it does not flutter
    sink.read()
    assert source.reading
    assert sink.reading  # the way back was never touched


@both_ways
def test_what_is_waiting_stays_bounded_while_a_node_does_not_read(sender: str):
    """One read over the limit is all that a node that never reads can make us keep."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(*[bytes(WATERMARK)] * 50)
    assert len(sink.waiting) <= 2 * WATERMARK
    scene.settle()
    assert sink.got == bytes(50 * WATERMARK)


def test_two_reasons_to_pause_are_two_reasons():
    """That the upstream is there does not make room in a client's full buffer, and vice versa."""
    scene = Scene()
    scene.client.arrive(bytes(BEFORE_UPSTREAM + 1))
    scene.relay.client.pause("somebody else")
    scene.answer()
    assert scene.relay.upstream.full
    assert not scene.client.reading
    scene.upstream.read()
    assert not scene.relay.upstream.full
    assert not scene.client.reading
    scene.relay.client.resume("somebody else")
    assert scene.client.reading


# Before the upstream is there.


def test_what_a_client_says_before_the_upstream_is_there_is_kept():
    """Clients speak first and at once; the handshake must not be lost on a slow dial."""
    scene = Scene()
    scene.client.arrive(PING[:5])
    scene.client.arrive(PING[5:], PONG)
    assert scene.upstream.waiting == b""
    scene.answer()
    scene.client.arrive(PING)
    scene.settle()
    assert scene.upstream.got == PING + PONG + PING


def test_what_is_kept_for_the_upstream_is_bounded():
    """A client that talks to a dead upstream cannot fill our memory while we dial."""
    scene = Scene()
    chunk = bytes(WATERMARK)
    scene.client.arrive(*[chunk] * 20)
    assert not scene.client.reading
    kept = (20 - len(scene.client.incoming)) * WATERMARK
    assert BEFORE_UPSTREAM < kept <= BEFORE_UPSTREAM + WATERMARK
    scene.answer()
    scene.settle()
    assert scene.upstream.got == chunk * 20


def test_a_client_that_finishes_during_the_dial_is_still_heard():
    """Whoever sends a request and half-closes gets its answer, however slow the dial."""
    scene = Scene()
    scene.client.arrive(PING)
    scene.client.finish()
    scene.answer()
    scene.settle()
    assert scene.upstream.got == PING
    assert scene.upstream.fin_sent
    scene.upstream.arrive(PONG)
    scene.settle()
    assert scene.client.got == PONG


def test_observers_learn_when_the_upstream_is_there():
    """A capture of both legs needs the address that the upstream saw."""
    scene = Scene()
    assert scene.observer.events == [("started",)]
    scene.answer()
    assert scene.observer.events[1:] == [("upstream connected", ("10.0.0.2", 2))]


@pytest.mark.parametrize("error", [Refused(), DialTimeout(), OSError("no route")])
def test_a_client_of_an_unreachable_upstream_is_reset(error: Exception, warnings: list[str]):
    """Without a proxy it would be refused; a close in order would look like a node that hung up."""
    scene = Scene()
    scene.client.arrive(PING)
    scene.dialling.errback(Failure(error))
    assert scene.client.calls[-1] == "abort"
    scene.settle()
    assert len(scene.ended) == 1
    [summary] = scene.observer.summaries
    assert summary.why.startswith("upstream unreachable: ")
    assert ("reset", DOWN) in scene.observer.events
    assert scene.calls_left == 0
    assert warnings == []


def test_a_client_that_gives_up_during_the_dial_ends_the_session(warnings: list[str]):
    """It happens whenever an upstream is slow, so it ends the dial and is nothing to log."""
    scene = Scene()
    scene.client.reset()
    scene.settle()
    assert len(scene.ended) == 1
    assert scene.observer.events[-1] == ("ended", "client reset")
    assert scene.calls_left == 0
    assert warnings == []


def test_stopping_during_the_dial_ends_the_session(warnings: list[str]):
    """Ctrl-C while dialling is not a bug to be logged with a traceback."""
    scene = Scene()
    scene.relay.stop()
    scene.settle()
    assert len(scene.ended) == 1
    assert scene.observer.events[-1] == ("ended", "proxy stopped")
    assert scene.calls_left == 0
    assert warnings == []


# Ends.


@both_ways
def test_a_half_close_is_mirrored(sender: str):
    """A FIN ends one direction; the other one goes on until its own end."""
    scene = Scene().answer()
    source, sink, direction = sides(scene, sender)
    source.arrive(PING)
    source.finish()
    scene.settle()
    assert sink.got == PING
    assert sink.fin_sent
    assert sink.connected
    sink.arrive(PONG)
    scene.settle()
    assert source.got == PONG
    assert scene.ended == []
    sink.finish()
    scene.settle()
    assert not source.connected
    assert not sink.connected
    assert len(scene.ended) == 1
    ends = [words for words in scene.observer.events if words[0] in ("finished", "reset", "ended")]
    assert ends == [
        ("finished", direction),
        ("finished", direction.other),
        ("ended", f"{sender} closed"),
    ]
    assert scene.calls_left == 0


@both_ways
def test_a_fin_does_not_overtake_what_is_waiting(sender: str):
    """The last messages before a close are those one wants to see."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(LOTS, PING)
    source.finish()
    scene.settle(reading=[source])
    assert not sink.fin_sent
    scene.settle()
    assert sink.got == LOTS + PING
    assert sink.fin_sent


@both_ways
def test_a_reset_is_mirrored_as_one(sender: str):
    """A crash must look like a crash on the other side too."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(PING)
    sink.read()
    source.reset()
    assert not sink.aborted  # in the next turn, after what the transport still writes in this one
    scene.settle()
    assert sink.got == PING
    assert sink.aborted
    assert len(scene.ended) == 1
    assert scene.observer.events[-1] == ("ended", f"{sender} reset")
    assert scene.calls_left == 0


@both_ways
def test_a_reset_is_reported_only_for_the_side_that_sent_it(sender: str):
    """Our own abort of the other leg is the mirror image, not a second reset by a node."""
    scene = Scene().answer()
    source, _, direction = sides(scene, sender)
    source.reset()
    scene.settle()
    assert scene.observer.events[2:] == [("reset", direction), ("ended", f"{sender} reset")]


@both_ways
def test_a_reset_does_not_overtake_what_is_waiting_for_long(sender: str):
    """What was sent before the crash is given out while the reader reads, but not for ever."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(LOTS)
    source.reset()
    scene.settle(reading=[])
    assert sink.connected
    assert not sink.aborted
    scene.clock.advance(LINGER)
    scene.settle(reading=[])
    assert sink.aborted
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


@both_ways
def test_what_comes_after_the_other_side_is_gone_is_not_said_to_have_passed(sender: str):
    """Nothing is shown or counted as a message of the session that no node ever got."""
    scene = Scene().answer()
    source, sink, direction = sides(scene, sender)
    source.arrive(LOTS)
    source.reset()
    sink.arrive(PONG)
    assert scene.observer.passed_bytes(direction.other) == b""
    scene.clock.advance(LINGER)
    scene.settle()
    assert scene.observer.passed_bytes(direction.other) == b""


def test_stop_sends_what_has_been_received_and_closes():
    """A stop is not a crash: neither node loses what the other has sent."""
    scene = Scene().answer()
    scene.client.arrive(PING)
    scene.upstream.arrive(PONG)
    scene.relay.stop()
    assert scene.ended == []
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING, PONG)
    assert not scene.client.aborted
    assert not scene.upstream.aborted
    assert len(scene.ended) == 1
    assert scene.observer.events[-1] == ("ended", "proxy stopped")
    assert scene.calls_left == 0


@both_ways
def test_a_node_that_does_not_read_cannot_hold_a_stop_up(sender: str):
    """A stop ends within the linger time, whatever the nodes do."""
    scene = Scene().answer()
    source, sink, _ = sides(scene, sender)
    source.arrive(LOTS)
    scene.relay.stop()
    scene.settle(reading=[source])
    assert scene.ended == []
    scene.clock.advance(STOP_LINGER - 0.1)
    scene.settle(reading=[source])
    assert sink.connected
    scene.clock.advance(0.1)
    scene.settle(reading=[source])
    assert sink.aborted
    assert len(scene.ended) == 1
    assert scene.observer.events[-1] == ("ended", "proxy stopped")
    assert "reset" not in [words[0] for words in scene.observer.events]  # the cut was ours
    assert scene.calls_left == 0


def test_abort_ends_a_session_at_once():
    """The second Ctrl-C does not wait for anybody."""
    scene = Scene().answer()
    scene.client.arrive(LOTS)
    scene.relay.abort()
    scene.settle(reading=[])
    assert scene.client.aborted
    assert scene.upstream.aborted
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_an_abort_is_said_to_be_the_proxy_s():
    """Neither node broke off, so neither is blamed."""
    scene = Scene().answer()
    scene.relay.abort()
    scene.settle()
    assert scene.observer.events[-1][1].startswith("proxy")
    assert [words for words in scene.observer.events if words[0] == "reset"] == []


@both_ways
def test_an_incomplete_message_is_reported_at_the_end(sender: str):
    """The half message before a crash is what one looks for."""
    scene = Scene().answer()
    source, _, direction = sides(scene, sender)
    source.arrive(PING[:-3])
    source.finish()
    assert scene.observer.events[-2:] == [
        ("passed", direction, PING[:-3]),
        ("finished", direction),
    ]


def test_the_summary_counts_both_sides():
    """The line at a session's end is what an operator reads first."""
    scene = Scene().answer()
    scene.client.arrive(PING + PING)
    scene.upstream.arrive(PONG + b"junk")
    scene.relay.stop()
    scene.settle()
    [summary] = scene.observer.summaries
    assert (summary.client.messages, summary.client.bytes) == (2, 2 * len(PING))
    assert (summary.upstream.messages, summary.upstream.bytes) == (1, len(PONG) + 4)
    assert summary.upstream.junk_bytes == 4
    assert summary.info.local == ("10.0.0.2", 2)
    assert summary.protocol_version is None


@both_ways
def test_a_node_that_never_reads_the_rest_is_cut_in_the_end(sender: str):
    """Its session does not stay for ever, and the cut is ours: no node has reset anything."""
    scene = Scene().answer()
    source, sink, direction = sides(scene, sender)
    source.arrive(PING)
    sink.finish()
    source.finish()
    scene.settle(reading=[source])
    assert scene.ended == []
    scene.clock.advance(LINGER)
    scene.settle(reading=[source])
    assert sink.aborted
    assert len(scene.ended) == 1
    assert [words[:2] for words in scene.observer.events[3:-1]] == [
        ("finished", direction.other),
        ("finished", direction),
    ]
    assert scene.calls_left == 0


# Observers that fail.


@pytest.mark.parametrize("word", ["started", "upstream connected", "passed", "finished", "ended"])
def test_a_failing_observer_does_not_harm_the_traffic(word: str, warnings: list[str]):
    """A defect in looking costs the look, and says so once."""
    scene = Scene(Recording(fails_at=word))
    scene.client.arrive(PING)
    scene.answer()
    scene.upstream.arrive(PONG)
    scene.client.arrive(PING)
    scene.client.finish()
    scene.settle()
    scene.upstream.finish()
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING + PING, PONG)
    assert not scene.client.connected
    assert len(scene.ended) == 1
    assert scene.observer.events[-1][0] == word  # and nothing after it
    assert len(warnings) == 1
    assert scene.calls_left == 0


def test_a_failing_observer_does_not_blind_the_others():
    """A line that cannot be printed must not cost the recording."""
    failing, recorder = Recording(fails_at="passed"), Recording()
    scene = Scene(failing, before=[recorder])
    scene.answer()
    scene.client.arrive(PING)
    scene.client.arrive(PING)
    assert failing.passed_bytes(UP) == PING
    assert recorder.passed_bytes(UP) == PING + PING
    failing, recorder = Recording(fails_at="passed"), Recording()
    scene = Scene(recorder, before=[failing])
    scene.answer()
    scene.client.arrive(PING)
    assert recorder.passed_bytes(UP) == PING


# Everything, in any order.

STEPS = ["arrive", "finish", "reset", "read", "advance", "stop", "answer", "refuse"]


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(STEPS),
            st.sampled_from(["client", "upstream"]),
            st.sampled_from([1, 24, 32, 5000, WATERMARK + 1]),
        ),
        max_size=25,
    )
)
def test_whatever_happens_a_session_ends_and_leaves_nothing(steps: list[tuple[str, str, int]]):
    """Each node gets a beginning of what the other sent, and no timer outlives the session."""
    scene = Scene()
    sent = {"client": b"", "upstream": b""}
    over: set[str] = set()
    dialled = False
    for step, sender, size in steps:
        source, _, _ = sides(scene, sender)
        there = sender == "client" or (dialled and scene.dialling.called)
        if step in ("answer", "refuse"):
            if not dialled and not scene.dialling.called:
                if step == "answer":
                    dialled = True
                    scene.answer()
                else:
                    scene.dialling.errback(Failure(Refused()))
        elif step == "stop":
            scene.relay.stop()
        elif step == "advance":
            scene.clock.advance(size / 1000)
        elif not there:
            continue
        elif step == "read":
            source.read(size)
        elif sender not in over:
            if step == "arrive":
                data = (PING * (size // len(PING) + 1))[:size]
                sent[sender] += data
                source.arrive(data)
            else:
                over.add(sender)
                getattr(source, step)()
    scene.relay.stop()
    for _ in range(4):
        scene.settle()
        scene.clock.advance(LINGER)
    assert sent["client"].startswith(scene.upstream.got)
    assert sent["upstream"].startswith(scene.client.got)
    assert len(scene.ended) == 1
    assert [words[0] for words in scene.observer.events].count("ended") == 1
    assert scene.observer.events[-1][0] == "ended"
    assert not scene.client.connected
    assert not (dialled and scene.upstream.connected)
    assert scene.calls_left == 0


def test_a_read_fills_packets_of_a_capture():
    """A read of any other size would leave a small packet after each large one."""
    assert LARGE_READ % MAX_PAYLOAD == 0
