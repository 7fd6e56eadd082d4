"""Why a session ended: a value whose words nothing depends on."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lbcproxy
from lbcproxy.session import Direction, End, EndCause
from lbcproxy.session.end import OPEN, SILENT, STOPPED, STOPPED_AT_ONCE

UP, DOWN = Direction
SHOWN = {
    End(EndCause.CLOSED, UP): ("client closed", "client closed"),
    End(EndCause.CLOSED, DOWN): ("upstream closed", "server closed"),
    End(EndCause.CLOSED, UP, "closed by the node"): ("client: closed by the node",) * 2,
    End(EndCause.RESET, DOWN): ("upstream reset", "server reset"),
    End(EndCause.UNREACHABLE, DOWN, "refused"): (
        "upstream unreachable: refused",
        "server unreachable: refused",
    ),
    End(EndCause.PLUGIN, None, "bad block", "guard"): ("bad block", "plugin guard: bad block"),
    End(EndCause.PLUGIN, None, "", "guard"): ("closed by guard",) * 2,
    End(EndCause.FAULT, None, "", "cut"): ("fault cut",) * 2,
    End(EndCause.TIMEOUT, None, "not a byte in 5 s"): ("not a byte in 5 s",) * 2,
    End(EndCause.LIMIT): ("limit",) * 2,
    End(EndCause.UNREACHABLE, DOWN): ("upstream unreachable", "server unreachable"),
    End(EndCause.UNREACHABLE, UP): ("client unreachable",) * 2,
    End(EndCause.PLUGIN): ("closed by a plugin",) * 2,
    End(EndCause.PLUGIN, None, "bad block"): ("bad block",) * 2,
    End(EndCause.TIMEOUT, None, "too slow", "guard"): ("too slow",) * 2,
    End(EndCause.FAULT): ("a fault",) * 2,
    End(EndCause.PLAYED): ("played to the end",) * 2,
    End(EndCause.LOOP): ("the upstream is this proxy itself",) * 2,
    STOPPED: ("proxy stopped",) * 2,
    STOPPED_AT_ONCE: ("proxy stopped at once",) * 2,
    OPEN: ("open at the end",) * 2,
    SILENT: ("silent",) * 2,
}
MAY_READ = {"capture/tools/anonymise.py"}
"""Where a detail is read outside of `End`: to be counted where it is left out."""


@pytest.mark.parametrize(("end", "shown"), SHOWN.items(), ids=lambda each: str(each)[:20])
def test_it_is_shown_to_plugins_and_to_people(end, shown):
    """A plugin gets its own words back; people see whose they are."""
    assert (end.text, end.describe("server")) == shown


@pytest.mark.parametrize(
    ("end", "who"),
    [
        (End(EndCause.CLOSED, UP), "client"),
        (End(EndCause.PROTOCOL, DOWN), "upstream"),
        (End(EndCause.TIMEOUT), "proxy"),
        (STOPPED, "proxy"),
        (OPEN, ""),
        (SILENT, ""),
    ],
)
def test_who_ended_it_is_a_node_or_the_proxy_or_nobody(end, who):
    """Programs ask this; words are for people."""
    assert end.who == who


@pytest.mark.parametrize(
    "value",
    [None, "closed", ["closed"], {}, {"cause": "nonsense"}, {"cause": "open"}, {"cause": "silent"}],
)
def test_what_is_not_an_end_is_none(value):
    """A file may hold anything; a session that has not ended has no end in a file."""
    assert End.from_dict(value) is None


def test_an_end_needs_nothing_but_its_cause():
    """Other programs may leave out the rest, or name a node that we do not know."""
    assert End.from_dict({"cause": "reset"}) == End(EndCause.RESET)
    assert End.from_dict({"cause": "reset", "by": "somebody"}) == End(EndCause.RESET)


@given(
    st.sampled_from(sorted(set(EndCause) - {EndCause.OPEN, EndCause.SILENT})),
    st.sampled_from([None, *Direction]),
    st.text(max_size=50),
    st.text(max_size=50),
)
def test_what_a_file_holds_of_it_is_all_of_it(cause, by, detail, name):
    """Nothing is left out but what is empty."""
    end = End(cause, by, detail, name)
    said = end.to_dict()
    assert "" not in said.values()
    assert End.from_dict(said) == end


def test_very_long_words_are_cut_in_a_file():
    """The cause must not be left out of a note for want of room."""
    end = End(EndCause.PLUGIN, None, "\0" * 100_000, "x" * 100_000)
    said = end.to_dict()
    assert (len(said["detail"]), len(said["name"])) == (2_000, 2_000)
    found = End.from_dict(said | {"detail": "\0" * 100_000, "name": "x" * 100_000})
    assert (found.cause, len(found.detail), len(found.name)) == (EndCause.PLUGIN, 2_000, 2_000)


@pytest.mark.slow
def test_no_other_code_reads_a_detail():
    """It is only ever shown, so nothing else has any use for it."""
    root = Path(lbcproxy.__file__).parent
    readers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or node.attr != "detail":
                continue
            of = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
            if of in ("end", "ending", "told", "why"):
                readers.add(path.relative_to(root).as_posix())
    assert readers <= MAY_READ
