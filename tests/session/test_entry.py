"""Entries: what a line of a capture says of a message, of junk, and of a run of messages."""

from lbcproxy.session import Delivery, Entry, RunEntries
from lbcproxy.wire import Framer
from tests.session.frames import DOWN, NETWORK, NOW, UP, broken, entries, ping, session


def run(count: int = 3) -> RunEntries:
    """Return the entries of some pings that arrive together, the first of them number 5."""
    [found] = Framer(NETWORK, individually=frozenset()).feed(b"".join(map(ping, range(count))))
    codec = session().codec_to(UP)
    return RunEntries(found, codec, DOWN, number=5, time_ns=NOW, session=9)


def test_a_message_s_entry_has_the_values_of_the_message():
    """Whoever prints a line asks the entry alone."""
    [entry] = entries(session().receive(UP, broken(ping()), NOW))
    assert entry.message is not None
    assert (entry.command, entry.payload, entry.raw) == ("ping", ping()[24:], broken(ping()))
    assert (entry.length, entry.error) == (8, entry.message.error)
    assert not entry.continued
    assert (entry.junk, entry.why, entry.missing) == (b"", None, 0)


def test_an_entry_of_junk_has_its_bytes_and_the_reason():
    """It has no command and no payload."""
    entry = Entry(
        number=1, time_ns=NOW, session=1, direction=UP, message=None, junk=b"abc", why="noise"
    )
    assert (entry.command, entry.payload) == ("", b"")
    assert (entry.raw, entry.length, entry.error) == (b"abc", 3, "noise")


def test_a_run_is_a_sequence_of_entries():
    """They are numbered one after the other, and are the messages in order."""
    found = run()
    assert len(found) == 3
    assert [each.number for each in found] == [5, 6, 7]
    assert [each.raw for each in found] == [ping(0), ping(1), ping(2)]
    assert found[1].raw == ping(1)
    assert [each.number for each in found[1:]] == [6, 7]
    assert {(each.time_ns, each.session, each.direction) for each in found} == {(NOW, 9, DOWN)}
    assert {each.message.direction for each in found if each.message} == {DOWN}


def test_the_entries_of_a_run_are_made_once_and_when_they_are_used():
    """Most are never used; whoever holds one has the one that others get."""
    found = run()
    assert found.made == ()
    assert found[0] is found[0]
    assert list(found.made) == list(found)
    assert found.unread().made == ()
    assert [each.raw for each in found.unread()] == [each.raw for each in found]


def test_a_run_can_be_numbered_as_that_of_another_file():
    """Captures that are merged number their entries again."""
    found = run().numbered(70)
    assert [(each.number, each.session) for each in found] == [(70, 9), (71, 9), (72, 9)]
    assert [each.session for each in run().numbered(70, session=4)] == [4, 4, 4]


def test_bytes_that_passed_unread_are_no_run():
    """The defaults of a delivery: no entries, sent as received, read."""
    nothing = Delivery(b"abc")
    assert (tuple(nothing.entries), nothing.sent, nothing.run) == ((), None, None)
    assert not nothing.unread
