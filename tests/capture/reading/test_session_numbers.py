"""The numbers of the sessions of a capture."""

import pytest

from lbcproxy.capture.reading.session_numbers import SessionNumbers


def given(numbers, *owns):
    """Begin sessions to which a file gives these numbers; return theirs."""
    found = []
    for own in owns:
        found.append(numbers.next(own))
        numbers.remember(own, found[-1])
    return found


def test_sessions_without_a_number_are_numbered_in_order():
    """Those of other programs."""
    numbers = SessionNumbers()
    assert [numbers.next() for _ in range(3)] == [1, 2, 3]


def test_a_file_keeps_its_own_numbers():
    """In any order, while they are unique."""
    assert given(SessionNumbers(), 7, 3, 9, 4) == [7, 3, 9, 4]


def test_a_number_that_comes_twice_ends_that():
    """From there on all are numbered in order, but never less than their own."""
    numbers = SessionNumbers()
    assert given(numbers, 7, 3, 7, 4, 20, 5) == [7, 3, 8, 9, 20, 21]


def test_a_session_that_is_over_frees_its_number():
    """One that ended is another session's, if the file says so."""
    numbers = SessionNumbers()
    assert given(numbers, 1) == [1]
    assert numbers.known(1) == 1
    numbers.forget(1)
    numbers.forget(1)
    assert numbers.known(1) is None
    assert given(numbers, 1) == [1]


def test_a_section_has_numbers_of_its_own():
    """They come after those of the sections before."""
    numbers = SessionNumbers()
    assert given(numbers, 2, 2) == [2, 3]
    numbers.begin_section()
    assert numbers.known(2) is None
    assert given(numbers, 4, 6, 5) == [4, 6, 5]
    numbers.begin_section()
    assert given(numbers, 6, 9) == [7, 9]


@pytest.mark.parametrize("own", [0, -1, 1 << 32, 1 << 70, "1", None, 1.5])
def test_what_is_not_a_number_is_not_kept(own):
    """Anybody may have written a file."""
    numbers = SessionNumbers()
    assert given(numbers, own, 5) == [1, 5]
    assert given(SessionNumbers(), (1 << 32) - 1) == [(1 << 32) - 1]
