"""What the files of one capture share while they are read one after another."""

from pathlib import Path

import pytest

from lbcproxy.capture.packet import ACK, Leg, Segment
from lbcproxy.capture.reading import parts as module
from lbcproxy.capture.reading.captured_session import CapturedSession
from lbcproxy.capture.reading.parts import OpenSession, Part, Parts
from lbcproxy.capture.tcp.stream_events import Data, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction
from tests.capture.recordings import INFO

UP, DOWN = Direction
CLIENT, SERVER = Endpoint("10.0.0.1", 5000), Endpoint("10.0.0.2", 9246)
KEY = (1, 5000)


class Assembler:
    """An assembler that says what it is asked, in place of events."""

    def __init__(self, name, *, is_open=True):
        self.name, self.is_open = name, is_open

    def finish(self):
        yield f"{self.name} finished"

    def segment(self, packet, segment):
        yield f"{self.name} has a segment"

    def resume(self, event, annotations, complete):
        yield self.name, event.connection, complete

    def reopen(self, session, leg, event, annotations):
        return 7, iter([f"{self.name} opens {leg} again"])

    def fill(self, number, offsets, time_ns):
        yield f"{self.name} lacks", number, offsets, time_ns


def open_session(assembler, path="a.pcapng", *, client=CLIENT, proxy="main", key=KEY):
    """Return a session that is open at the end of a file."""
    return OpenSession(key, client, proxy, assembler, CapturedSession(3), Path(path))


def ends(number):
    """Return the ends of a connection."""
    return frozenset((Endpoint("10.0.0.9", number), SERVER))


def segment(number):
    """Return a segment of that connection."""
    return Segment(SERVER, Endpoint("10.0.0.9", number), 1, 1, ACK, b"")


# What is kept.


def test_a_file_that_leaves_nothing_open_is_finished():
    """Nothing of it is kept."""
    parts = Parts()
    assert list(parts.keep(Assembler("a"), [], [])) == ["a finished"]
    assert list(parts.finish()) == []


def test_what_is_open_is_found_by_its_ends():
    """In either direction, until its file is over."""
    parts = Parts()
    first, second = Assembler("a"), Assembler("b")
    assert list(parts.keep(first, [ends(1), ends(2)], [])) == []
    assert list(parts.keep(second, [ends(3)], [open_session(second)])) == []
    assert parts.with_connection(segment(1)) is first
    assert parts.with_connection(segment(3)) is second
    assert parts.with_connection(segment(4)) is None
    first.is_open = False
    assert list(parts.keep(Assembler("c"), [], [])) == ["a finished", "c finished"]
    assert parts.with_connection(segment(1)) is None
    assert parts.with_connection(segment(3)) is second
    assert list(parts.finish()) == ["b finished"]
    assert (parts._by_ends, parts._sessions) == ({}, {})


def test_the_end_of_a_file_ends_only_its_own_sessions():
    """Others may have the same key."""
    parts = Parts()
    first, second = Assembler("a"), Assembler("b")
    one, two = open_session(first), open_session(second)
    list(parts.keep(first, [], [one, open_session(first, key=(2,))]))
    list(parts.keep(second, [], [two]))
    first.is_open = False
    list(parts.keep(Assembler("c"), [], []))
    assert parts._sessions == {KEY: [two]}


@pytest.mark.parametrize(("most", "kept"), [(5, "abc"), (4, "bc"), (3, "bc"), (2, "c"), (1, "")])
def test_what_is_kept_is_bounded(monkeypatch, most, kept):
    """What was kept first is given up first, with all that it has open."""
    monkeypatch.setattr(module, "MAX_OPEN", most)
    parts, found = Parts(), []
    for name, connections, sessions in (("a", [1], 1), ("b", [], 1), ("c", [2, 3], 0)):
        assembler = Assembler(name)
        opened = [open_session(assembler)] * sessions
        found += parts.keep(assembler, list(map(ends, connections)), opened)
    assert "".join(each.name for each in parts._assemblers) == kept
    assert found == [f"{name} finished" for name in "abc" if name not in kept]


def test_sessions_of_all_files_have_numbers_of_their_own():
    """Where each began is known until somebody asks."""
    parts = Parts()
    assert [parts.number(Path("a"), 5), parts.number(Path("b"), 5)] == [1, 2]
    assert parts.take_origin(2) == (Path("b"), 5)
    with pytest.raises(KeyError):
        parts.take_origin(2)
    assert parts.take_origin(1) == (Path("a"), 5)


def test_of_the_names_of_absent_parts_so_many_are_kept():
    """A name with a large number may be of another kind, and would make a list without end."""
    parts = Parts()
    assert parts.is_part_missing(Path("x-1.pcapng"), Path("x-999999999.pcapng"))
    assert list(parts.absent)[:2] == ["x-2.pcapng", "x-3.pcapng"]
    assert len(parts.absent) == 1_000


# Which session goes on.


def taken(*sessions, client=CLIENT, proxy="main", path="a-2.pcapng", key=KEY):
    """Return the number of the session that continues, of some that are open."""
    parts = Parts()
    list(parts.keep(Assembler("x"), [], list(sessions)))
    found = parts.take(key, client, proxy, Path(path))
    assert found is None or found.in_use
    return None if found is None else sessions.index(found)


def test_the_same_session_goes_on():
    """One that no file continues now."""
    session = open_session(None)
    assert taken(session) == 0
    assert taken(session) is None
    session.in_use = False
    assert taken(session, key=(9,)) is None
    assert taken(session) == 0


@pytest.mark.parametrize(
    ("path", "number"),
    [("a-2.pcapng", 0), ("a.pcapng", None), ("a.pcapng.gz", None), ("b/a.pcapng", 0)],
)
def test_the_same_part_again_is_a_copy(path, number):
    """It does not go on with what it has itself."""
    assert taken(open_session(None), path=path) == number


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        ("main", "main", 0),
        ("main", "other", None),
        ("main", None, 0),
        (None, "main", 0),
        (None, None, 0),
    ],
)
def test_sessions_of_other_proxies_are_others(before, after, number):
    """Unless a file does not say whose it is."""
    assert taken(open_session(None, proxy=before), proxy=after) == number


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        ("10.0.0.1", "10.0.0.1", 0),
        ("10.0.0.1", "10.0.0.3", None),
        ("0.0.0.5", "10.0.0.1", 0),
        ("10.0.0.1", "0.0.0.5", 0),
    ],
)
def test_a_writer_may_have_replaced_an_address(before, after, number):
    """By one of 0.0.0.0/8 if it was in use."""
    session = open_session(None, client=Endpoint(before, 5000))
    assert taken(session, client=Endpoint(after, 5000)) == number


def test_of_several_that_of_the_same_series_goes_on():
    """Copies of a recording stand in different folders."""
    one, two = open_session(None, "b/a.pcapng"), open_session(None, "a.pcapng")
    assert taken(one, two) == 1
    one.in_use = two.in_use = False
    assert taken(one, two, path="c/a-2.pcapng") is None
    assert taken(one, path="c/a-2.pcapng") == 0


@pytest.mark.parametrize(
    ("before", "after", "absent"),
    [
        ("a.pcapng", "a-2.pcapng", None),
        ("a.pcapng", "a-3.pcapng", ["a-2.pcapng"]),
        ("a-2.pcapng.gz", "a-5.pcapng", ["a-3.pcapng", "a-4.pcapng"]),
        ("a-3.pcapng", "a-2.pcapng", None),
        ("a-3.pcapng", "a-3.pcapng", None),
        ("a.pcapng", "b-3.pcapng", None),
        ("a.pcapng", "x/a-3.pcapng", None),
        ("a.pcapng", "a-3.pcap", None),
        ("a-x.pcapng", "a-3.pcapng", None),
        ("a-1234567890.pcapng", "a-1234567892.pcapng", None),
        ("a-123456788.pcapng", "a-123456790.pcapng", ["a-123456789.pcapng"]),
    ],
)
def test_names_show_that_a_part_is_missing(before, after, absent):
    """As far as they are numbered."""
    parts = Parts()
    assert parts.is_part_missing(Path(before), Path(after)) is (absent is not None)
    assert list(parts.absent) == (absent or [])


def test_names_of_missing_parts_are_bounded(monkeypatch):
    """A number may have nine digits."""
    monkeypatch.setattr(module, "MAX_ABSENT", 3)
    parts = Parts()
    assert parts.is_part_missing(Path("a.x"), Path("a-999999999.x"))
    assert list(parts.absent) == ["a-2.x", "a-3.x", "a-4.x"]


# A part that is being read.


class Reading:
    """The second part of a recording, while it is read."""

    def __init__(self, path="a-2.pcapng"):
        self.parts = Parts()
        self.first = Assembler("first")
        self.session = open_session(self.first)
        list(self.parts.keep(self.first, [], [self.session]))
        self.part = Part(self.parts, Path(path))

    def opened(self, number, annotations, leg=Leg.CLIENT):
        """Open a connection; return what is asked of the first part, None if it is new."""
        event = Opened(number, CLIENT, SERVER, 9)
        found = self.part.opened(event, leg, {"session": 1, **annotations}, KEY, "main")
        return None if found is None else list(found)


def test_a_session_that_goes_on_is_handed_to_its_part():
    """Both legs, and what comes of them, under the number that it has there."""
    reading = Reading()
    position = {"to_upstream": 5}
    assert reading.opened(4, {"continued": True, "position": position}) == [
        "first opens client again",
        ("first lacks", 7, {UP: 5, DOWN: 0}, 9),
    ]
    event = Data(4, True, b"x", 9)
    assert reading.part.is_continued(event)
    assert list(reading.part.happened(event, {}, False)) == [("first", 7, False)]
    assert not reading.part.is_continued(Data(5, True, b"x", 9))
    assert reading.opened(5, {}, Leg.UPSTREAM)[0] == "first opens upstream again"
    assert reading.part.is_continued(Data(5, True, b"x", 9))


def test_a_session_that_does_not_go_on_is_new():
    """Nor does its second leg, nor one of another number."""
    reading = Reading()
    assert reading.opened(4, {}) is None
    assert reading.opened(5, {}, Leg.UPSTREAM) is None
    assert not reading.part.is_continued(Data(4, True, b"x", 9))
    assert reading.opened(6, {"continued": True}) is not None
    assert reading.opened(7, {"session": 2}, Leg.UPSTREAM) is None
    # A new session with the number of one that has ended.
    assert reading.opened(8, {}) is None
    assert reading.opened(9, {}, Leg.UPSTREAM) is None


@pytest.mark.parametrize(
    ("path", "annotations", "offsets"),
    [
        ("a-2.pcapng", {}, {UP: 0, DOWN: 0}),
        ("a-2.pcapng", {"unrecorded": True}, None),
        ("a-2.pcapng", {"unrecorded": True, "position": {}}, None),
        ("a-3.pcapng", {}, None),
        ("a-3.pcapng", {"position": {"to_client": 3}}, {UP: 0, DOWN: 3}),
    ],
)
def test_how_much_is_missing_between_two_parts(path, annotations, offsets):
    """Unknown if the recording was off, or if a part is not there and none says how much it had."""
    found = Reading(path).opened(4, {"continued": True, **annotations})
    assert found[1] == ("first lacks", 7, offsets, 9)


def test_anyone_who_asks_learns_which_session_goes_on():
    """Once for each, if anything is known of it."""
    for known in (True, False):
        reading = Reading()
        reading.session.session.info = INFO if known else None
        notified = []
        reading.parts.on_continued = lambda *each, notified=notified: notified.append(each)
        reading.opened(4, {"continued": True})
        reading.opened(5, {}, Leg.UPSTREAM)
        assert notified == ([(Path("a-2.pcapng"), 1, INFO)] if known else [])


def test_after_a_part_others_may_continue_its_sessions():
    """From there on."""
    reading = Reading()
    reading.opened(4, {"continued": True})
    assert reading.session.in_use
    reading.part.release()
    assert not reading.session.in_use
    assert reading.session.path == Path("a-2.pcapng")
    assert not reading.part.is_continued(Data(4, True, b"x", 9))
    assert reading.opened(5, {}, Leg.UPSTREAM) is None
