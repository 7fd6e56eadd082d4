"""Two captures compared: their sessions paired, damage and gaps reported."""

import msgspec
import pytest

from lbcproxy.capture import open_capture
from lbcproxy.replay import Comparison, Diff, IgnoredFields
from lbcproxy.wire.messages.keepalive import FeeFilter
from tests.replay.conversations import DOWN, HEADERS, TALK, have, write


def diff(one, other, **options):
    """Compare two files."""
    return Diff(open_capture(one), open_capture(other), IgnoredFields(), **options).run()


OTHER = [*TALK, (DOWN, have(*HEADERS[:2]))]


def test_sessions_are_paired_in_the_order_in_which_they_begin(tmp_path):
    """The second of one with the second of the other."""
    one = write(tmp_path / "one.pcapng", TALK, OTHER)
    other = write(tmp_path / "other.pcapng", TALK, TALK)
    assert diff(one, one).same
    report = diff(one, other)
    [difference] = report.differences
    assert (difference.session, difference.command) == (2, "inv")


def test_a_session_that_one_file_alone_has_is_one_difference(tmp_path):
    """Not one a message."""
    one = write(tmp_path / "one.pcapng", TALK, TALK)
    other = write(tmp_path / "other.pcapng", TALK)
    [difference] = diff(one, other).differences
    assert (difference.kind, difference.session) == ("missing", 2)
    assert difference.words == "the whole session, 13 messages"
    [turned] = diff(other, one).differences
    assert (turned.kind, turned.session) == ("extra", 2)


def test_two_sessions_can_be_chosen(tmp_path):
    """By their numbers; what does not exist is said."""
    one = write(tmp_path / "one.pcapng", OTHER, TALK)
    other = write(tmp_path / "other.pcapng", TALK, TALK, OTHER)
    assert diff(one, other, only=(1, 3)).same
    assert not diff(one, other, only=(1, 2)).same
    report = diff(one, other, only=(1, 7))
    assert not report.same
    assert report.notices == ("there is no session 7 in B",)


def test_a_damaged_file_is_compared_as_far_as_it_goes(tmp_path):
    """The damage is reported, and kept for the exit code."""
    one = write(tmp_path / "one.pcapng", TALK)
    cut = tmp_path / "cut.pcapng"
    data = one.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3] + b"\xff" * 64)
    comparing = Diff(open_capture(one), open_capture(cut), IgnoredFields())
    report = comparing.run()
    assert comparing.damage is not None
    assert "damaged" in report.notices[0]
    assert {each.kind for each in report.differences} <= {"missing", "different"}


def test_what_was_injected_is_left_out(tmp_path, monkeypatch):
    """It was said by nobody."""
    one = write(tmp_path / "one.pcapng", TALK)
    capture = open_capture(one)
    entries = [
        msgspec.structs.replace(entry, verdict="inject") if entry.command == "inv" else entry
        for entry in capture
    ]
    monkeypatch.setattr(type(capture), "__iter__", lambda self: iter(list(entries)))
    assert Diff(capture, capture, IgnoredFields()).run().recorded == len(TALK) - 4 - 1


@pytest.mark.parametrize("size", [777, 20_000])
def test_bytes_that_are_no_message_are_compared_however_they_were_cut(tmp_path, size):
    """One file has them in one packet, the other in many."""
    junk = b"not a message at all" * 5_000
    one = write(tmp_path / "one.pcapng", [*TALK, (DOWN, junk), (DOWN, FeeFilter(1))])
    cut = [(DOWN, junk[position : position + size]) for position in range(0, len(junk), size)]
    other = write(tmp_path / "other.pcapng", [*TALK, *cut, (DOWN, FeeFilter(1))], step=1)
    assert diff(one, other).same
    changed = [*TALK, (DOWN, junk[:-1] + b"?"), (DOWN, FeeFilter(1))]
    [difference] = diff(one, write(tmp_path / "third.pcapng", changed)).differences
    assert (difference.kind, difference.command) == ("different", "(junk)")


def test_many_sessions_are_let_go_when_they_are_over(tmp_path, monkeypatch):
    """What is kept is what differs."""
    one = write(tmp_path / "one.pcapng", *[TALK[:5]] * 50)
    comparing = Diff(open_capture(one), open_capture(one), IgnoredFields())
    most, take = [0], Comparison.add_message

    def counting(*arguments):
        most[0] = max(most[0], len(comparing._pairs))
        take(*arguments)

    monkeypatch.setattr(Comparison, "add_message", counting)
    assert comparing.run().recorded == 250
    assert most[0] <= 2
    assert not any(comparing._by_number)
