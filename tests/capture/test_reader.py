"""Captures as entries: ours, tcpdump's, damaged ones, and ones that begin in the middle."""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture import UnknownNetwork, open_capture
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.capture.recordings import (
    CLIENT,
    DOWN,
    NODE,
    PING,
    PONG,
    REGTEST,
    TALK,
    UP,
    pcap_of,
    recorded,
    segments_of,
)

CAPTURES = Path(__file__).parents[2] / "captures"


def truth_of(name):
    return json.loads((CAPTURES / f"{name}.truth.json").read_text())


@pytest.mark.parametrize("name", sorted(each.stem for each in CAPTURES.glob("[bl]*.pcap*")))
def test_real_capture_holds_exactly_the_messages_of_its_truth(name):
    """Files of real nodes, of tcpdump and ours, against what a relay beside each saw."""
    got = defaultdict(list)
    [path] = CAPTURES.glob(f"{name}.pcap*")
    for entry in open_capture(path):
        digest = hashlib.sha256(entry.payload).hexdigest()[:16]
        got[entry.session, entry.direction].append([entry.command, entry.length, digest])
    wanted = [each["messages"] for each in truth_of(name) if each["messages"]]
    assert sorted(got.values()) == sorted(wanted)


def test_only_the_malformed_messages_have_errors():
    """The probe sent a cut version, and a filterload its version does not have."""
    assert all(entry.error is None for entry in open_capture(CAPTURES / "lbcd-sync.pcap"))
    errors = [
        (entry.command, entry.error)
        for entry in open_capture(CAPTURES / "lbcd-probe.pcap")
        if entry.error is not None
    ]
    assert errors == [
        ("version", "services at byte 4: 8 bytes needed, 6 left"),
        ("filterload", "payload at byte 0: needs protocol version 70001, 60002 was agreed"),
    ]


def test_entries_are_numbered_in_order_of_time():
    """Numbers are how people talk about messages."""
    entries = list(open_capture(CAPTURES / "lbcd-sync.pcap"))
    assert [entry.number for entry in entries] == list(range(1, 401))
    assert [entry.time_ns for entry in entries] == sorted(entry.time_ns for entry in entries)


@pytest.mark.parametrize("legs", ["auto", "client", "both"])
def test_own_capture_gives_what_was_recorded(tmp_path, legs):
    """Both legs hold the same messages; they are given once."""
    entries = list(open_capture(recorded(tmp_path, TALK, legs)))
    for direction in Direction:
        sent = b"".join(data for way, data in TALK if way is direction)
        assert b"".join(e.raw for e in entries if e.direction is direction) == sent
    assert [(entry.direction, entry.command, entry.error is None) for entry in entries] == [
        (UP, "ping", True),
        (UP, "ping", True),
        (DOWN, "pong", True),
        (UP, "", False),
        (UP, "ping", False),
        (DOWN, "block", True),
    ]


def test_own_capture_keeps_times_to_the_nanosecond(tmp_path):
    """The time is when the read that completed the message arrived."""
    entries = list(open_capture(recorded(tmp_path, TALK)))
    assert [entry.time_ns for entry in entries[:3]] == [2_000, 2_001, 2_002]


def test_own_capture_of_an_ambiguous_chain_needs_no_network(tmp_path):
    """Our files name their chain."""
    simnet = networks.get("lbry-simnet")
    talk = [(UP, frame(simnet.magic, "ping", bytes(8)))]
    [entry] = open_capture(recorded(tmp_path, talk, network="lbry-simnet"))
    assert entry.message.codec.network.id == "lbry-simnet"


def test_appended_recordings_are_read_one_after_the_other(tmp_path):
    """A file that a second run continued has two beginnings."""
    recorded(tmp_path, TALK[:1])
    path = recorded(tmp_path, TALK[:3])
    assert [entry.session for entry in open_capture(path)] == [1, 1, 2, 2, 2]


def conversation(data, syn=True, finish=True):
    begin = 1000
    segments = [Segment(CLIENT, NODE, begin - 1, 0, SYN, b"")] if syn else []
    segments.append(Segment(CLIENT, NODE, begin, 1, PSH | ACK, data))
    if finish:
        segments.append(Segment(CLIENT, NODE, begin + len(data), 1, FIN | ACK, b""))
    return segments


def test_magic_of_one_network_alone_chooses_it(tmp_path):
    """Others' files do not say whose traffic they hold."""
    path = pcap_of(conversation(PING), tmp_path)
    [entry] = open_capture(path)
    assert entry.message.codec.network.id == "lbry-regtest"


def test_magic_of_two_networks_chooses_neither(tmp_path):
    """Their headers differ: a guess would show nonsense."""
    path = pcap_of(conversation(frame(bytes.fromhex("161c1412"), "ping", bytes(8))), tmp_path)
    with pytest.raises(UnknownNetwork, match="lbry-simnet|bitcoin-simnet"):
        list(open_capture(path))
    [entry] = open_capture(path, "bitcoin-simnet")
    assert entry.message.codec.network.id == "bitcoin-simnet"


def test_traffic_of_others_is_passed_over(tmp_path):
    """Anyone who captures on a port has ssh in the file too."""
    capture = open_capture(pcap_of(conversation(b"SSH-2.0-OpenSSH_9\r\n"), tmp_path))
    with pytest.raises(UnknownNetwork, match="none of its 1 connections"):
        list(capture)
    assert capture.skipped == 1


def test_capture_that_begins_in_the_middle_of_a_message_is_read_from_the_next(tmp_path):
    """Tcpdump is started when the trouble has begun."""
    path = pcap_of(conversation(PING[5:] + PONG, syn=False), tmp_path)
    junk, pong = open_capture(path)
    assert junk.raw == PING[5:]
    assert "BIP324" not in junk.why
    assert pong.command == "pong"


@pytest.mark.parametrize("network", [None, "lbry-regtest"])
def test_sessions_are_numbered_by_their_first_bytes(tmp_path, network):
    """The same file has the same numbers, whether its network was named or found."""
    other = Endpoint("10.0.0.3", 50001)
    first = conversation(PING, finish=False)
    second = [
        Segment(other, NODE, 999, 0, SYN, b""),
        Segment(other, NODE, 1000, 1, PSH | ACK, PONG),
    ]
    path = pcap_of([first[0], second[0], second[1], first[1]], tmp_path)
    entries = list(open_capture(path, network))
    assert [(entry.session, entry.command) for entry in entries] == [(1, "pong"), (2, "ping")]


def test_hole_in_a_capture_is_said_and_reading_goes_on_after_it(tmp_path):
    """Tcpdump drops packets when the disk is slow."""
    segments = conversation(PING + PONG[:9], finish=False)
    segments.append(Segment(CLIENT, NODE, 1000 + len(PING + PONG), 1, PSH | ACK, PING))
    entries = list(open_capture(pcap_of(segments, tmp_path)))
    assert [entry.command for entry in entries] == ["ping", "", "", "ping"]
    assert entries[1].raw == PONG[:9]
    assert entries[2].missing == len(PONG) - 9
    assert entries[2].error == "23 bytes are missing from the capture, at byte 41 of the stream"


def test_damaged_file_gives_all_before_the_damage_then_the_place(tmp_path):
    """What was recorded before the power failed is what one needs most."""
    whole = recorded(tmp_path, TALK).read_bytes()
    path = tmp_path / "torn.pcapng"
    path.write_bytes(whole[:-30])
    entries = []
    with pytest.raises(CaptureError) as caught:
        entries.extend(open_capture(path))
    assert caught.value.offset is not None


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7])
def test_no_prefix_of_a_file_makes_anything_but_a_capture_error(tmp_path, step):
    """Every way a file can be cut short, and never more than it holds."""
    whole = recorded(tmp_path, TALK[:5]).read_bytes()
    full = [entry.raw for entry in open_capture(tmp_path / "own.pcapng")]
    path = tmp_path / "cut.pcapng"
    for size in range(0, len(whole), step):
        path.write_bytes(whole[:size])
        got = []
        try:
            for entry in open_capture(path):
                got.append(entry.raw)
        except CaptureError:
            pass
        assert len(got) <= len(full)


def test_missing_file_is_an_error_of_the_call():
    """Not of the first message asked for."""
    with pytest.raises(FileNotFoundError):
        open_capture("no-such-file.pcapng")


def test_unknown_network_is_an_error_of_the_call():
    """The same."""
    with pytest.raises(KeyError, match="known:"):
        open_capture(CAPTURES / "lbcd-sync.pcap", "lbry-main")


@pytest.mark.parametrize("network", [None, "lbry-regtest"])
@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_capture_that_begins_inside_a_block_is_read_after_it(tmp_path, network, size):
    """The network is that of the first frame, however far after the beginning that is."""
    rest = bytes(range(256)) * (size // 256)
    path = pcap_of(segments_of(rest + PING + PONG, 60_000), tmp_path)
    entries = list(open_capture(path, network))
    assert b"".join(entry.raw for entry in entries) == rest + PING + PONG
    assert [entry.command for entry in entries if entry.message is not None] == ["ping", "pong"]
    assert entries[0].error == "the beginning of this message is not in the capture"
    assert all(entry.continued for entry in entries[1:-2])


def test_the_buffer_of_unknown_traffic_is_bounded(tmp_path):
    """A download that was under way is not a reason to fill the memory."""
    other = Endpoint("10.0.0.3", 50001)
    download = segments_of(bytes(5 << 20), 60_000, source=other)
    path = pcap_of([*download, *conversation(PING), *segments_of(PING, 99, source=other)], tmp_path)
    capture = open_capture(path)
    assert [entry.raw for entry in capture] == [PING]
    assert capture.skipped == 1
    [notice] = capture.stats.notices
    assert notice.startswith("connections that are passed over, since no magic of a known network")
    assert notice.endswith(": 1; --network reads all as one's")


def test_loss_before_the_network_is_known_is_reported(tmp_path):
    """Also where it is the very first bytes that are missing."""
    segments = conversation(PING, finish=False)
    segments[1] = Segment(CLIENT, NODE, 1000 + len(PING), 1, PSH | ACK, PONG[7:] + PING)
    gap, lead_in, ping = open_capture(pcap_of(segments, tmp_path))
    assert gap.error == f"{len(PING)} bytes are missing from the capture, at byte 0 of the stream"
    assert (gap.missing, gap.direction) == (len(PING), UP)
    assert lead_in.raw == PONG[7:]
    assert lead_in.error == "the beginning of this message is not in the capture"
    assert ping.raw == PING


def test_a_reset_ends_both_directions_at_once(tmp_path):
    """What the other side had begun is reported at once, and nothing is kept until the end."""
    segments = [
        Segment(CLIENT, NODE, 999, 0, SYN, b""),
        Segment(NODE, CLIENT, 500, 1000, PSH | ACK, PING[:9]),
        Segment(CLIENT, NODE, 1000, 1, PSH | ACK, PING),
        Segment(CLIENT, NODE, 1000 + len(PING), 1, RST, b""),
        *conversation_of(Endpoint("10.0.0.4", 50002), PONG),
    ]
    entries = list(open_capture(pcap_of(segments, tmp_path)))
    assert [entry.raw for entry in entries] == [PING, PING[:9], PONG]


def conversation_of(client, data):
    """A conversation of another client."""
    return [
        Segment(client, NODE, 999, 0, SYN, b""),
        Segment(client, NODE, 1000, 1, PSH | ACK, data),
    ]


VERSION = frame(REGTEST.magic, "version", bytes(80))


@pytest.mark.parametrize(
    ("first", "second", "data", "client"),
    [
        pytest.param(40_000, 9246, PING, 1, id="a network's port is the server's"),
        pytest.param(9246, 40_000, PING, 2, id="whoever is seen first"),
        pytest.param(1_000, 9246, PING, 1, id="even if it is the higher"),
        pytest.param(40_000, 20_000, VERSION, 1, id="systems give clients high ports"),
        pytest.param(20_000, 40_000, VERSION, 2, id="also if the node's version is seen first"),
        pytest.param(40_000, 50_000, VERSION, 1, id="else the client speaks first"),
        pytest.param(50_000, 40_000, VERSION, 1, id="whichever port is higher"),
        pytest.param(40_000, 50_000, PING, 2, id="else the higher port is the client's"),
        pytest.param(50_000, 40_000, PING, 1, id="also if it is seen first"),
    ],
)
def test_who_is_the_client_of_a_conversation_met_in_its_middle(
    tmp_path, first, second, data, client
):
    """No SYN tells; other things do."""
    ends = Endpoint("10.0.0.1", first), Endpoint("10.0.0.2", second)
    path = pcap_of([Segment(*ends, 1000, 1, PSH | ACK, data)], tmp_path)
    capture = open_capture(path, "lbry-regtest")
    reports = []
    capture.on_session_ended = reports.append
    [entry] = capture
    assert entry.direction is (UP if client == 1 else DOWN)
    assert reports[0].client == ends[client - 1]


def test_anyone_who_listened_before_is_the_server(tmp_path):
    """Another connection of the same capture shows it."""
    node = Endpoint("10.0.0.2", 60_000)
    segments = [
        Segment(CLIENT, node, 999, 0, SYN, b""),
        Segment(CLIENT, node, 1000, 1, PSH | ACK, PING),
        Segment(node, Endpoint("10.0.0.3", 45_000), 1000, 1, PSH | ACK, VERSION),
    ]
    _, other = open_capture(pcap_of(segments, tmp_path))
    assert other.direction is DOWN


def test_connections_that_say_nothing_any_more_are_forgotten(tmp_path, monkeypatch):
    """Scans and lost ends leave connections open for ever; a capture lasts for months."""
    monkeypatch.setattr("lbcproxy.capture.tcp.open_connections._MAX_OPEN", 8)
    clients = [Endpoint("10.0.0.1", 40_000 + number) for number in range(20)]
    segments = conversation_of(CLIENT, PING[:9])
    for number, client in enumerate(clients):
        segments += conversation_of(client, PING)
        if number < 12:
            segments += [Segment(clients[0], NODE, 1000 + 32 * number, 1, PSH | ACK, PING)]
    capture = open_capture(pcap_of(segments, tmp_path))
    ends = {}
    capture.on_session_ended = lambda report: ends.update({report.client: (report.how, report)})
    entries = list(capture)
    assert len(ends) == 21
    assert ends[CLIENT][0] == "silent"
    assert [entry.raw for entry in entries if entry.message is None] == [PING[:9]]
    assert ends[clients[0]][1].to_upstream.messages == 12
    assert ends[clients[-1]][0] == "open at the end"
    assert sum(entry.raw == PING for entry in entries) == 20 + 11


def test_old_names_of_a_capture_work_with_a_warning():
    """Programs written for an earlier release keep working for one more."""
    capture = open_capture(CAPTURES / "lbcd-sync.pcap")
    with pytest.warns(DeprecationWarning, match=r"Capture\.met is deprecated, use Capture\.stats"):
        assert capture.met is capture.stats
    reports = []
    with pytest.warns(DeprecationWarning, match=r"use Capture\.on_session_ended"):
        capture.ended = reports.append
    list(capture)
    assert [report.number for report in reports] == [1]
