"""Captures written again: what a recorder makes of the events of a file is that file."""

import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded, SectionHeader, session_ended
from lbcproxy.capture.reading import pairing as pairing_module
from lbcproxy.capture.reading.pairing import Pairing, RewritePending, RewriteSent
from lbcproxy.errors import CaptureError
from lbcproxy.session import Delivery, Direction, Session
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionReset,
    SessionStarted,
    UpstreamConnected,
)
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import (
    NETWORK,
    TALK,
    TALK_UP,
    Step,
    any_steps,
    dropped,
    injected,
    legs,
    long,
    passed,
    ping,
    record,
    rewritten,
    session_info,
)
from tests.capture.recordings import TALK as PLAIN
from tests.capture.recordings import pcap_of, recorded, segments_of
from tests.capture.roundtrip import CAPTURES, entries_of, session_events, write_again
from tests.session.feed import Feed

UP, DOWN = Direction


def sent_of(path: Path) -> list[bytes | None]:
    """What went out in place of each message, as the events have it."""
    return [
        delivery.sent
        for event in events(open_capture(path))
        if isinstance(event, Delivered)
        for delivery in event.deliveries
        for _ in delivery.entries
    ]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_a_capture_of_others_is_written_again(tmp_path: Path, path: Path):
    """Every message of it, with its time, and what is known of its sessions."""
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert session_events(again) == session_events(path)
    # And once more, of ours: not a byte differs.
    assert write_again(again, tmp_path / "more.pcapng").read_bytes() == again.read_bytes()


@pytest.mark.parametrize("kind", ["auto", "client", "both"])
def test_a_relays_capture_is_written_again(tmp_path: Path, kind: str):
    """Both legs where both are recorded; junk and what is wrong with messages too."""
    path = recorded(tmp_path, PLAIN, kind)
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert session_events(again) == session_events(path)
    assert legs(again) == legs(path)


@pytest.mark.parametrize("connected", [0, 1, 3, 99])
@pytest.mark.parametrize("ends", [True, False], ids=["ended", "open"])
def test_verdicts_and_both_legs_are_written_again(tmp_path: Path, connected: int, ends: bool):
    """Also what went out long after it came in, and what never did."""
    talk = TALK if connected == 0 else TALK_UP
    path = record(tmp_path / "changed.pcapng", talk, connected=connected, ends=ends)
    again = write_again(path, tmp_path / "again.pcapng")
    assert legs(again) == legs(path)
    assert sorted(map(str, entries_of(again))) == sorted(map(str, entries_of(path)))
    assert [each.verdict for each in open_capture(again)] == [
        each.verdict for each in open_capture(path)
    ]
    if connected == 0:
        assert entries_of(again) == entries_of(path)
        assert sent_of(path) == [None if e.verdict == "pass" else e.sent for e in talk]
    if connected < 99:
        assert session_events(again) == session_events(path)
    assert write_again(again, tmp_path / "more.pcapng").read_bytes() == again.read_bytes()


def test_one_leg_of_changed_traffic_is_written_again(tmp_path: Path):
    """What went out is not in the file, and nothing is made up for it."""
    path = tmp_path / "client.pcapng"
    both = record(tmp_path / "both.pcapng", TALK)
    write_again(both, path, legs="client")
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert legs(again) == legs(path)
    assert write_again(again, tmp_path / "more.pcapng").read_bytes() == again.read_bytes()


def test_long_messages_and_junk_with_verdicts_are_written_again(tmp_path: Path):
    """What was dropped went out on no leg, and takes nothing after it along."""
    junk = b"what is this?" * 3
    steps = [
        passed(UP, ping(1)),
        rewritten(UP, long(200_000), long(150_000)),
        rewritten(DOWN, long(70_000), ping(2) + ping(3) + b"loose"),
        passed(DOWN, ping(4)),
        Step(UP, "drop", junk, b""),
        passed(UP, ping(5)),
        injected(DOWN, b"no message at all"),
        injected(DOWN, ping(6)),
        passed(DOWN, ping(7)),
    ]
    path = record(tmp_path / "long.pcapng", steps)
    happened = [(each.verdict, each.raw) for each in open_capture(path)]
    assert happened == [(each.verdict, each.frame) for each in steps]
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert legs(again) == legs(path)
    assert (
        sent_of(again)
        == sent_of(path)
        == [None if each.verdict == "pass" else each.sent for each in steps]
    )


def test_an_appended_file_is_written_again_section_by_section(tmp_path: Path):
    """Each says for itself of what network it is, and whether its legs differ."""
    path = record(tmp_path / "twice.pcapng", TALK)
    record(path, [passed(UP, ping(1)), dropped(UP, ping(2))])
    headers = [each for each in events(open_capture(path)) if isinstance(each, SectionHeader)]
    assert [(each.network, each.legs, each.changes) for each in headers] == [
        (NETWORK.id, "both", True)
    ] * 2
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert session_events(again) == session_events(path)


def test_missing_bytes_are_written_again_at_their_place(tmp_path: Path):
    """A gap is reported when it is, not when its packet would be given up."""
    data = b"".join(map(ping, range(60)))
    segments = segments_of(data, 100)
    path = pcap_of([*segments[:3], *segments[4:9], *segments[11:]], tmp_path)
    found = entries_of(path)
    assert [each["missing"] for each in found if each["missing"]] == [100, 200]
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == found
    assert session_events(again) == session_events(path)
    assert write_again(again, tmp_path / "more.pcapng").read_bytes() == again.read_bytes()


def test_sessions_met_in_their_middle_are_written_again(tmp_path: Path):
    """They do not begin where the file does."""
    path = pcap_of(segments_of(ping(1)[10:] + ping(2) + b"rest", 20), tmp_path)
    started = [each for each in events(open_capture(path)) if isinstance(each, SessionStarted)]
    assert [each.from_start for each in started] == [False]
    again = write_again(path, tmp_path / "again.pcapng")
    # Where bytes that are not a message end is known when the next message comes.
    happened = [[each | {"time_ns": None} for each in entries_of(each)] for each in (path, again)]
    assert happened[0] == happened[1]
    assert "the beginning of this message is not in the capture" in str(entries_of(path)[0])


def test_the_end_of_a_session_is_read(tmp_path: Path):
    """Closed in order, broken off, or left open by the capture."""
    for how, end in (
        ("finish", "client closed"),
        ("reset", "client reset"),
        ("", "open at the end"),
    ):
        path = tmp_path / f"{how}.pcapng"
        with path.open("wb") as file:
            recorder = Feed(Recorder(file.write, network=NETWORK.id, changes=True))
            recorder.started(session_info(1), 1)
            recorder.upstream_connected(session_info(1), 2)
            recorder.passed(session_info(1), UP, Session(1, NETWORK).receive(UP, ping(1), 3), 3)
            if how == "reset":
                recorder.reset(session_info(1), UP, 4)
            if how == "finish":
                recorder.finished(session_info(1), UP, 4)
                recorder.finished(session_info(1), DOWN, 5)
        happened = list(events(open_capture(path)))
        kinds = {"finish": [DirectionClosed, DirectionClosed], "reset": [SessionReset], "": []}[how]
        assert [type(each) for each in happened] == [
            SectionHeader,
            SessionStarted,
            UpstreamConnected,
            Delivered,
            *kinds,
            CaptureSessionEnded,
        ]
        assert (happened[-1].report.how, happened[-1].closed) == (end, how != "")
        assert happened[-1].summary.info == session_info(1)
        assert write_again(path, tmp_path / "again.pcapng").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_damage_comes_after_all_that_was_before(tmp_path: Path):
    """No event is lost, those that waited for more included."""
    path = record(tmp_path / "whole.pcapng", TALK)
    whole = path.read_bytes()
    cut = tmp_path / "cut.pcapng"
    most = 0
    for size in range(600, len(whole), 7):
        cut.write_bytes(whole[:size])
        happened = []
        try:
            for event in events(open_capture(cut)):
                happened.append(event)
        except CaptureError as error:
            assert error.offset is not None
            assert error.offset <= size
        deliveries = [
            p for each in happened if isinstance(each, Delivered) for p in each.deliveries
        ]
        raw = [delivery.raw or delivery.sent for delivery in deliveries]
        assert raw == [each.frame for each in TALK[: len(raw)]]
        assert len(raw) >= most
        most = len(raw)
    assert most == len(TALK)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(any_steps(sessions=3), st.booleans())
def test_any_messages_and_verdicts_can_be_written_again(tmp_path_factory, drawn, together):
    """Whatever is decided of whatever message, in whatever order, in several sessions."""
    steps, connected = drawn
    folder = tmp_path_factory.mktemp("any")
    path = record(
        folder / "any.pcapng", steps, connected=connected, together=connected == 0 and together
    )
    again = write_again(path, folder / "again.pcapng")
    assert legs(again) == legs(path)
    if connected == 0:
        assert entries_of(again) == entries_of(path)
        assert session_events(again) == session_events(path)


# What waits.


def waiting(session: int, number: int, verdict: str = "pass") -> Delivered:
    """An event of one message."""
    deliveries = Session(session, NETWORK).receive(UP, ping(number), number)
    [entry] = deliveries[0].entries
    entry = msgspec.structs.replace(entry, number=number, session=session, verdict=verdict)
    return Delivered(session_info(session), UP, (Delivery(ping(number), (entry,)),), number)


def numbers(events: list) -> list[int]:
    return [each.deliveries[0].entries[0].number for each in events if isinstance(each, Delivered)]


def test_other_sessions_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    """An upstream may take a minute to connect, in which others pass gigabytes."""
    monkeypatch.setattr(pairing_module, "MAX_EVENTS", 10)
    pairing = Pairing()
    feed = lambda event: list(pairing.feed(event))  # noqa: E731
    assert feed(RewritePending((1, 1))) == []
    assert feed(waiting(1, 1, "rewrite")) == []
    given = []
    for number in range(2, 30):
        given += feed(waiting(1 if number == 5 else 2, number))
    assert numbers(given) == [n for n in range(2, 30) if n != 5][: len(given)]
    assert len(given) >= 18
    [first, *_] = rest = feed(RewriteSent((1, 1), b"instead"))
    assert first.deliveries[0].sent == b"instead"
    assert sorted(numbers(given) + numbers(rest)) == list(range(1, 30))


def test_one_session_alone_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    """What no recorder writes: nothing ever went out."""
    monkeypatch.setattr(pairing_module, "MAX_EVENTS", 10)
    pairing = Pairing()
    given = [*pairing.feed(RewritePending((1, 1)))]
    for number in range(1, 30):
        given += pairing.feed(waiting(1, number))
    given += pairing.finish()
    assert numbers(given) == list(range(1, 30))
    assert given[0].deliveries[0].sent == b""


def test_what_nobody_waits_for_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    """A hostile file has notes on packets that belong to nothing."""
    monkeypatch.setattr(pairing_module, "MAX_BYTES", 1_000)
    pairing = Pairing()
    for number in range(1_000):
        assert list(pairing.feed(RewriteSent((1, number), bytes(100)))) == []
    assert len(pairing._early) <= 10
    [ended, *_] = [
        each for each in events(open_capture(CAPTURES[0])) if isinstance(each, CaptureSessionEnded)
    ]
    list(pairing.feed(session_ended(session_info(1), ended.report, True, 5)))
    assert not pairing._early


def test_sessions_of_several_networks_are_written_again(tmp_path: Path):
    """One tcpdump may have both; each session says of which it is."""
    bitcoin = networks.get("bitcoin-regtest")
    one = segments_of(ping(1), 100, source=session_info(1).client, target=session_info(1).listen)
    other = segments_of(
        frame(bitcoin.magic, "ping", bytes(8)),
        100,
        source=session_info(2).client,
        target=session_info(2).listen,
    )
    path = pcap_of([*one, *other], tmp_path)
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert [each.message.codec.network.id for each in open_capture(again)] == [
        "lbry-regtest",
        "bitcoin-regtest",
    ]


def test_a_gap_is_where_it_was_whatever_came_the_other_way(tmp_path: Path):
    """It does not wait until TCP would give its bytes up."""
    session = Session(1, NETWORK)
    times = itertools.count(1_000)
    path = tmp_path / "gap.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id))
        recorder.started(session_info(1), next(times))
        for direction, number in ((UP, 1), (DOWN, 2), (UP, 0), (DOWN, 3), (DOWN, 4), (UP, 5)):
            time = next(times)
            deliveries = (
                session.receive(direction, ping(number), time)
                if number
                else session.gap(direction, 700, time)
            )
            recorder.passed(session_info(1), direction, deliveries, time)
    found = [(each.direction, each.missing, each.time_ns) for each in open_capture(path)]
    assert found == [
        (UP, 0, 1_001),
        (DOWN, 0, 1_002),
        (UP, 700, 1_003),
        (DOWN, 0, 1_004),
        (DOWN, 0, 1_005),
        (UP, 0, 1_006),
    ]
    assert write_again(path, tmp_path / "again.pcapng").read_bytes() == path.read_bytes()


def test_what_is_left_of_a_message_is_reported_before_its_end(tmp_path: Path):
    """The end stands on the client's leg first, what came in on the other."""
    steps = [passed(DOWN, ping(1)), passed(DOWN, ping(2)[:20])]
    path = record(tmp_path / "cut.pcapng", steps)
    assert [each.raw for each in open_capture(path)] == [ping(1), ping(2)[:20]]
    again = write_again(path, tmp_path / "again.pcapng")
    assert entries_of(again) == entries_of(path)
    assert legs(again) == legs(path)


def test_a_session_that_is_left_gives_its_addresses_free(tmp_path: Path):
    """Nobody closed it in the capture, and then the same client came again."""
    path = tmp_path / "left.pcapng"
    [ended, *_] = [
        each for each in events(open_capture(CAPTURES[0])) if isinstance(each, CaptureSessionEnded)
    ]
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id))
        recorder.started(session_info(1), 1_000_000)
        recorder.left(msgspec.structs.replace(ended.summary, info=session_info(1)), 1_000_001)
        second = msgspec.structs.replace(session_info(1), number=2)
        recorder.started(second, 2_000_000)
    started = [each.info for each in events(open_capture(path)) if isinstance(each, SessionStarted)]
    assert [each.client for each in started] == [session_info(1).client] * 2
