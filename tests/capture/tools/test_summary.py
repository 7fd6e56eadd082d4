"""Captures in numbers: of whole files, and of each beginning of one."""

import pytest

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.capture.tools.summary import summarise
from lbcproxy.errors import CaptureError
from lbcproxy.service.events import Events
from lbcproxy.session import Direction, Session
from lbcproxy.session.events import Delivered
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import FakeSessions
from tests.capture.recordings import REGTEST, TALK, recorded

PING = frame(REGTEST.magic, "ping", bytes(8))


def test_what_was_recorded_is_counted(tmp_path):
    """Messages, junk and errors, by direction."""
    shown = summarise(open_capture(recorded(tmp_path, TALK))).to_dict()
    assert {(each["command"], each["direction"]): each["count"] for each in shown["commands"]} == {
        ("ping", "to_upstream"): 3,
        ("pong", "to_client"): 1,
        ("block", "to_client"): 1,
    }
    assert shown["messages"] == {
        "to_upstream": {"count": 3, "bytes": 96, "errors": 1},
        "to_client": {"count": 2, "bytes": 32 + 100_024, "errors": 0},
    }
    assert shown["junk"] == {
        "to_upstream": {"count": 1, "bytes": 35},
        "to_client": {"count": 0, "bytes": 0},
    }
    [session] = shown["sessions"]
    assert session["upstream"] == "127.0.0.1:29247"
    assert session["to_upstream"]["bytes"] == 96 + 35


def test_without_decoding_only_frames_are_judged(tmp_path):
    """A pong of one byte has a right checksum."""
    short = (Direction.TO_UPSTREAM, frame(REGTEST.magic, "pong", b"1"))
    path = recorded(tmp_path, [*TALK, short])
    for decode, wrong in ((True, ["(junk)", "ping", "pong"]), (False, ["(junk)", "ping"])):
        shown = summarise(open_capture(path), decode=decode).to_dict()
        assert [each["command"] for each in shown["errors"]] == wrong


JUNK, BAD = b"no message at all" * 3, PING[:20] + bytes(4) + PING[24:]
UNKNOWN = frame(REGTEST.magic, "eaten", b"1")


@pytest.mark.parametrize("order", range(4))
def test_live_and_in_info_the_same_is_an_error(tmp_path, order):
    """Bytes that are not a message are one in both, each run of them once, however they arrive."""
    items = [PING, JUNK, BAD, UNKNOWN, PING, JUNK + JUNK, PING, BAD]
    data = b"".join(items[order:])
    core, live = Session(1, REGTEST), Events()
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        play = FakeSessions(Recorder(file.write, network=REGTEST.id))
        play.start(1)
        info = play.sessions[1][1]
        for start in range(0, len(data), 29):
            part = data[start : start + 29]
            deliveries = core.receive(Direction.TO_UPSTREAM, part, play.tick())
            live.handle(Delivered(info, Direction.TO_UPSTREAM, deliveries, play.now))
            play.observer.passed(info, Direction.TO_UPSTREAM, deliveries, play.now)
        play.end(1)
    shown = summarise(open_capture(path), decode=False).to_dict()
    assert shown["error_count"] == len(shown["errors"]) == live.errors > 0


@pytest.mark.parametrize("together", [True, False])
def test_a_payload_that_was_read_and_is_wrong_counts_live_too(together):
    """The lines on the console show it as an error; counting it costs no reading of its own."""
    core, live, play = (
        Session(1, REGTEST),
        Events(),
        FakeSessions(Recorder(len, network=REGTEST.id)),
    )
    play.start(1)
    short = frame(REGTEST.magic, "pong", b"1")
    items = [PING, short, PING, short, short, BAD]
    for part in [b"".join(items)] if together else items:
        deliveries = core.receive(Direction.TO_UPSTREAM, part, play.tick())
        for entry in (each for delivery in deliveries for each in delivery.entries):
            entry.message.summary()
        info = play.sessions[1][1]
        live.handle(Delivered(info, Direction.TO_UPSTREAM, deliveries, play.now))
    assert live.errors == 4


@pytest.mark.slow
def test_every_start_of_a_file_is_reported(tmp_path):
    """As far as it is good, and where that ends."""
    whole = recorded(tmp_path, TALK[:5]).read_bytes()
    path = tmp_path / "cut.pcapng"
    most = damaged = 0
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        try:
            summary = summarise(open_capture(path))
        except CaptureError as error:
            assert error.offset is None
            assert size < 16
            continue
        shown = summary.to_dict()
        count = sum(shown["messages"][direction.value]["count"] for direction in Direction)
        assert count >= most
        most = count
        damaged += shown["damage"] is not None
        if shown["damage"] is not None:
            assert shown["damage"]["offset"] <= size
    assert most == 4
    assert 0 < damaged < len(whole)


@pytest.mark.parametrize("again", [1, 2])
def test_a_capture_may_be_read_again(tmp_path, again):
    """Counts are of one pass."""
    capture = open_capture(recorded(tmp_path, TALK))
    for _ in range(again):
        shown = summarise(capture).to_dict()
    assert (shown["session_count"], shown["sections"]) == (1, 1)
