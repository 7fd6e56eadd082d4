"""Tests of the core: bytes of two nodes in, what passed between them out."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.session import Delivery, Direction, Entry, NodeState, Session, Stage
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import Ping
from tests.session.frames import (
    DOWN,
    NETWORK,
    NOW,
    UP,
    broken,
    entries,
    framed,
    ping,
    raw,
    session,
    verack,
    version,
)

OTHER = networks.get("lbry-mainnet")
STREAM_ABOVE = 65_536
LONG = framed(Inv(inventory=(InventoryVector(type=InvType.TX, hash=bytes(range(32))),) * 3000))
"""A frame whose payload of 108,003 bytes is cut through."""


def entry_rows(found: list[Entry]) -> list[tuple[Any, ...]]:
    """What entries say, without their number; a run of junk as one."""
    result: list[tuple[Any, ...]] = []
    for entry in found:
        if entry.continued and result and result[-1][0] is entry.direction:
            direction, _, before, length, error = result[-1]
            result[-1] = (direction, "", before + entry.raw, length + entry.length, error)
        else:
            result.append((entry.direction, entry.command, entry.raw, entry.length, entry.error))
    return result


def receive_all(chunks: list[bytes], stream_above: int | None = None) -> list[Delivery]:
    """What a session says of one direction in these chunks, its end included."""
    core = session(stream_above)
    deliveries = [each for chunk in chunks for each in core.receive(UP, chunk, NOW)]
    return deliveries + core.end(UP, NOW)


# Entries.


def test_a_message_becomes_an_entry():
    """The entry is what captures, lines and scripts are made of."""
    core = session()
    [delivery] = core.receive(UP, ping(7), NOW)
    entry = delivery.entries[0]
    assert delivery.raw == ping(7)
    assert entry is not None
    assert (entry.number, entry.time_ns, entry.session, entry.direction) == (1, NOW, 1, UP)
    assert (entry.command, entry.raw, entry.payload) == ("ping", ping(7), ping(7)[24:])
    assert (entry.length, entry.error, entry.verdict, entry.trail) == (8, None, "pass", ())
    assert entry.message is not None
    assert entry.message.record == Ping(nonce=7)


def test_the_time_is_that_of_the_bytes_that_completed_it():
    """Before that nobody could have acted on it."""
    core = session()
    assert core.receive(UP, ping()[:30], NOW) == []
    [entry] = entries(core.receive(UP, ping()[30:], NOW + 5))
    assert entry.time_ns == NOW + 5


def test_entries_are_numbered_over_both_directions_and_all_sessions():
    """A number names one entry of a run, as in the lines of `show`."""
    numbers = itertools.count(1)
    one, other = (Session(number, NETWORK, numbers=numbers) for number in (1, 2))
    found = [
        *one.receive(UP, ping(), NOW),
        *other.receive(UP, ping(), NOW),
        *one.receive(DOWN, ping() + ping(), NOW),
    ]
    assert [(each.number, each.session) for each in entries(found)] == [
        (1, 1),
        (2, 2),
        (3, 1),
        (4, 1),
    ]


def test_directions_do_not_mix():
    """Half a message one way and half one the other way are two halves."""
    core = session()
    core.receive(UP, ping(1)[:10], NOW)
    assert core.receive(DOWN, ping(1)[10:], NOW) == []
    [entry] = entries(core.receive(UP, ping(1)[10:], NOW))
    assert (entry.direction, entry.raw) == (UP, ping(1))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (broken(ping()), "checksum is 00000000"),
        (frame(NETWORK.magic, "nonsense", b"x"), "unknown command 'nonsense'"),
        (frame(NETWORK.magic, "verack", b"x"), "at most 0 allowed"),
        (frame(NETWORK.magic, "ping", b"x"), "at byte 0"),
    ],
)
def test_a_bad_message_passes_with_what_is_wrong(data: bytes, error: str):
    """A tap reports and does not enforce."""
    core = session()
    [entry, after] = entries(core.receive(UP, data + ping(), NOW))
    assert entry.raw == data
    assert error in (entry.error or "")
    assert (after.raw, after.error) == (ping(), None)


# Any split.

pieces = st.one_of(
    st.sampled_from([version(), verack(), ping(), broken(ping()), ping()[:30], LONG[:200]]),
    st.binary(max_size=60),
    st.sampled_from([NETWORK.magic, NETWORK.magic[:3], frame(OTHER.magic, "ping", bytes(8))]),
)


@given(st.lists(pieces, max_size=6).map(b"".join), st.data())
def test_any_split_gives_the_same_entries(stream: bytes, data: st.DataObject):
    """How TCP happened to cut a stream says nothing about the messages in it."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    places = [0, *cuts, len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    whole, split = receive_all([stream]), receive_all(chunks)
    assert raw(whole) == raw(split) == stream
    assert entry_rows(entries(split)) == entry_rows(entries(whole))
    assert b"".join(entry.raw for entry in entries(split)) == stream


@pytest.mark.parametrize("stream_above", [None, STREAM_ABOVE])
def test_one_byte_at_a_time_gives_the_same_entries(stream_above: int | None):
    """The worst split there is."""
    stream = b"junk" + version() + verack() + ping()[:-1] + ping() + b"\0" * 40 + ping() + b"end"
    whole = receive_all([stream], stream_above)
    split = receive_all([stream[place : place + 1] for place in range(len(stream))], stream_above)
    assert raw(split) == stream
    assert entry_rows(entries(split)) == entry_rows(entries(whole))


@given(st.lists(pieces, max_size=6).map(b"".join), st.data())
def test_any_split_cut_through_passes_all_bytes(stream: bytes, data: st.DataObject):
    """The live proxy's way of reading has the same bytes and the same messages."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    places = [0, *cuts, len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    split = receive_all(chunks, STREAM_ABOVE)
    assert raw(split) == stream
    assert entry_rows(entries(split)) == entry_rows(entries(receive_all([stream], STREAM_ABOVE)))
    whole = [entry for entry in entries(receive_all([stream])) if entry.message is not None]
    found = [entry for entry in entries(split) if entry.message is not None and entry.raw]
    assert [entry.raw for entry in found] == [entry.raw for entry in whole]


# Handshake.


def handshake(client: bytes, upstream: bytes) -> Session:
    """A session in which both have said who they are."""
    core = session()
    core.receive(UP, client, NOW)
    core.receive(DOWN, upstream, NOW)
    return core


@pytest.mark.parametrize(
    ("client", "upstream", "agreed"),
    [
        (70013, 70013, 70013),
        (70016, 70002, 70002),
        (209, 70013, 209),
        (-1, 70013, 70013),
        (70013, -(2**31), 70013),
    ],
)
def test_the_lower_version_is_agreed_upon(client: int, upstream: int, agreed: int):
    """Payloads are read as both nodes do; a negative version is a huge one to lbcd and btcd."""
    core = handshake(version(client), version(upstream))
    assert core.protocol_version == agreed


def test_nothing_is_agreed_until_both_have_spoken():
    """Half a handshake is none."""
    core = session()
    assert core.protocol_version is None
    core.receive(UP, version(209), NOW)
    assert core.protocol_version is None


def test_what_comes_after_the_agreement_is_read_by_it():
    """A ping of an old node has no nonce, and that is not an error then."""
    core = handshake(version(209), version(70013))
    [entry] = entries(core.receive(UP, frame(NETWORK.magic, "ping", b""), NOW))
    assert entry.error is None
    [entry] = entries(core.receive(DOWN, frame(NETWORK.magic, "sendheaders", b""), NOW))
    assert entry.error is not None
    assert "needs protocol version 70012, 209 was agreed" in entry.error


def test_each_side_is_tracked_by_what_it_sent():
    """Neither is ready before both have sent `version` and `verack`."""
    core = handshake(version(user_agent=b"/client/", start_height=0), version(services=13))
    core.receive(DOWN, verack(), NOW)
    assert (core.client.stage, core.upstream.stage) == (Stage.VERSION_SEEN, Stage.VERACK_SEEN)
    core.receive(UP, verack(), NOW)
    client, upstream = core.client.statistics(), core.upstream.statistics()
    assert client.stage is upstream.stage is Stage.READY
    assert (client.user_agent, client.start_height) == (b"/client/", 0)
    assert (upstream.services, upstream.user_agent) == (13, b"/test:1/")
    assert (client.messages, client.bytes) == (2, len(version(user_agent=b"/client/") + verack()))


def test_sides_may_be_somebody_else_s():
    """The peers of a live session show the same numbers as its core."""
    client, upstream = NodeState(), NodeState()
    core = session(client=client, upstream=upstream)
    core.receive(UP, ping(), NOW)
    assert core.client is client
    assert core.upstream is upstream
    assert client.commands == {"ping": 1}
    assert upstream.commands == {}


def test_a_version_split_over_chunks_counts_once():
    """Counting is of messages, not of reads."""
    core = session()
    for place in range(len(version())):
        core.receive(UP, version()[place : place + 1], NOW)
    assert core.client.commands == {"version": 1}
    assert core.client.bytes == len(version())


# Junk.


def test_a_run_of_junk_has_one_beginning():
    """A megabyte of noise is one line in a list, not a thousand."""
    core = session(STREAM_ABOVE)
    found = []
    for _ in range(5):
        found += entries(core.receive(UP, b"noise " * 100, NOW))
    found += entries(core.receive(UP, ping(), NOW))
    found += entries(core.receive(UP, b"noise again, and enough", NOW))
    found += entries(core.end(UP, NOW))
    runs = [entry.continued for entry in found if entry.message is None]
    assert runs.count(False) == 2
    assert b"".join(entry.junk for entry in found) == b"noise " * 500 + b"noise again, and enough"
    assert core.client.junk_bytes == 3000 + 23
    assert core.client.commands == {"ping": 1}


def test_junk_of_one_direction_does_not_continue_that_of_the_other():
    """Each direction has runs of its own."""
    core = session(STREAM_ABOVE)
    up = entries(core.receive(UP, bytes(100), NOW))
    down = entries(core.receive(DOWN, bytes(100), NOW))
    assert [entry.continued for entry in (*up, *down)].count(False) == 2


def test_the_frames_of_another_network_are_named():
    """Whoever chose the wrong --network learns which one would be right."""
    core = session()
    [entry] = entries(core.receive(UP, frame(OTHER.magic, "ping", bytes(8)), NOW))
    assert entry.message is None
    assert entry.error is not None
    assert "use --network lbry-mainnet" in entry.error


def test_a_magic_of_two_networks_names_both():
    """LBRY's simnet and Bitcoin's cannot be distinguished."""
    core = session()
    simnet = networks.get("lbry-simnet")
    [entry] = entries(core.receive(UP, frame(simnet.magic, "ping", bytes(8)), NOW))
    assert entry.error is not None
    assert "bitcoin-simnet or lbry-simnet" in entry.error


def test_the_own_network_is_not_a_hint():
    """What is cut off or too long has the right magic; a hint to use it would mislead."""
    core = session()
    core.receive(UP, ping()[:-1], NOW)
    [entry] = entries(core.end(UP, NOW))
    assert "--network" not in (entry.error or "")


# Cut-through.


@given(st.lists(st.integers(0, len(LONG)), max_size=10))
def test_a_long_message_passes_in_parts(cuts: list[int]):
    """It need not be held to be passed on; its entry comes with its end."""
    places = [0, *sorted(cuts), len(LONG)]
    core = session(STREAM_ABOVE)
    deliveries: list[Delivery] = []
    for start, end in itertools.pairwise(places):
        found = core.receive(UP, LONG[start:end], NOW)
        deliveries += found
        arrived = end if end >= 24 else 0
        assert len(raw(deliveries)) == arrived  # nothing is held but a header in the making
    assert raw(deliveries) == LONG
    [entry] = entries(deliveries)
    assert deliveries[-1].entries[0] is entry
    assert (entry.command, entry.length, entry.error) == ("inv", len(LONG) - 24, None)
    assert entry.message is not None
    assert entry.message.head == LONG[:256]
    assert entry.message.record is None
    assert entry.message.summary() == "size 3000 (long, not read)"
    assert core.client.commands == {"inv": 1}


def test_a_message_at_the_limit_is_whole():
    """The limit itself is not above the limit."""
    core = session(stream_above=8)
    [entry] = entries(core.receive(UP, ping(), NOW))
    assert entry.raw == ping()


def test_a_long_message_is_whole_if_somebody_reads_it():
    """Scripts and trees ask for every message."""
    [entry] = entries(receive_all([LONG[:1000], LONG[1000:]]))
    assert entry.raw == LONG
    assert entry.message is not None
    assert isinstance(entry.message.record, Inv)


def test_a_long_message_with_a_bad_checksum_says_so_at_its_end():
    """It has passed by then, which is what the note is about."""
    deliveries = receive_all([broken(LONG) + ping()], STREAM_ABOVE)
    assert raw(deliveries) == broken(LONG) + ping()
    [long, after] = entries(deliveries)
    assert "checksum is 00000000" in (long.error or "")
    assert after.error is None


def test_a_long_message_that_ends_too_soon_says_how_much_is_missing():
    """A node that dies in a block leaves the block's beginning as evidence."""
    core = session(STREAM_ABOVE)
    deliveries = core.receive(UP, LONG[:-10], NOW)
    assert entries(deliveries) == []
    [entry] = entries(core.end(UP, NOW + 1))
    assert (entry.command, entry.error) == ("inv", "cut off, 10 bytes missing")
    assert entry.time_ns == NOW + 1
    assert core.end(UP, NOW) == []


# Ends and gaps.


def test_an_unfinished_message_is_reported_at_the_end():
    """Its bytes are an entry of their own, with what they would have been."""
    core = session()
    assert core.receive(UP, ping()[:-3], NOW) == []
    deliveries = core.end(UP, NOW + 1)
    [entry] = entries(deliveries)
    assert raw(deliveries) == entry.junk == ping()[:-3]
    assert entry.message is None
    assert entry.error == "'ping' cut off, 3 bytes missing"
    assert core.end(UP, NOW) == []


@pytest.mark.parametrize("direction", Direction)
def test_an_end_at_a_message_s_end_leaves_nothing(direction: Direction):
    """The usual end."""
    core = session()
    core.receive(direction, ping(), NOW)
    assert core.end(direction, NOW) == []


def test_a_gap_is_reported_and_reading_begins_again_after_it():
    """A capture that lost packets shows where, and the messages after the hole."""
    core = session()
    core.receive(UP, ping()[:10], NOW)
    [cut, gap] = entries(core.gap(UP, 1448, NOW))
    assert not cut.continued
    assert cut.junk == ping()[:10]
    assert gap.message is None
    assert (gap.junk, gap.length, gap.missing) == (b"", 0, 1448)
    assert gap.error == "1,448 bytes are missing from the capture, at byte 10 of the stream"
    [after] = entries(core.receive(UP, ping(2), NOW))
    assert after.raw == ping(2)
    [second] = entries(core.gap(UP, 5, NOW))
    place = 10 + 1448 + len(ping(2))
    assert second.error == f"5 bytes are missing from the capture, at byte {place:,} of the stream"


def test_bytes_that_are_known_to_be_no_message_are_junk_with_the_reason_given():
    """Such as some that cannot be decrypted: they are not searched for messages."""
    core = session()
    [before, after] = entries(core.junk(UP, ping(), "noise", NOW) + core.junk(UP, b"z", "more", 1))
    assert (before.raw, before.message, before.error) == (ping(), None, "noise")
    assert (after.raw, after.error, after.continued, after.time_ns) == (b"z", "more", True, 1)
    assert core.junk(UP, b"", "noise", NOW) == []
    assert core.client.bytes == core.client.junk_bytes == len(ping()) + 1


def test_a_gap_inside_a_long_message_ends_it():
    """What comes after the hole is not its payload."""
    core = session(STREAM_ABOVE)
    core.receive(UP, LONG[:1000], NOW)
    [long, gap] = entries(core.gap(UP, 10, NOW))
    assert "cut off" in (long.error or "")
    assert gap.command == ""
    [after] = entries(core.receive(UP, ping(), NOW))
    assert after.command == "ping"


def test_the_middle_of_a_message_after_a_gap_is_junk_up_to_the_next():
    """The reader finds its way back into the stream by the magic."""
    core = session()
    core.receive(UP, ping(), NOW)
    core.gap(UP, 100, NOW)
    rest = LONG[500:900] + ping()[:4] + bytes(40)
    found = entries(core.receive(UP, rest + ping(), NOW))
    assert [entry.raw for entry in found if entry.message is not None] == [ping()]
    assert b"".join(entry.raw for entry in found) == rest + ping()
    assert found[0].error == "the beginning of this message is not in the capture"
    assert not found[0].continued
    [cut] = [*entries(core.receive(UP, ping()[:9], NOW)), *entries(core.end(UP, NOW))]
    assert "cut off" in cut.error


def test_a_stream_whose_first_bytes_are_missing_is_of_no_other_kind():
    """That it begins with neither magic nor command says nothing: it does not begin there."""
    core = session()
    core.gap(UP, 100, NOW)
    found = entries(core.receive(UP, bytes(40) + ping(), NOW))
    assert found[0].error == "the beginning of this message is not in the capture"
    assert [entry.command for entry in found][:2] == ["", "ping"]


def test_a_conversation_met_in_its_middle_leads_in_with_what_is_not_a_message():
    """Up to the first magic: the rest of a message that began before."""
    core = Session(1, networks.get("lbry-regtest"), at_stream_start=False)
    chance = ping()[:4] + bytes(40)  # a magic in a block, by chance or on purpose
    lead_in, first = entries(core.receive(UP, ping()[9:] + chance + ping(2), NOW))
    assert lead_in.error == "the beginning of this message is not in the capture"
    assert (lead_in.raw, first.raw) == (ping()[9:] + chance, ping(2))
