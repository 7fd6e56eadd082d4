"""Two values side by side: in which fields they differ, and how long ones are shown."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.replay.comparing.fields import FieldDifference, differing, shown

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
)


@given(PLAIN)
def test_a_value_does_not_differ_from_itself(value):
    assert list(differing(value, copy.deepcopy(value))) == []


@given(PLAIN, PLAIN)
def test_two_values_that_differ_have_a_field_that_does(one, other):
    """Both ways, in the same fields."""
    paths = [[each.path for each in differing(*pair)] for pair in ((one, other), (other, one))]
    assert sorted(set(paths[0])) == sorted(set(paths[1]))
    assert not paths[0] or one != other
    if type(one) is type(other) and one != other:
        assert paths[0]


def test_a_long_value_is_cut_around_the_first_difference():
    """Both at the same place."""
    one, other = "a" * 1_000 + "b" + "c" * 1_000, "a" * 1_000 + "d" + "c" * 10
    shown_one, shown_other = shown(one, other)
    assert shown_one == f"(984 before) …{'a' * 16}b{'c' * 47}… (2,001 in all)"
    assert shown_other == f"(984 before) …{'a' * 16}d{'c' * 10}"


def test_a_value_that_ends_where_the_other_goes_on_is_cut_there():
    assert shown("a" * 100, "a" * 101) == (
        f"(84 before) …{'a' * 16}",
        f"(84 before) …{'a' * 17}",
    )


def test_a_hash_is_shown_whole():
    one, other = "ab" * 32, "cd" * 32
    assert shown(one, other) == (one, other)


def test_a_text_that_differs_says_it_once():
    """Its twin in hexadecimal says the same; where it is not a text the twin alone can."""
    one = {"agent": "/a/", "agent_hex": "2f612f"}
    other = {"agent": "/b/", "agent_hex": "2f622f"}
    assert list(differing(one, other)) == [FieldDifference("agent", "/a/", "/b/")]
    bad, worse = ({"agent": None, "agent_hex": each} for each in ("ff", "fe"))
    assert list(differing(bad, worse)) == [FieldDifference("agent_hex", "ff", "fe")]


def test_what_is_not_there_is_a_dash():
    assert list(differing({"a": 1}, {"b": [1, 2]})) == [
        FieldDifference("a", "1", "-"),
        FieldDifference("b", "-", "2 entries"),
    ]


def test_of_a_longer_list_the_first_entry_that_is_too_much_is_shown():
    one = [{"hash": "aa", "x": 1}, {"hash": "bb", "x": 2}]
    assert list(differing({"list": one}, {"list": one[:1]})) == [
        FieldDifference("list", "2 entries", "1 entry"),
        FieldDifference("list[1]", "hash bb", "-"),
    ]
