"""Entries of a capture with their numbers, verdicts and comments."""

import pytest

from lbcproxy.capture.reading.entry_annotator import EntryAnnotator
from lbcproxy.session import Direction
from tests.session.frames import ping, session, version

UP = Direction.TO_UPSTREAM


def run_of(count):
    """Return a delivery of messages that passed together."""
    [delivery] = session().receive(UP, b"".join(map(ping, range(count))), 1)
    assert delivery.run is not None
    return delivery


def single():
    """Return a delivery of one message that passed alone."""
    [delivery, *_] = session().receive(UP, version(), 1)
    assert delivery.run is None
    return delivery


def annotated(annotator, delivery, annotations=None, comments=()):
    """Return the deliveries, and numbers and comments of all entries."""
    found = list(annotator.annotated(delivery, annotations or {}, comments))
    entries = [entry for each in found for entry in each.entries]
    return found, [(entry.number, entry.comments) for entry in entries]


def test_entries_are_numbered_from_1():
    """A run stays one."""
    annotator = EntryAnnotator()
    [found], numbers = annotated(annotator, run_of(3))
    assert numbers == [(1, ()), (2, ()), (3, ())]
    assert found.run is found.entries
    assert found.raw == run_of(3).raw
    [found], numbers = annotated(annotator, single())
    assert (found.run, found.sent, numbers) == (None, None, [(4, ())])
    _, numbers = annotated(annotator, run_of(2))
    assert numbers == [(5, ()), (6, ())]


def test_comments_are_for_the_first_entry():
    """The packet that has them completed it first."""
    found, numbers = annotated(EntryAnnotator(), run_of(3), comments=("a", "b"))
    assert numbers == [(1, ("a", "b")), (2, ()), (3, ())]
    assert [each.raw for each in found] == [ping(number) for number in range(3)]
    assert [each.run for each in found] == [None] * 3


@pytest.mark.parametrize(
    ("verdict", "raw", "sent"),
    [
        ("pass", ping(0), None),
        ("drop", ping(0), b""),
        ("rewrite", ping(0), None),
        ("inject", b"", ping(0)),
    ],
)
def test_a_verdict_says_what_was_sent(verdict, raw, sent):
    """With who decided it."""
    annotations = {"verdict": verdict, "trail": ["guard", "fault"]}
    [found], _ = annotated(EntryAnnotator(), run_of(1), annotations)
    assert (found.raw, found.sent) == (raw, sent)
    [entry] = found.entries
    assert (entry.verdict, entry.trail) == (verdict, ("guard", "fault"))
