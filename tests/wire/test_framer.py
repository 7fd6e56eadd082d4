"""The framer: any split of any stream gives the same items, and nothing is lost."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.session import Direction
from lbcproxy.wire import Frame, FrameEnd, FramePart, Framer, FrameStart, Junk, Run
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.scan import SCANS
from tests.engines import require_native
from tests.vector_files import load

CAPTURES = Path(__file__).parents[2] / "captures"
LBRY = networks.get("lbry-mainnet")
REGTEST = networks.get("lbry-regtest")
PING = frame(LBRY.magic, "ping", b"12345678")
VERACK = frame(LBRY.magic, "verack", b"")


def items_of(stream, cuts=(), network=LBRY, **settings):
    framer = Framer(network, **settings)
    items, begin = [], 0
    for cut in [*sorted(cuts), len(stream)]:
        items += framer.feed(stream[begin:cut])
        begin = cut
    return items + framer.close()


def joined(items):
    """Put the parts of long frames and of junk together again."""
    result = []
    for item in items:
        if isinstance(item, FrameStart):
            result.append([item.command, item.raw, None])
        elif isinstance(item, FramePart):
            result[-1][1] += item.raw
        elif isinstance(item, FrameEnd):
            result[-1][2] = item.error
        elif isinstance(item, Junk) and result and result[-1][0] is Junk:
            result[-1][1] += item.raw
        elif isinstance(item, Junk):
            result.append([Junk, item.raw, None])
        else:
            result.append([item.command, item.raw, item.error])
    return result


def chunks():
    """Return pieces of streams: good frames, damaged ones, frames of others, junk."""
    payloads = st.binary(max_size=40)
    good = st.builds(lambda payload: frame(LBRY.magic, "tx", payload), payloads)
    foreign = st.builds(lambda payload: frame(b"\xf9\xbe\xb4\xd9", "tx", payload), payloads)
    damaged = st.builds(
        lambda raw, place, bit: bytes(
            byte ^ (bit if index == place % len(raw) else 0) for index, byte in enumerate(raw)
        ),
        good,
        st.integers(0, 100),
        st.sampled_from((1, 128)),
    )
    magic = st.sampled_from((LBRY.magic, LBRY.magic[:1], LBRY.magic[:3], LBRY.magic[1:]))
    return st.one_of(good, good, foreign, damaged, magic, payloads)


STREAMS = st.lists(chunks(), max_size=8).map(b"".join)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(stream=STREAMS, data=st.data())
def test_any_split_gives_the_same_items(stream, data):
    """A network cuts where it likes; what is recorded must not depend on it."""
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    whole = items_of(stream)
    assert items_of(stream, cuts) == whole
    assert items_of(stream, range(len(stream))) == whole


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(stream=STREAMS, data=st.data(), above=st.sampled_from((0, 3, 20, 1000)))
def test_parts_joined_are_what_comes_without_parts(stream, data, above):
    """Cutting through must not change what passes and what is said of it."""
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    parts = joined(items_of(stream, cuts, stream_above=above))
    whole = joined(items_of(stream))
    assert b"".join(each[1] for each in parts) == stream
    unfinished = isinstance(items_of(stream)[-1], Junk) if stream else False
    if (
        not unfinished
    ):  # what is cut off by the end is junk in one form, a started frame in the other
        assert parts == whole


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(pieces=st.lists(chunks(), max_size=8), data=st.data(), begins=st.booleans())
def test_what_passes_by_its_headers_is_parts_alone(pieces, data, begins):
    """It may be sent before it is looked at: nothing of it is held, and nobody wants it whole."""
    framer = Framer(LBRY, 10, at_stream_start=begins, buffered_commands=frozenset({"ping"}))
    stream = b"".join(pieces)
    borders = st.sampled_from([0, *itertools.accumulate(map(len, pieces))])
    cuts = data.draw(st.lists(st.integers(0, len(stream)) | borders, max_size=10))
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(stream)]):
        passes = framer.can_forward_unparsed(stream[begin:end])
        items = framer.feed(stream[begin:end])
        if passes:
            assert all(isinstance(each, FrameStart | FramePart | FrameEnd) for each in items)
            assert framer.buffered == 0


def test_long_frames_pass_by_their_headers():
    """From a frame's beginning, from its middle, and over several."""
    long = frame(LBRY.magic, "block", bytes(100))
    for wanted, passes in (("tx", True), ("block", False)):
        framer = Framer(LBRY, 50, buffered_commands=frozenset({wanted}))
        framer.feed(PING)
        assert framer.can_forward_unparsed(long + long) == passes
        framer.feed(long[:40])
        assert framer.can_forward_unparsed(long[40:] + long) == passes
        assert not framer.can_forward_unparsed(long[40:] + PING)
        assert not framer.can_forward_unparsed(long[40:] + long[:20])


def one_by_one(items):
    """Take runs apart."""
    return [each for item in items for each in (item.each() if isinstance(item, Run) else [item])]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["native", "python"])
@settings(max_examples=400, deadline=None)
@given(stream=STREAMS, data=st.data(), above=st.sampled_from((None, 0, 20)))
def test_runs_taken_apart_are_what_comes_without_runs(name, stream, data, above):
    """What nobody looks at is passed together; that must not change what it is."""
    if name == "native":
        require_native()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    apart = data.draw(st.sampled_from((frozenset(), frozenset({"tx"}), frozenset({"ping"}))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lbcproxy.wire.framer.scan", SCANS[name])
        items = items_of(stream, cuts, stream_above=above, individually=apart)
    assert one_by_one(items) == items_of(stream, cuts, stream_above=above)
    runs = [item for item in items if isinstance(item, Run)]
    assert not apart & {command for run in runs for command in run.commands}


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(stream=STREAMS, most=st.integers(0, 50), kind=st.sampled_from((bytes, bytearray)))
def test_both_scans_find_the_same_frames(stream, most, kind):
    """The compiled one is the other one, compiled."""
    known = {b"tx".ljust(12, b"\0"): ("tx", most), b"ping".ljust(12, b"\0"): ("ping", 8)}
    found = [scan(kind(stream), LBRY.magic, known) for scan in SCANS.values()]
    assert found == found[:1] * len(found)
    names, ends = found[0]
    frames = [item for item in items_of(stream) if isinstance(item, Frame)]
    if ends:
        assert stream[: ends[0]] == frames[0].raw
        assert names == [each.command for each in frames[: len(names)]]


def test_frames_that_come_together_are_one_run():
    """Else it would be no use."""
    stream = PING * 50 + VERACK + PING + frame(LBRY.magic, "ping", b"short")[:-1]
    items = Framer(LBRY, individually=frozenset({"verack"})).feed(stream)
    assert [type(item) for item in items] == [Run, Frame, Run]
    assert items[0] == Run(PING * 50, ["ping"] * 50, list(range(32, 1601, 32)))


def test_a_scan_of_little_finds_nothing():
    """Fewer bytes than a header, down to none."""
    for scan in SCANS.values():
        for size in range(24):
            assert scan(PING[:size], LBRY.magic, {}) == ([], [])
        assert scan(PING, LBRY.magic, {}) == ([], [])


@settings(max_examples=200, deadline=None)
@given(stream=STREAMS)
def test_no_byte_is_lost(stream):
    """A tap passes on and records all there was."""
    assert b"".join(item.raw for item in items_of(stream)) == stream


@pytest.mark.parametrize("vector", [v for v in load("bad_vectors") if v["level"] == "stream"])
def test_every_split_in_two_of_the_vectors_gives_the_same_items(vector):
    """The damaged streams are where boundaries hurt."""
    network, stream = networks.get(vector["network"]), bytes.fromhex(vector["stream_hex"])
    whole = items_of(stream, network=network)
    for cut in range(len(stream)):
        assert items_of(stream, [cut], network) == whole
    assert items_of(stream, range(len(stream)), network) == whole


@pytest.mark.parametrize("name", ["lbcd-sync", "lbcd-probe"])
def test_real_streams_byte_by_byte_give_the_same_frames(name):
    """Real traffic has all that a generator does not think of."""
    streams: dict[tuple[int, Direction], bytes] = {}
    for entry in open_capture(CAPTURES / f"{name}.pcap"):
        key = (entry.session, entry.direction)
        streams[key] = streams.get(key, b"") + entry.raw
    truth = json.loads((CAPTURES / f"{name}.truth.json").read_text())
    assert sorted(map(len, streams.values())) == sorted(t["bytes"] for t in truth if t["bytes"])
    for stream in streams.values():
        whole = items_of(stream, network=REGTEST)
        assert all(isinstance(item, Frame) for item in whole)
        assert items_of(stream, range(len(stream)), REGTEST) == whole


def test_good_frames_come_out_in_order():
    """The plain case."""
    assert items_of(VERACK + PING) == [Frame("verack", VERACK), Frame("ping", PING)]


def test_bad_checksum_is_a_frame_with_an_error():
    """Core keeps the connection, lbcd drops it: the tap passes it and says so."""
    [item] = items_of(PING[:20] + b"\0\0\0\0" + PING[24:])
    assert isinstance(item, Frame)
    assert item.error is not None
    assert "checksum is 00000000" in item.error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pingpong", "unknown command 'pingpong'"),
        ("", "empty command"),
        ("ping\0x", "continues after a NUL"),
        ("pi\x01ng", "not printable ASCII"),
        ("p\xefng", "not printable ASCII"),
    ],
)
def test_odd_command_is_a_frame_with_an_error(command, words):
    """Unknown is normal on one node and fatal to the other."""
    [item] = items_of(frame(LBRY.magic, command, b"12345678"))
    assert isinstance(item, Frame)
    assert item.command == command
    assert words in (item.error or "")


def test_known_but_opaque_command_is_not_an_error():
    """BIP434's `feature` passes unread; nothing is wrong with it."""
    [item] = items_of(frame(LBRY.magic, "feature", b"12345678"))
    assert isinstance(item, Frame)
    assert item.error is None


def test_payload_over_its_types_maximum_is_a_frame_with_an_error():
    """Limits of types are a node's to enforce, not the tap's."""
    [item] = items_of(frame(LBRY.magic, "ping", b"123456789"))
    assert item == Frame("ping", item.raw, "9 bytes, at most 8 allowed for ping")


def test_junk_between_frames_is_one_item_and_the_next_frame_is_found():
    """After a fault on the line the tap reads on."""
    items = items_of(VERACK + b"junk" * 20 + PING)
    assert [type(item) for item in items] == [Frame, Junk, Frame]
    assert items[1].raw == b"junk" * 20


def test_frame_of_another_network_is_one_item_of_junk():
    """The operator named the wrong chain: the item says what it saw."""
    other = frame(bytes.fromhex("f9beb4d9"), "version", bytes(90))
    assert [type(item) for item in items_of(other + VERACK)] == [Junk, Frame]
    assert items_of(other)[0].why == "f9beb4d9 is not the network's magic fae4aaf1"


def test_claimed_length_over_32_mib_is_junk_and_the_next_frame_is_found():
    """Nothing is waited for on the word of a header."""
    header = PING[:16] + (33_554_433).to_bytes(4, "little") + PING[20:24]
    items = items_of(header + VERACK)
    assert [type(item) for item in items] == [Junk, Frame]
    assert "claims 33554433 bytes" in items[0].why


def test_encrypted_stream_says_once_what_it_is():
    """BIP324 begins with a 64 byte key; a thousand lines of junk would tell nobody."""
    stream = bytes((index * 7 + 3) % 251 for index in range(50_000))
    items = items_of(stream, range(0, len(stream), 1400), stream_above=65_536)
    assert "BIP324" in items[0].why
    assert joined(items) == [[Junk, stream, None]]
    assert len(items_of(stream)) == 1


def test_magic_by_chance_in_an_encrypted_stream_begins_no_message():
    """In a gigabyte of random bytes a magic is likely; 32 MiB must not be waited for after it."""
    noise = bytes((index * 7 + 3) % 251 for index in range(3_000))
    stream = noise + LBRY.magic + noise + LBRY.magic + noise[:10]
    assert joined(items_of(stream, range(0, len(stream), 100), stream_above=65_536)) == [
        [Junk, stream, None]
    ]
    assert b"".join(item.raw for item in items_of(stream)) == stream
    assert all(isinstance(item, Junk) for item in items_of(stream))
    assert items_of(stream, range(len(stream))) == items_of(stream)
    items = items_of(stream + PING)
    assert items[-1] == Frame("ping", PING)


def test_stream_met_in_its_middle_is_not_said_to_be_encrypted():
    """The capture began late; that is not a reason to think of BIP324."""
    junk, ping = items_of(bytes(30) + PING, at_stream_start=False)
    assert "BIP324" not in junk.why
    assert ping == Frame("ping", PING)


def test_header_alone_buffers_nothing_but_itself():
    """A claim of 32 MiB must not cost 32 MiB."""
    framer = Framer(LBRY)
    header = PING[:4] + b"block".ljust(12, b"\0") + (33_554_432).to_bytes(4, "little") + bytes(4)
    assert framer.feed(header) == []
    assert framer.buffered == 24


def test_long_frame_in_parts_is_never_held():
    """The first byte of a block does not wait for the last."""
    payload = bytes(200_000)
    raw = frame(LBRY.magic, "block", payload)
    framer = Framer(LBRY, stream_above=65_536)
    [start, part] = framer.feed(raw[:1000])
    assert start == FrameStart("block", 200_000, raw[:24])
    assert part == FramePart(raw[24:1000])
    assert framer.buffered == 0
    *_, end = framer.feed(raw[1000:])
    assert end == FrameEnd(None)


def test_long_frame_with_a_bad_checksum_says_so_at_its_end():
    """The fault is a note after what has passed already."""
    raw = bytearray(frame(LBRY.magic, "block", bytes(100_000)))
    raw[-1] ^= 1
    *_, end = items_of(bytes(raw), stream_above=65_536)
    assert isinstance(end, FrameEnd)
    assert end.error is not None
    assert "checksum" in end.error


def test_unfinished_frame_comes_out_at_the_end_with_what_is_missing():
    """A connection that breaks off leaves a trace of what it was about."""
    [item] = items_of(PING[:-3])
    assert item == Junk(PING[:-3], "'ping' cut off, 3 bytes missing")
    *_, end = items_of(frame(LBRY.magic, "block", bytes(70_000))[:-5], stream_above=65_536)
    assert end == FrameEnd("cut off, 5 bytes missing")
