"""Patterns of users over texts of peers: in linear time, or refused."""

import ast
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.filters import parse
from lbcproxy.patterns import MAX_PROGRAM, BadPattern, searcher

PACKAGE = Path(__file__).parent.parent / "lbcproxy"

# Where Python's own engine searches for what is not written in the source, and why it may.
OWN = {
    "capture/formats/_core_records.py": "the bytes of a header, each once",
    "capture/formats/pcap.py": "magics, escaped",
    "capture/formats/pcapng.py": "block types, escaped",
    "capture/reading/frame_start.py": "magics and a class of characters",
    "capture/recording/filename_pattern.py": "names of files in the folder of one's own recordings",
    "capture/tools/anonymise.py": "made of a constant",
    "cli/sanitizer.py": "made of a constant",
    "patterns.py": "only compiled, for the place of what RE2 refuses",
    "pytest_plugin/network.py": "hosts that a test of one's own dials",
}
SEARCHES = {
    "compile",
    "search",
    "match",
    "fullmatch",
    "sub",
    "subn",
    "split",
    "findall",
    "finditer",
}


def made_up_patterns(source: str) -> list[int]:
    """Return the lines in which `re` is given a pattern that does not stand there as a text."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in SEARCHES
        and not isinstance(node.args[0], ast.Constant)
    ]


def test_what_users_write_is_searched_by_re2_alone():
    """Python's engine takes exponential time for some patterns, and peers choose the texts."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if made_up_patterns(path.read_text())
    }
    assert found == OWN.keys()
    assert made_up_patterns(
        "import re\nre.compile(f'{x}')\nre.search('a', b)\nre.sub(p, q, r)"
    ) == [
        2,
        4,
    ]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*a){12}b", "^(([a-z])+.)+[A-Z]"]
)
def test_a_pattern_that_explodes_elsewhere_is_done_at_once(pattern):
    """In Python's engine none of these would end; a mistake here makes the test run never end."""
    assert not searcher(pattern)("a" * 5_000 + "!")
    assert not parse(f'network =~ "{pattern}" and size > 0').commands


@pytest.mark.parametrize(
    ("pattern", "what", "place", "hint"),
    [
        ("a(?=b)", "there are no look-aheads", 1, ""),
        ("(?<!b)", "there are no look-behinds", 0, ""),
        (r"(a)b\1", "there are no back-references", 4, ""),
        ("(?P<n>a)(?P=n)", "there are no back-references", 8, ""),
        ("ab++", "there are no possessive repetitions", 2, ""),
        ("a(?>b)", "there are no atomic groups", 1, ""),
        ("(?#b)", "there are no comments", 0, ""),
        ("(?x) a", "there are no patterns with blanks", 0, ""),
        (r"ab\Z", "invalid escape sequence", 2, r"\z"),
        ("a\\u2014", "invalid escape sequence", 1, r"\x{2014}"),
        ("ab{,3}", "without a least number", 2, "write {0,3}"),
        ("L(B", "missing ), unterminated subpattern", 1, ""),
        ("a{1001}", "too large", 1, ""),
        (r"\pL{200}", "too large", None, ""),
        (r"\w{1000}\w{1000}", "too large", None, ""),
        ("\ud800", "surrogate", 0, ""),
    ],
)
def test_what_is_not_understood_is_said_with_its_place(pattern, what, place, hint):
    """A pattern of Python's that means something else here would be worse than an error."""
    with pytest.raises(BadPattern, match=re.escape(what)) as caught:
        searcher(pattern)
    assert caught.value.place == place
    assert hint in caught.value.hint


@given(st.text("ab(|)*+?.[]^$\\{},1", max_size=12), st.text("ab1", max_size=8))
def test_what_both_engines_read_they_read_alike(pattern, text):
    """Filters that were written for Python's engine mean the same."""
    try:
        found = searcher(pattern)(text)
    except BadPattern:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = re.search(pattern, text) is not None
    except re.error:
        return
    assert found == wanted


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_pattern_and_any_text_have_an_answer(pattern, text):
    """Or the one error there is."""
    try:
        found = searcher(pattern)
    except BadPattern:
        return
    assert found(text) in (True, False)
    assert len(pattern) <= MAX_PROGRAM


def test_case_counts_unless_it_is_hexadecimal():
    """Ids are written in both cases."""
    assert not searcher("AB")("ab")
    assert searcher("AB", ignore_case=True)("ab")
    assert searcher("(?i)é")("É")
    assert searcher("\ud7ff|a")("\udc80a")
