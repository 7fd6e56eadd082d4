"""How legs carry messages, in captures: what a session says of it comes back."""

import itertools
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcproxy.capture import events, open_capture
from lbcproxy.capture.packet import Leg
from lbcproxy.capture.tools.convert import choose_format, open_writer
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.chunks import Chunk
from lbcproxy.capture.writing.notes import PacketNote
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, PacketForm, Transports
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import delivery_of, dropped
from tests.capture.fake_sessions import (
    BOTH_V2,
    CLIENT_V2,
    DOWN,
    NETWORK,
    OPAQUE,
    UP,
    ping,
)
from tests.capture.told_transports import notes, packets, recorded, told
from tests.session.packet_forms import FORMS
from tests.tools import tshark

LONG_TYPE = PacketForm(is_long=True, decoys=2, garbage=7)


LEGS = [
    *({"legs": legs, "changes": changes} for legs in ("auto", "both") for changes in (False, True)),
    {"legs": "client"},
]


@pytest.mark.parametrize("settings", LEGS, ids=str)
@pytest.mark.parametrize("transports", [BOTH_V2, CLIENT_V2, OPAQUE], ids=["v2", "mixed", "opaque"])
def test_the_first_packet_after_the_key_exchange_tells_the_transports(
    tmp_path, transports, settings
):
    """To people and to programs, once, whichever legs are recorded."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, transports)
        sessions.receive(1, ping(1) + ping(2))
        sessions.receive(1, ping(3), DOWN)
        sessions.end(1)

    path = tmp_path / "x.pcapng"
    live = recorded(path, happen, **settings)
    assert told(path) == live
    assert live[0] == transports
    [note] = [each for each in notes(path) if "transports" in each]
    assert note == {
        "schema": "lbcproxy/1",
        "session": 1,
        "transports": transports.to_dict(),
    }
    [packet] = [each for each in packets(path) if "session 1: client" in "".join(each.comments)]
    assert packet.comments == (f"session 1: {transports}",)
    assert packet.data.endswith(ping(1))


def test_usual_messages_cost_no_more_than_in_the_clear(tmp_path):
    """They are v1 frames in runs; only the one note is added."""

    def happen(sessions):
        sessions.start(1)
        if encrypted:
            sessions.agree(1, BOTH_V2)
        for number in range(100):
            sessions.receive(1, ping(number) + ping(number))
        sessions.end(1)

    sizes = []
    for encrypted in (False, True):
        path = tmp_path / f"{encrypted}.pcapng"
        recorded(path, happen)
        sizes.append((len(packets(path)), path.stat().st_size))
    (plain, plain_size), (more, more_size) = sizes
    assert more - plain <= 2  # the first run is split after the message with the note
    assert more_size - plain_size < 800


def test_an_unusual_message_has_a_packet_of_its_own(tmp_path):
    """With what is unusual in words and as fields."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        sessions.receive(1, ping(1))
        sessions.receive_packet(1, ping(2), LONG_TYPE)
        sessions.receive_packet(1, ping(3), PacketForm(version_size=5))
        sessions.receive(1, ping(4))

    path = tmp_path / "x.pcapng"
    assert recorded(path, happen) == told(path)
    [first, second] = [each for each in packets(path) if b"ping" in each.data and each.custom][1:]
    assert first.data.endswith(ping(2))
    assert first.comments == ("#1 ping v2: long type, 2 decoys before it, 7 bytes of garbage",)
    assert json.loads(first.custom[0]) == {
        "schema": "lbcproxy/1",
        "session": 1,
        "number": 2,
        "form": {"long": True, "decoys": 2, "garbage": 7},
    }
    assert second.comments == ("#1 ping v2: version packet of 5 bytes",)


def test_an_unusual_message_may_be_the_first(tmp_path):
    """Its packet has both notes as one."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        sessions.receive_packet(1, ping(1), LONG_TYPE)

    path = tmp_path / "x.pcapng"
    assert recorded(path, happen) == told(path)
    [_, note] = notes(path)
    assert {"transports", "form", "number"} <= note.keys()


@pytest.mark.parametrize("size", [100_000, 300_000])
def test_a_long_message_has_its_form(tmp_path, size):
    """Also one that passes in parts."""
    raw = frame(NETWORK.magic, "block", bytes(size))

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        sessions.receive_packet(1, raw, LONG_TYPE)
        sessions.receive(1, ping(1))

    path = tmp_path / "x.pcapng"
    recorded(path, happen)
    assert told(path) == [
        BOTH_V2,
        (UP, BOTH_V2, raw, LONG_TYPE),
        (UP, BOTH_V2, ping(1), None),
    ]


def test_decoys_write_nothing(tmp_path):
    """They are counted in the form of the next message, and are no part of a message."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        for direction in Direction:
            if decoys:
                sessions.receive_decoy(1, direction)
            else:
                sessions.tick()
            sessions.receive(1, ping(1), direction)
        if decoys:
            sessions.receive_decoy(1)

    files = []
    for decoys in (False, True):
        files.append(tmp_path / f"{decoys}.pcapng")
        recorded(files[-1], happen)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_session_without_messages_tells_its_transports_at_its_end(tmp_path):
    """A node may say goodbye at once."""
    for name in ("end", "reset"):
        path = tmp_path / f"{name}.pcapng"

        def happen(sessions, name=name):
            sessions.start(1)
            sessions.agree(1, BOTH_V2)
            getattr(sessions, name)(1)

        recorded(path, happen)
        assert told(path) == [BOTH_V2]


def test_transports_may_be_told_again(tmp_path):
    """In mode terminate the upstream's session id is known later."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, CLIENT_V2)
        sessions.receive(1, ping(1))
        sessions.agree(1, BOTH_V2)
        sessions.receive(1, ping(2), DOWN)

    path = tmp_path / "x.pcapng"
    assert recorded(path, happen) == told(path)
    assert [each for each in told(path) if isinstance(each, Transports)] == [CLIENT_V2, BOTH_V2]


def test_what_the_other_leg_cannot_carry_is_recorded_without_changes_too(tmp_path):
    """A file of the client's leg holds what the node sent and the client did not get."""
    step = dropped(DOWN, ping(1))
    path = tmp_path / "x.pcapng"

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, CLIENT_V2)
        info = sessions.sessions[1][1]
        sessions.observer.passed(info, DOWN, [delivery_of(step, 1, sessions.tick())], sessions.now)

    recorded(path, happen)
    [entry] = open_capture(path)
    assert (entry.raw, entry.verdict, entry.trail) == (ping(1), "drop", step.trail)


STEPS = st.one_of(
    st.tuples(st.just("connect")),
    st.tuples(st.just("agree"), st.sampled_from([BOTH_V2, CLIENT_V2, OPAQUE])),
    st.tuples(st.just("run"), st.sampled_from(list(Direction)), st.integers(1, 3)),
    st.tuples(st.just("packet"), st.sampled_from(list(Direction)), FORMS),
    st.tuples(st.just("decoy"), st.sampled_from(list(Direction))),
    st.tuples(st.just("junk"), st.sampled_from(list(Direction))),
)


@given(
    steps=st.lists(STEPS, max_size=20),
    settings=st.sampled_from(LEGS),
    formats=st.lists(st.sampled_from(["x.pcapng", "x.ndjson"]), max_size=2),
    ends=st.sampled_from(["end", "reset"]),
)
@example([("agree", BOTH_V2), ("connect",)], LEGS[3], [], "end")
def test_whatever_happens_comes_back(tmp_path_factory, steps, settings, formats, ends):
    """Transports and forms, in their places, also after the file was converted."""
    folder = tmp_path_factory.mktemp("x")
    numbers = itertools.count(1)

    def happen(sessions):
        is_connected = not any(name == "connect" for name, *_ in steps)
        sessions.start(1, connected=is_connected)
        for name, *rest in steps:
            core, info = sessions.sessions[1]
            if name == "connect":
                if info.local is None:
                    info = msgspec.structs.replace(info, local=info.listen)
                    sessions.sessions[1] = core, info
                    sessions.observer.upstream_connected(info, sessions.tick())
            elif name == "agree":
                if info.transports != rest[0]:
                    sessions.agree(1, rest[0])
            elif info.local is None and rest[0] is DOWN:
                pass  # nothing comes from an upstream that is not connected
            elif name == "run":
                sessions.receive(1, b"".join(ping(next(numbers)) for _ in range(rest[1])), rest[0])
            elif name == "packet":
                sessions.receive_packet(1, ping(next(numbers)), rest[1], rest[0])
            elif name == "decoy":
                sessions.receive_decoy(1, rest[0])
            else:
                sessions.receive(1, b"noise", rest[0])
                sessions.receive(1, ping(next(numbers)), rest[0])
        getattr(sessions, ends)(1)

    path = folder / "first.pcapng"
    live = recorded(path, happen, **settings)
    assert told(path) == _last_before_packets(live)
    for number, name in enumerate(formats):
        out = folder / f"{number}-{name}"
        with open_writer(out, choose_format(out)) as writer:
            for event in events(open_capture(path)):
                writer.handle(event)
        path = out
    assert told(path) == _last_before_packets(live)


def _last_before_packets(live):
    """Return what a file holds: of transports that follow one another, the last."""
    found = []
    for each in live:
        if isinstance(each, Transports) and found and isinstance(found[-1], Transports):
            found.pop()
        if not (isinstance(each, Transports) and each in _known(found)):
            found.append(each)
    return found


def _known(found):
    """Return the transports that were told last."""
    return [each for each in found if isinstance(each, Transports)][-1:]


HOSTILE = [
    *(None, 5, "v2", [], {}, {"client": {"kind": "v2"}}, {"client": 5, "upstream": 5}),
    {"client": {"kind": "v9"}, "upstream": {"kind": "v1"}},
    {"client": {"kind": "auto"}, "upstream": {"kind": "auto"}},
    {"client": {"kind": "v2", "session_id": "00"}, "upstream": {"kind": "v1"}},
    {"client": {"kind": "v1"}, "upstream": {"kind": "v1"}},
]


@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_a_file_may_say_anything_of_transports(tmp_path, value):
    """The messages are read all the same, as of a session whose legs are both v1."""
    blocks = []
    writer = CaptureWriter(blocks.append, network=NETWORK.id, legs="client", metadata={})
    ends = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 9246)
    writer.open(1, Leg.CLIENT, *ends, 5, {"network": NETWORK.id, "transports": value})
    note = PacketNote("", {"session": 1, "transports": value})
    writer.data(1, Leg.CLIENT, UP, 6, [Chunk(ping(1), note)])
    (tmp_path / "x.pcapng").write_bytes(b"".join(blocks))
    assert told(tmp_path / "x.pcapng") == [(UP, Transports(), ping(1), None)]


@pytest.mark.parametrize(
    "value",
    [None, 5, "long", [], {}, {"decoys": -1}, {"decoys": "1"}, {"long": 0}, {"garbage": 1 << 70}],
    ids=str,
)
def test_a_file_may_say_anything_of_forms(tmp_path, value):
    """The message is read all the same."""
    blocks = []
    writer = CaptureWriter(blocks.append, network=NETWORK.id, legs="client", metadata={})
    ends = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 9246)
    writer.open(1, Leg.CLIENT, *ends, 5, {"network": NETWORK.id})
    note = PacketNote("", {"session": 1, "form": value})
    writer.data(1, Leg.CLIENT, UP, 6, [Chunk(ping(1), note)])
    (tmp_path / "x.pcapng").write_bytes(b"".join(blocks))
    assert told(tmp_path / "x.pcapng") == [(UP, Transports(), ping(1), None)]


def test_tshark_reads_what_is_recorded(tmp_path):
    """Comments are on their packets, and nothing is wrong with the connection."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        sessions.receive(1, ping(1))
        sessions.receive_packet(1, ping(2), LONG_TYPE, DOWN)
        sessions.end(1)

    path = tmp_path / "x.pcapng"
    recorded(path, happen, legs="both")
    comments = tshark("-r", str(path), "-T", "fields", "-e", "frame.comment", "-Y", "frame.comment")
    assert f"session 1: {BOTH_V2}" in comments
    assert "#1 ping v2: long type, 2 decoys before it, 7 bytes of garbage" in comments
    wrong = tshark("-r", str(path), "-Y", "tcp.analysis.flags or _ws.malformed")
    assert wrong == ""


def test_lines_of_json_have_it_where_it_is_worth_a_word(tmp_path):
    """Keys that scripts know stay as they are."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, CLIENT_V2)
        sessions.receive_packet(1, ping(1), LONG_TYPE)
        sessions.receive(1, ping(2), DOWN)

    recorded(tmp_path / "x.pcapng", happen)
    out = tmp_path / "x.ndjson"
    with open_writer(out, choose_format(out)) as writer:
        for event in events(open_capture(tmp_path / "x.pcapng")):
            writer.handle(event)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    [agreed] = [each for each in lines if each.get("event") == "transports"]
    assert agreed["transports"] == CLIENT_V2.to_dict()
    first, second = (each for each in lines if "number" in each)
    assert (first["transport"], first["form"]["decoys"]) == ("v2", 2)
    assert {"transport", "form"}.isdisjoint(second)
