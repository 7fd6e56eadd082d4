"""When reading fails, by a defect or for lack of memory: each byte is delivered, or counts as lost.

`SafeReader` is what a relay reads with. What is tested here is what it makes of a failure at any
point of a read; `tests/proxy/test_defects.py` has what a recording has of it.
"""

import itertools
from typing import Any

import pytest

from lbcproxy.session import Delivery, NodeState, Session
from lbcproxy.session.safe_reader import SafeReader
from lbcproxy.session.salvage import salvaged
from lbcproxy.session.stream_reader import StreamReader
from lbcproxy.wire import Framer
from lbcproxy.wire.framer import FrameEnd
from tests.session.frames import DOWN, NOW, UP, entries, ping, raw, session, version

PINGS = [ping(number) for number in range(6)]
STREAM = b"".join(PINGS)


def fail(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, *, after: bool = False) -> None:
    """Have a method raise once, before it has done anything or after."""
    original = getattr(owner, method)

    def function(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, method, original)
        if after:
            original(*arguments, **named)
        raise MemoryError

    monkeypatch.setattr(owner, method, function)


def unread(deliveries: list[Delivery]) -> bytes:
    """Return the bytes that passed without being read."""
    return b"".join(each.raw for each in deliveries if each.unread)


POINTS = {
    "before anything": (Session, "receive", False),
    "before the framer": (Framer, "feed", False),
    "in the framer": (Framer, "_run", False),
    "after the framer has taken a frame": (Framer, "_next", True),
    "in the state of the node": (NodeState, "see", False),
    "in making an entry": (StreamReader, "_deliver", False),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("read", range(3))
def test_every_byte_is_delivered_once_wherever_reading_fails(monkeypatch, point, read):
    """A failed read is delivered as it arrived, and so is what comes after it."""
    core = session(buffered_commands=None)
    reader = SafeReader(core)
    chunks = [STREAM[:50], STREAM[50:130], STREAM[130:]]
    owner, method, after = POINTS[point]
    deliveries: list[Delivery] = []
    for number, chunk in enumerate(chunks):
        if number == read:
            fail(monkeypatch, owner, method, after=after)
        deliveries += reader.receive(UP, chunk, NOW + number)
    deliveries += reader.end(UP, NOW + 3)
    lost = sum(each.missing for each in entries(deliveries))
    if point == "after the framer has taken a frame":
        assert lost in (0, len(ping()))  # the frame was on its way back when it was lost
        assert len(raw(deliveries)) + lost == len(STREAM)
    else:
        assert (raw(deliveries), lost) == (STREAM, 0)
    assert isinstance(core.defect, MemoryError)
    assert unread(deliveries)
    assert core.client.bytes >= sum(map(len, chunks)) - len(chunks[read])


def test_what_passes_unread_says_why_and_is_one_stretch_of_junk(monkeypatch):
    """A reader of the capture must not take it for what the node made wrong."""
    core = session()
    reader = SafeReader(core)
    [before] = entries(reader.receive(UP, ping() + ping()[:10], NOW))
    assert before.error is None
    fail(monkeypatch, Framer, "feed")
    failed = reader.receive(UP, ping()[10:20], NOW + 1)
    later = reader.receive(UP, ping()[20:], NOW + 2)
    assert [each.raw for each in failed + later] == [ping()[:10], ping()[10:20], ping()[20:]]
    assert all(each.unread for each in failed + later)
    found = entries(failed + later)
    assert {each.why for each in found} == {"reading failed (MemoryError): passed unread"}
    assert [each.continued for each in found] == [False, True, True]
    assert [each.time_ns for each in found] == [NOW + 1, NOW + 1, NOW + 2]
    assert core.client.junk_bytes == len(ping())
    assert core.client.commands == {"ping": 1}


def test_a_direction_that_failed_delivers_nothing_more_at_its_end(monkeypatch):
    """All its bytes have passed."""
    core = session()
    reader = SafeReader(core)
    fail(monkeypatch, Framer, "feed")
    reader.receive(UP, ping()[:10], NOW)
    assert reader.receive(UP, b"", NOW) == []
    assert reader.release_partial(UP, NOW) == reader.end(UP, NOW) == []
    assert not core.is_partial(UP)
    assert core.buffered_bytes < 200


def test_a_second_failure_loses_nothing_either(monkeypatch):
    """What the first one had expected is of no account then."""
    core = session()
    reader = SafeReader(core)
    for chunk in (STREAM, ping()):
        fail(monkeypatch, Session, "receive")
        deliveries = reader.receive(UP, chunk, NOW)
        assert [(each.raw, each.unread) for each in deliveries] == [(chunk, True)]


def test_the_other_direction_is_read_on(monkeypatch):
    """It did not fail."""
    core = session()
    reader = SafeReader(core)
    fail(monkeypatch, Framer, "feed")
    reader.receive(UP, ping(), NOW)
    [entry] = entries(reader.receive(DOWN, ping(), NOW))
    assert (entry.command, entry.error) == ("ping", None)


@pytest.mark.parametrize("method", ["end", "release_partial"])
@pytest.mark.parametrize("owner", [Session, Framer])
def test_a_failure_at_the_end_delivers_what_was_buffered(monkeypatch, method, owner):
    """There is no new data then, only what waited for the rest of its message."""
    core = session(None)
    reader = SafeReader(core)
    assert reader.receive(UP, version()[:50], NOW) == []
    inner = "close" if owner is Framer and method == "end" else method
    fail(monkeypatch, owner, inner)
    deliveries = getattr(reader, method)(UP, NOW + 1)
    assert raw(deliveries) == unread(deliveries) == version()[:50]
    assert getattr(reader, method)(UP, NOW + 1) == []


@pytest.mark.parametrize(("method", "inner"), [("end", "close"), ("release_partial",) * 2])
def test_what_the_framer_gave_away_before_it_failed_is_lost(monkeypatch, method, inner):
    """How much was buffered is known from before."""
    reader = SafeReader(session(None))
    reader.receive(UP, version()[:50], NOW)
    fail(monkeypatch, Framer, inner, after=True)
    [lost] = getattr(reader, method)(UP, NOW + 1)
    assert (lost.raw, lost.entries[0].missing) == (b"", 50)


def test_what_was_delivered_before_the_failure_stays_as_it_was_read(monkeypatch):
    """Only the rest passes unread."""
    core = session(buffered_commands=None)
    reader = SafeReader(core)
    calls = itertools.count()
    deliver = StreamReader._deliver
    monkeypatch.setattr(
        StreamReader, "_deliver", lambda *given: 1 / 0 if next(calls) == 2 else deliver(*given)
    )
    deliveries = reader.receive(UP, STREAM, NOW)
    assert [each.unread for each in deliveries] == [False] * 2 + [True] * 4
    assert [each.raw for each in deliveries] == PINGS


def test_a_long_message_of_which_parts_have_passed_is_not_delivered_twice(monkeypatch):
    """Its end has no bytes of its own."""
    reader = SafeReader(session(16))
    deliveries = reader.receive(UP, version()[:50], NOW)
    assert raw(deliveries) == version()[:50]
    fail(monkeypatch, NodeState, "see")
    deliveries += reader.receive(UP, version()[50:] + ping(), NOW)
    assert raw(deliveries) == version() + ping()


class Held:
    """A framer that holds some bytes."""

    def __init__(self, held: bytes) -> None:
        self.held = held

    def release(self) -> bytes:
        return self.held


@pytest.mark.parametrize(
    ("held", "data", "expected", "found", "lost"),
    [
        (b"abc", b"de", 5, [b"abc", b"de"], 0),  # the framer had not taken the data
        (b"abcde", b"de", 5, [b"abcde"], 0),  # it had
        (b"", b"de", 5, [b"de"], 3),  # it lost what it held; the data are there
        (b"abc", b"de", 9, [b"abc"], 6),  # it lost some, and nobody knows of what
        (b"abcdef", b"de", 5, [b"abcdef"], 0),  # more than expected: none are lost
        (b"ab", b"de", 5, [b"ab"], 3),
    ],
)
def test_what_is_salvaged_is_what_is_there_and_the_rest_is_lost(held, data, expected, found, lost):
    """Whether the framer had taken the data shows in how many bytes there are."""
    assert salvaged(Held(held), [FrameEnd()], data, expected) == (found, lost)


def test_bytes_that_were_lost_are_counted(monkeypatch):
    """A hole in a recording is shown as one."""
    core = session()
    reader = SafeReader(core)
    reader.receive(UP, ping()[:30], NOW)
    monkeypatch.setattr(Framer, "release", lambda _: b"")
    fail(monkeypatch, Framer, "feed")
    lost, rest = reader.receive(UP, ping()[30:], NOW + 1)
    assert lost.unread
    assert lost.entries[0].missing == 30
    assert lost.entries[0].why == "30 bytes were lost when reading failed"
    assert (rest.raw, rest.unread) == (ping()[30:], True)
