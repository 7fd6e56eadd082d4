"""Tests of the sets that forget: known things, and the nonces by which we know ourselves."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.peer.caches import MAX_NONCES, KnownSet, NonceCache


def test_the_one_not_seen_for_longest_goes_first():
    """Adding again counts as seeing."""
    known = KnownSet[str](2)
    for each in "abac":
        known.add(each)
    assert [each in known for each in "abc"] == [True, False, True]


def test_asking_counts_as_seeing():
    """What is asked for stays."""
    known = KnownSet[str](2)
    known.add("a")
    known.add("b")
    assert "a" in known
    known.add("c")
    assert [each in known for each in "abc"] == [True, False, True]


def test_asking_for_what_is_unknown_changes_nothing():
    """Nothing is added and nothing moved."""
    known = KnownSet[str](2)
    known.add("a")
    assert "b" not in known
    assert len(known) == 1


def test_what_is_equal_is_the_same():
    """By value: two objects with one value take one place."""
    known = KnownSet[bytes](10)
    known.add(bytes(bytearray(b"same")))
    known.add(bytes(bytearray(b"same")))
    assert len(known) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12))), st.integers(1, 8))
def test_it_behaves_as_a_list_of_the_last_seen(steps: list[tuple[bool, int]], most: int):
    """Held against the slowest way to write it."""
    known, model = KnownSet[int](most), list[int]()
    for add, number in steps:
        if add:
            known.add(number)
        else:
            assert (number in known) is (number in model)
        if add or number in model:
            model = [*(each for each in model if each != number), number][-most:]
        assert len(known) == len(model)


def test_fifty_nonces_are_remembered():
    """The 51st pushes the first out (J3)."""
    nonces = NonceCache()
    for nonce in range(MAX_NONCES + 1):
        nonces.add(nonce)
    assert MAX_NONCES == 50
    assert 1 in nonces
    assert 0 not in nonces


def test_nonces_may_be_added_from_many_threads():
    """Peers of several reactors in one process may share the cache."""
    nonces = NonceCache(100)

    def work(first: int) -> None:
        for nonce in range(first, first + 2_000):
            nonces.add(nonce)
            assert nonce - 5_000 not in nonces

    threads = [threading.Thread(target=work, args=(n * 10_000,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(nonces._nonces) == 100
