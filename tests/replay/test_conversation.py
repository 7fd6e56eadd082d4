"""One session of a capture, loaded to be played."""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.capture import Recorder, open_capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.replay import NoConversation, load
from lbcproxy.replay import conversation as module
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.as_server.cursor import ReplayCursor
from lbcproxy.replay.as_server.store import save, whole_file
from lbcproxy.session import Delivery, Direction, Message, SessionInfo
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from tests.memory import most
from tests.replay.recordings import BITCOIN, talk
from tests.session.feed import Feed

CAPTURES = Path(__file__).parent.parent.parent / "captures"
CODEC = Codec(BITCOIN, 70016)
SYNC, PROBE = CAPTURES / "lbcd-sync.pcap", CAPTURES / "lbcd-probe.pcap"


@pytest.fixture
def recorded(tmp_path):
    """Return a capture of ours, of a proxy that dropped `getaddr` and put a `ping` before it."""
    path = tmp_path / "recorded.pcapng"
    network = networks.get("lbry-regtest")
    info = SessionInfo(
        number=1,
        network=network.id,
        client=Endpoint("127.0.0.1", 50_000),
        listen=Endpoint("127.0.0.1", 9000),
        upstream=Endpoint("127.0.0.1", 29246),
        local=Endpoint("127.0.0.1", 50_001),
    )
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=network.id, changes=True))
        recorder.started(info, 1)
        recorder.upstream_connected(info, 1)
        for time_ns, entry in enumerate(itertools.islice(open_capture(SYNC), 12), 2):
            deliveries = [Delivery(entry.raw, (entry,))]
            if entry.command == "getaddr":
                raw = frame(network.magic, "ping", bytes(8))
                ping = Message("ping", entry.direction, raw, entry.message.codec)
                put = msgspec.structs.replace(entry, message=ping, verdict="inject")
                dropped = msgspec.structs.replace(entry, verdict="drop")
                deliveries = [Delivery(b"", (put,), raw), Delivery(entry.raw, (dropped,), b"")]
            recorder.passed(info, entry.direction, deliveries, time_ns)
    return path


def _without(pcap: bytes, left_out: int) -> bytes:
    """Leave out the first packets of a classic pcap file."""
    position = 24
    for _ in range(left_out):
        position += 16 + int.from_bytes(pcap[position + 8 : position + 12], "little")
    return pcap[:24] + pcap[position:]


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_all_that_was_said_is_there_in_order(in_memory, monkeypatch):
    """In memory or in a file, messages come back as they were."""
    monkeypatch.setattr(module, "IN_MEMORY", in_memory)
    entries = list(open_capture(SYNC))
    with load(SYNC) as conversation:
        turns = list(conversation)
        assert [turn.position for turn, _ in turns] == list(range(len(entries)))
        for (turn, message), entry in zip(turns, entries, strict=True):
            assert (turn.direction, turn.time_ns) == (entry.direction, entry.time_ns)
            assert (message.command, message.raw) == (entry.command, entry.raw)
            assert message.record == entry.message.record
            assert message.error == entry.error
        assert conversation.notices == []


def test_what_the_capture_holds_unread_is_reported(tmp_path):
    """A tunnel beside the session may have held the rest of it."""
    esp = bytes(12) + b"\x08\0" + bytes([0x45, 0, 0, 40]) + bytes(5) + bytes([50]) + bytes(30)
    record = struct.pack("<IIII", 1_795_419_999, 0, len(esp), len(esp)) + esp
    path = tmp_path / "esp.pcap"
    path.write_bytes(SYNC.read_bytes() + record * 2)
    with load(path) as conversation:
        assert conversation.notices == ["2 packets hold no TCP that is read: ESP 2"]


def test_who_spoke_is_known():
    """The addresses, the network and both versions."""
    with load(SYNC) as conversation:
        assert conversation.network is networks.get("lbry-regtest")
        assert conversation.info.upstream == Endpoint("127.0.0.1", 29300)
        assert (conversation.client.start_height, conversation.upstream.start_height) == (0, 300)
        assert conversation.number == 1


@pytest.mark.parametrize(("number", "agent"), [(None, b"/spv-probe:1.0/"), (3, b"/dup/")])
def test_a_session_is_chosen_by_its_number(number, agent):
    """Left out, it is the first that has a handshake."""
    with load(PROBE, session=number) as conversation:
        assert conversation.client.user_agent == agent
        sessions = {entry.session for entry in open_capture(PROBE)}
        assert sessions == {1, 2, 3, 4, 5}


def test_what_cannot_be_played_is_named_with_what_can():
    """Session 4 of the capture was refused by the node; there is no 9."""
    with pytest.raises(NoConversation, match="session 4 has no handshake; .* are: 1, 2, 3, 5$"):
        load(PROBE, session=4)
    with pytest.raises(NoConversation, match="session 9 is not there; .* are: 1, 2, 3, 5$"):
        load(PROBE, session=9)


def test_a_damaged_capture_gives_what_stands_before_the_damage(tmp_path):
    """And says so; damage before any handshake is the capture's error."""
    whole = SYNC.read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[: len(whole) // 2])
    with load(path) as conversation:
        assert 4 < len(conversation.turns) < 400
        assert "damaged" in conversation.notices[0]
        assert conversation.damage.offset is not None
    path.write_bytes(whole[:100])
    with pytest.raises(CaptureError):
        load(path)


def test_a_session_met_in_its_middle_is_not_a_conversation(tmp_path):
    """Without the handshake nobody knows what either side could."""
    packets = _without(SYNC.read_bytes(), 20)
    path = tmp_path / "middle.pcap"
    path.write_bytes(packets)
    assert len(list(open_capture(path))) > 100
    with pytest.raises(NoConversation, match="none of its sessions has a handshake"):
        load(path)


def test_what_was_injected_was_not_said(recorded):
    """And what was dropped was."""
    with load(recorded) as conversation:
        commands = [turn.command for turn in conversation.turns]
        verdicts = {(e.command, e.verdict) for e in open_capture(recorded)}
        assert ("ping", "inject") in verdicts
        assert ("getaddr", "drop") in verdicts
        assert "ping" not in commands
        assert "getaddr" in commands


def test_both_directions_are_kept_apart():
    """A turn says which way it went."""
    with load(SYNC) as conversation:
        first = [turn.direction for turn in conversation.turns[:4]]
        assert first == [
            Direction.TO_UPSTREAM,
            Direction.TO_CLIENT,
            Direction.TO_CLIENT,
            Direction.TO_UPSTREAM,
        ]


@pytest.mark.slow
def test_a_long_conversation_takes_little_memory(tmp_path):
    """What is not said now lies in a file: loading, answering and saving 64 MB."""
    block = frame(BITCOIN.magic, "block", bytes(range(256)) * 4096)
    long = [Message("block", Direction.TO_CLIENT, block, CODEC)] * 64
    made = talk(*long)
    path = tmp_path / "long.pcapng"

    def play() -> None:
        save(made, path)
        with load(path) as conversation:
            assert sum(turn.command == "block" for turn in conversation.turns) == 64
            position = ReplayCursor(Answers(conversation, Direction.TO_CLIENT), 70016, Counter())
            assert sum(len(raw) for _, raw in position.begin()) == 64 * len(block)

    assert most(play) < 32 << 20
    made.close()


def test_what_is_saved_is_loaded_again(tmp_path):
    """The same messages at the same times; a disk that refuses is reported, and leaves nothing."""
    with load(SYNC) as conversation:
        save(conversation, tmp_path / "again.pcapng")
        with load(tmp_path / "again.pcapng") as again:
            assert again.info == conversation.info
            said = [(turn.direction, turn.time_ns, each.raw) for turn, each in again]
            assert said == [(turn.direction, turn.time_ns, each.raw) for turn, each in conversation]
        with pytest.raises(CaptureError, match="cannot write .*nowhere"):
            save(conversation, tmp_path / "nowhere" / "again.pcapng")
    assert [each.name for each in tmp_path.iterdir()] == ["again.pcapng"]


def test_what_is_not_written_whole_is_not_written(tmp_path):
    """What was there stays, and nothing else is left."""
    path = tmp_path / "kept.pcapng"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as write:
        write(b"half" * (1 // 0))
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        ("kept.pcapng", b"before")
    ]
    with whole_file(path) as write:
        write(b"whole")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"whole"
