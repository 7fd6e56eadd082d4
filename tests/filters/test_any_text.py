"""Whatever is typed: a filter that answers, or an error that points at a place in it."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.capture import open_capture
from lbcproxy.filters import BadFilter, parse
from lbcproxy.filters.fields import ENTRY_FIELDS, FilterContext
from lbcproxy.resources import folder

WORDS = [
    *ENTRY_FIELDS,
    *("inv", "tx", "block", "version", "verack", "feature", "x", "x", "true", "null"),
    *("tx.outputs", "block.transactions", "tx.claims", "version.user_agent", "inv.inventory"),
    *("x.value", "x.outputs", "x.name", "x.hash", ".txid", ".value", ".address", "[0]", "[-1]"),
    *("and", "or", "not", "in", "not in", "==", "!=", "<", ">=", "=~", "+", "-", "*", "=", "is"),
    *("any(", "all(", "len(", "sum(", "(", ")", ")", ")", "[", "]", ",", "for x in", "if", "else"),
    *('"inv"', "'a'", '"^a"', '"("', '"é', "1", "-3", "0.5", "1e400", "0x1f", "1j", "...", "b'a'"),
    *("&&", "!", "#", "@", ":=", "lambda x:", "{", "}", ":", "*", "**", "é", "\n", "\\", ";", "`"),
    *("x for x in", "x.value > 3 for x in tx.outputs", "t for t in trail", "\N{SNOWMAN}", "\0"),
]


@functools.cache
def entries():
    """Return one entry of each command in a capture, and of each size."""
    every = open_capture(folder("captures") / "lbcd-probe.pcap")
    return tuple({(each.command, each.length): each for each in every}.values())


def hold(text):
    """Hold a text to what is promised."""
    try:
        wanted = parse(text)
    except BadFilter as error:
        assert 0 <= error.offset <= len(text)
        said, _, caret = str(error).rsplit("\n", 2)
        assert error.what in said
        assert caret.strip() == "^"
        return
    for entry in entries():
        answer = wanted._is_true(FilterContext(entry, None, wanted._variables))
        assert type(answer) is bool
        if answer and wanted.commands is not None:
            assert entry.command in wanted.commands


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, database=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_words_of_the_language_in_any_order(text):
    """Most are errors; the others are evaluated."""
    hold(text)


VALUES = st.sampled_from(
    [
        *(name for name in ENTRY_FIELDS if name != "trail"),
        *("tx.lock_time", "tx.txid", "block.hash", "version.relay", "version.user_agent"),
        *("tx.outputs[0].value", "tx.claims[0].name", "len(tx.outputs)", "sum([size])", "null"),
        *("sum(o.value for o in tx.outputs)", "len(inv.inventory)", "tx.addresses[1]", "error"),
        *('"a"', '"inv"', "5", "-1", "true", "2.5", "(inv)", "size + 1", "ping.nonce * 2"),
    ]
)
LISTS = st.sampled_from(
    [
        *("trail", "tx.addresses", "tx.outputs", "tx.claims", "inv.inventory", "headers.headers"),
        *("[t.txid for t in block.transactions]", "(1, 2)", '("inv", "tx")', "(null, true)", "[]"),
    ]
)
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
TESTS = st.recursive(
    st.one_of(
        st.tuples(VALUES, SIGNS, VALUES).map(" ".join),
        st.tuples(VALUES, SIGNS, VALUES, SIGNS, VALUES).map(" ".join),
        st.tuples(VALUES, st.sampled_from(["in", "not in"]), LISTS).map(" ".join),
        st.tuples(VALUES, st.sampled_from(['=~ "a"', '=~ "^."'])).map(" ".join),
        st.sampled_from(["inv", "tx", "block", "tx.claims", "version.relay", "error", "trail"]),
        LISTS.map("any(x for x in {})".format),
        LISTS.map("all(x for x in {} if x)".format),
    ),
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from([") and (", ") or ("]), inner)
        .map("".join)
        .map("({})".format),
        inner.map("any({} for o in tx.outputs)".format),
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, database=None)
@given(TESTS)
def test_what_is_well_formed(text):
    """Much of it makes sense, and is true only where `commands` says that it can be."""
    hold(text)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, database=None)
@given(st.text(max_size=40))
def test_any_characters(text):
    """From a control socket anything may come."""
    hold(text)
