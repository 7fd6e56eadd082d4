"""What is wrong with a filter is said where it is wrong."""

import pytest

from lbcproxy.filters import BadFilter, parse
from lbcproxy.filters.fields import ENTRY_FIELDS
from lbcproxy.filters.parser import MAX_LENGTH
from lbcproxy.filters.types import ABSENT
from lbcproxy.wire.registry import OPAQUE, commands

# The place is marked by the sign | in the filter; then what is said, then the hint.
CASES = [
    ("|", "it is empty", ""),
    ("|   ", "it is empty", ""),
    ("inv and|", "it ends too early", ""),
    ("not|", "it ends too early", ""),
    ("inv.|", "it ends too early", ""),
    ("inv or |(size > 3", "this is never closed", ""),
    ("inv|)", "this is not understood here", ""),
    ("inv |tx", "this is not understood here", ""),
    ("size |= 5", "this is not understood here", "`==` compares"),
    ("inv |&& tx", "'&&' is not understood", "write `and`"),
    ("inv ¦ tx", "'|' is not understood", "write `or`"),
    ("|!inv", "'!' is not understood", "write `not`"),
    ('command |!~ "inv"', "'!~' is not understood", "write `not NAME =~ PATTERN`"),
    ("inv |#3", "'#' is not understood", ""),
    ("size |@ 3", "'@' is not understood", ""),
    ("inv\x1b", None, ""),
    ('command == |"inv', "the text that starts here does not end", ""),
    ("|invv", "no name 'invv'; did you mean inv?", "a text is in quotes"),
    ("size > 3 and (ping or |pnog)", "no name 'pnog'; did you mean pong?", ""),
    ("|INV", "no name 'INV'; did you mean inv?", ""),
    ("|sise > 3", "no name 'sise'; did you mean size?", ""),
    ("  é |== 3", None, ""),
    ('error == "é" and |sise > 3', "no name 'sise'; did you mean size?", ""),
    ("version.user_agent == |LBRY", "no name 'LBRY'", "a text is in quotes"),
    ('command == |"invv"', "no command 'invv'; did you mean inv?", 'command =~ "^invv$"'),
    ('command in |("inv", "txx")', "no command 'txx'; did you mean tx?", ""),
    ("command == |inv", "inv is a command, not a value", 'inv.inventory or "inv"'),
    ("|tx == 1", "tx is a command, not a value", "tx.version"),
    (
        "tx.|outptus",
        "tx has no field 'outptus'; did you mean outputs?",
        "lock_time, mweb, txid",
    ),
    ("tx.inputs[0].|prev == 3", "tx.inputs[0] has no field 'prev'", "prev_hash, prev_index"),
    ("block.header.|hsh", "block.header has no field 'hsh'; did you mean hash?", ""),
    ("any(o.|valu > 3 for o in tx.outputs)", "o has no field 'valu'", "value, script_pubkey"),
    ("verack.|x", "verack has no field 'x'", "there are none"),
    ("|feature.x == 1", "feature is known, but is not decoded", ""),
    ("tx.outputs.|value > 5", "a list has no field 'value'", "any(x.value"),
    ("tx.txid.|x", "a hash has no field 'x'", ""),
    ('direction == |"up"', "a direction is one of to_upstream, to_client", ""),
    ('any(c.kind == |"x" for c in tx.claims)', "is one of claim, support, update", ""),
    ('tx.lock_time == |"5"', "a number cannot be compared with a text", ""),
    ("command == |5", "a command cannot be compared with a number", ""),
    ("version.relay == |1", "true or false cannot be compared with a number", ""),
    ("version.relay > |true", "true or false has no order", ""),
    ("tx.lock_time < |null", "null has no order", ""),
    ("tx.outputs == |3", "a list cannot be compared as a whole", "len(LIST) > 3"),
    ("block.header == |3", "a record cannot be compared as a whole", "one of its fields"),
    ("command |is null", None, ""),
    ('tx.txid == |"ab"', "a hash has 64 digits, not 2", 'to match its beginning: =~ "^ab"'),
    ('tx.txid == |"xy"', "'xy' is not hexadecimal", ""),
    ('any(c.claim_id == |"ab" for c in tx.claims)', "a claim id has 40 digits, not 2", ""),
    ('time > |"yesterday"', "'yesterday' is not a time", '"2026-11-23T08:30:00"'),
    ('time > |"2026-11-23T07:42:33.12x"', "is not a time", ""),
    ("time > |5", "a time cannot be compared with a number", ""),
    ('version.user_agent =~ "L|(B"', "not a regular expression: missing )", ""),
    ('version.user_agent =~ "é*|*"', "not a regular expression: multiple repeat", ""),
    ('command =~ "a|(?=b)"', "not a regular expression: there are no look-aheads", ""),
    ('command =~ "a|\\Z"', "invalid escape sequence", r"\z"),
    ('command =~ |"\\w{999}\\w{999}"', "too large: repeat less", ""),
    ("command =~ |tx", "after =~ a pattern in quotes is expected", ""),
    ('size =~ |"3"', "=~ searches texts, not a number", ""),
    ('tx.addresses =~ |"b"', "=~ searches texts, not a list", "any(x =~ ... for x in LIST)"),
    ('"a" in |size', "a number cannot contain anything", ""),
    ("3 in |command", "a number cannot be in a command", ""),
    ("3 in |tx.addresses", "a number cannot be compared with a text", ""),
    ("command in (|size, 3)", "a literal list contains numbers and texts", ""),
    ('size in |(3, null, "a")', "a number cannot be compared with a text", ""),
    ('command == "inv" or |"tx"', "a text alone is neither true nor false", ""),
    ("|3", "a number alone is neither true nor false", ""),
    ("|null", "null alone is neither true nor false", ""),
    ("|anyy(x for x in trail)", "no function 'anyy'; did you mean any?", "any, all, len, sum"),
    ("|open('x')", "no function 'open'", ""),
    ("|size.bit_length()", "this is not understood in a filter", ""),
    ("|any()", "any() takes one list", ""),
    ("|len(trail, 3)", "len() takes one list", ""),
    ("any(|size)", "any() takes a list", ""),
    ("len(|size) > 3", "len() counts a list or a text, not a number", ""),
    ("sum(|trail) > 3", "sum() adds up numbers", ""),
    ("any(x for x in |size)", "a number has no entries", ""),
    ("any(x for |x, y in trail)", "a loop has one name", ""),
    ("tx.outputs[|0:1]", "the index of an entry is a number, from 0", ""),
    ("|size[0] == 3", "a number has no entries by number", ""),
    ("|'a' + 3 > 2", "a text is not a number to calculate with", ""),
    ("|size ** 2 > 3", "this is not understood in a filter", ""),
    ("|lambda: 1", "this is not understood in a filter", ""),
    ("|[1, 2]", "a list alone is neither true nor false", ""),
    ("any(x for x in ((1, 2), |(3,)))", None, ""),
    ("|f'{size}'", "this is not understood in a filter", ""),
    ("size > |b'a'", "this type of value is not known to filters", ""),
    ("|size if inv else 3", "this is not understood in a filter", ""),
    ("(x |:= 3)", "':=' is not understood", ""),
    ("|__import__", "no name '__import__'", ""),
]


@pytest.mark.parametrize(("marked", "what", "hint"), CASES, ids=[each[0] for each in CASES])
def test_an_error_points_at_its_place(marked, what, hint):
    """The caret is below the character that is wrong."""
    text = marked.replace("|", "").replace("¦", "|")
    with pytest.raises(BadFilter) as caught:
        parse(text)
    error = caught.value
    assert error.exit_code == 2
    if what is None:
        return
    assert what in error.what
    assert hint in error.hint
    assert error.offset == (marked.index("|") if "|" in marked else marked.index("¦"))
    said, shown, caret = str(error).split("\n")
    assert said == f"in the filter: {error.what}"
    assert shown == f"    {text}"
    assert caret.index("^") - 4 == error.offset


def test_a_long_filter_is_shown_around_the_place():
    """A screen full of filter hides what is wrong in it."""
    text = " or ".join(["inv"] * 100 + ["txx"] + ["inv"] * 100)
    with pytest.raises(BadFilter) as caught:
        parse(text)
    _, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 90
    assert shown.startswith("    ...")
    assert shown.endswith("...")
    assert shown[caret.index("^") :].startswith("txx")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "inv" + ")" * 4999,
        "not " * 2400 + "inv",
        "-" * 9000 + "1 > size",
        "+".join(["size"] * 1900) + " > 3",
        "inv" + ".x" * 4000,
        "not " * 150 + "inv",
        "x" * (MAX_LENGTH + 1),
        "\0",
        "inv\0",
    ],
    ids=lambda text: f"{text[:8]!r}...",
)
def test_what_nests_too_deeply_is_an_error_like_others(text):
    """A filter may come from a control socket: it must not bring the proxy down."""
    with pytest.raises(BadFilter):
        parse(text)


@pytest.mark.parametrize("blank", ["\n", "\t", "\r\n", "  "])
def test_a_filter_may_have_several_lines(blank):
    """As in a config file."""
    assert parse(f"{blank}inv{blank}or{blank}tx{blank}").commands == {"inv", "tx"}


def test_names_do_not_hide_commands():
    """`size` is not a command, and none may come to be."""
    assert set(ENTRY_FIELDS) & {*commands(), *OPAQUE} == set()


def test_what_is_absent_is_not_true():
    """It takes part in conditions, and in errors of ours it has a name."""
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"
