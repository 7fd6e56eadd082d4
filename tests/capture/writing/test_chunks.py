"""The bytes of deliveries as they go into packets, with the notes about them."""

import msgspec
import pytest

from lbcproxy.capture.ip.segments import MAX_PAYLOAD
from lbcproxy.capture.packet import Leg
from lbcproxy.capture.writing.chunks import (
    Chunk,
    chunks_of,
    end_note,
    in_packets,
    is_injected,
    split_to_fit,
    transports_note,
    with_note,
)
from lbcproxy.capture.writing.notes import PacketNote
from lbcproxy.capture.writing.session_state import SessionState
from lbcproxy.session import Decoy, Delivery, Direction, End, EndCause, PacketForm
from tests.capture.fake_sessions import CLIENT_V2
from tests.capture.recordings import INFO
from tests.session.frames import broken, ping, session, version

UP = Direction.TO_UPSTREAM
NOTE = PacketNote("said", {"a": 1})


def run_of(*data):
    """Return a delivery of messages that passed together."""
    [delivery] = session().receive(UP, b"".join(data), 1)
    assert delivery.run is not None
    return delivery


def single(data=None, **fields):
    """Return a delivery of one message that passed alone, with some values of its entry."""
    [delivery, *_] = session().receive(UP, version() if data is None else data, 1)
    [entry] = delivery.entries
    entry = msgspec.structs.replace(entry, **fields)
    return Delivery(delivery.raw, (entry,))


# Splitting.


def test_what_fits_is_not_split():
    """Not even looked at."""
    chunks = [Chunk(bytes(MAX_PAYLOAD), None, (10, MAX_PAYLOAD))]
    assert split_to_fit(chunks) is chunks


@pytest.mark.parametrize(
    ("ends", "sizes"),
    [
        # As many whole messages as fit.
        ((100, MAX_PAYLOAD, MAX_PAYLOAD + 1), (MAX_PAYLOAD, 1)),
        ((100, MAX_PAYLOAD + 1), (100, MAX_PAYLOAD - 99)),
        # One that is longer than a packet is by itself.
        ((MAX_PAYLOAD + 5, MAX_PAYLOAD + 6), (MAX_PAYLOAD + 5, 1)),
        ((7, MAX_PAYLOAD + 9, MAX_PAYLOAD + 10), (7, MAX_PAYLOAD + 2, 1)),
        ((MAX_PAYLOAD, 2 * MAX_PAYLOAD, 3 * MAX_PAYLOAD), (MAX_PAYLOAD,) * 3),
        # One message is split elsewhere.
        ((MAX_PAYLOAD + 1,), (MAX_PAYLOAD + 1,)),
        ((), (MAX_PAYLOAD + 1,)),
    ],
)
def test_messages_are_split_where_they_end(ends, sizes):
    """Between two chunks that are not."""
    size = ends[-1] if ends else MAX_PAYLOAD + 1
    short = Chunk(b"short")
    found = list(split_to_fit([short, Chunk(bytes(size), None, ends), short]))
    assert tuple(len(each.raw) for each in found) == (5, *sizes, 5)
    assert found[0] is short


@pytest.mark.parametrize("size", [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD])
def test_bytes_are_split_into_packets_without_a_copy(size):
    """There may be no memory for one."""
    raw = bytes(size)
    parts = list(in_packets(raw))
    assert [len(each) for each in parts] == [
        min(MAX_PAYLOAD, size - at) for at in range(0, size, MAX_PAYLOAD)
    ]
    assert all(each.obj is raw for each in parts)


# Notes.


@pytest.mark.parametrize(
    ("ends", "sizes", "rest"),
    [((), (9,), ()), ((4, 9), (4, 5), (5,)), ((4, 6, 9), (4, 5), (2, 5)), ((9,), (9,), ())],
)
def test_a_note_is_on_the_first_message(ends, sizes, rest):
    """What comes after it has none."""
    found = with_note(Chunk(b"123456789", None, ends), NOTE)
    assert tuple(len(each.raw) for each in found) == sizes
    assert [each.note for each in found] == [NOTE, None][: len(found)]
    assert tuple(found[-1].ends) == rest if len(found) > 1 else True


def test_a_note_is_on_one_packet():
    """Of a message that is longer."""
    first, rest = with_note(Chunk(bytes(MAX_PAYLOAD + 3)), NOTE)
    assert (len(first.raw), first.note) == (MAX_PAYLOAD, NOTE)
    assert (len(rest.raw), rest.note) == (3, None)


def test_two_notes_are_one():
    """Both are said; where they have the same, that about the message counts."""
    chunk = Chunk(b"raw", PacketNote("done", {"a": 2, "b": 3}), (), 5)
    [found] = with_note(chunk, PacketNote("said", {"a": 1, "c": 4}))
    assert found.note.comment == "said; done"
    assert dict(found.note.fields) == {"a": 2, "b": 3, "c": 4}
    assert (found.raw, found.missing) == (b"raw", 5)


# Deliveries.


def test_messages_that_passed_together_are_a_chunk():
    """With where they end."""
    [chunk] = chunks_of([run_of(ping(1), ping(2))], is_sent=False)
    assert (chunk.raw, chunk.note) == (ping(1) + ping(2), None)
    assert list(chunk.ends) == [32, 64]


def test_a_message_of_which_nothing_is_to_be_said_has_no_note():
    """It is its bytes, on either leg."""
    for is_sent in (False, True):
        [chunk] = chunks_of([single()], is_sent=is_sent)
        assert (chunk.raw, chunk.note, chunk.missing) == (version(), None, 0)
    assert chunks_of([Delivery(b"part of a message")], is_sent=False) == [
        Chunk(b"part of a message")
    ]


def test_a_leg_has_what_was_on_it():
    """What was received, or what was sent instead."""
    [delivery] = [single(verdict="rewrite", trail=("guard",))]
    delivery = msgspec.structs.replace(delivery, sent=b"instead")
    [chunk] = chunks_of([delivery], is_sent=False)
    assert chunk.raw == version()
    assert (chunk.note.fields["verdict"], chunk.note.fields["trail"]) == ("rewrite", ("guard",))
    assert chunk.note.comment == "#1 version verdict=rewrite by guard"
    [chunk] = chunks_of([delivery], is_sent=True)
    assert chunk.raw == b"instead"
    dropped = msgspec.structs.replace(delivery, sent=b"")
    assert len(chunks_of([dropped], is_sent=False)) == 1
    assert chunks_of([dropped], is_sent=True) == []
    injected = Delivery(b"", delivery.entries, b"made up")
    assert chunks_of([injected], is_sent=False) == []
    assert chunks_of([injected], is_sent=True)[0].raw == b"made up"


def test_the_end_of_a_long_message_notes_its_last_bytes():
    """It has none of its own."""
    end = Delivery(b"", single(verdict="pass", comments=("hello",)).entries)
    found = chunks_of([Delivery(b"first"), Delivery(b"last"), end], is_sent=False)
    assert [each.raw for each in found] == [b"first", b"last"]
    assert found[0].note is None
    assert found[1].note.fields["comments"] == ("hello",)
    assert found[1].note.comment == "#1 version\nhello"
    assert chunks_of([end], is_sent=False) == []


def test_missing_bytes_are_a_chunk_without_bytes():
    """Their note says how many."""
    [gap] = session().gap(UP, 70, 1)
    [chunk] = chunks_of([gap], is_sent=False)
    assert (chunk.raw, chunk.missing) == (b"", 70)
    assert chunk.note.fields["missing"] == 70
    assert chunk.note.comment.startswith("#1 gap")


def test_what_is_wrong_is_noted():
    """A frame, or bytes that are none; of a run of those only its start."""
    [delivery, *_] = session().receive(UP, broken(version()), 1)
    [chunk] = chunks_of([delivery], is_sent=False)
    error = str(delivery.entries[0].message.frame_error)
    assert str(chunk.note.fields["error"]) == error
    assert chunk.note.comment == f"#1 version error={error}"
    core = session()
    [junk, *_] = [*core.receive(UP, b"rubbish" * 10, 1), *core.end(UP, 2)]
    [chunk] = chunks_of([junk], is_sent=False)
    assert chunk.note.comment.startswith("#1 junk error=")
    [entry] = junk.entries
    more = Delivery(junk.raw, (msgspec.structs.replace(entry, continued=True),))
    assert chunks_of([more], is_sent=False) == [Chunk(junk.raw)]


def test_which_deliveries_only_one_leg_has():
    """Those that no node sent."""
    assert is_injected(single(verdict="inject"))
    assert not is_injected(single())
    assert not is_injected(run_of(ping(1), ping(2)))
    assert not is_injected(Delivery(b"part of a message"))


def test_the_end_of_a_session_is_noted_on_its_client_leg():
    """If there is one to be told."""
    state = SessionState(INFO)
    assert end_note(state, Leg.CLIENT) is None
    state.end = End(EndCause.PLUGIN, detail="bad\x1b", name="guard")
    note = end_note(state, Leg.CLIENT)
    assert note.fields == {"session": 1, "end": state.end.to_dict()}
    assert note.comment.startswith("session 1 ended: ")
    assert "\x1b" not in note.comment
    assert end_note(state, Leg.UPSTREAM) is None


def test_a_note_on_transports_has_them_in_words_and_as_fields():
    """For people, and for reading."""
    info = INFO.with_transports(CLIENT_V2)
    note = transports_note(info)
    assert note.comment == f"session 1: {CLIENT_V2}"
    assert note.fields == {"session": 1, "transports": CLIENT_V2.to_dict()}


@pytest.mark.parametrize("fields", [{}, {"verdict": "drop", "trail": ("guard",)}])
def test_an_unusual_form_is_noted(fields):
    """Before what was decided about the message."""
    [chunk] = chunks_of([single(form=PacketForm(decoys=2), **fields)], is_sent=False)
    assert chunk.note is not None
    assert chunk.note.fields["form"] == PacketForm(decoys=2)
    decided = " verdict=drop by guard" if fields else ""
    assert chunk.note.comment == f"#1 version v2: 2 decoys before it{decided}"
    [usual] = chunks_of([single(form=PacketForm())], is_sent=False)
    assert usual.note is None


def test_a_decoy_has_no_chunk():
    """It is neither bytes of a message nor something that is missing."""
    assert chunks_of([Delivery(b"", packet=Decoy(5))], is_sent=False) == []
