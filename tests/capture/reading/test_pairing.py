"""Rewritten messages and what was sent in their place, in whatever order they come."""

import msgspec
import pytest

from lbcproxy.capture.events import SectionHeader, session_ended
from lbcproxy.capture.reading import pairing as module
from lbcproxy.capture.reading.pairing import Pairing, RewritePending, RewriteSent
from lbcproxy.session import Direction
from lbcproxy.session.entry import Delivery
from lbcproxy.session.events import Delivered, NotRecorded
from lbcproxy.session.info import Lost
from tests.capture.reading.captured_legs import leg
from tests.capture.recordings import INFO

UP = Direction.TO_UPSTREAM


def info(session):
    """Return the endpoints of a session."""
    return msgspec.structs.replace(INFO, number=session)


def delivered(session, raw):
    """Return that some bytes passed."""
    return Delivered(info(session), UP, (Delivery(raw),), 5)


def ended(session):
    """Return that a session is over."""
    return session_ended(info(session), leg().report(session), True, 9)


class Paired:
    """Events as they come out of a pairing."""

    def __init__(self):
        self.pairing = Pairing()

    def feed(self, event):
        """Accept an event; return what comes out, as bytes received and sent, or names."""
        return [self._short(each) for each in self.pairing.feed(event)]

    def rewritten(self, session, number, raw):
        """Accept a message that was sent as something else."""
        assert self.feed(RewritePending((session, number))) == []
        return self.feed(delivered(session, raw))

    def passed(self, session, raw):
        """Accept a message that was sent as it is."""
        return self.feed(delivered(session, raw))

    def sent(self, session, number, raw):
        """Accept what was sent in place of a message."""
        return self.feed(RewriteSent((session, number), raw))

    def finish(self):
        """End the file; nothing may be left."""
        found = [self._short(each) for each in self.pairing.finish()]
        assert not self.pairing._slots
        assert not self.pairing._pending
        assert (self.pairing._size, self.pairing._early_size) == (0, 0)
        return found

    def _short(self, event):
        if isinstance(event, Delivered):
            return event.deliveries[0].raw, event.deliveries[0].sent
        return type(event).__name__


def test_what_is_sent_later_completes_the_message():
    """What comes after it waits, of whatever session, so that the order is kept."""
    paired = Paired()
    assert paired.passed(1, b"a") == [(b"a", None)]
    assert paired.rewritten(1, 7, b"b") == []
    assert paired.passed(2, b"c") == []
    assert paired.feed(NotRecorded(None, Lost(messages=1), 5)) == []
    assert paired.sent(1, 8, b"of another") == []
    assert paired.sent(2, 7, b"of another") == []
    assert paired.sent(1, 7, b"B") == [(b"b", b"B"), (b"c", None), "NotRecorded"]
    assert paired.passed(1, b"d") == [(b"d", None)]
    assert paired.finish() == []


def test_what_was_sent_before_is_kept_for_its_message():
    """Then nothing has to wait."""
    paired = Paired()
    assert paired.sent(1, 7, b"B") == []
    assert paired.passed(1, b"a") == [(b"a", None)]
    assert paired.rewritten(1, 7, b"b") == [(b"b", b"B")]
    assert paired.rewritten(1, 7, b"c") == []  # it is for one message only
    assert paired.finish() == [(b"c", b"")]


def test_several_wait_in_their_order():
    """Each for its own."""
    paired = Paired()
    assert paired.rewritten(1, 1, b"a") == []
    assert paired.rewritten(1, 2, b"b") == []
    assert paired.sent(1, 2, b"B") == []
    assert paired.sent(1, 1, b"A") == [(b"a", b"A"), (b"b", b"B")]
    assert paired.finish() == []


def test_the_end_of_a_session_ends_its_waiting():
    """And no other's; what was sent early for it is of no use any more."""
    paired = Paired()
    for session in (1, 2):
        assert paired.sent(session, 9, b"early") == []
        assert paired.rewritten(session, 1, b"%d" % session) == []
    assert paired.feed(ended(1)) == [(b"1", b"")]
    assert paired.rewritten(1, 9, b"again") == []
    assert paired.sent(2, 1, b"two") == [(b"2", b"two"), "CaptureSessionEnded"]
    assert paired.sent(1, 9, b"late") == [(b"again", b"late")]
    assert paired.rewritten(2, 9, b"x") == [(b"x", b"early")]
    assert paired.finish() == []


def test_a_new_section_ends_all_waiting():
    """No connection continues in it."""
    paired = Paired()
    assert paired.sent(3, 9, b"early") == []
    for session in (1, 2):
        assert paired.rewritten(session, 1, b"%d" % session) == []
    assert paired.feed(SectionHeader()) == [(b"1", b""), (b"2", b""), "SectionHeader"]
    assert paired.rewritten(3, 9, b"x") == []
    assert paired.finish() == [(b"x", b"")]


@pytest.mark.parametrize("most", [99, 100])
def test_only_so_many_bytes_wait(monkeypatch, most):
    """Then other sessions pass the one that waits."""
    monkeypatch.setattr(module, "MAX_BYTES", most)
    paired = Paired()
    assert paired.rewritten(1, 1, bytes(10)) == []
    found = paired.passed(2, bytes(90))
    assert found == ([(bytes(90), None)] if most == 99 else [])
    assert paired.pairing._size == (10 if most == 99 else 100)
    assert paired.sent(1, 1, b"A")[0] == (bytes(10), b"A")
    assert paired.finish() == []


@pytest.mark.parametrize("most", [2, 3])
def test_only_so_many_events_wait(monkeypatch, most):
    """Half of that is left for what waits itself; what comes after it in its session stays."""
    monkeypatch.setattr(module, "MAX_EVENTS", most)
    paired = Paired()
    assert paired.rewritten(1, 1, b"a") == []
    assert paired.passed(2, b"b") == []
    assert paired.passed(3, b"c") == ([(b"b", None), (b"c", None)] if most == 2 else [])
    found = paired.sent(1, 1, b"A")
    assert found == [(b"a", b"A"), (b"b", None), (b"c", None)][: 1 if most == 2 else 3]
    assert paired.finish() == []


@pytest.mark.parametrize("size", [50, 51])
def test_a_session_that_waits_with_too_much_waits_no_more(monkeypatch, size):
    """More than half of what may wait is its own."""
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    paired = Paired()
    assert paired.rewritten(1, 1, bytes(size)) == []
    found = paired.passed(2, bytes(60))
    assert found == [(bytes(60), None), (bytes(51), b"")][: 1 if size == 50 else 2]
    assert paired.finish() == ([(bytes(50), b"")] if size == 50 else [])


@pytest.mark.parametrize("count", [4, 5])
def test_a_session_that_waits_with_too_many_waits_no_more(monkeypatch, count):
    """The same for events."""
    monkeypatch.setattr(module, "MAX_EVENTS", count)
    paired = Paired()
    assert paired.rewritten(1, 1, b"a") == []
    assert paired.passed(1, b"b") == []
    found = [each for number in range(count - 1) for each in paired.passed(2, b"%d" % number)]
    assert found == [(b"%d" % number, None) for number in range(count - 1)]
    assert paired.pairing._pending
    more = [each for number in range(count) for each in paired.passed(1, b"%d" % number)]
    assert more[:2] == [(b"a", b""), (b"b", None)]
    paired.finish()


@pytest.mark.parametrize(("most", "kept"), [(3, [1, 2, 3]), (2, [2, 3])])
def test_what_was_sent_early_is_bounded(monkeypatch, most, kept):
    """By number and by bytes; the oldest is dropped."""
    for name, value in (("MAX_EVENTS", most), ("MAX_BYTES", most * 10)):
        paired = Paired()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            for number in (1, 2, 3):
                assert paired.sent(1, number, bytes(10)) == []
        assert [key[1] for key in paired.pairing._early] == kept
        assert paired.pairing._early_size == 10 * len(kept)
        assert paired.finish() == []
