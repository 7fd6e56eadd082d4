"""The settings of a session, at its start and later, and what it makes itself."""

import pytest

from lbcproxy.session import UNKNOWN_SIZE, Direction, EntryVerdict, Message, Session
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.keepalive import Ping, SendHeaders
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

STREAM_ABOVE = 65_536
LONG = frame(NETWORK.magic, "block", bytes(STREAM_ABOVE + 1))


def test_a_session_has_the_number_it_was_given():
    """It is that of its entries."""
    core = Session(7, NETWORK)
    [entry] = entries(core.receive(UP, ping(), NOW))
    assert core.number == entry.session == 7


def test_a_run_uses_up_a_number_for_each_of_its_messages():
    """Though its entries are made when they are used."""
    core = Session(1, NETWORK)
    numbers = [
        entry.number
        for count in (3, 1, 2, 1)
        for entry in entries(core.receive(UP, ping() * count, NOW))
    ]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


def test_messages_above_64_kib_pass_in_parts_and_those_up_to_it_whole():
    """Unless something reads them, nobody needs them whole."""
    core = Session(1, NETWORK)
    assert raw(core.receive(UP, LONG[:-1], NOW)) == LONG[:-1]
    [last, end] = core.receive(UP, LONG[-1:], NOW)
    assert (last.raw, end.raw, end.entries[0].length) == (LONG[-1:], b"", STREAM_ABOVE + 1)
    at_limit = frame(NETWORK.magic, "block", bytes(STREAM_ABOVE))
    assert core.receive(DOWN, at_limit[:-1], NOW) == []
    [entry] = entries(core.receive(DOWN, at_limit[-1:], NOW))
    assert entry.raw == at_limit


def test_which_messages_are_whole_can_be_changed_on_the_way():
    """A plugin that is added reads what comes from then on, in both directions."""
    core = Session(1, NETWORK)
    for direction in (UP, DOWN):
        assert core.receive(direction, LONG[:-1], NOW)
        core.receive(direction, LONG[-1:], NOW)
    core.set_buffered_commands(frozenset({"block"}))
    for direction in (UP, DOWN):
        assert core.receive(direction, LONG[:-1], NOW) == []
        [entry] = entries(core.receive(direction, LONG[-1:], NOW))
        assert entry.raw == LONG
    core.set_buffered_commands(None)
    [one, other] = core.receive(UP, ping() * 2, NOW)
    assert one.run is other.run is None


@pytest.mark.parametrize("command", ["version", "verack"])
def test_the_handshake_is_read_whatever_is_asked_for(command: str):
    """The stage of a session and its version come from it."""
    core = Session(1, NETWORK, buffered_commands=frozenset({"tx"}))
    data = {"version": version(), "verack": verack()}[command]
    first, second, third = core.receive(UP, ping() + data + ping(), NOW)
    assert first.run is not None
    assert second.run is None
    assert third.run is not None
    assert second.entries[0].command == command


def test_the_version_may_be_known_from_the_beginning():
    """A capture that begins in the middle of a session has a note of it."""
    core = Session(1, NETWORK, protocol_version=209)
    assert core.protocol_version == 209
    assert core.client.protocol_version == core.upstream.protocol_version == 209
    [entry] = entries(core.receive(UP, frame(NETWORK.magic, "ping", b""), NOW))
    assert entry.error is None


def test_each_leg_has_the_version_that_was_negotiated_with_its_node():
    """They differ where a node was shown another version than the other one sent."""
    core = session()
    core.set_versions(209, 70013)
    assert core.protocol_version == core.client.protocol_version == 209
    assert core.upstream.protocol_version == 70013
    # What goes to the client is written as the client reads it.
    assert core.codec_to(DOWN).protocol_version == 209
    assert core.codec_to(UP).protocol_version == 70013
    [bad] = entries(core.receive(UP, framed(SendHeaders()), NOW))
    [good] = entries(core.receive(DOWN, framed(SendHeaders()), NOW))
    assert "needs protocol version 70012, 209 was agreed" in (bad.error or "")
    assert good.error is None


def test_a_version_that_comes_later_does_not_change_what_was_agreed():
    """Nodes refuse a second one."""
    core = session()
    core.set_versions(70001, 70001)
    core.receive(UP, version(70013), NOW)
    core.receive(DOWN, version(70013), NOW)
    assert core.protocol_version == 70001


def test_what_is_buffered_is_counted_in_both_directions():
    """A proxy bounds the memory that all sessions hold for incomplete messages."""
    core = session(None)
    empty = core.buffered_bytes
    assert not core.is_partial(UP)
    core.receive(UP, LONG[:20_000], NOW)
    one = core.buffered_bytes
    assert 20_000 <= one - empty < 40_000
    assert (core.is_partial(UP), core.is_partial(DOWN)) == (True, False)
    core.receive(DOWN, LONG[:40_000], NOW)
    assert 40_000 <= core.buffered_bytes - one < 80_000


def test_the_memory_of_an_incomplete_message_can_be_freed():
    """It passes unread then, in parts, and its end says that it was."""
    core = session(None)
    core.receive(UP, LONG[:20_000], NOW)
    freed = core.release_partial(UP, NOW + 1)
    assert raw(freed) == LONG[:20_000]
    assert core.buffered_bytes < 1_000
    assert core.release_partial(DOWN, NOW) == []
    [*parts, end] = core.receive(UP, LONG[20_000:] + ping(), NOW + 2)
    assert raw(parts) + raw([end]) == LONG[20_000:] + ping()
    assert [entry.command for entry in entries([*parts, end])] == ["block", "ping"]


def test_what_can_be_forwarded_unparsed_is_of_long_messages_alone():
    """A relay sends that before it is looked at, in the direction that is asked about."""
    core = Session(1, NETWORK)
    core.receive(UP, ping() + LONG[:100], NOW)
    core.receive(DOWN, ping(), NOW)
    assert core.can_forward_unparsed(UP, LONG[100:])
    assert core.can_forward_unparsed(UP, LONG[100:] + LONG)
    assert not core.can_forward_unparsed(UP, LONG[100:] + ping())
    assert not core.can_forward_unparsed(DOWN, ping())
    core.salvage(UP, b"", NOW, MemoryError())
    assert not core.can_forward_unparsed(UP, LONG[100:])


def test_an_injected_message_is_an_entry_that_no_node_has_sent():
    """Its bytes are only in what was sent."""
    core = session()
    made = Message.of(Ping(nonce=3), UP, Codec(NETWORK))
    injected = core.inject(UP, NOW, made, ("a plugin",))
    [entry] = injected.entries
    assert (injected.raw, injected.sent) == (b"", ping(3))
    assert (entry.verdict, entry.trail, entry.raw) == (EntryVerdict.INJECT, ("a plugin",), ping(3))
    assert (entry.direction, entry.time_ns, entry.message) == (UP, NOW, made)
    assert core.client.commands == {}


@pytest.mark.parametrize(
    ("data", "command", "error"),
    [
        (ping(3), "ping", None),
        (ping(3)[:-1], "", "bytes that are not a message"),
        (ping(3) * 2, "", "bytes that are not a message"),
        (b"", "", "bytes that are not a message"),
        (b"noise", "", "bytes that are not a message"),
        (ping(3)[:20] + bytes(4) + ping(3)[24:], "ping", "checksum is 00000000"),
    ],
)
def test_injected_bytes_are_the_message_that_they_are(data: bytes, command: str, error: str):
    """If they are just one; otherwise they are junk."""
    core = session()
    injected = core.inject(DOWN, NOW, data, ())
    [entry] = injected.entries
    assert (injected.raw, injected.sent) == (b"", data)
    assert (entry.raw, entry.command, entry.direction) == (data, command, DOWN)
    assert entry.error == error if error is None else error in (entry.error or "")
    assert entry.verdict == EntryVerdict.INJECT


def test_a_gap_of_unknown_size_does_not_count_as_missing_bytes():
    """A capture of which nobody knows how much it lacks says so."""
    core = session()
    core.receive(UP, ping(), NOW)
    [gap] = entries(core.gap(UP, UNKNOWN_SIZE, NOW))
    assert gap.missing == UNKNOWN_SIZE == -1
    place = f"at byte {len(ping())} of the stream"
    assert gap.error == f"an unknown number of bytes are missing from the capture, {place}"
    assert core.missing == 0
    core.gap(UP, 5, NOW)
    core.gap(DOWN, 20, NOW)
    assert core.missing == 25


def test_a_magic_by_chance_after_a_gap_begins_no_message():
    """As anywhere in the middle of a stream, a command must follow it."""
    core = session()
    core.gap(UP, 5, NOW)
    [junk, entry] = entries(core.receive(UP, ping()[:4] + bytes(40) + ping(), NOW))
    assert (junk.message, entry.raw) == (None, ping())


def test_junk_after_a_gap_does_not_continue_the_junk_before_it():
    """Bytes are missing in between."""
    core = session(STREAM_ABOVE)
    core.receive(UP, bytes(100), NOW)
    [gap] = entries(core.gap(UP, 5, NOW))
    [junk] = entries(core.receive(UP, bytes(100), NOW))
    assert not gap.continued
    assert not junk.continued
    assert core.client.junk_bytes == 200


def test_bytes_of_which_nothing_is_read_are_junk_with_the_reason():
    """In both directions, and those who ask for more know that nothing is read."""
    core = session()
    assert not core.is_unread
    core.pass_unread("no key")
    assert core.is_unread is True
    for direction in Direction:
        [entry] = entries(core.receive(direction, ping(), NOW))
        assert (entry.raw, entry.message, entry.error) == (ping(), None, "no key")


@pytest.mark.parametrize("data", [broken(ping()), broken(LONG)], ids=["short", "long"])
def test_checksums_of_one_direction_can_be_trusted(data: bytes):
    """A frame that was made from an encrypted packet has a checksum that nobody sent."""
    core = session(STREAM_ABOVE)
    core.trust_checksums(UP)
    for direction in (UP, DOWN):
        [entry] = entries(core.receive(direction, data, NOW))
        assert (entry.error is None) is (direction is UP)


def test_frames_of_the_network_in_the_middle_of_a_stream_have_their_own_reason():
    """What begins with the magic did begin there."""
    core = session(at_stream_start=False)
    core.receive(UP, ping()[:30], NOW)
    [cut] = entries(core.end(UP, NOW))
    assert cut.error == "'ping' cut off, 2 bytes missing"
