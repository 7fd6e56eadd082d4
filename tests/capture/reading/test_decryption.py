"""Encrypted connections in captures, read with a key log."""

from __future__ import annotations

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy import networks
from lbcproxy.capture import UnknownNetwork, open_capture
from lbcproxy.session import Direction
from lbcproxy.transport.key_log import KeyLog, format_line
from lbcproxy.wire.envelope import frame
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
