"""What passed when, in a bounded number of spans."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture.tools.timeline import MAX_SPANS, Timeline

TIMES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 2**62), st.integers(0, 10**6)))


@given(TIMES)
def test_nothing_is_lost_whatever_the_order(said):
    """Spans are made longer, never more, and each message is in the one of its time."""
    line = Timeline()
    for name, time_ns, size in said:
        line.add(name, time_ns, size)
    assert line.last - line.first < MAX_SPANS
    expected: Counter[tuple[str, int]] = Counter()
    sizes: Counter[tuple[str, int]] = Counter()
    for name, time_ns, size in said:
        expected[name, time_ns // line.width] += 1
        sizes[name, time_ns // line.width] += size
    found = {(name, n): each for name, spans in line.spans.items() for n, each in spans.items()}
    assert {key: each[0] for key, each in found.items()} == expected
    assert {key: each[1] for key, each in found.items()} == {key: sizes[key] for key in expected}


def test_what_has_no_time_is_in_no_span():
    """Else 1970 would be the beginning."""
    line = Timeline()
    line.add("tx", 0, 1)
    assert line.spans == {}
