"""Faults between the two legs of a relay: what reaches the nodes, when, and how it ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from lbcproxy.faults import Fault
from lbcproxy.proxy import fault_pipe
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.faults.chains import fault
from tests.proxy.transports import LINGER, NETWORK, STOP_LINGER, WATERMARK, Scene

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
PING = frame(NETWORK.magic, "ping", bytes(8))
LATENCY = fault("latency", latency=1000)
UPWARDS = fault("latency", latency=1000, stream="upstream")


def scene_with(*faults: Fault, **others: object) -> Scene:
    """A relay whose legs are both there."""
    return Scene(faults=faults, **others).answer()


def pass_time(scene: Scene, seconds: float) -> None:
    """Advance the clock in small steps, and settle after each."""
    for _ in range(round(seconds * 10)):
        scene.clock.advance(0.1)
        scene.settle()


def test_a_relay_without_faults_writes_to_its_peers():
    """What is not used costs nothing."""
    scene = scene_with()
    relay = scene.relay
    assert relay._pipes.to(relay.client) is relay.client
    assert relay._pipes.to(relay.upstream) is relay.upstream


def test_a_fault_is_in_its_stream_alone():
    """Downstream is what the client gets."""
    scene = scene_with(LATENCY)
    scene.client.arrive(PING)
    scene.upstream.arrive(PING)
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING, b"")
    pass_time(scene, 1.1)
    assert scene.client.got == PING


def test_what_came_is_recorded_when_it_came():
    """The capture has the bytes as the node sent them, and their times."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    scene.settle()
    assert scene.observer.passed_bytes(UP) == PING
    assert scene.upstream.got == b""


def test_the_log_says_which_faults_act_on_a_session():
    """Of those that are a matter of chance, only if they do."""
    said: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        said.append(str(event.get("text")))

    globalLogPublisher.addObserver(observe)
    try:
        scene_with(UPWARDS, fault("timeout", toxicity=0))
        scene_with()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert said == ["faults: latency_upstream (latency 1000, jitter 0)"]


def test_what_waited_for_the_upstream_passes_the_faults_too():
    """They begin when both legs are there."""
    scene = Scene(faults=(UPWARDS,))
    scene.client.arrive(PING)
    scene.clock.advance(5)
    scene.answer().settle()
    assert scene.upstream.got == b""
    pass_time(scene, 1.1)
    assert scene.upstream.got == PING


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from(["client", "upstream"]), st.binary(min_size=1)), max_size=20)
)
def test_all_bytes_arrive_in_order_and_then_the_ends(chunks: list[tuple[str, bytes]]):
    """Through latency, a slow line and small packets, both ways."""
    both = [
        fault(kind, stream=stream, name=f"{kind}-{stream}", **given)
        for stream in ("upstream", "downstream")
        for kind, given in (
            ("latency", {"latency": 300, "jitter": 200}),
            ("bandwidth", {"rate": 1}),
            ("slicer", {"average_size": 3, "size_variation": 2, "delay": 100}),
        )
    ]
    scene = scene_with(*both)
    sent = {"client": b"", "upstream": b""}
    for sender, data in chunks:
        getattr(scene, sender).arrive(data)
        scene.clock.advance(0.05)
        sent[sender] += data
    scene.client.finish()
    scene.upstream.finish()
    pass_time(scene, 3)
    assert (scene.upstream.got, scene.client.got) == (sent["client"], sent["upstream"])
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_half_close_comes_after_the_bytes():
    """And the way back stays open."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    scene.client.finish()
    scene.settle()
    assert not scene.upstream.write_ending
    pass_time(scene, 1.1)
    assert (scene.upstream.got, scene.upstream.fin_sent) == (PING, True)
    scene.upstream.arrive(PING)
    scene.settle()
    assert scene.client.got == PING
    scene.upstream.finish()
    pass_time(scene, 1.1)
    assert len(scene.ended) == 1


def test_a_reset_comes_after_the_bytes():
    """As without faults."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    scene.client.reset()
    scene.settle()
    assert not scene.upstream.aborted
    pass_time(scene, 1.1)
    written = scene.upstream.waiting  # the system has it: a transport in memory sends in its turn
    assert (written, scene.upstream.aborted) == (PING, True)
    assert scene.observer.whys == ["client reset"]
    assert scene.calls_left == 0


def test_a_reset_that_cannot_get_through_does_so_in_the_end():
    """A line on which nothing passes must not keep a leg for ever."""
    scene = scene_with(fault("bandwidth", rate=0, stream="upstream"))
    scene.client.arrive(PING)
    scene.client.reset()
    pass_time(scene, 1)
    assert not scene.upstream.aborted
    pass_time(scene, LINGER)
    assert scene.upstream.aborted
    assert len(scene.ended) == 1


def test_a_close_that_cannot_get_through_does_so_in_the_end():
    """The same in order: after the time that a closed session has."""
    scene = scene_with(fault("bandwidth", rate=0, stream="upstream"))
    scene.client.arrive(PING)
    scene.client.finish()
    pass_time(scene, LINGER + STOP_LINGER + 1)
    assert scene.upstream.got == PING
    assert len(scene.ended) == 1


def test_a_slow_line_slows_its_source():
    """What waits is bounded: the sender waits with the rest."""
    scene = scene_with(fault("bandwidth", rate=1, stream="upstream"))
    scene.client.arrive(*[bytes(WATERMARK)] * 200)
    assert not scene.client.reading
    assert fault_pipe.MAX_BUFFERED < scene.relay.held < fault_pipe.MAX_BUFFERED + 2 * WATERMARK
    assert len(scene.client.incoming) > 100
    scene.relay.change_faults([])
    scene.settle()
    assert scene.upstream.got == bytes(200 * WATERMARK)
    assert scene.client.reading
    assert scene.relay.held == 0


def test_a_node_that_does_not_read_holds_a_pipe_up():
    """Back-pressure goes through the faults."""
    scene = scene_with(fault("latency", latency=100, stream="upstream"))
    scene.client.arrive(*[bytes(WATERMARK)] * 200)
    for _ in range(50):
        scene.clock.advance(0.1)
        scene.settle(reading=[])
    assert len(scene.upstream.waiting) <= 2 * WATERMARK
    assert scene.relay.held < fault_pipe.MAX_BUFFERED + 2 * WATERMARK
    assert not scene.client.reading
    pass_time(scene, 30)
    assert scene.upstream.got == bytes(200 * WATERMARK)


def test_a_limit_closes_both_legs():
    """Behind the last byte; the end says which fault it was."""
    scene = scene_with(fault("limit_data", bytes=10, name="cut"))
    scene.upstream.arrive(PING)
    pass_time(scene, 0.2)
    assert scene.client.got == PING[:10]
    assert not scene.client.connected
    assert not scene.upstream.connected
    assert scene.observer.whys == ["fault cut"]
    assert scene.calls_left == 0


def test_a_reset_of_a_fault_is_one_on_both_legs():
    """And in the capture."""
    scene = scene_with(fault("reset_peer", stream="upstream"))
    scene.client.arrive(PING)
    scene.settle()
    assert scene.client.aborted
    assert scene.upstream.aborted
    assert ("reset", UP) in scene.observer.events
    assert scene.observer.whys == ["fault reset_peer_upstream"]
    assert scene.calls_left == 0


def test_a_timeout_closes_without_a_byte():
    """Also where no node sends anything."""
    scene = scene_with(fault("timeout", timeout=500))
    pass_time(scene, 0.4)
    assert scene.client.connected
    pass_time(scene, 0.3)
    assert scene.observer.whys == ["fault timeout_downstream"]
    assert scene.calls_left == 0


def test_faults_come_and_go_in_an_open_session():
    """Nothing waits before a fault that is added; nothing is lost after one that is removed."""
    scene = scene_with()
    scene.client.arrive(b"1")
    scene.relay.change_faults([UPWARDS])
    scene.client.arrive(b"2")
    scene.settle()
    assert scene.upstream.got == b"1"
    scene.relay.change_faults([])
    scene.client.arrive(b"3")
    scene.settle()
    assert scene.upstream.got == b"123"
    assert scene.relay._pipes.to(scene.relay.upstream) is scene.relay.upstream
    assert scene.calls_left == 0


def test_faults_that_change_before_the_upstream_is_there_are_those_that_act():
    """A dial may take long."""
    scene = Scene(faults=(UPWARDS,))
    scene.relay.change_faults([])
    scene.client.arrive(PING)
    scene.answer().settle()
    assert scene.upstream.got == PING


def test_a_session_that_is_stopped_sends_what_it_holds():
    """Nobody waits for a fault then."""
    scene = scene_with(UPWARDS, LATENCY)
    scene.client.arrive(PING)
    scene.upstream.arrive(PING)
    scene.relay.stop()
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING, PING)
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


@pytest.mark.parametrize("way", ["abort", "reduce_memory"])
def test_a_session_that_must_reduce_memory_leaves_nothing(way: str):
    """No timer stays, and nothing is held."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    assert scene.relay.held >= len(PING)
    getattr(scene.relay, way)()
    scene.settle()
    assert scene.relay.held == 0
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_client_that_leaves_takes_its_pipe_along():
    """What was on its way to it is thrown away."""
    scene = scene_with(LATENCY)
    scene.upstream.arrive(PING)
    scene.client.reset()
    scene.settle()
    assert scene.upstream.aborted
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_timer_is_never_set_for_too_long():
    """No system waits for 2**53 ms."""
    scene = scene_with(fault("latency", latency=2**53))
    scene.upstream.arrive(PING)
    [call] = scene.clock.getDelayedCalls()
    assert call.getTime() <= fault_pipe.MAX_TIMER
    scene.clock.advance(fault_pipe.MAX_TIMER)
    assert scene.calls_left == 1
    scene.relay.abort()
    scene.settle()
