"""Two conversations compared: what is the same, and that each kind of difference is found."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.replay import BadIgnore, IgnoredFields
from lbcproxy.replay.comparing import compare
from lbcproxy.replay.comparing.compare import LIVE, RECORDED
from lbcproxy.replay.comparing.normalize import ComparedMessage
from lbcproxy.session import Direction
from lbcproxy.wire.messages.addresses import Addr
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.inventory import Inv
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping, Pong
from tests.replay.conversations import (
    BLOCKS,
    DOWN,
    HEADERS,
    TALK,
    UP,
    Line,
    asked,
    compared,
    entries_of,
    have,
    header,
    missing,
    version,
)

OTHERS = tuple(header(number) for number in range(11, 16))
"""The headers of another chain."""


def changed(position: int, *lines: Line) -> list[Line]:
    """The talk with one line replaced by others."""
    return [*TALK[:position], *lines, *TALK[position + 1 :]]


def place_of(direction: Direction, kind: type) -> int:
    """Where in the talk the first message of a kind stands."""
    return next(
        position
        for position, line in enumerate(TALK)
        if line[0] is direction and type(line[1]) is kind
    )


# What is the same.


@given(st.lists(st.sampled_from((RECORDED, LIVE))))
def test_a_conversation_is_the_same_as_itself(sides):
    """Whichever side is handed in first, and however far it is ahead."""
    report = compared(TALK, TALK, sides=sides)
    assert report.same
    assert report.recorded == report.live == len(TALK) - 4  # pings and pongs


@st.composite
def interleaved(draw) -> list[Line]:
    """The talk with both directions interleaved in another way, each pong after its ping."""
    ways = {way: [line for line in TALK if line[0] is way] for way in Direction}
    found: list[Line] = []
    open_pings: set[int] = set()
    while any(ways.values()):
        able = [
            way
            for way, lines in ways.items()
            if lines and (not isinstance(lines[0][1], Pong) or lines[0][1].nonce in open_pings)
        ]
        line = ways[draw(st.sampled_from(sorted(able)))].pop(0)
        if isinstance(line[1], Ping):
            open_pings.add(line[1].nonce)
        found.append(line)
    return found


@given(interleaved(), st.lists(st.sampled_from((RECORDED, LIVE))))
def test_timing_is_not_a_difference(lines, sides):
    """An answer may come before or after what the other side says in the meantime."""
    assert compared(TALK, lines, sides=sides).same


@given(st.permutations(range(3)))
def test_answers_may_come_in_another_order(order):
    """Blocks are known by their hashes."""
    position = TALK.index((DOWN, BLOCKS[0]))
    lines = [*TALK[:position], *((DOWN, BLOCKS[each]) for each in order), *TALK[position + 3 :]]
    assert compared(TALK, lines).same


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(changed(0, (UP, version(77, time=9))), id="nonce and time of version"),
        pytest.param([*TALK, (DOWN, Ping(8)), (UP, Pong(8))], id="more pings"),
        pytest.param([line for line in TALK if line[1] not in (Ping(3), Pong(3))], id="fewer"),
        pytest.param([*TALK, (DOWN, Addr(()))], id="addresses"),
        pytest.param([*TALK, (UP, Ping(8))], id="a ping at the end"),
        pytest.param([*TALK[:-1], (UP, Ping(8)), TALK[-1]], id="a ping after the last request"),
    ],
)
def test_volatile_things_are_no_difference(lines):
    """The table of `volatile.py`, in both directions of the comparison."""
    assert compared(TALK, lines).same
    assert compared(lines, TALK).same


def test_the_same_things_may_be_told_in_other_messages():
    """What counts of inv, getdata and notfound is what they name, and how often."""
    one = [*TALK, (DOWN, have(*OTHERS)), (UP, asked(*OTHERS)), (DOWN, missing(*OTHERS))]
    other = [
        *TALK,
        (DOWN, have(*OTHERS[3:])),
        (DOWN, have(*OTHERS[:3])),
        *((UP, asked(each)) for each in OTHERS),
        (DOWN, missing(*reversed(OTHERS))),
    ]
    assert compared(one, other).same
    twice = compared(one, [*other, (DOWN, have(OTHERS[0]))])
    assert [each.kind for each in twice.differences] == ["extra"]


def test_pings_of_one_nonce_are_distinguished():
    """Some clients know only one number."""
    one = [(UP, Ping(5)), (UP, Ping(5)), (DOWN, Pong(5)), (DOWN, Pong(5)), (DOWN, have(HEADERS[0]))]
    other = [(UP, Ping(5)), (UP, Ping(6)), (DOWN, Pong(6)), (DOWN, Pong(5)), one[-1]]
    assert compared(one, other).same


# What is not.


@dataclass
class Planted:
    """A difference that was put into the talk, and how it has to be reported."""

    lines: list[Line]
    kind: str
    command: str
    fields: dict[str, tuple[str, str]] | None = None
    """Of path: what is recorded and what is live."""


AGENT = msgspec.structs.replace(TALK[1][1], user_agent=b"/mode/")
SECOND_HEADER = (HEADERS[0], OTHERS[1], *HEADERS[2:])
PLANTED = {
    "user agent": Planted(
        changed(1, (DOWN, AGENT)), "different", "version", {"user_agent": ("/node/", "/mode/")}
    ),
    "height": Planted(
        changed(1, (DOWN, msgspec.structs.replace(TALK[1][1], start_height=6))),
        "different",
        "version",
        {"start_height": ("5", "6")},
    ),
    "missing": Planted(changed(2), "missing", "verack"),
    "extra": Planted(changed(2, TALK[2], (DOWN, FeeFilter(1))), "extra", "feefilter"),
    "twice": Planted(changed(2, TALK[2], TALK[2]), "extra", "verack"),
    "headers, one other": Planted(
        changed(5, (DOWN, Headers(SECOND_HEADER))),
        "different",
        "headers",
        {"headers[1].timestamp": ("2", "12")},
    ),
    "headers, fewer": Planted(
        changed(5, (DOWN, Headers(HEADERS[:4]))),
        "different",
        "headers",
        {"headers": ("5 entries", "4 entries")},
    ),
    "another block": Planted(
        changed(10, (DOWN, msgspec.structs.replace(BLOCKS[1], header=OTHERS[1]))),
        "missing",
        "block",
    ),
    "block, one byte after": Planted(
        changed(10, (DOWN, msgspec.structs.replace(BLOCKS[1], trailing=b"x"))),
        "different",
        "block",
        {"trailing": ("-", "78")},
    ),
    "inv, empty": Planted(changed(14, (DOWN, Inv(()))), "different", "inv"),
    "inv, another": Planted(changed(14, (DOWN, have(OTHERS[0]))), "different", "inv"),
    "malformed": Planted(
        changed(2, (DOWN, bytes.fromhex("fabfb5da") + b"verack".ljust(12, b"\0") + bytes(8))),
        "different",
        "verack",
    ),
    "unknown": Planted(
        changed(
            2,
            TALK[2],
            (DOWN, bytes.fromhex("fabfb5da") + b"nonsense\0\0\0\0\0\0\0\0" + b"\x5d\xf6\xe0\xe2"),
        ),
        "extra",
        "nonsense",
    ),
    "no message": Planted(changed(2, TALK[2], (DOWN, b"?" * 40)), "extra", "(junk)"),
    "no pong": Planted([line for line in TALK if line != (DOWN, Pong(4))], "missing", "pong"),
    "a pong that nobody asked for": Planted(
        changed(13, (DOWN, Pong(4)), (DOWN, Pong(4))), "extra", "pong"
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_difference_is_found_and_is_the_first(name):
    """Another at the end is reported after it; from the other side it is the same turned round."""
    planted = PLANTED[name]
    at_the_end = (DOWN, missing(*OTHERS))
    report = compared(TALK, [*planted.lines, at_the_end])
    first, *_, last = report.differences
    assert not report.same
    assert (first.kind, first.command) == (planted.kind, planted.command)
    for path, values in (planted.fields or {}).items():
        [field] = [each for each in first.fields if each.path == path]
        assert (field.recorded, field.live) == values
    assert last.command == "notfound"

    turned = compared([*planted.lines, at_the_end], TALK).differences
    kinds = {"missing": "extra", "extra": "missing", "different": "different"}
    reported = [(each.kind, each.command) for each in turned if each.position == turned[0].position]
    assert (kinds[planted.kind], planted.command) in reported


def test_a_difference_says_which_messages_it_is_about():
    """By number in the capture, time and what they hold."""
    report = compared(
        TALK,
        changed(2, TALK[2], (DOWN, FeeFilter(1)))[:2] + list(TALK[2:5]) + [(DOWN, Headers(OTHERS))],
    )
    found = next(each for each in report.differences if each.command == "headers")
    assert found.direction is DOWN
    assert found.recorded is not None
    assert found.live is not None
    assert (found.recorded.number, found.live.number) == (6, 6)
    assert found.recorded.summary == "num 5"
    assert found.recorded.time_ns - 5_000_000_000 == 1_700_000_000_000_000_000


def test_of_a_list_the_first_that_differs_is_shown_and_the_others_are_counted():
    """Two thousand headers of another chain are one line."""
    report = compared([(DOWN, Headers(HEADERS))], [(DOWN, Headers(OTHERS))])
    [difference] = report.differences
    assert {each.path.partition(".")[0] for each in difference.fields} == {"headers[0]", "headers"}
    assert difference.fields[-1].more == 4


def test_things_that_are_missing_from_a_list_are_named_with_their_index():
    """Of what was in one message some was not sent."""
    report = compared([(DOWN, have(*HEADERS))], [(DOWN, have(HEADERS[0], *HEADERS[2:]))])
    [difference] = report.differences
    assert (difference.kind, difference.command) == ("missing", "inv")
    [field] = difference.fields
    assert field.path == "inventory[1]"
    assert field.live == "-"
    assert field.recorded.startswith("block ")


def test_the_text_tells_all_of_it():
    """The first difference is the first to be read."""
    lines = changed(1, (DOWN, AGENT))[:-1]
    assert str(compared(TALK, lines)).splitlines() == [
        "2 differences: recorded 13 messages, live 12",
        "",
        "first: #1 <- version different",
        "    recorded  message 2 at 22:13:21.000  agent /node/, pver 70016, block 5",
        "    live      message 2 at 22:13:21.000  agent /mode/, pver 70016, block 5",
        "        user_agent  recorded  /node/",
        "                    live      /mode/",
        "",
        "#1 <- block recorded only",
        f"    recorded  message 17 at 22:13:36.000  {BLOCKS[3].summary()}",
    ]


# What is ignored on request.


@pytest.mark.parametrize(
    ("ignore", "name"),
    [
        ("version.user_agent", "user agent"),
        ("version.start_height", "height"),
        ("version", "user agent"),
        ("verack", "missing"),
        ("verack", "malformed"),
        ("feefilter", "extra"),
        ("headers.headers.merkle_root", None),
        ("block", "another block"),
        ("inv", "inv, another"),
        ("pong", "no pong"),
    ],
)
def test_what_is_ignored_is_not_a_difference(ignore, name):
    """A field, or all messages of a command."""
    if name is not None:
        assert compared(TALK, PLANTED[name].lines, ignore).same


def test_a_field_inside_a_list_can_be_ignored():
    """A path has no indexes; what is computed of a field is a field of its own."""
    other = changed(5, (DOWN, Headers(SECOND_HEADER)))
    paths = [f"headers.headers.{name}" for name in ("merkle_root", "timestamp", "hash")]
    assert not compared(TALK, other, *paths[:2]).same
    assert compared(TALK, other, *paths).same


def test_heights_are_ignored_on_request():
    """A chain grows."""
    assert compared(TALK, PLANTED["height"].lines, heights=True).same


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("versoin", "did you mean version"),
        ("version.useragent", "user_agent"),
        ("verack.x", "there are none"),
    ],
)
def test_what_does_not_exist_cannot_be_ignored(text, words):
    """The error says what there is."""
    with pytest.raises(BadIgnore, match=words):
        IgnoredFields([text])


# Bounds.


@pytest.fixture
def narrow(monkeypatch: Any) -> None:
    monkeypatch.setattr(compare, "MAX_UNMATCHED", 8)


@pytest.mark.usefixtures("narrow")
def test_what_waits_is_bounded():
    """Beyond, the older half is settled; equal conversations handed in together never wait."""
    many = [(DOWN, FeeFilter(number)) for number in range(200)]
    assert compared(many, many).same
    report = compared(many, [*many[:50], *many[60:]])
    assert report.count >= 10
    assert report.differences[0].fields[0].recorded == "50"


@pytest.mark.slow
def test_many_differences_are_counted_and_the_first_are_cache():
    """A report is bounded too."""
    report = compared([(DOWN, FeeFilter(number)) for number in range(1_200)], [])
    assert report.count == 1_200
    assert len(report.differences) == 1_000
    assert "1,199 more" not in str(report)
    assert "999 more like this" in str(report)
    assert "and 200 more" in str(report)


def test_commands_without_a_message_are_forgotten(monkeypatch):
    """Whoever invents a thousand commands takes no memory with them."""
    monkeypatch.setattr(compare, "MAX_QUEUES", 4)
    lines: list[Line] = []
    for number in range(40):
        name = f"odd{number}".encode().ljust(12, b"\0")
        lines.append((UP, bytes.fromhex("fabfb5da") + name + bytes(4) + b"\x5d\xf6\xe0\xe2"))
    assert compared(lines, lines).same
    assert compared(lines, lines[1:]).differences[0].command == "odd0"
    comparison = compare.Comparison(IgnoredFields())
    for entry in entries_of(lines):
        for side in (RECORDED, LIVE):
            comparison.add_message(side, ComparedMessage.of(entry))
    assert len(comparison._queues) <= 5


def test_a_long_list_is_in_memory_once():
    """Not once for each of its things."""
    many = [header(number) for number in range(3_000)]
    halves = [(DOWN, have(*many[1_500:])), (DOWN, have(*many[:1_500]))]
    assert compared([(DOWN, have(*many))], halves).same
