"""How entries look: lines that align, wire text that cannot hurt, objects with fixed keys."""

import itertools
import json

import click
import msgspec
import pytest

from lbcproxy import networks, resources
from lbcproxy.capture import open_capture
from lbcproxy.cli.formatter import VERDICT_COLOURS, make_formatter
from lbcproxy.session import Direction, Session
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, Version

NETWORK = networks.get("lbry-regtest")
KEYS = [
    "number",
    "time",
    "session",
    "direction",
    "command",
    "length",
    "message",
    "error",
    "verdict",
    "trail",
]
TIME = 1_795_419_753_123_456_789
EVIL = "\x1b[31m\r\n\u202eagent\x07"
END_OF_SIZE = 29
"""The column of the B of a size, for sessions up to 999."""


def text(*, tree=False, hexdump=False, colour=False):
    """Return the formatter of text lines."""
    return make_formatter("text", tree=tree, hexdump=hexdump, fields=(), colour=colour)


def entries(*pieces, number=1):
    """Feed a session bytes from its client, and return the entries."""
    session = Session(number, NETWORK)
    deliveries = []
    for piece in pieces:
        deliveries += session.receive(Direction.TO_UPSTREAM, piece, TIME)
    deliveries += session.end(Direction.TO_UPSTREAM, TIME)
    return [entry for delivery in deliveries for entry in delivery.entries]


def message(command, payload=b"", number=1):
    """Return the entry of one message."""
    [entry] = entries(frame(NETWORK.magic, command, payload), number=number)
    return entry


def version(user_agent):
    """Return the entry of a `version`."""
    address = NetAddress(0, bytes(16), 0)
    record = Version(70013, 0, 0, address, address, 0, user_agent, 0, True)
    return message("version", Codec(NETWORK).encode(record))


def decided(verdict, *trail):
    """Return the entry of a message that did not simply pass."""
    return msgspec.structs.replace(message("mempool"), verdict=verdict, trail=trail)


def test_columns_are_aligned(captures):
    """A column of sizes can be read down, whatever the command is called."""
    look = text()
    for entry in open_capture(captures / "lbcd-probe.pcap"):
        line = look(entry)
        assert line[END_OF_SIZE] == "B", line
        assert line[:END_OF_SIZE].split()[-1].isdigit()
    for number in (1, 42, 999):
        assert text()(message("ping", bytes(8), number=number))[END_OF_SIZE] == "B"


def test_a_line_has_direction_command_size_and_summary():
    """The complete line as it is printed."""
    line = text()(message("ping", bytes(7) + b"\x01"))
    assert line == "#1   -> ping                8B  nonce=0100000000000000"


def test_a_line_without_summary_ends_with_the_size():
    """No blanks at its end."""
    assert text()(message("mempool")) == "#1   -> mempool             0B"


def test_claims_are_named(captures):
    """Up to three by name, the rest counted."""
    look = text()
    lines = [look(entry) for entry in open_capture(captures / "lbcd-sync.pcap")]
    assert lines[322].endswith(', 1 inputs, 3 outputs, lock height 0, claim "clip-140-1"')
    assert lines[312].endswith('claim "name-40-1", claim "name-10-0", claim "name-26-0", 443 more')


def test_an_error_is_part_of_the_line():
    """After an exclamation mark, with the position and the reason."""
    line = text()(message("inv", b"\x01\x01\x00\x00\x00\xff"))
    assert line.endswith("6B  ! inventory[0].hash at byte 5: 32 bytes needed, 1 left")


@pytest.mark.parametrize("verdict", VERDICT_COLOURS)
def test_a_verdict_comes_last_and_names_who_decided(verdict):
    """Without colours there is not one escape in the line."""
    line = text()(decided(verdict, "quiet", "no memory"))
    assert line == f"#1   -> mempool             0B  {verdict}:quiet:no memory"


@pytest.mark.parametrize(("verdict", "colour"), VERDICT_COLOURS.items())
def test_a_verdict_is_coloured_only_when_asked(verdict, colour):
    """Each verdict has its colour, and the words are the same."""
    entry = decided(verdict, "quiet")
    line = text(colour=True)(entry)
    painted = line.split("  ")[-1]
    assert painted.startswith(click.style("", fg=colour, reset=False))
    assert painted.endswith(f"{verdict}:quiet\x1b[0m")
    assert click.unstyle(line) == text()(entry)


def test_pass_is_not_printed():
    """What happens to nearly all messages needs no word."""
    assert "pass" not in text(colour=True)(message("ping", bytes(8)))


def safe(printed):
    """Whether nothing in some output does anything to a terminal but end lines."""
    return all(character.isprintable() for character in printed.replace("\n", ""))


@pytest.mark.parametrize("tree", [False, True])
def test_wire_text_cannot_command_the_terminal(tree):
    """Escapes, line ends and the override that turns text around are written out."""
    entry = version(EVIL.encode())
    printed = text(tree=tree)(entry)
    assert safe(printed)
    assert printed.splitlines()[0].count("agent \\x1b[31m\\r\\n\\u202eagent\\x07, pver") == 1


def test_a_command_cannot_command_the_terminal():
    """A name of 12 bytes is room enough for an escape."""
    printed = text()(message("\x1b[2J\nx"))
    assert safe(printed)
    assert "\\x1b[2J\\nx" in printed
    assert "command is not printable ASCII" in printed


def test_reasons_and_trails_cannot_command_the_terminal():
    """Neither the sender's words in a `reject` nor a plugin's in a verdict."""
    payload = b"\x02tx\x10" + bytes((len(EVIL.encode()),)) + EVIL.encode() + bytes(32)
    assert safe(text()(message("reject", payload)))
    assert safe(text()(decided("drop", EVIL)))


def test_names_of_claims_cannot_command_the_terminal(captures):
    """A claim's name is any bytes."""
    entry = list(open_capture(captures / "lbcd-sync.pcap"))[322]
    raw = entry.raw.replace(b"clip-140-1", b"\x1b[31m\n\xe2\x80\xae\x07")
    [changed] = entries(frame(NETWORK.magic, "tx", raw[24:]))
    for tree in (False, True):
        printed = text(tree=tree)(changed)
        assert 'claim "\\x1b[31m\\n\\u202e\\x07"' in printed
        assert safe(printed)


@pytest.mark.parametrize("evil", ["\x9b31m", "\x85", "\u2028", "\u2066", "\u200f"])
def test_other_ways_to_harm_a_terminal_are_escaped_too(evil):
    """C1 controls, line separators, isolates and marks of direction."""
    assert safe(text(tree=True)(version(evil.encode())))


def test_objects_are_one_line_whatever_they_hold():
    """JSON escapes line breaks, so a program that reads lines gets complete objects."""
    look = make_formatter("ndjson", tree=False, hexdump=False, fields=(), colour=False)
    printed = look(version(EVIL.encode()))
    assert "\n" not in printed
    assert "\x1b" not in printed
    assert json.loads(printed)["message"]["user_agent"] == EVIL


@pytest.mark.parametrize("evil", ["\x9b31m", "\u202e", "\u2028", "\x7f"])
def test_objects_cannot_command_the_terminal(evil):
    """JSON can write any character as an escape, so nothing is lost by it."""
    look = make_formatter("ndjson", tree=False, hexdump=False, fields=(), colour=False)
    printed = look(version(evil.encode()))
    assert safe(printed)
    assert json.loads(printed)["message"]["user_agent"] == evil


def test_junk_is_shown_once_a_run():
    """A megabyte of another protocol is one line, not a thousand."""
    junk = bytes(range(1, 251)) * 2000
    found = entries(junk, frame(NETWORK.magic, "verack", b""), b"\xee" * 100_000)
    look = text()
    lines = [line for entry in found if (line := look(entry)) is not None]
    assert len(found) > len(lines) == 3
    kinds = [line[8:20].strip() for line in lines]
    assert kinds == ["(junk)", "verack", "(junk)"]
    assert "neither the network's magic nor a command" in lines[0]
    assert "eeeeeeee is not the network's magic fae4aad1" in lines[2]


def test_a_hexdump_shows_all_junk():
    """A hex dump contains every byte."""
    found = entries(b"\xee" * 200_000)
    printed = "\n".join(text(hexdump=True)(entry) for entry in found)
    assert printed.count(" ee") == 200_000


def test_a_hexdump_has_rows_of_sixteen():
    """Ten digits of offset, the bytes, the text."""
    lines = text(hexdump=True)(message("mempool2", b"0123456789abcdef\x00\x1b\xff")).splitlines()
    assert lines[1:] == [
        "    0000000000 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66   0123456789abcdef",
        "    0000000010 00 1b ff                                          ...",
    ]


@pytest.mark.parametrize("hexdump", [False, True])
def test_objects_have_these_keys(captures, hexdump):
    """Other programs read them: a key added by chance stays for ever."""
    look = make_formatter("ndjson", tree=False, hexdump=hexdump, fields=(), colour=False)
    extra = ["payload"] if hexdump else []
    with_claims = 0
    for name in ("lbcd-sync", "lbcd-probe"):
        for entry in open_capture(captures / f"{name}.pcap"):
            found = json.loads(look(entry))
            claims = ["claims"] if "claims" in found else []
            with_claims += len(claims)
            partial = ["partial"] if found["message"] is None and found["error"] else []
            assert list(found) == KEYS + partial + claims + extra
    assert with_claims > 10


def test_the_values_of_an_object():
    """Times with all nine digits, directions in words, junk with no command."""
    look = make_formatter("ndjson", tree=False, hexdump=True, fields=(), colour=False)
    ping, junk = entries(frame(NETWORK.magic, "ping", bytes(8)), b"\xee" * 10)
    assert json.loads(look(ping)) == {
        "number": 1,
        "time": "2026-11-23T07:42:33.123456789Z",
        "session": 1,
        "direction": "to_upstream",
        "command": "ping",
        "length": 8,
        "message": {"nonce": 0},
        "error": None,
        "verdict": "pass",
        "trail": [],
        "payload": "00" * 8,
    }
    found = json.loads(look(junk))
    assert (found["command"], found["message"], found["payload"]) == (None, None, "ee" * 10)
    assert "is not the network's magic" in found["error"]


def test_an_opaque_message_has_no_fields_and_no_error():
    """A command that is known and passed unread is sound as far as anyone can tell."""
    look = make_formatter("ndjson", tree=False, hexdump=False, fields=(), colour=False)
    found = json.loads(look(message("feature", b"\x01\x02")))
    assert (found["message"], found["error"]) == (None, None)


def test_chosen_fields_are_escaped():
    """A tab or a line end in a field would break the table."""
    look = make_formatter(
        "fields", tree=False, hexdump=False, fields=("number", "message.user_agent"), colour=False
    )
    assert look(version(b"a\tb\nc")) == "1\ta\\tb\\nc"


def test_every_line_is_the_same_with_colours_taken_out(captures):
    """Colour adds nothing but colour."""
    plain, coloured = text(), text(colour=True)
    for entry in itertools.islice(open_capture(captures / "lbcd-probe.pcap"), 100):
        assert click.unstyle(coloured(entry)) == plain(entry)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_lines_are_cut_to_the_terminal_and_what_is_wrong_is_not(width):
    """A line that wraps hides the next; a reason cut off would be worse."""
    look = make_formatter("text", tree=False, hexdump=False, fields=(), colour=False, width=width)
    whole = make_formatter("text", tree=False, hexdump=False, fields=(), colour=False)
    for entry in open_capture(resources.folder("captures") / "lbcd-probe.pcap"):
        line, full = look(entry), whole(entry)
        if len(full) <= width:
            assert line == full
        elif entry.error is None:
            assert len(line) == width
            assert line.endswith("…")
        assert entry.error is None or entry.error in line
