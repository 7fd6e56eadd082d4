"""The reader of connections, held against a model of TCP with networks of every kind between.

What a tap cannot know is listed in tests/capture/tcp_judge.py. `script/fuzz --connections` plays
many more scenes; both print the scene that fails, which `explained` shows packet by packet.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from lbcproxy.capture.packet import ACK, RST, SYN, Segment
from lbcproxy.capture.tcp.stream_events import Data
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE
from tests.capture.tcp_explained import explained
from tests.capture.tcp_found import Verdict
from tests.capture.tcp_judge import judge
from tests.capture.tcp_network import Scene, played
from tests.capture.tcp_read import read
from tests.capture.tcp_tap import TAPS
from tests.capture.tcp_truth import MS, SECOND, WRAP
from tests.connection_campaign import drawn, simplest, wrong

SCENES = 120
PLAIN = ("disorder", "loss", "repeat", "scale", "small", "wrap")
SETTINGS = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


def scenes(features: tuple[str, ...], connections: int) -> st.SearchStrategy[Scene]:
    """Scenes in which some of these features occur."""
    return st.builds(
        Scene,
        seed=st.integers(0, 2**32),
        lines=st.integers(1, 2),
        connections=st.integers(1, connections),
        writes=st.integers(1, 3),
        features=st.frozensets(st.sampled_from(features)),
    )


def hold(scene: Scene, tap: str) -> None:
    """Judge the reader, and show what it read if it is wrong."""
    try:
        judge(scene, tap)
    except Verdict:
        note(explained(scene, tap))
        raise


# The model itself.


@given(scenes(PLAIN, connections=3))
@settings(SETTINGS, max_examples=100)
def test_the_model_brings_over_every_byte_unless_something_breaks(scene):
    """Whatever a network does, TCP hands over what was sent, and both ends know of the end."""
    for line in played(scene):
        for connection in line.connections:
            if connection.broken or connection.resets:
                continue
            for side in (0, 1):
                assert connection.got[side] == len(connection.sent[side])
                assert connection.tap_next[side] == len(connection.sent[side])


def test_the_model_recovers_from_a_restart_as_rfc_9293_says():
    """Half-open: SYN, an acknowledgment of the old numbers, RST, SYN (3.5.1, figure 9)."""
    found = 0
    for seed in range(300):
        [line] = played(Scene(seed, connections=2, features=frozenset({"restart"})))
        second = line.connections[-1]
        if not (line.connections[0].broken and second.established):
            continue
        first_syn = next(
            at
            for at, each in enumerate(line.passed)
            if each.of is second and each.segment.flags == SYN
        )
        flags = [each.segment.flags for each in line.passed[first_syn:]]
        if flags[:5] == [SYN, ACK, RST, SYN, SYN | ACK]:
            found += 1
            assert line.connections[0].resets == {0}
    assert found > 5


# The reader.


@pytest.mark.slow
@given(scenes(PLAIN, connections=1))
@settings(SETTINGS, max_examples=100)
@pytest.mark.parametrize("tap", TAPS)
def test_a_connection_is_read_as_its_ends_had_it(tap, scene):
    """Through loss, repetition and disorder, by taps of every kind."""
    hold(scene, tap)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 4, 5, 6, 7])
def test_whatever_happens_is_read_as_the_ends_had_it(seed):
    """Ports used again, strays, resets, restarts; half of the taps miss nothing.

    Scenes of their own seeds: what hypothesis draws changes with the code. `script/fuzz
    --connections` plays more of them.
    """
    for number in range(SCENES):
        scene, tap = drawn(random.Random(f"ci {seed} {number}"))
        why = wrong(scene, tap)
        assert why is None, f"{why}\n{explained(simplest(scene, tap), tap)}"


def test_a_hole_of_more_than_half_the_numbers_is_of_unknown_size():
    """The recorder was away for three gigabytes; what comes after is given."""
    client, server = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
    far = 3_000_000_000

    def sent(number: int, payload: bytes, flags: int = ACK) -> Segment:
        return Segment(client, server, number % WRAP, 0, flags, payload)

    segments = [sent(99, b"", SYN), sent(100, b"before")]
    segments += [sent(106 + far + 5 * at, b"after") for at in range(4)]
    times = [0, MS, *(3600 * SECOND + at * SECOND for at in range(4))]
    events, _ = read(zip(times, segments, strict=True))
    told = [each.data if isinstance(each, Data) else each.missing for each in events[1:]]
    assert told == [b"before", UNKNOWN_SIZE, *[b"after"] * 4]
