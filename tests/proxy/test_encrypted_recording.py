"""What is recorded of encrypted legs, and what a key log makes of the bytes on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.faults import Fault
from lbcproxy.session import LegTransport, PacketForm, Transports
from lbcproxy.session.events import TransportsAgreed
from lbcproxy.transport.key_log import KeyLog, format_line
from lbcproxy.transport.kind import Transport
from tests.capture.told_transports import Told, told
from tests.proxy.encrypted import DOWN, MAGIC, UP, EncryptedScene, ping, ping_frame
from tests.proxy.transports import NETWORK
from tests.transport.conversations import dump

LONG_PING = b"\0ping".ljust(13, b"\0") + bytes(8)
VERSION = b"\0version".ljust(13, b"\0") + bytes(86)
UNKNOWN = b"\xfehello"


class Tapped(EncryptedScene):
    """A relay that is recorded, with a tap on the client's leg."""

    def __init__(self, path: Any, **others: Any) -> None:
        self.live, self.sent, self.secrets = Told(), bytearray(), []
        self._file = path.open("wb")
        recorder = Recorder(self._file.write, network=NETWORK.id)
        super().__init__(before=[recorder, self.live], log_key=self.secrets.append, **others)
        send = self.a.send

        def tap(data: bytes) -> None:
            self.sent += data
            send(data)

        self.a.send = tap  # type: ignore[method-assign]

    def finish(self) -> None:
        """End the session, and write what is left of the file."""
        self.settle()
        self.relay.stop()
        self.settle()
        self.clock.advance(100)
        self.settle()
        self._file.close()

    def talk(self) -> None:
        """Have both nodes send everything that is unusual, and something that is not."""
        self.shake_hands(garbage=(bytes(33), bytes(7)))
        for node in (self.a, self.b):
            node.send_packets(VERSION, ping(1))
            node.send(node.transport.packet(b"12345", decoy=True))
            node.send_packets(LONG_PING, ping(2), ping(3))
            node.send_packets(UNKNOWN)
            self.settle()


def test_a_capture_tells_what_was_told_live(tmp_path):
    """Transports first, then each message as it came."""
    scene = Tapped(tmp_path / "x.pcapng")
    scene.talk()
    scene.finish()
    live = scene.live.found
    assert told(tmp_path / "x.pcapng") == live
    assert isinstance(live[0], Transports)
    assert live[0].client.session_id != live[0].upstream.session_id
    for direction, garbage in ((UP, 33), (DOWN, 7)):
        forms = [each[3] for each in live[1:] if each[0] is direction]
        assert forms == [
            PacketForm(garbage=garbage),
            None,
            PacketForm(is_long=True, decoys=1),
            *(None, None, None),
        ]


def test_the_decrypted_wire_is_what_was_recorded(tmp_path):
    """With the form of each message, and the session id of the leg that was tapped."""
    scene = Tapped(tmp_path / "x.pcapng")
    scene.talk()
    got = bytes(scene.client.got)
    scene.finish()
    sent = bytes(scene.sent)
    parts = [(UP, sent[:64]), (DOWN, got), (UP, sent[64:])]
    path = dump(tmp_path / "dump.pcap", parts)
    keys = KeyLog(map(format_line, scene.secrets))
    capture = open_capture(path, key_log=keys)
    found = Told()
    for event in capture.events():
        if hasattr(event, "info"):
            found.handle(event)
    agreed, *messages = found.found
    client = scene.live.found[0].client
    assert agreed == Transports(client, client)
    for direction in (UP, DOWN):
        live = [each[2:] for each in scene.live.found[1:] if each[0] is direction]
        assert [each[2:] for each in messages if each[0] is direction] == live


def test_a_decrypted_connection_without_messages_says_v2(tmp_path):
    """Its keys are known, and so are its network and its session id."""
    scene = Tapped(tmp_path / "x.pcapng")
    scene.shake_hands()
    got, sent = bytes(scene.client.got), bytes(scene.sent)
    scene.finish()
    path = dump(tmp_path / "dump.pcap", [(UP, sent[:64]), (DOWN, got), (UP, sent[64:])])
    events = open_capture(path, key_log=KeyLog(map(format_line, scene.secrets))).events()
    [agreed] = [each for each in events if isinstance(each, TransportsAgreed)]
    assert agreed.info.network == NETWORK.id
    assert agreed.info.client_transport == scene.live.found[0].client


@pytest.mark.parametrize("legs", ["auto", "both"])
def test_no_byte_of_a_message_is_encrypted_in_the_capture(tmp_path, legs):
    """Every tool that reads v1 frames reads it."""
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        scene = EncryptedScene(before=[Recorder(file.write, network=NETWORK.id, legs=legs)])
        scene.shake_hands()
        scene.a.send_packets(ping(1))
        scene.settle()
    assert path.read_bytes().count(ping_frame(1)) == (2 if legs == "both" else 1)
    assert [each.raw for each in open_capture(path)] == [ping_frame(1)]
    assert MAGIC in path.read_bytes()


@pytest.mark.parametrize(
    ("wanted", "to_node", "to_client"),
    [
        ("transport == 'v2'", [], []),
        ("transport == 'v1'", [ping(1)], [ping(2)]),
        ("transport == 'v2' and direction == 'to_client'", [ping(1)], []),
    ],
)
def test_filters_of_faults_and_plugins_know_the_transport(wanted, to_node, to_client):
    """As soon as it is agreed: the session that they are called with has it."""
    streams = ("upstream", "downstream")
    drops = tuple(Fault(type="drop", stream=each, filter=wanted) for each in streams)
    scene = EncryptedScene(faults=drops).shake_hands()
    scene.a.send_packets(ping(1))
    scene.b.send_packets(ping(2))
    scene.settle()
    assert (scene.b.contents(), scene.a.contents()) == (to_node, to_client)


def test_plugins_know_of_an_opaque_session():
    """Though they get no message of it."""
    opaque = Transport.OPAQUE
    scene = EncryptedScene(client_transport=opaque, upstream_transport=opaque).answer()
    both = Transports(LegTransport(opaque), LegTransport(opaque))
    assert scene.relay.session.transports == both


@pytest.mark.parametrize("legs", ["auto", "client", "both"])
def test_what_a_leg_cannot_carry_is_in_the_capture(tmp_path, legs):
    """In either direction, with its verdict, though nothing was to change messages."""
    path = tmp_path / "x.pcapng"
    wrong = ping_frame(2)[:20] + bytes(4) + ping_frame(2)[24:]
    with path.open("wb") as file:
        scene = EncryptedScene(
            before=[Recorder(file.write, network=NETWORK.id, legs=legs)],
            upstream_transport=Transport.V1,
        )
        scene.a.begin()
        scene.answer()
        scene.a.events()
        scene.a.finish_handshake()
        scene.a.send_packets(VERSION, UNKNOWN)
        scene.settle()
        scene.upstream.arrive(ping_frame(1) + wrong + ping_frame(3))
        scene.settle()
        assert scene.a.contents() == [ping(1), ping(3)]
    found = [(each.direction, each.command, each.verdict) for each in open_capture(path)]
    assert found == [
        (UP, "version", "pass"),
        (UP, "v2-id-254", "drop"),
        (DOWN, "ping", "pass"),
        (DOWN, "ping", "drop"),
        (DOWN, "ping", "pass"),
    ]
