"""Encrypted connections in captures, read with a key log."""

from __future__ import annotations

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy import networks
from lbcproxy.capture import UnknownNetwork, open_capture
from lbcproxy.session import Direction, LegTransport, PacketForm, Transports
from lbcproxy.session.events import Delivered, TransportsAgreed
from lbcproxy.transport.key_log import KeyLog, format_line
from lbcproxy.transport.keys import SessionKeys
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import contents_of
from lbcproxy.transport.v2 import V2Transport
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import OPAQUE
from tests.capture.told_transports import recorded, told, told_by
from tests.tools import REPOSITORY
from tests.transport.conversations import dump, encrypted

REGTEST = networks.get("lbry-regtest")


@pytest.fixture(scope="module")
def conversation():
    """Return the messages of a real conversation, with their directions."""
    entries = open_capture(REPOSITORY / "captures" / "lbcd-sync.pcap")
    return [(each.direction, each.message.raw) for each in entries if each.message is not None]


@pytest.mark.parametrize("garbage", [b"", bytes(4_095)], ids=["no garbage", "much garbage"])
@pytest.mark.parametrize("decoys", [False, True], ids=["no decoys", "decoys"])
def test_all_messages_are_read(tmp_path, conversation, garbage, decoys):
    """Of a whole conversation, whether types are short or long."""
    parts, logged = encrypted(conversation, REGTEST.magic, garbage=garbage, decoys=decoys)
    path = dump(tmp_path / "dump.pcap", parts)
    capture = open_capture(path, key_log=KeyLog([format_line(logged)]))
    found = [(each.direction, each.raw) for each in capture]
    assert sorted(found) == sorted(conversation)
    for direction in {each for each, _ in conversation}:
        mine = [raw for each, raw in found if each is direction]
        assert mine == [raw for each, raw in conversation if each is direction]
    assert not capture.stats.notices


@pytest.mark.parametrize("network", [None, REGTEST], ids=["network found", "network given"])
def test_the_key_may_come_in_pieces(tmp_path, conversation, network):
    """And after the answer to it, in a capture of several queues."""
    parts, logged = encrypted(conversation[:20], REGTEST.magic)
    (up, key), answer, *rest = parts
    parts = [(up, key[:10]), (up, key[10:30]), answer, (up, key[30:]), *rest]
    path = dump(tmp_path / "dump.pcap", parts)
    capture = open_capture(path, network, key_log=KeyLog([format_line(logged)]))
    assert sorted((each.direction, each.raw) for each in capture) == sorted(conversation[:20])


def test_short_connections_are_read_with_a_key_log_too(tmp_path):
    """With fewer bytes than a key has, whether they are messages or not."""
    _, logged = encrypted([], REGTEST.magic)
    key_log = KeyLog([format_line(logged)])
    for data in (frame(REGTEST.magic, "verack", b""), b"noise"):
        path = dump(tmp_path / "dump.pcap", [(Direction.TO_UPSTREAM, data)])
        [entry] = open_capture(path, REGTEST, key_log=key_log)
        assert entry.raw == data


def test_the_key_is_enough_to_know_the_network(tmp_path):
    """Of a connection that ended after it: it is not one of an unknown network."""
    parts, logged = encrypted([], REGTEST.magic)
    path = dump(tmp_path / "dump.pcap", parts[:2])
    capture = open_capture(path, key_log=KeyLog([format_line(logged)]))
    assert list(capture) == []
    assert capture.sessions == 1


UP, DOWN = Direction
PINGS = [frame(REGTEST.magic, "ping", bytes((number,)) * 8) for number in range(6)]


def test_messages_have_their_forms(tmp_path):
    """As in live traffic: garbage and decoys before a message, and a long type."""
    talk = [(UP, PINGS[0]), (UP, PINGS[1]), (DOWN, PINGS[2]), (DOWN, PINGS[3])]
    parts, logged = encrypted(talk, REGTEST.magic, garbage=bytes(77), decoys=True)
    path = dump(tmp_path / "dump.pcap", parts)
    found = list(open_capture(path, key_log=KeyLog([format_line(logged)])))
    assert {each.raw: each.form for each in found} == {
        PINGS[0]: PacketForm(garbage=77, decoys=1),
        PINGS[1]: PacketForm(is_long=True, decoys=1),
        PINGS[2]: PacketForm(decoys=1),
        PINGS[3]: PacketForm(is_long=True, decoys=1),
    }


def sent_together(tmp_path, *packets, version=b""):
    """Return a capture in which the client sends packets at once, decoys if they are None."""
    client, server = (V2Transport(REGTEST.magic, initiating=each) for each in (True, False))
    server.receive(client.public_key)
    client.receive(server.public_key)
    assert client.logged_secret is not None
    together = client.terminator() + client.packet(version)
    for contents in packets:
        together += client.packet(contents or b"", decoy=contents is None)
    parts = [(UP, client.public_key), (DOWN, server.public_key), (UP, together)]
    path = dump(tmp_path / "dump.pcap", parts)
    return open_capture(path, key_log=KeyLog([format_line(client.logged_secret)]))


def test_usual_and_unusual_messages_that_come_together_stay_in_order(tmp_path):
    """A packet of TCP may hold many of the transport's."""
    packets = [contents_of(raw, short=number != 2) for number, raw in enumerate(PINGS)]
    capture = sent_together(tmp_path, None, *packets, version=b"later")
    assert [(each.raw, each.form) for each in capture] == [
        (PINGS[0], PacketForm(decoys=1, version_size=5)),
        (PINGS[1], None),
        (PINGS[2], PacketForm(is_long=True)),
        *((raw, None) for raw in PINGS[3:]),
    ]


def test_a_type_is_long_only_if_the_command_has_a_short_one(tmp_path):
    """An unknown short type has a name of its own, which may be written out too."""
    unknown, verack = b"\xc8payload", frame(REGTEST.magic, "verack", b"")
    named = b"\0" + b"v2-id-200".ljust(12, b"\0") + b"payload"
    capture = sent_together(tmp_path, contents_of(verack), unknown, named)
    assert [(each.command, each.form) for each in capture] == [
        ("verack", None),
        ("v2-id-200", None),
        ("v2-id-200", PacketForm(is_long=True)),
    ]


def test_a_packet_without_a_type_is_no_message(tmp_path):
    """What came before it belongs to the next message."""
    one, other = map(contents_of, PINGS[:2])
    capture = sent_together(tmp_path, None, one, None, b"\0short", b"", None, other, one)
    assert [(each.raw, each.why, each.form) for each in capture] == [
        (PINGS[0], None, PacketForm(decoys=1)),
        (b"\0short", "a packet without a message type", None),
        (PINGS[1], None, PacketForm(decoys=2)),
        (PINGS[0], None, None),
    ]


def test_the_session_says_that_it_was_encrypted(tmp_path, conversation):
    """With the id of the one connection that there is, before its first message."""
    parts, logged = encrypted(conversation[:4], REGTEST.magic)
    path = dump(tmp_path / "dump.pcap", parts)
    capture = open_capture(path, key_log=KeyLog([format_line(logged)]))
    started, agreed, first, *_ = capture.events()
    session_id = SessionKeys.derive(logged.secret, logged.magic).session_id
    leg = LegTransport(Transport.V2, session_id)
    assert not started.info.transports
    assert agreed.info.transports == first.info.transports == Transports(leg, leg)
    assert (type(agreed), type(first)) == (TransportsAgreed, Delivered)


def test_an_opaque_recording_of_ours_can_be_decrypted(tmp_path, conversation):
    """What the keys show takes precedence over what its note says."""
    parts, logged = encrypted(conversation[:20], REGTEST.magic)
    path = tmp_path / "own.pcapng"

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, OPAQUE)
        sessions.sessions[1][0].pass_unread("opaque")
        for direction, data in parts:
            sessions.receive(1, data, direction)
        sessions.end(1)

    recorded(path, happen)
    assert told(path)[0] == OPAQUE
    capture = open_capture(path, key_log=KeyLog([format_line(logged)]))
    agreed, *messages = told_by(capture.events())
    assert agreed.client.kind is agreed.upstream.kind is Transport.V2
    assert [(each[0], each[2]) for each in messages] == conversation[:20]


def test_without_its_secret_a_connection_is_not_read(tmp_path, conversation):
    """As before, and it is said that nothing of a known network is there."""
    parts, _ = encrypted(conversation, REGTEST.magic)
    _, other = encrypted([], REGTEST.magic)
    for key_log in (None, KeyLog([format_line(other)])):
        with pytest.raises(UnknownNetwork, match="none of its 1 connections"):
            list(open_capture(dump(tmp_path / "dump.pcap", parts), key_log=key_log))


@pytest.mark.parametrize("number", [3, 40, 200])
def test_after_a_gap_the_rest_is_counted(tmp_path, conversation, number):
    """In the direction of the gap; the other one is read to its end."""
    parts, logged = encrypted(conversation, REGTEST.magic)
    path = dump(tmp_path / "dump.pcap", parts, without=number)
    capture = open_capture(path, key_log=KeyLog([format_line(logged)]))
    found = list(capture)
    [gap] = [each for each in found if each.missing]
    for direction in {each for each, _ in conversation}:
        expected = [raw for each, raw in conversation if each is direction]
        mine = [each.raw for each in found if each.direction is direction and each.message]
        assert mine == expected[: len(mine)]
        assert (len(mine) == len(expected)) is (direction is not gap.direction)
    [notice] = capture.stats.notices
    assert "cannot be decrypted since bytes before" in notice


def test_a_changed_byte_ends_what_can_be_decrypted(tmp_path, conversation):
    """The place is named, and the rest is kept as bytes that are no message."""
    parts, logged = encrypted(conversation, REGTEST.magic)
    index = len(parts) // 2
    direction, data = parts[index]
    parts[index] = direction, data[:-1] + bytes((data[-1] ^ 1,))
    path = dump(tmp_path / "dump.pcap", parts)
    found = list(open_capture(path, key_log=KeyLog([format_line(logged)])))
    junk = [each for each in found if each.message is None]
    assert {each.direction for each in junk} == {direction}
    assert junk[0].why.startswith("cannot be decrypted: packet ")
    assert junk[0].why.endswith("has a wrong tag")
    rest = b"".join(part for each, part in parts[index:] if each is direction)
    assert b"".join(each.junk for each in junk) == rest
    other = [raw for each, raw in conversation if each is not direction]
    assert [each.raw for each in found if each.direction is not direction] == other


def test_a_connection_that_is_cut_off(tmp_path, conversation):
    """What is left of a packet at the end is named, and no message is invented."""
    parts, logged = encrypted(conversation[:6], REGTEST.magic)
    direction, data = parts[-1]
    parts[-1] = direction, data[:-5]
    path = dump(tmp_path / "dump.pcap", parts)
    found = list(open_capture(path, key_log=KeyLog([format_line(logged)])))
    [last] = [each for each in found if each.message is None]
    assert last.junk == data[:-5]
    assert "after" in last.why
    assert len(found) == 6


def test_several_networks(tmp_path):
    """The key log names the magic, so the network need not be given."""
    for name in ("lbry-mainnet", "bitcoin-mainnet", "litecoin-testnet"):
        network = networks.get(name)
        message = frame(network.magic, "ping", bytes(8))
        parts, logged = encrypted([(Direction.TO_UPSTREAM, message)], network.magic)
        path = dump(tmp_path / f"{name}.pcap", parts)
        [entry] = open_capture(path, key_log=KeyLog([format_line(logged)]))
        assert entry.raw == message


@pytest.mark.parametrize("magic", ["0a03cf40", "00000000"], ids=["of two networks", "of none"])
def test_a_magic_that_does_not_name_a_network(tmp_path, magic):
    """The network has to be given."""
    parts, logged = encrypted([], bytes.fromhex(magic))
    path = dump(tmp_path / "dump.pcap", parts)
    key_log = KeyLog([format_line(logged)])
    with pytest.raises(UnknownNetwork, match=f"{magic} is that of .*: say --network"):
        list(open_capture(path, key_log=key_log))
