"""Transports and forms where a session goes on in another file, or only a part of it is kept."""

import itertools

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import (
    Choice,
    Recorder,
    Recording,
    RecordingSettings,
    Rings,
    RingSettings,
    Switch,
    events,
    open_capture,
)
from lbcproxy.capture.events import CaptureSessionEnded
from lbcproxy.capture.recording.triggers import BY_HAND
from lbcproxy.capture.tools.anonymise import Anonymiser
from lbcproxy.capture.tools.cut import Cutter, Selection
from lbcproxy.capture.tools.merge import Merger
from lbcproxy.capture.tools.repair import copy_intact, find_damage
from lbcproxy.filters import parse
from lbcproxy.proxy.budget import Budget
from lbcproxy.session import LegTransport, PacketForm, Transports
from lbcproxy.session.events import TransportsAgreed
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import BOTH_V2, CLIENT_V2, DOWN, NETWORK, UP, FakeSessions, ping
from tests.capture.recording.recorded_sessions import RecordedSessions
from tests.capture.roundtrip import write_events
from tests.capture.told_transports import notes, recorded, told, told_by

FORM = PacketForm(decoys=3)


def talk(sessions, transports=BOTH_V2):
    """Let a session agree on transports, and pass a usual and an unusual message each way."""
    sessions.start(1, version=70_013)
    sessions.agree(1, transports)
    for direction in (UP, DOWN):
        sessions.receive(1, ping(1), direction)
        sessions.receive_packet(1, ping(2), FORM, direction)


def entries(transports, direction=UP):
    """Return what is told of the two messages of a direction."""
    return [(direction, transports, ping(1), None), (direction, transports, ping(2), FORM)]


def test_a_session_that_goes_on_in_another_file_says_its_transports_again(tmp_path):
    """Each file is readable alone, and merged they are one session."""
    scene = RecordedSessions(tmp_path, rotate_size=4_096)
    scene.step = 1
    scene.start(1)
    scene.agree(1, BOTH_V2)
    for number in range(300):
        scene.receive(1, ping(number))
    scene.receive_packet(1, ping(0), FORM)
    scene.end(1)
    files = scene.close()
    assert len(files) > 2
    for file in files:
        first, *rest = told(file)
        assert first == BOTH_V2
        assert {type(each) for each in rest} <= {tuple}
    merged = told_by(Merger([open_capture(each) for each in files], lambda *_: None).events())
    assert merged == [
        BOTH_V2,
        *((UP, BOTH_V2, ping(number), None) for number in range(300)),
        (UP, BOTH_V2, ping(0), FORM),
    ]


def test_transports_that_no_packet_has_told_are_in_the_next_file(tmp_path):
    """The file may be full just then."""
    parts = [[], []]
    first, second = (Recorder(each.append, network=NETWORK.id) for each in parts)
    sessions = FakeSessions(first)
    sessions.start(1)
    sessions.agree(1, CLIENT_V2)
    second.take_over(first, sessions.tick())
    sessions.receive(1, ping(1))
    sessions.end(1)
    files = [tmp_path / "x-1.pcapng", tmp_path / "x-2.pcapng"]
    for file, blocks in zip(files, parts, strict=True):
        file.write_bytes(b"".join(blocks))
    one_message = [CLIENT_V2, (UP, CLIENT_V2, ping(1), None)]
    assert [told(each) for each in files] == [[], one_message]
    captures = [open_capture(each) for each in files]
    assert told_by(Merger(captures, lambda *_: None).events()) == one_message


@pytest.mark.parametrize(("transport", "count"), [("v2", 2), ("v1", 0)])
def test_what_is_recorded_may_depend_on_it(tmp_path, transport, count):
    """As on anything else that a filter knows."""
    scene = RecordedSessions(tmp_path, selection=f"transport == '{transport}'")
    scene.start(1)
    scene.agree(1, BOTH_V2)
    scene.receive(1, ping(1))
    scene.receive(1, ping(1), DOWN)
    scene.end(1)
    [file] = scene.close()
    assert len(list(open_capture(file))) == count


def test_a_session_that_is_announced_says_its_transports_again(tmp_path):
    """The packet that had them may be lost on a full disk."""
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        recorder = Recorder(file.write, network=NETWORK.id, legs="both")
        sessions = FakeSessions(recorder)
        talk(sessions)
        recorder.open_sessions[1].announce()
        sessions.receive(1, ping(3))
        sessions.receive(1, ping(3))
    again = [each for each in notes(path) if "transports" in each]
    assert [each["transports"] for each in again] == [BOTH_V2.to_dict()] * 2
    assert again[1]["continued"]
    assert [each for each in told(path) if isinstance(each, Transports)] == [BOTH_V2]


def test_a_session_that_is_switched_on_says_its_transports(tmp_path):
    """Also if they were agreed before, and nothing was recorded then."""
    disk = Background(1 << 24)
    sessions = FakeSessions()
    recording = Recording(
        RecordingSettings(pattern=str(tmp_path / "x.pcapng")),
        disk,
        lambda *_: None,
        network=NETWORK.id,
        name="main",
        changes=False,
        now=sessions.tick,
    )
    switch = Switch(recording, Choice(False), sessions.tick)
    sessions.observer = switch
    sessions.start(1)
    sessions.agree(1, BOTH_V2)
    sessions.receive(1, ping(7))
    sessions.receive_decoy(1)  # which is not the start of a long message
    switch.turn(True)
    sessions.receive(1, ping(1))
    sessions.receive_packet(1, ping(2), FORM)
    sessions.end(1)
    recording.close()
    assert disk.close(10)
    assert told(tmp_path / "x.pcapng") == [BOTH_V2, *entries(BOTH_V2)]


@pytest.mark.parametrize("messages", [2, 100])
def test_a_ring_says_the_transports(tmp_path, messages):
    """Whether it holds the moment of agreement or begins later."""
    disk = Background(1 << 24)
    sessions = FakeSessions()
    rings = Rings(
        RingSettings(
            messages=messages, size=1 << 20, pattern=str(tmp_path / "x.pcapng"), reasons=()
        ),
        disk,
        lambda *_: None,
        Budget(1 << 24),
        network=NETWORK.id,
        name="main",
        changes=False,
        now=sessions.tick,
    )
    sessions.observer = rings
    talk(sessions)
    sessions.receive_decoy(1, DOWN)
    assert rings.write_all(BY_HAND) == 1
    rings.close()
    assert disk.close(10)
    found = told(tmp_path / "x.pcapng")
    assert [each for each in found if isinstance(each, Transports)] == [BOTH_V2]
    assert found[-2:] == entries(BOTH_V2, DOWN)
    assert (found[0] == BOTH_V2) is (messages == 2)


ALL = [BOTH_V2, *entries(BOTH_V2), *entries(BOTH_V2, DOWN)]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("", ALL),
        ("ping and number == 6", [BOTH_V2, entries(BOTH_V2)[1]]),
        ("transport == 'v2' and ping", ALL),
        ("ping and transport == 'v1'", []),
    ],
    ids=["all", "one message", "what came by v2", "what came by v1"],
)
def test_a_part_that_is_cut_out_says_its_transports(tmp_path, wanted, left):
    """Though the packet that said so is not in it."""
    path, out = tmp_path / "x.pcapng", tmp_path / "cut.pcapng"
    recorded(path, talk)
    cutter = Cutter(Selection(wanted=parse(wanted) if wanted else None))
    write_events(cutter.apply(events(open_capture(path))), out)
    found = told(out)
    assert [each for each in found if each == BOTH_V2 or each[2][4:8] == b"ping"] == left


def test_a_gap_between_what_is_left_has_no_form(tmp_path):
    """It is not a message."""

    def happen(sessions):
        sessions.start(1)
        sessions.agree(1, BOTH_V2)
        sessions.receive(1, b"noise")
        sessions.receive(1, ping(1))
        sessions.receive_packet(1, ping(2), FORM)

    path = tmp_path / "x.pcapng"
    recorded(path, happen)
    cutter = Cutter(Selection(wanted=parse("number != 2")))
    found = told_by(cutter.apply(events(open_capture(path))))
    assert [each[2:] for each in found[1:]] == [(b"noise", None), (b"", None), (ping(2), FORM)]


def test_session_ids_are_not_in_what_is_anonymised(tmp_path):
    """The operator of a node would know the connection by them."""
    path, out = tmp_path / "x.pcapng", tmp_path / "out.pcapng"
    recorded(path, talk)
    anonymiser = Anonymiser(bytes(32))
    happened = list(anonymiser.apply(events(open_capture(path))))
    write_events(happened, out)
    kinds = Transports(*[LegTransport(Transport.V2)] * 2)
    assert kinds in told(out)
    [report] = [each.report for each in happened if isinstance(each, CaptureSessionEnded)]
    assert report.transports == kinds
    forms = [each[3] for each in told(out) if isinstance(each, tuple)]
    assert forms.count(FORM) == 2
    assert anonymiser.left_out["session ids of transports"] == 1
    for leg in (BOTH_V2.client, BOTH_V2.upstream):
        assert (
            leg.session_id in path.read_bytes()
            or leg.session_id.hex().encode() in path.read_bytes()
        )
        assert leg.session_id not in out.read_bytes()
        assert leg.session_id.hex().encode() not in out.read_bytes()


def test_a_repaired_file_has_what_was_intact(tmp_path):
    """A torn tail takes nothing else with it."""
    path, out = tmp_path / "x.pcapng", tmp_path / "out.pcapng"
    recorded(path, talk)
    whole = told(path)
    path.write_bytes(path.read_bytes()[:-3])
    with path.open("rb") as file:
        found = find_damage(file)
    copy_intact(path, out, found)
    assert told(out) == whole[:-1]


def test_no_more_is_told_again_than_has_to_be(tmp_path):
    """Each file of a run has one note for a session."""
    scene = RecordedSessions(tmp_path, rotate_size=4_096)
    scene.start(1)
    scene.agree(1, BOTH_V2)
    for number in range(300):
        scene.receive(1, ping(number))
    scene.end(1)
    counts = [sum("transports" in each for each in notes(file)) for file in scene.close()]
    assert set(counts) == {1}


def test_the_transports_of_each_session_are_its_own(tmp_path):
    """Sessions of one proxy need not be alike."""

    def happen(sessions):
        for number, transports in ((1, BOTH_V2), (2, None), (3, CLIENT_V2)):
            sessions.start(number)
            if transports is not None:
                sessions.agree(number, transports)
        for _, number in itertools.product(range(2), (3, 1, 2)):
            sessions.receive(number, frame(NETWORK.magic, "mempool", b""))

    path = tmp_path / "x.pcapng"
    recorded(path, happen)
    capture = open_capture(path)
    agreed = {}
    for event in events(capture):
        if isinstance(event, TransportsAgreed):
            agreed[event.info.number] = event.info.transports
    assert agreed == {1: BOTH_V2, 3: CLIENT_V2}
    assert {number: info.transports for number, info in capture.stats.open_sessions.items()} == {}
