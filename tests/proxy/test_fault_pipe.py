"""Faults between the two legs of a relay: what reaches the nodes, when, and how it ends.

If the nodes encrypt, the faults come after the handshake of the transport, which they would delay.
"""

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
from tests.proxy.packets import SCENES, PacketScene, v1_only, wire_got
from tests.proxy.transports import LINGER, NETWORK, STOP_LINGER, WATERMARK, Scene

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
PING = frame(NETWORK.magic, "ping", bytes(8))
LATENCY = fault("latency", latency=1000)
UPWARDS = fault("latency", latency=1000, stream="upstream")
MUCH = frame(NETWORK.magic, "much", bytes(WATERMARK - 24))
EARLY = "faults delay the handshake of the transport: see the test of that"


def begun(scene: Scene, *faults: Fault) -> Any:
    """Have faults act on a scene, from when both legs are there and nodes can say something."""
    if isinstance(scene, PacketScene):
        scene.answer()
        scene.relay.change_faults(faults)
        return scene
    scene.relay.change_faults(faults)
    return scene.answer()


@pytest.fixture
def scene_with(make_scene):
    """Make a relay with faults whose legs are both there, over either transport."""
    return lambda *faults: begun(make_scene(), *faults)


def data(number: int) -> bytes:
    """A frame that is like no other."""
    return frame(NETWORK.magic, "data", number.to_bytes(4, "little"))


def pass_time(scene: Scene, seconds: float) -> None:
    """Advance the clock in small steps, and settle after each."""
    for _ in range(round(seconds * 10)):
        scene.clock.advance(0.1)
        scene.settle()


def test_a_relay_without_faults_writes_to_its_peers(scene_with):
    """What is not used costs nothing."""
    scene = scene_with()
    relay = scene.relay
    assert relay._pipes.to(relay.client) is relay.client
    assert relay._pipes.to(relay.upstream) is relay.upstream


def test_a_fault_is_in_its_stream_alone(scene_with):
    """Downstream is what the client gets."""
    scene = scene_with(LATENCY)
    scene.client.arrive(PING)
    scene.upstream.arrive(PING)
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING, b"")
    pass_time(scene, 1.1)
    assert scene.client.got == PING


def test_what_came_is_recorded_when_it_came(scene_with):
    """The capture has the bytes as the node sent them, and their times."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    scene.settle()
    assert scene.observer.passed_bytes(UP) == PING
    assert scene.upstream.got == b""


def test_the_log_says_which_faults_act_on_a_session(make_scene):
    """Of those that are a matter of chance, only if they do."""
    said: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        said.append(str(event.get("text")))

    globalLogPublisher.addObserver(observe)
    try:
        make_scene(faults=(UPWARDS, fault("timeout", toxicity=0))).answer()
        make_scene().answer()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert said == ["faults: latency_upstream (latency 1000, jitter 0)"]


@v1_only(EARLY)
def test_what_waited_for_the_upstream_passes_the_faults_too(make_scene):
    """They begin when both legs are there."""
    scene = make_scene(faults=(UPWARDS,))
    scene.client.arrive(PING)
    scene.clock.advance(5)
    scene.answer().settle()
    assert scene.upstream.got == b""
    pass_time(scene, 1.1)
    assert scene.upstream.got == PING


def test_the_handshake_of_the_transport_passes_the_faults_too():
    """The key of the proxy is late, and so is all that follows it."""
    scene = PacketScene(faults=(UPWARDS,))
    scene.client.arrive(PING)
    scene.answer()
    scene.settle()
    assert wire_got(scene.upstream) == b""
    pass_time(scene, 1.1)
    assert len(wire_got(scene.upstream)) == 64
    pass_time(scene, 1.1)
    assert scene.upstream.got == PING
    scene.check_wires()


@pytest.mark.parametrize("early", [False, True])
def test_the_key_for_the_client_counts_wherever_it_stands(early: bool):
    """It may be due before the upstream is there, from which moment on faults act."""
    scene = PacketScene(faults=(fault("limit_data", bytes=70),))
    if early:
        scene.client.begin()
    scene.answer()
    pass_time(scene, 1)
    assert len(wire_got(scene.client)) == 70
    assert scene.observer.whys == ["fault limit_data_downstream"]


def test_an_upstream_that_a_fault_keeps_from_answering_is_not_taken_for_one_without_encryption():
    """Its silence counts from when it has got the key."""
    scene = PacketScene(faults=(fault("latency", latency=8000, stream="upstream"),))
    scene.client.arrive(PING)
    scene.answer()
    pass_time(scene, 17)
    assert scene.upstream.got == PING
    assert scene.upstream.connected


def test_the_handshake_is_no_end_that_a_fault_could_delay():
    """Only what a node ends is slow."""
    scene = PacketScene(faults=(fault("slow_close", delay=9000, stream="upstream"),))
    scene.client.arrive(PING)
    scene.answer()
    scene.settle()
    assert scene.upstream.got == PING


@pytest.mark.slow
@pytest.mark.parametrize("transport", SCENES)
@given(
    chunks=st.lists(
        st.tuples(st.sampled_from(["client", "upstream"]), st.binary(min_size=1)), max_size=20
    )
)
def test_all_bytes_arrive_in_order_and_then_the_ends(
    transport: str, chunks: list[tuple[str, bytes]]
):
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
    scene = begun(SCENES[transport](), *both)
    sent = {"client": b"", "upstream": b""}
    for sender, payload in chunks:
        raw = frame(NETWORK.magic, "data", payload)
        getattr(scene, sender).arrive(raw)
        scene.clock.advance(0.05)
        sent[sender] += raw
    scene.client.finish()
    scene.upstream.finish()
    pass_time(scene, 6)
    assert (scene.upstream.got, scene.client.got) == (sent["client"], sent["upstream"])
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_half_close_comes_after_the_bytes(scene_with):
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


def test_a_reset_comes_after_the_bytes(scene_with):
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


def test_a_reset_that_cannot_get_through_does_so_in_the_end(scene_with):
    """A line on which nothing passes must not keep a leg for ever."""
    scene = scene_with(fault("bandwidth", rate=0, stream="upstream"))
    scene.client.arrive(PING)
    scene.client.reset()
    pass_time(scene, 1)
    assert not scene.upstream.aborted
    pass_time(scene, LINGER)
    assert scene.upstream.aborted
    assert len(scene.ended) == 1


def test_a_close_that_cannot_get_through_does_so_in_the_end(scene_with):
    """The same in order: after the time that a closed session has."""
    scene = scene_with(fault("bandwidth", rate=0, stream="upstream"))
    scene.client.arrive(PING)
    scene.client.finish()
    pass_time(scene, LINGER + STOP_LINGER + 1)
    assert scene.upstream.got == PING
    assert len(scene.ended) == 1


def test_a_slow_line_slows_its_source(scene_with):
    """What waits is bounded: the sender waits with the rest."""
    scene = scene_with(fault("bandwidth", rate=1, stream="upstream"))
    scene.client.arrive(*[MUCH] * 200)
    assert not scene.client.reading
    assert fault_pipe.MAX_BUFFERED < scene.relay.held < fault_pipe.MAX_BUFFERED + 2 * WATERMARK
    assert len(scene.client.incoming) > 100
    scene.relay.change_faults([])
    scene.settle()
    assert scene.upstream.got == 200 * MUCH
    assert scene.client.reading
    assert scene.relay.held == 0


def test_a_node_that_does_not_read_holds_a_pipe_up(scene_with):
    """Back-pressure goes through the faults."""
    scene = scene_with(fault("latency", latency=100, stream="upstream"))
    scene.client.arrive(*[MUCH] * 200)
    for _ in range(50):
        scene.clock.advance(0.1)
        scene.settle(reading=[])
    assert len(scene.upstream.waiting) <= 2 * WATERMARK
    assert scene.relay.held < fault_pipe.MAX_BUFFERED + 2 * WATERMARK
    assert not scene.client.reading
    pass_time(scene, 30)
    assert scene.upstream.got == 200 * MUCH


def test_a_limit_closes_both_legs(scene_with):
    """Behind the last byte; the end says which fault it was."""
    scene = scene_with(fault("limit_data", bytes=10, name="cut"))
    before = len(wire_got(scene.client))
    scene.upstream.arrive(PING)
    pass_time(scene, 0.2)
    assert len(wire_got(scene.client)) == before + 10
    assert scene.client.got == (b"" if isinstance(scene, PacketScene) else PING[:10])
    assert not scene.client.connected
    assert not scene.upstream.connected
    assert scene.observer.whys == ["fault cut"]
    assert scene.calls_left == 0


def test_a_reset_of_a_fault_is_one_on_both_legs(scene_with):
    """And in the capture."""
    scene = scene_with(fault("reset_peer", stream="upstream"))
    scene.client.arrive(PING)
    scene.settle()
    assert scene.client.aborted
    assert scene.upstream.aborted
    assert ("reset", UP) in scene.observer.events
    assert scene.observer.whys == ["fault reset_peer_upstream"]
    assert scene.calls_left == 0


def test_a_timeout_closes_without_a_byte(scene_with):
    """Also where no node sends anything."""
    scene = scene_with(fault("timeout", timeout=500))
    pass_time(scene, 0.4)
    assert scene.client.connected
    pass_time(scene, 0.3)
    assert scene.observer.whys == ["fault timeout_downstream"]
    assert scene.calls_left == 0


def test_faults_come_and_go_in_an_open_session(scene_with):
    """Nothing waits before a fault that is added; nothing is lost after one that is removed."""
    scene = scene_with()
    scene.client.arrive(data(1))
    scene.relay.change_faults([UPWARDS])
    scene.client.arrive(data(2))
    scene.settle()
    assert scene.upstream.got == data(1)
    scene.relay.change_faults([])
    scene.client.arrive(data(3))
    scene.settle()
    assert scene.upstream.got == data(1) + data(2) + data(3)
    assert scene.relay._pipes.to(scene.relay.upstream) is scene.relay.upstream
    assert scene.calls_left == 0


def test_faults_that_change_before_the_upstream_is_there_are_those_that_act(make_scene):
    """A dial may take long."""
    scene = make_scene(faults=(UPWARDS,))
    scene.relay.change_faults([])
    scene.client.arrive(PING)
    scene.answer().settle()
    assert scene.upstream.got == PING


def test_a_session_that_is_stopped_sends_what_it_holds(scene_with):
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
def test_a_session_that_must_reduce_memory_leaves_nothing(scene_with, way: str):
    """No timer stays, and nothing is held."""
    scene = scene_with(UPWARDS)
    scene.client.arrive(PING)
    assert scene.relay.held >= len(PING)
    getattr(scene.relay, way)()
    scene.settle()
    assert scene.relay.held == 0
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_client_that_leaves_takes_its_pipe_along(scene_with):
    """What was on its way to it is thrown away."""
    scene = scene_with(LATENCY)
    scene.upstream.arrive(PING)
    scene.client.reset()
    scene.settle()
    assert scene.upstream.aborted
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_a_timer_is_never_set_for_too_long(scene_with):
    """No system waits for 2**53 ms."""
    scene = scene_with(fault("latency", latency=2**53))
    scene.upstream.arrive(PING)
    [call] = scene.calls
    assert call.getTime() <= fault_pipe.MAX_TIMER
    scene.clock.advance(fault_pipe.MAX_TIMER)
    assert scene.calls_left == 1
    scene.relay.abort()
    scene.settle()
