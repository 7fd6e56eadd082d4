"""The header of a frame, and where junk ends."""

import pytest

from lbcproxy.wire.envelope import HEADER_SIZE, Header, checksum, command_problem, frame, unpack
from lbcproxy.wire.junk import JUNK_SIZE, end_before_magic, has_valid_command, junk_limit

MAGIC = b"\xfa\xe4\xaa\xf1"
PING = frame(MAGIC, "ping", b"12345678")


def test_a_header_has_24_bytes_and_four_values():
    """Magic, command, length and checksum; the payload follows."""
    assert PING[:HEADER_SIZE] == MAGIC + b"ping" + bytes(8) + b"\x08\0\0\0" + checksum(b"12345678")
    header = unpack(PING)
    assert header == Header(MAGIC, b"ping" + bytes(8), 8, checksum(b"12345678"))
    assert header.command == "ping"
    assert unpack(b"xx" + PING, 2) == header


def test_a_checksum_is_the_beginning_of_a_hash():
    """Four bytes; of nothing, those that every `verack` has."""
    assert checksum(b"").hex() == "5df6e0e2"
    assert checksum(bytearray(b"12345678")) == checksum(b"12345678")


def test_a_command_has_at_most_12_bytes():
    """A longer one would run into the length."""
    assert unpack(frame(MAGIC, "x" * 12, b"")).command == "x" * 12
    with pytest.raises(ValueError, match="longer than 12 bytes"):
        frame(MAGIC, "x" * 13, b"")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (b"ping", None),
        (b" ~", None),
        (b"\x1fping", "command is not printable ASCII"),
        (b"ping\x7f", "command is not printable ASCII"),
        (b"", "empty command"),
        (b"a\0b", "command continues after a NUL"),
    ],
)
def test_what_is_malformed_in_a_command(command: bytes, problem: str | None):
    """From the first printable character, a space, to the last, a tilde."""
    assert command_problem(command.ljust(12, b"\0")) == problem


def test_a_command_is_looked_for_after_a_magic():
    """At any place of a buffer."""
    assert has_valid_command(bytearray(PING), 0)
    assert has_valid_command(bytearray(b"xyz" + PING), 3)
    assert not has_valid_command(bytearray(b"xyz" + PING), 4)
    assert not has_valid_command(bytearray(MAGIC + bytes(20)), 0)
    assert has_valid_command(bytearray(MAGIC + b"twelve_bytes" + b"\0"), 0)


@pytest.mark.parametrize(
    ("junk", "limit"),
    [
        (PING, len(PING)),
        (PING[:HEADER_SIZE], len(PING)),
        (PING[: HEADER_SIZE - 1], JUNK_SIZE),
        (frame(MAGIC, "", b"12345678"), JUNK_SIZE),
        (frame(MAGIC, "ping", bytes(JUNK_SIZE))[:100], HEADER_SIZE + JUNK_SIZE),
        (frame(MAGIC, "ping", bytes(JUNK_SIZE + 1))[:100], JUNK_SIZE),
        (b"", JUNK_SIZE),
    ],
)
def test_junk_is_cut_after_a_frame_or_at_64_kib(junk: bytes, limit: int):
    """A frame of another network is one item, unless it claims to be long."""
    assert JUNK_SIZE == 65_536
    assert junk_limit(bytearray(junk)) == limit


@pytest.mark.parametrize("begun", range(4))
def test_what_may_be_the_beginning_of_a_magic_is_not_junk_yet(begun: int):
    """The next byte may complete it."""
    for junk in (b"", b"x", b"noise"):
        assert end_before_magic(bytearray(junk + MAGIC[:begun]), MAGIC) == len(junk)
