"""Faults by message and of the handshake between two nodes, over either transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from lbcproxy.faults import message_faults, parse_fault
from lbcproxy.session import EndCause
from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    DecoyReceived,
    GarbageReceived,
    PacketReceived,
    VersionReceived,
)
from lbcproxy.wire.envelope import frame
from tests.proxy.encrypted import mixed
from tests.proxy.packets import PacketScene, raw_got, wire_got
from tests.proxy.transports import NETWORK

MakeScene = Callable[..., Any]
PASSING = {
    "drop filter='ping.nonce == 1'": [2, 3],
    "duplicate filter='ping.nonce == 1'": [1, 1, 2, 3],
    "reorder": [2, 1],
    "replay of=1": [1, 2, 1, 3, 2],
    "delay delay=0": [1, 2, 3],
    "stall seconds=1 filter='ping.nonce == 3'": [1, 2],
    "corrupt how=field field=nonce filter='ping.nonce == 3'": [1, 2, 231],
}
"""Faults, and the pings that arrive of three."""
BREAKING = ("corrupt how=checksum", "corrupt how=magic", "corrupt how=length")
PACKETS = ("tag", "packet_length length=20", "decoy size=7 count=2")


def ping(nonce: int) -> bytes:
    """Return a frame that is like no other."""
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


def trails(scene: Any) -> list[str]:
    """What was decided about each message."""
    entries = [entry for each in scene.observer.deliveries for entry in each.entries]
    return ["; ".join(each.trail) for each in entries]


def test_there_are_all_of_them():
    """A new one has to be added here."""
    tested = {each.split()[0] for each in (*PASSING, *BREAKING, *PACKETS)}
    assert tested == set(message_faults())


@pytest.mark.parametrize("text", PASSING)
def test_messages_arrive_as_a_fault_leaves_them(make_scene: MakeScene, text: str):
    """The same ones over both transports."""
    scene = make_scene(faults=(parse_fault(text),), seed=1).answer()
    scene.client.arrive(ping(1), ping(2), ping(3))
    scene.upstream.read()
    assert scene.upstream.got == b"".join(map(ping, PASSING[text]))


@pytest.mark.parametrize("text", BREAKING)
def test_a_damaged_header_is_a_packet_that_cannot_be_decrypted(make_scene: MakeScene, text: str):
    """Each node refuses what its transport does not allow."""
    scene = make_scene(faults=(parse_fault(f"{text} filter='ping.nonce == 2'"),)).answer()
    scene.client.arrive(ping(1), ping(2))
    scene.upstream.read()
    made = scene.observer.deliveries[-1].sent
    assert made != ping(2)
    assert scene.upstream.got == ping(1) + raw_got(scene.upstream, made)


@pytest.mark.parametrize("text", PACKETS)
def test_what_acts_on_packets_has_no_effect_without_them(make_scene: MakeScene, text: str):
    """The trail says so."""
    scene = make_scene(faults=(parse_fault(text),)).answer()
    scene.client.arrive(ping(1))
    scene.upstream.read()
    said = f"{text.split()[0]}_both: no effect: the leg is not encrypted"
    if isinstance(scene, PacketScene):
        assert said not in trails(scene)
    else:
        assert scene.upstream.got == ping(1)
        assert trails(scene) == [said]
        assert scene.observer.deliveries[0].sent is None


@pytest.mark.parametrize(("encrypted", "has_effect"), [("client", False), ("upstream", True)])
def test_the_leg_that_counts_is_that_of_the_receiver(encrypted: str, has_effect: bool):
    """In a session with one encrypted leg."""
    scene: Any = mixed(encrypted, faults=(parse_fault("tag stream=upstream filter=ping"),))
    if encrypted == "client":
        scene.a.send_packets(b"\x12" + bytes(8))
    else:
        scene.client.arrive(ping(0))
    scene.settle()
    last = trails(scene)[-1]
    assert ("no effect" in last) is not has_effect
    assert ("of its tag is wrong" in last) is has_effect


@pytest.mark.parametrize("encrypted", ["client", "upstream"])
def test_a_damaged_checksum_in_a_session_with_one_encrypted_leg(encrypted: str):
    """The node that does not encrypt gets the bytes, the other a packet with a wrong tag."""
    text = "corrupt how=checksum stream=upstream filter=ping"
    scene: Any = mixed(encrypted, faults=(parse_fault(text),))
    if encrypted == "client":
        scene.a.send_packets(b"\x12" + bytes(8))
    else:
        scene.client.arrive(ping(0))
    scene.settle()
    made = scene.observer.deliveries[-1].sent
    assert made[:20] + made[24:] == ping(0)[:20] + ping(0)[24:]
    if encrypted == "client":
        assert scene.upstream.got.endswith(made)
    else:
        [broken] = scene.b.events()
        assert isinstance(broken, Broken)
        assert broken.cause is BreakCause.BAD_TAG


def test_a_tag_with_a_wrong_bit():
    """Nothing arrives from there on; the record has the message, and what was done to it."""
    scene = PacketScene(faults=(parse_fault("tag filter='ping.nonce == 2'"),)).answer()
    scene.client.arrive(ping(1), ping(2), ping(3))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)
    assert scene.upstream.broken is not None
    assert scene.upstream.broken.cause is BreakCause.BAD_TAG
    entry = scene.observer.deliveries[1].entries[0]
    assert (entry.verdict, entry.raw) == ("rewrite", ping(2))
    assert "tag_both: rewrite ping 8 B: bit " in entry.trail[0]


def test_the_same_seed_flips_the_same_bit():
    """It is in the trail."""
    scenes = [PacketScene(faults=(parse_fault("tag"),), seed=seed).answer() for seed in (1, 1, 5)]
    for scene in scenes:
        scene.client.arrive(ping(1))
    found = [trails(scene) for scene in scenes]
    assert found[0] == found[1] != found[2]


def test_a_message_in_a_long_form_keeps_it_when_its_packet_is_damaged():
    """The size on the wire is that of the node's packet."""
    scene = PacketScene(faults=(parse_fault("tag filter='ping.nonce == 2'"),)).answer()
    before = len(wire_got(scene.upstream))
    contents = b"\0" + b"ping".ljust(12, b"\0") + (2).to_bytes(8, "little")
    scene.client.socket.arrive(scene.client._transport.packet(contents))
    scene.upstream.read()
    assert len(wire_got(scene.upstream)) == before + 20 + len(contents)
    assert scene.upstream.broken is not None


@pytest.mark.parametrize(("length", "cause"), [(2, BreakCause.BAD_TAG), (8_000_000, None)])
def test_a_packet_that_claims_another_length(length: int, cause: BreakCause | None):
    """Less than there is: the tag is wrong. More: the node waits for it, or refuses it."""
    scene = PacketScene(faults=(parse_fault(f"packet_length length={length}"),)).answer()
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == b""
    assert (scene.upstream.broken.cause if scene.upstream.broken else None) is cause
    assert trails(scene) == [f"packet_length_both: rewrite ping 8 B: it claims {length:,} bytes"]


@pytest.mark.parametrize(
    ("text", "count", "size"), [("decoy size=7 count=2", 2, 7), ("decoy", 1, 0)]
)
def test_decoys_come_before_the_message(text: str, count: int, size: int):
    """As many and as long as it says, with a trail."""
    scene = PacketScene(faults=(parse_fault(text),)).answer()
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)
    *before, last = scene.upstream.events
    assert before[-count:] == [DecoyReceived(size)] * count
    assert not isinstance(before[-count - 1], DecoyReceived)
    assert isinstance(last, PacketReceived)
    assert trails(scene) == [f"decoy_both: inject {count} decoys of {size} B"]


def test_more_decoys_than_a_node_reads_are_refused():
    """They count towards the limit of what is injected; the message passes."""
    scene = PacketScene(faults=(parse_fault("decoy size=100000 count=1000"),)).answer()
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)
    assert DecoyReceived(100_000) not in scene.upstream.events


# The handshake.


def disturbed(text: str, **others: Any) -> PacketScene:
    """Return a scene after what there is of a handshake with a fault."""
    scene = PacketScene(faults=(parse_fault(f"handshake {text}"),), **others)
    scene.answer()
    scene.settle()
    return scene


@pytest.mark.parametrize("size", [0, 1, 4_095])
def test_garbage_of_any_length(size: int):
    """That is allowed: the session goes on."""
    scene = disturbed(f"garbage={size}")
    assert GarbageReceived(size) in scene.upstream.events
    assert GarbageReceived(size) in scene.client.events
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)


@pytest.mark.parametrize("text", ["garbage=4096", "garbage=5000 terminator=false"])
def test_garbage_without_an_end(text: str):
    """Where a node looks for it."""
    scene = disturbed(f"{text} stream=upstream")
    assert scene.upstream.broken is not None
    assert scene.upstream.broken.cause is BreakCause.NO_TERMINATOR
    assert scene.client.broken is None


def test_no_terminator():
    """What comes after it is taken for garbage; the session ends in time."""
    scene = disturbed("terminator=false stream=downstream")
    assert not any(isinstance(each, GarbageReceived) for each in scene.client.events)
    assert len(wire_got(scene.client)) == 64 + 20
    assert GarbageReceived(0) in scene.upstream.events


def test_a_version_packet_with_contents():
    """They are of no meaning, and ignored."""
    scene = disturbed("version=100 stream=upstream")
    [version] = [each for each in scene.upstream.events if isinstance(each, VersionReceived)]
    assert len(version.contents) == 100
    assert VersionReceived(b"") in scene.client.events
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("close=key", 64),
        ("close=garbage garbage=30", 64 + 30),
        ("close=version garbage=30 version=5", 64 + 30 + 16 + 25),
    ],
)
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_an_early_close(text: str, size: int, stream: str):
    """With the fault as the reason; no other upstream is tried."""
    scene = disturbed(f"{text} stream={stream} name=early")
    node = scene.upstream if stream == "upstream" else scene.client
    assert len(wire_got(node)) == size
    assert not scene.client.connected
    assert not scene.upstream.connected
    [summary] = scene.observer.summaries
    assert summary.end.cause is EndCause.FAULT
    assert summary.why == "fault early"
    assert scene.calls_left == 0


def test_it_acts_with_its_probability_and_is_logged():
    """Once for each leg."""
    said: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        said.append(str(event.get("text")))

    globalLogPublisher.addObserver(observe)
    try:
        scene = disturbed("garbage=9 stream=upstream")
        never = disturbed("garbage=9 toxicity=0")
    finally:
        globalLogPublisher.removeObserver(observe)
    assert said == ["faults: handshake_upstream (garbage 9, terminator True, version 0)"]
    assert GarbageReceived(9) in scene.upstream.events
    assert GarbageReceived(9) not in never.upstream.events


def test_it_has_no_effect_on_a_session_without_encryption(make_scene: MakeScene):
    """There is no such handshake."""
    scene = make_scene(faults=(parse_fault("handshake garbage=9"),)).answer()
    scene.client.arrive(ping(1))
    scene.upstream.read()
    assert scene.upstream.got == ping(1)


def test_one_that_is_added_acts_on_the_legs_to_come():
    """As one that was there from the beginning."""
    scene = PacketScene()
    scene.relay.change_faults([parse_fault("handshake garbage=9")])
    scene.answer()
    assert GarbageReceived(9) in scene.upstream.events
