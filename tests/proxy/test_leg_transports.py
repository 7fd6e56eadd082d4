"""Encrypted legs: what each node gets of what the other sends, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.plugins.loader import PluginFile, PluginSpec
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.transports import packet_receiver
from lbcproxy.session import EndCause, LegTransport
from lbcproxy.transport.events import DecoyReceived, KeysAgreed, PacketReceived, VersionReceived
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import frame_of
from lbcproxy.wire.envelope import frame
from tests.proxy.encrypted import (
    DOWN,
    MAGIC,
    UP,
    VERSION_V1,
    EncryptedScene,
    end_of,
    mixed,
    ping,
    ping_frame,
)

V2 = Transport.V2


def test_messages_pass_in_both_directions():
    """As the packets they came in, and are recorded as v1 frames."""
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(ping(1), ping(2))
    assert scene.b.contents() == [ping(1), ping(2)]
    scene.b.send_packets(ping(3))
    assert scene.a.contents() == [ping(3)]
    assert scene.observer.passed_bytes(UP) == ping_frame(1) + ping_frame(2)
    assert scene.observer.passed_bytes(DOWN) == ping_frame(3)


def test_a_message_is_sent_on_before_its_frame_is_made(monkeypatch: pytest.MonkeyPatch):
    """No node waits for what only a recording needs."""
    order = []

    def note(magic: bytes, contents: bytes) -> bytes:
        order.append("frame")
        return frame_of(magic, contents)

    monkeypatch.setattr(packet_receiver, "frame_of", note)
    scene = EncryptedScene().shake_hands()
    monkeypatch.setattr(scene.upstream, "write", lambda _: order.append("sent"))
    scene.a.send_packets(ping(1), ping(2))
    assert order == ["sent", "frame", "frame"]


def test_neither_wire_has_the_magic():
    """Nor any byte of a message."""
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(ping(1))
    scene.settle()
    for socket in (scene.client, scene.upstream):
        assert MAGIC not in socket.got
        assert ping(1)[1:] not in socket.got


def test_it_is_reported_which_transports_were_agreed():
    """Once, with the ids that both ends of each leg can compare."""
    scene = EncryptedScene().shake_hands()
    [(client, upstream)] = scene.observer.agreed
    assert (client.kind, upstream.kind) == (V2, V2)
    seen = [*scene.a.seen, *scene.b.seen]
    ours = {each.session_id for each in seen if isinstance(each, KeysAgreed)}
    assert {client.session_id, upstream.session_id} == ours
    assert client.session_id != upstream.session_id


@given(st.integers(0, 4095), st.integers(0, 4095))
def test_garbage_has_the_length_of_the_other_leg(one: int, other: int):
    """And other bytes."""
    scene = EncryptedScene().shake_hands((bytes(one), bytes(other)))
    assert (scene.b.garbage, scene.a.garbage) == ([one], [other])
    scene.a.send_packets(ping(1))
    scene.b.send_packets(ping(2))
    assert (scene.b.contents(), scene.a.contents()) == ([ping(1)], [ping(2)])
    [first, second] = scene.observer.entries
    assert [each.form.garbage if each.form else 0 for each in (first, second)] == [one, other]


def test_the_keys_go_out_at_once():
    """Before the garbage of the other leg has ended, or there is another leg."""
    scene = EncryptedScene()
    scene.a.begin(b"garbage")
    scene.client.read()
    assert len(scene.client.got) == 64
    scene.answer()
    scene.upstream.read()
    assert len(scene.upstream.got) == 64


def test_nothing_is_sent_to_the_upstream_before_the_client_begins():
    """Its transport is not known."""
    scene = EncryptedScene().answer()
    scene.settle()
    assert scene.upstream.got == b""
    scene.client.arrive(VERSION_V1[:15])
    scene.settle()
    assert scene.upstream.got == b""


def test_a_client_that_does_not_encrypt_gets_a_session_as_before():
    """Byte for byte; nothing is agreed."""
    scene = EncryptedScene().answer()
    for byte in VERSION_V1:
        scene.client.arrive(bytes((byte,)))
    scene.upstream.arrive(VERSION_V1)
    scene.settle()
    assert scene.upstream.got == scene.client.got == VERSION_V1
    assert scene.observer.agreed == []
    assert scene.relay._incoming is scene.relay.forwarder


def test_an_upstream_that_speaks_first_is_passed_on():
    """No node that encrypts does; so neither does the client."""
    scene = EncryptedScene().answer()
    scene.upstream.arrive(VERSION_V1)
    scene.settle()
    assert scene.client.got == VERSION_V1


def test_a_client_that_closes_after_a_few_bytes_is_passed_on():
    """They are no public key."""
    scene = EncryptedScene().answer()
    scene.client.arrive(MAGIC)
    scene.client.finish()
    scene.settle()
    assert scene.upstream.got == MAGIC
    assert scene.upstream.fin_sent


def test_decoys_are_passed_on_in_their_place():
    """With the same size; they are counted on the message that follows."""
    scene = EncryptedScene().shake_hands()
    packet = scene.a.transport.packet
    scene.a.send(packet(ping(1)) + packet(bytes(7), decoy=True) + packet(b"", decoy=True))
    scene.a.send(packet(ping(2)) + packet(bytes(70_000), decoy=True))
    assert scene.b.events() == [
        PacketReceived(ping(1)),
        DecoyReceived(7),
        DecoyReceived(0),
        PacketReceived(ping(2)),
        DecoyReceived(70_000),
    ]
    first, second = scene.observer.entries
    assert first.form is None
    assert second.form is not None
    assert second.form.decoys == 2


def test_decoys_before_the_version_packet_are_passed_on_there():
    """The handshake has the same packets on both legs."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    scene.b.events()
    scene.b.begin()
    scene.a.events()
    scene.a.send(scene.a.transport.terminator() + scene.a.transport.packet(bytes(9), decoy=True))
    assert scene.b.events()[-1] == DecoyReceived(9)
    scene.a.send_packets(b"")
    assert scene.b.events() == [VersionReceived(b"")]


def test_the_version_packet_is_empty():
    """What a node put there is noted, and not passed on."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    scene.b.events()
    scene.b.begin()
    scene.a.events()
    scene.a.finish_handshake(b"what we do not speak")
    scene.a.send_packets(ping(1))
    versions = [each for each in scene.b.events() if isinstance(each, VersionReceived)]
    assert versions == [VersionReceived(b"")]
    [entry] = scene.observer.entries
    assert entry.form is not None
    assert entry.form.version_size == 20


@pytest.mark.parametrize(
    ("contents", "command", "is_long"),
    [
        (b"\0" + b"ping".ljust(12, b"\0") + bytes(8), "ping", True),
        (b"\0" + b"verack".ljust(12, b"\0"), "verack", False),
        (b"\0" + b"made-up".ljust(12, b"\0") + b"x", "made-up", False),
        (b"\0" + b"\xff" * 12, None, False),
        (bytes((200,)) + b"abc", "v2-id-200", False),
        (b"\0" + b"v2-id-200".ljust(12, b"\0") + b"x", "v2-id-200", True),
    ],
)
def test_contents_pass_unchanged(contents: bytes, command: str | None, is_long: bool):
    """Whatever they are: short or long types, known or not."""
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(contents)
    assert scene.b.contents() == [contents]
    [entry] = scene.observer.entries
    assert command is None or entry.command == command
    assert (entry.form is not None and entry.form.is_long) is is_long


@pytest.mark.parametrize("with_plugin", [False, True])
@pytest.mark.parametrize("size", [70_000, 300_000])
def test_a_long_message_in_an_unusual_form_passes_once(
    tmp_path: Path, size: int, with_plugin: bool
):
    """It is read in parts; what comes after it is not mixed up with them."""
    file = tmp_path / "quiet.py"
    file.write_text("from lbcproxy.plugin import *\nclass P(Plugin):\n  def on_pong(self, s, m): 0")
    loaded = (PluginFile(PluginSpec(str(file))),) if with_plugin else ()
    scene = EncryptedScene(plugins=Plugins(loaded)).shake_hands()
    contents = b"\0" + b"tx".ljust(12, b"\0") + bytes(size)
    sent = [contents, b"\x15" + bytes(size), contents, ping(1), b"\x13" + bytes(8)]
    scene.a.send_packets(*sent)
    scene.settle()
    assert scene.b.contents() == sent
    assert [each.length for each in scene.observer.entries] == [size, size, size, 8, 8]


@pytest.mark.parametrize("contents", [b"", b"\0", b"\0" + b"ping"])
def test_a_packet_without_a_type_passes_too(contents: bytes):
    """It is recorded as bytes that are no message."""
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(contents, ping(1))
    assert scene.b.contents() == [contents, ping(1)]
    assert [each.command for each in scene.observer.entries][-1] == "ping"
    if contents:
        assert scene.observer.entries[0].junk == contents


@given(st.lists(st.integers(1, 200), max_size=30), st.data())
def test_any_split_gives_the_same(cuts: list[int], data: st.DataObject):
    """Of what a node sends, from its first byte."""
    scene = EncryptedScene()
    scene.answer()
    node = scene.a.transport
    parts = [node.public_key + node.garbage(b"some garbage")]
    for part in _in_pieces(parts[0], cuts):
        scene.a.send(part)
    scene.b.events()
    scene.b.begin()
    scene.a.events()
    stream = node.terminator() + node.packet(b"") + node.packet(ping(1))
    stream += node.packet(bytes(3), decoy=True) + node.packet(ping(2))
    for part in _in_pieces(stream, cuts):
        scene.a.send(part)
    events = scene.b.events()
    assert scene.b.garbage == [12]
    assert events[-3:] == [PacketReceived(ping(1)), DecoyReceived(3), PacketReceived(ping(2))]


def _in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [each for each in (*pieces, data) if each]


def test_what_a_plugin_sends_before_the_handshake_is_over_counts_as_held(tmp_path: Path):
    """It waits for the transports, then for the version packet that comes before it."""
    file = tmp_path / "greets.py"
    file.write_text(
        "from lbcproxy.plugin import *\nfrom lbcproxy.wire.messages.keepalive import Ping\n"
        "class P(Plugin):\n  def on_start(self, s): s.inject('to_upstream', Ping(5))"
    )
    scene = EncryptedScene(plugins=Plugins((PluginFile(PluginSpec(str(file))),)))
    assert scene.relay.held == len(ping_frame(5))
    scene.a.begin()
    scene.answer()
    scene.b.events()
    scene.b.begin()
    assert scene.relay.held == len(ping(5))
    scene.a.events()
    scene.a.finish_handshake()
    assert scene.b.contents() == [ping(5)]
    assert scene.relay.held == 0


# Upstreams that do not encrypt.


def test_an_upstream_that_closes_is_dialled_again_without_encryption():
    """The client, which encrypts, does not notice."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    old = scene.upstream
    old.read()
    assert len(old.got) == 64
    old.finish()
    scene.settle()
    upstream = scene.redialled()
    scene.a.events()
    scene.a.finish_handshake()
    scene.a.send_packets(ping(1))
    scene.settle()
    assert upstream.got == ping_frame(1)
    upstream.arrive(ping_frame(2))
    assert scene.a.contents() == [ping(2)]
    [(client, other)] = scene.observer.agreed
    assert (client.kind, other) == (V2, LegTransport())
    assert scene.observer.summaries == []


def test_the_connection_that_was_given_up_is_not_reported():
    """There is one upstream leg in a capture, the one that has messages."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    scene.upstream.reset()
    scene.settle()
    assert not [each for each in scene.observer.events if each[0] == "upstream connected"]
    scene.redialled()
    scene.settle()
    assert [each for each in scene.observer.events if each[0] == "upstream connected"]


def test_a_reset_and_silence_are_like_a_close():
    """Lbcd may take our key for the header of a long message, and wait for it."""
    for happens in ("reset", "silence"):
        scene = EncryptedScene(dial_timeout=6.0)
        scene.a.begin()
        scene.answer()
        if happens == "reset":
            scene.upstream.reset()
        else:
            scene.clock.advance(2.9)
            assert scene.dials == 1
            scene.clock.advance(0.2)
        scene.settle()
        assert scene.dials == 2


def test_an_upstream_that_has_answered_is_not_dialled_again():
    """One byte is an answer."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    scene.upstream.arrive(b"x")
    scene.upstream.reset()
    scene.settle()
    assert scene.dials == 1
    assert end_of(scene).cause is EndCause.RESET


def test_v2_that_is_demanded_is_not_given_up():
    """The session ends as its upstream does."""
    scene = EncryptedScene(upstream_transport=V2)
    scene.a.begin()
    scene.answer()
    scene.upstream.reset()
    scene.settle()
    assert scene.dials == 1
    assert end_of(scene).cause is EndCause.RESET


def test_a_session_that_ends_is_not_dialled_again():
    """Stopped while the upstream has not answered."""
    scene = EncryptedScene()
    scene.a.begin()
    scene.answer()
    scene.relay.abort()
    scene.settle()
    assert scene.dials == 1
    assert len(scene.ended) == 1


def test_a_client_that_does_not_encrypt_is_refused_if_that_is_demanded():
    """With a reason."""
    scene = EncryptedScene(client_transport=V2).answer()
    scene.client.arrive(VERSION_V1)
    end = end_of(scene)
    assert (end.cause, end.by) == (EndCause.PROTOCOL, UP)
    assert "does not encrypt" in end.text
    assert scene.upstream.got == b""


# Legs that differ.


def test_a_client_that_encrypts_and_an_upstream_that_does_not():
    """What is said over one leg is said over the other."""
    scene = mixed("client")
    scene.a.send_packets(ping(1), b"\0" + b"verack".ljust(12, b"\0"))
    scene.settle()
    assert scene.upstream.got == ping_frame(1) + frame(MAGIC, "verack", b"")
    scene.upstream.arrive(ping_frame(2) + ping_frame(3)[:9])
    scene.upstream.arrive(ping_frame(3)[9:])
    assert scene.a.contents() == [ping(2), ping(3)]


def test_a_client_that_does_not_encrypt_and_an_upstream_that_does():
    """What the client has sent meanwhile comes first."""
    scene = mixed("upstream")
    scene.client.arrive(ping_frame(1))
    assert scene.b.contents() == [ping(1)]
    scene.b.send_packets(ping(2))
    scene.settle()
    assert scene.client.got == ping_frame(2)


def test_a_wrong_checksum_is_dropped():
    """No packet can have one. The verdict says so."""
    scene = mixed("upstream")
    wrong = bytearray(ping_frame(1))
    wrong[20] ^= 1
    scene.client.arrive(bytes(wrong) + ping_frame(2))
    assert scene.b.contents() == [ping(2)]
    dropped, passed = scene.observer.entries[-2:]
    assert (dropped.verdict, passed.verdict) == ("drop", "pass")
    assert "wrong checksum" in dropped.trail[0]


def test_what_is_no_message_ends_the_session():
    """An encrypted leg cannot carry it."""
    scene = mixed("upstream")
    scene.client.arrive(ping_frame(1) + b"junk, which no node sends")
    assert scene.b.contents() == [ping(1)]
    end = end_of(scene)
    assert (end.cause, end.by) == (EndCause.NOT_EXPRESSIBLE, UP)
    junk = [each for each in scene.observer.entries if each.message is None]
    assert [each.verdict for each in junk] == ["drop"]


def test_an_unknown_short_type_is_dropped():
    """It has no command."""
    scene = mixed("client")
    scene.a.send_packets(bytes((200,)) + b"abc", ping(1))
    scene.settle()
    assert scene.upstream.got == ping_frame(1)
    dropped = scene.observer.entries[0]
    assert (dropped.command, dropped.verdict) == ("v2-id-200", "drop")


def test_decoys_end_at_a_leg_that_is_not_encrypted():
    """They are counted."""
    scene = mixed("client")
    scene.a.send(scene.a.transport.packet(bytes(5), decoy=True))
    scene.a.send_packets(ping(1))
    scene.settle()
    assert scene.upstream.got == ping_frame(1)
    assert scene.observer.entries[-1].form.decoys == 1


# The end.


def test_a_wrong_tag_ends_the_session():
    """What was sent before it has passed; what comes with it is recorded and not sent."""
    scene = EncryptedScene().shake_hands()
    good = scene.a.transport.packet(ping(1))
    bad = bytearray(scene.a.transport.packet(ping(2)))
    bad[-1] ^= 1
    scene.a.send(good + bytes(bad))
    assert scene.b.contents() == [ping(1)]
    end = end_of(scene)
    assert (end.cause, end.by) == (EndCause.PROTOCOL, UP)
    assert "packet 3, at byte 129 of the stream, has a wrong tag" in end.text
    assert [each.junk for each in scene.observer.entries if each.message is None] == [bytes(bad)]


def test_a_close_passes():
    """In order, after everything."""
    scene = EncryptedScene().shake_hands()
    scene.a.send_packets(ping(1))
    scene.client.finish()
    scene.settle()
    assert scene.b.contents() == [ping(1)]
    assert scene.upstream.fin_sent
    scene.b.send_packets(ping(2))
    assert scene.a.contents() == [ping(2)]


def test_a_reset_passes():
    """To the other node."""
    scene = EncryptedScene().shake_hands()
    scene.client.reset()
    scene.settle()
    assert scene.upstream.aborted
    assert end_of(scene).cause is EndCause.RESET


def test_a_packet_that_is_cut_off_is_recorded():
    """It is not sent."""
    scene = EncryptedScene().shake_hands()
    scene.a.send(scene.a.transport.packet(ping(1))[:10])
    scene.client.finish()
    scene.settle()
    assert scene.b.contents() == []
    [entry] = scene.observer.entries
    assert entry.message is None
    assert "cut off" in (entry.why or "") or "in packet" in (entry.why or "")


def test_keys_that_are_not_exchanged_in_time_end_the_session():
    """A client that falls silent after a few bytes of its key."""
    scene = EncryptedScene()
    scene.answer()
    scene.a.send(scene.a.transport.public_key[:40])
    scene.clock.advance(61)
    end = end_of(scene)
    assert end.cause is EndCause.TIMEOUT


def test_nothing_is_left_behind():
    """No timer outlives the session."""
    scene = EncryptedScene().shake_hands()
    scene.client.finish()
    scene.upstream.finish()
    scene.settle()
    assert len(scene.ended) == 1
    assert scene.calls_left == 0


def test_opaque_reads_nothing():
    """Bytes pass as they came, whatever they are."""
    opaque = Transport.OPAQUE
    scene = EncryptedScene(client_transport=opaque, upstream_transport=opaque).answer()
    scene.client.arrive(VERSION_V1)
    scene.settle()
    assert scene.upstream.got == VERSION_V1
    [entry] = scene.observer.entries
    assert entry.message is None
    assert scene.observer.agreed == [(LegTransport(opaque), LegTransport(opaque))]
