"""Captures in numbers: of whole files, and of each beginning of one."""

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.tools.summary import summarise
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.capture.test_reader import REGTEST, TALK, recorded


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
    for decode, wrong in ((True, ["ping", "pong"]), (False, ["ping"])):
        shown = summarise(open_capture(path), decode=decode).to_dict()
        assert [each["command"] for each in shown["errors"]] == wrong


def test_every_beginning_of_a_file_is_told_of(tmp_path):
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
